"""Laws of the solver ``maximum-likelihood``: the lowest misfit of distances with noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

import musicfw as mf
from musicfw.testing.strategies import conditioned_prototypes, orthogonal
from musicfw.testing.tolerances import EPS, RATIO

seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(["absolute", "relative"])


def fitted(codebook, distances, errors=None):
    return mf.invert(codebook, distances, solver="maximum-likelihood", errors=errors)


def noisy(rng, distances, errors, level):
    noise = level * rng.normal(size=distances.shape)
    return np.abs(distances * (1.0 + noise) if errors == "relative" else distances + noise)


def drawn(seed, *, units=30, dimension=4, points=4, errors="absolute", level=0.05):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(units, dimension)))
    x = rng.normal(size=(points, dimension))
    return rng, codebook, x, noisy(rng, codebook.squared_distances(x), errors, level)


def weights_of(distances, errors):
    """Return the square roots of the weights that the docs promise."""
    if errors == "absolute":
        return np.ones(distances.shape)
    return 1.0 / np.maximum(distances, 1e-4 * np.median(distances, axis=1, keepdims=True))


def misfit(codebook, points, distances, errors):
    there = codebook.squared_distances(points) - distances
    return np.square(weights_of(distances, errors) * there).sum(axis=1)


@given(seed=seeds, errors=kinds, level=st.sampled_from([1e-4, 1e-2, 0.3]), exponent=st.floats(0, 4))
@settings(max_examples=40)
def test_no_point_fits_better_as_scipy_confirms_from_many_starts(seed, errors, level, exponent):
    rng = np.random.default_rng(seed)
    W = conditioned_prototypes(rng, 20, 4, condition=10.0**exponent)
    codebook = mf.Codebook(prototypes=W)
    x = rng.normal(size=(2, 4)) / 2.0
    distances = noisy(rng, codebook.squared_distances(x), errors, level)
    found = fitted(codebook, distances, errors).points
    here = misfit(codebook, found, distances, errors)
    linear = mf.invert(codebook, distances).points
    roots = weights_of(distances, errors)
    for n in range(2):
        for start in (found[n], linear[n], x[n], 2.0 * W.mean(axis=0) - found[n], W[0] + 0.1):
            other = least_squares(
                lambda x, n=n: roots[n] * (np.square(x - W).sum(axis=1) - distances[n]),
                start,
                jac=lambda x, n=n: 2.0 * roots[n][:, np.newaxis] * (x - W),
                xtol=1e-14,
                ftol=1e-14,
                gtol=1e-14,
            )
            # A misfit is a sum of squares of roundings, each eps of a distance, and of twice their
            # product with what misfits.
            rounding = 20 * EPS * np.linalg.norm(roots[n] * (distances[n] + 4.0))
            assert here[n] <= 2.0 * other.cost + 2.0 * rounding * np.sqrt(here[n]) + rounding**2
            if start is found[n]:
                # The lowest point is flat: eps in the misfit is its root in the point.
                assert np.linalg.norm(other.x - found[n]) <= 1e-6 * (1.0 + np.linalg.norm(found[n]))


@given(seed=seeds, dimension=st.integers(1, 8), exponent=st.floats(0, 6), extra=st.integers(1, 20))
def test_distances_of_a_point_give_the_bits_of_the_exact_solver(seed, dimension, exponent, extra):
    rng = np.random.default_rng(seed)
    condition = 10.0**exponent if dimension > 1 else 1.0
    W = conditioned_prototypes(rng, dimension + extra, dimension, condition=condition)
    codebook = mf.Codebook(prototypes=W)
    distances = codebook.squared_distances(rng.normal(size=(3, dimension)))
    expected = mf.invert(codebook, distances)
    found = fitted(codebook, distances)
    np.testing.assert_allclose(found.points, expected.points, rtol=1e-13, atol=0)
    assert (found.status == mf.Status.EXACT).all()


@given(
    seed=seeds,
    errors=st.sampled_from(["absolute", "relative", None]),
    factor=st.sampled_from([0.125, 1.0, 3.0, 1e3]),
)
@settings(max_examples=40)
def test_moving_turning_scaling_and_reordering_do_the_same_to_the_answer(seed, errors, factor):
    rng, codebook, _, distances = drawn(seed, errors=errors)
    W = codebook.prototypes
    rotation, shift, order = orthogonal(rng, 4), 5.0 * rng.normal(size=4), rng.permutation(len(W))
    moved = mf.Codebook(prototypes=(factor * W @ rotation.T + shift)[order])
    here = fitted(codebook, distances, errors).points
    there = fitted(moved, factor**2 * distances[:, order], errors).points
    allowed = rounding_of_fit(W, here, distances) * (1.0 + np.abs(shift).max() / factor)
    assert (np.linalg.norm((there - shift) @ rotation / factor - here, axis=1) <= allowed).all()


def rounding_of_fit(W, points, distances):
    """Return how exactly normal equations with weights 1/d² of this range give points, (N,)."""
    sigma = np.linalg.svd(W - W.mean(axis=0), compute_uv=False)
    reach = np.linalg.norm(points - W.mean(axis=0), axis=1) + np.linalg.norm(W, axis=1).max()
    size = np.maximum(distances, 1e-4 * np.median(distances, axis=1, keepdims=True))
    spread = (size.max(axis=1) / size.min(axis=1)) ** 2
    return RATIO * EPS * np.sqrt(len(W)) * reach**2 * (sigma[0] / sigma[-1]) ** 2 * spread


@given(seed=seeds, errors=st.sampled_from(["absolute", "relative", None]))
@settings(max_examples=25)
def test_a_batch_equals_its_rows_one_by_one(seed, errors):
    _, codebook, _, distances = drawn(seed, points=7, errors=errors)
    together = fitted(codebook, distances, errors).points
    alone = np.vstack([fitted(codebook, row, errors).points for row in distances])
    allowed = rounding_of_fit(codebook.prototypes, together, distances)
    assert (np.linalg.norm(together - alone, axis=1) <= allowed).all()


def cramer_rao(codebook, x, sd):
    """Return the least mean squared error of an unbiased estimate, shape (N,); sd is (N, M)."""
    bounds = []
    for point, of_point in zip(x, np.broadcast_to(sd, (len(x), codebook.units)), strict=True):
        J = 2.0 * (point - codebook.prototypes) / of_point[:, np.newaxis]
        bounds.append(np.trace(np.linalg.inv(J.T @ J)))
    return np.array(bounds)


@pytest.mark.parametrize("kind", ["absolute", "relative"])
@pytest.mark.parametrize("asked", ["absolute", "relative", None])
def test_the_right_weights_reach_the_bound_of_cramer_and_rao(kind, asked):
    _, codebook, x, distances = drawn(5, units=100, points=2000, errors=kind, level=1e-3)
    sd = 1e-3 * (codebook.squared_distances(x) if kind == "relative" else 1.0)
    bound = cramer_rao(codebook, x, sd)
    squared = np.square(fitted(codebook, distances, asked).points - x).sum(axis=1)
    # Each ratio has mean 1 and a variance of at most 2; 2000 of them, five standard errors.
    ratio = np.mean(squared / bound)
    if asked in (kind, None):
        assert abs(ratio - 1.0) <= 5.0 * np.sqrt(2.0 / 2000)
    else:
        assert ratio > 1.5
    linear = np.square(mf.invert(codebook, distances).points - x).sum(axis=1)
    assert np.mean(linear / bound) > 1.0 + 5.0 * np.sqrt(2.0 / 2000)


def test_the_length_of_a_point_is_kept_where_the_map_is_thin():
    rng = np.random.default_rng(0)
    W = conditioned_prototypes(rng, 60, 8, condition=1e4)
    codebook = mf.Codebook(prototypes=W)
    x = W[:40] + 0.01 * rng.normal(size=(40, 8)) @ np.diag([1, 1, 1, 1, 1, 1e-2, 1e-3, 1e-4])
    distances = noisy(rng, codebook.squared_distances(x), "relative", 1e-3)
    reach = np.linalg.norm(W - W.mean(axis=0), axis=1).max()
    linear = np.linalg.norm(mf.invert(codebook, distances).points - x, axis=1)
    found = np.linalg.norm(fitted(codebook, distances).points - x, axis=1)
    assert np.median(found) < 0.1 * reach < np.median(linear)


@pytest.mark.parametrize("units", [40, 12])  # more than features, and fewer
@pytest.mark.parametrize("exponent", range(2, 12))
def test_the_noisier_the_linear_answer_the_less_it_is_taken_for_one_without_noise(units, exponent):
    rng = np.random.default_rng(exponent)
    V, scales = rng.normal(size=(units, 20)), np.geomspace(1.0, 10.0**-exponent, 20)
    codebook = mf.Codebook(prototypes=V * scales)
    x = rng.normal(size=(30, 20)) * scales
    distances = noisy(rng, codebook.squared_distances(x), "relative", 1e-3)
    found = fitted(codebook, distances).points
    # No longer than the distances say: the centroid as an answer errs by less than that.
    assert (np.linalg.norm(found - x, axis=1) <= 2.0 * np.sqrt(distances.mean(axis=1))).all()


@given(seed=seeds)
@settings(max_examples=25)
def test_a_point_outside_the_hull_is_projected_by_the_weighted_linear_answer(seed):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(6, 3)))[0].T
    W = rng.normal(size=(25, 3)) @ basis
    codebook = mf.Codebook(prototypes=W)
    x = rng.normal(size=(4, 3)) @ basis + 2.0 * np.linalg.svd(basis)[2][-1]
    distances = noisy(rng, codebook.squared_distances(x), "relative", 1e-4)
    expected = mf.invert(codebook, distances).points
    found = fitted(codebook, distances, "absolute")
    np.testing.assert_allclose(found.points, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.hidden_radius, 2.0, rtol=0.01)
    weighted = fitted(codebook, distances, "relative").points
    for n in range(4):
        roots = 1.0 / distances[n]
        A = roots[:, np.newaxis] * np.hstack([-2.0 * W @ basis.T, np.ones((25, 1))])
        fit = np.linalg.lstsq(A, roots * (distances[n] - np.square(W).sum(axis=1)), rcond=None)[0]
        np.testing.assert_allclose(weighted[n], fit[:3] @ basis, rtol=0, atol=1e-11)


def test_a_hidden_part_does_not_keep_relative_errors_from_being_seen():
    rng = np.random.default_rng(9)
    W = np.hstack([rng.normal(size=(60, 3)), np.zeros((60, 1))])
    codebook = mf.Codebook(prototypes=W)
    x = np.hstack([rng.normal(size=(100, 3)), np.full((100, 1), 0.5)])
    distances = noisy(rng, codebook.squared_distances(x), "relative", 1e-3)
    relative = fitted(codebook, distances, "relative").points
    same = np.isclose(fitted(codebook, distances).points, relative, rtol=1e-12).all(axis=1)
    assert same.mean() > 0.95


def test_a_point_in_the_hull_of_flat_prototypes_stays_in_it():
    rng = np.random.default_rng(3)
    W = np.hstack([rng.normal(size=(30, 3)), np.full((30, 1), 7.0)])
    codebook = mf.Codebook(prototypes=W)
    x = np.hstack([rng.normal(size=(50, 3)), np.full((50, 1), 7.0)])
    distances = noisy(rng, codebook.squared_distances(x), "absolute", 0.01)
    found = fitted(codebook, distances, "absolute").points
    assert (found[:, 3] == 7.0).all()
    linear = mf.invert(codebook, distances).points
    assert np.square(found - x).sum() < np.square(linear - x).sum()


def test_of_two_mirror_points_that_fit_alike_one_is_returned():
    # Distances in the middle between the prototypes tell how far off their line, not on which side.
    codebook = mf.Codebook(prototypes=[[-1.0, 1e-9], [0.0, -2e-9], [1.0, 1e-9]])
    x, off_line = np.array([[0.3, 2.0]]), np.array([1e-5, -2e-5, 1e-5])
    found = fitted(codebook, codebook.squared_distances(x) + off_line).points
    np.testing.assert_allclose(np.abs(found), x, rtol=0, atol=1e-4)
    # (x² + 1 − 5)² + 4 x² is lowest where x² is 2.
    line = mf.Codebook(prototypes=[[-1.0], [1.0]])
    root2 = np.sqrt(2.0)
    np.testing.assert_allclose(np.abs(fitted(line, [[5.0, 5.0]]).points), root2, rtol=1e-11)


def test_distances_rounded_to_float32_are_noise_that_is_fitted():
    rng = np.random.default_rng(4)
    codebook = mf.Codebook(prototypes=conditioned_prototypes(rng, 60, 6, condition=1e5))
    x = rng.normal(size=(50, 6)) / 3.0
    distances = codebook.squared_distances(x).astype(np.float32)
    linear = np.linalg.norm(mf.invert(codebook, distances).points - x, axis=1)
    found = np.linalg.norm(fitted(codebook, distances).points - x, axis=1)
    assert np.median(found) < 0.5 * np.median(linear)


def test_relative_errors_pin_a_point_to_the_prototype_that_it_is_near():
    rng, codebook, _, _ = drawn(6)
    near = codebook.prototypes[:20] + 0.03 * rng.normal(size=(20, 4))
    distances = noisy(rng, codebook.squared_distances(near), "relative", 0.01)
    found = fitted(codebook, distances)
    off = np.linalg.norm(found.points - codebook.prototypes[:20], axis=1)
    np.testing.assert_allclose(
        off, np.linalg.norm(near - codebook.prototypes[:20], axis=1), rtol=0.1
    )
    on = codebook.prototypes[:5]
    distances = codebook.squared_distances(on) * (1.0 + 0.01 * rng.normal(size=(5, 30)))
    # A distance of 0 counts as 1e-4 of the median, and 1 % of that is left of it.
    allowed = np.sqrt(0.01 * 1e-4 * np.median(distances, axis=1).max())
    np.testing.assert_allclose(fitted(codebook, distances).points, on, rtol=0, atol=allowed)


@pytest.mark.parametrize("errors", ["absolute", "relative"])
def test_with_one_unit_more_than_features_the_weights_asked_for_are_taken(errors):
    _, codebook, x, distances = drawn(10, units=5, errors="relative", level=0.1)
    found = fitted(codebook, distances, errors).points
    roots = weights_of(distances, errors)
    for n in range(4):
        fits = [
            least_squares(
                lambda x, n=n: (
                    roots[n] * (np.square(x - codebook.prototypes).sum(axis=1) - distances[n])
                ),
                start,
            )
            for start in (found[n], x[n])
        ]
        best = min(fit.cost for fit in fits)
        here = misfit(codebook, found[n : n + 1], distances[n : n + 1], errors)[0]
        assert here <= 2.0 * best * (1.0 + 1e-9) + 1e-20


def test_a_residual_within_the_tolerance_counts_as_a_point_of_the_map():
    _, codebook, _, distances = drawn(7, errors="relative", level=0.01)
    assert (fitted(codebook, distances).status == mf.Status.INCONSISTENT).all()
    within = mf.invert(codebook, distances, solver="maximum-likelihood", tolerance=0.02)
    assert (within.status == mf.Status.EXACT).all()


@given(seed=seeds, errors=st.sampled_from(["absolute", "relative", None]))
@settings(max_examples=15)
def test_units_that_measure_differently_are_fitted_by_the_same_weights(seed, errors):
    rng = np.random.default_rng(seed)
    W, R = rng.normal(size=(30, 4)), rng.uniform(0.2, 2.0, size=(30, 4))
    codebook = mf.Codebook(prototypes=W, relevances=R)
    x = rng.normal(size=(3, 4))
    distances = noisy(rng, codebook.squared_distances(x), errors, 1e-3)
    found = fitted(codebook, distances, errors)
    if errors is None:
        expected = mf.invert(codebook, distances).points
        np.testing.assert_allclose(found.points, expected, rtol=0, atol=1e-9)
        return
    roots = weights_of(distances, errors)
    for n in range(3):
        other = least_squares(
            lambda x, n=n: roots[n] * ((R * np.square(x - W)).sum(axis=1) - distances[n]),
            x[n],
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        np.testing.assert_allclose(found.points[n], other.x, rtol=0, atol=1e-6)


def test_another_name_for_the_errors_is_refused():
    _, codebook, _, distances = drawn(8)
    with pytest.raises(mf.UsageError, match="errors: expected 'absolute' or 'relative' or null"):
        fitted(codebook, distances, "poisson")
