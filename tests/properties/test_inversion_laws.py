"""Laws of inversion: exact recovery with derived bounds, projections, equivariance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.testing.strategies import conditioned_prototypes, orthogonal
from musicfw.testing.tolerances import EPS, RATIO

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6])
offsets = st.sampled_from([0.0, 1.0, 1e3, 1e6])


def bound(prototypes, points, posed_sigma_min):
    """Return the derived error bound of math.md 2, shape (N,), rounding of storage included."""
    centre = prototypes.mean(axis=0)
    reach = np.linalg.norm(points - centre, axis=1)
    spread = np.linalg.norm(prototypes - centre, axis=1).max()
    units = len(prototypes)
    # Coordinates far from the origin are rounded themselves: eps·|c| in every difference.
    storage = np.abs(prototypes).max() + np.abs(points).max()
    scale = reach + spread
    return RATIO * EPS * np.sqrt(units) * scale * (scale + storage) / (2 * posed_sigma_min)


def sigma_min(prototypes):
    centred = prototypes - prototypes.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False)[: prototypes.shape[1]].min()


@given(
    seed=seeds,
    dimension=st.integers(1, 12),
    extra=st.integers(1, 20),
    scale=scales,
    offset=offsets,
)
def test_affinely_independent_prototypes_recover_every_point_exactly(
    seed, dimension, extra, scale, offset
):
    rng = np.random.default_rng(seed)
    prototypes = scale * (rng.normal(size=(dimension + extra, dimension)) + offset)
    points = scale * (3.0 * rng.normal(size=(5, dimension)) + offset)
    codebook = mf.Codebook(prototypes=prototypes)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    error = np.linalg.norm(inverted.points - points, axis=1)
    assert (error <= bound(prototypes, points, sigma_min(prototypes))).all()
    assert inverted.well_posedness.is_exact
    assert inverted.well_posedness.affine_rank == dimension


@given(seed=seeds, exponent=st.floats(0.0, 6.0), dimension=st.integers(2, 20))
def test_the_error_grows_no_faster_than_the_condition_number(seed, exponent, dimension):
    rng = np.random.default_rng(seed)
    prototypes = conditioned_prototypes(rng, 2 * dimension + 2, dimension, condition=10.0**exponent)
    points = rng.normal(size=(8, dimension)) / np.sqrt(dimension)
    codebook = mf.Codebook(prototypes=prototypes)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    error = np.linalg.norm(inverted.points - points, axis=1)
    assert (error <= bound(prototypes, points, sigma_min(prototypes))).all()
    assert inverted.well_posedness.condition == pytest.approx(10.0**exponent, rel=1e-6)
    assert (inverted.status == mf.Status.EXACT).all()


@given(seed=seeds, dimension=st.integers(2, 12), data=st.data(), offset=offsets)
def test_too_few_prototypes_give_the_projection_and_the_hidden_radius(
    seed, dimension, data, offset
):
    units = data.draw(st.integers(1, dimension), label="units")
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(units, dimension)) + offset
    points = rng.normal(size=(4, dimension)) + offset
    codebook = mf.Codebook(prototypes=prototypes)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    centre = prototypes.mean(axis=0)
    basis = np.linalg.svd(prototypes - centre, full_matrices=False)[2][: units - 1]
    projected = centre + (points - centre) @ basis.T @ basis
    hidden = np.linalg.norm(points - projected, axis=1)
    smallest = sigma_min_of_rank(prototypes, units - 1)
    allowed = bound(prototypes, points, smallest)
    assert (np.linalg.norm(inverted.points - projected, axis=1) <= allowed).all()
    # rho² is a difference of squares of this size, so its root is less accurate near 0.
    scale = np.linalg.norm(points - centre, axis=1) + hidden
    np.testing.assert_array_less(
        np.abs(inverted.hidden_radius**2 - hidden**2), scale * allowed * 4 + (1e-6 * scale) ** 2
    )
    assert not inverted.well_posedness.is_exact


def sigma_min_of_rank(prototypes, rank):
    if rank == 0:
        return 1.0
    return np.linalg.svd(prototypes - prototypes.mean(axis=0), compute_uv=False)[rank - 1]


@given(seed=seeds, dimension=st.integers(2, 8), offset=st.sampled_from([0.0, 10.0]))
def test_a_point_in_the_hull_of_flat_prototypes_is_recovered_and_nothing_is_hidden(
    seed, dimension, offset
):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(dimension - 1, dimension))
    prototypes = rng.normal(size=(3 * dimension, dimension - 1)) @ basis + offset
    points = rng.normal(size=(4, dimension - 1)) @ basis + offset
    codebook = mf.Codebook(prototypes=prototypes)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert inverted.well_posedness.affine_rank == dimension - 1
    assert (inverted.hidden_radius == 0.0).all()
    assert (inverted.status == mf.Status.EXACT).all()
    smallest = sigma_min_of_rank(prototypes, dimension - 1)
    error = np.linalg.norm(inverted.points - points, axis=1)
    assert (error <= bound(prototypes, points, smallest)).all()


@given(seed=seeds, dimension=st.integers(1, 8))
def test_ridge_tends_to_exact_monotonically_as_alpha_falls(seed, dimension):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(3 * dimension + 2, dimension))
    codebook = mf.Codebook(prototypes=prototypes)
    distances = codebook.squared_distances(rng.normal(size=(3, dimension)))
    exact = mf.invert(codebook, distances).points
    alphas = [1e2, 1.0, 1e-2, 1e-4, 1e-8]
    gaps = [
        np.linalg.norm(mf.invert(codebook, distances, solver="ridge", alpha=a).points - exact)
        for a in alphas
    ]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(gaps))
    # u_ridge − u = −λ/(σ² + λ) u in every direction, so the gap is at most λ/σ_r² |u|.
    reach = np.linalg.norm(exact - prototypes.mean(axis=0))
    assert gaps[-1] <= 1e-8 / sigma_min(prototypes) ** 2 * reach + 1e-9 * (1 + reach)


@given(seed=seeds, dimension=st.integers(1, 8), prior=st.sampled_from(["centroid", "winner"]))
def test_ridge_with_zero_alpha_equals_exact(seed, dimension, prior):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(3 * dimension + 2, dimension)))
    points = rng.normal(size=(3, dimension))
    distances = codebook.squared_distances(points)
    exact = mf.invert(codebook, distances).points
    ridge = mf.invert(codebook, distances, solver="ridge", alpha=0.0, prior=prior).points
    allowed = bound(codebook.prototypes, points, sigma_min(codebook.prototypes)).max()
    np.testing.assert_allclose(ridge, exact, rtol=0, atol=2 * allowed)


def test_ridge_solves_the_normal_equations_it_promises():
    rng = np.random.default_rng(3)
    codebook = mf.Codebook(prototypes=rng.normal(size=(12, 5)))
    distances = codebook.squared_distances(rng.normal(size=(4, 5)))
    centre = codebook.prototypes.mean(axis=0)
    V = codebook.prototypes - centre
    e = distances - (V**2).sum(axis=1)
    b = -0.5 * (e - e.mean(axis=1, keepdims=True))
    winner = V[distances.argmin(axis=1)]
    for prior, p in (("centroid", np.zeros((4, 5))), ("winner", winner)):
        u = np.linalg.solve(V.T @ V + 0.7 * np.eye(5), V.T @ b.T + 0.7 * p.T).T
        inverted = mf.invert(codebook, distances, solver="ridge", alpha=0.7, prior=prior)
        np.testing.assert_allclose(inverted.points, centre + u, rtol=1e-12, atol=1e-12)


@given(seed=seeds, dimension=st.integers(1, 8), extra=st.integers(0, 4))
def test_truncated_svd_at_full_rank_equals_exact_bit_for_bit(seed, dimension, extra):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(2 * dimension + 1, dimension)))
    distances = codebook.squared_distances(rng.normal(size=(3, dimension)))
    exact = mf.invert(codebook, distances).points
    rank = dimension + extra
    truncated = mf.invert(codebook, distances, solver="truncated-svd", rank=rank).points
    np.testing.assert_array_equal(truncated, exact)


@given(seed=seeds, dimension=st.integers(2, 8), data=st.data())
def test_truncated_svd_keeps_what_lies_in_the_leading_directions(seed, dimension, data):
    rank = data.draw(st.integers(0, dimension - 1), label="rank")
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(2 * dimension + 1, dimension))
    points = rng.normal(size=(3, dimension))
    codebook = mf.Codebook(prototypes=prototypes)
    inverted = mf.invert(
        codebook, codebook.squared_distances(points), solver="truncated-svd", rank=rank
    )
    centre = prototypes.mean(axis=0)
    leading = np.linalg.svd(prototypes - centre)[2][:rank]
    expected = centre + (points - centre) @ leading.T @ leading
    np.testing.assert_allclose(
        inverted.points,
        expected,
        rtol=0,
        atol=bound(prototypes, points, sigma_min(prototypes)).max(),
    )


@given(
    seed=seeds,
    dimension=st.integers(1, 8),
    solver=st.sampled_from(["exact", "truncated-svd"]),
    factor=st.sampled_from([0.125, 1.0, 3.0, 1e3]),
)
def test_rotating_shifting_and_scaling_everything_does_the_same_to_the_answer(
    seed, dimension, solver, factor
):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(2 * dimension + 2, dimension))
    distances = mf.Codebook(prototypes=prototypes).squared_distances(
        rng.normal(size=(3, dimension))
    )
    noisy = distances * (1 + 0.1 * rng.random(size=distances.shape))
    rotation, shift = orthogonal(rng, dimension), 5.0 * rng.normal(size=dimension)
    moved = factor * prototypes @ rotation.T + shift
    here = mf.invert(mf.Codebook(prototypes=prototypes), noisy, solver=solver).points
    there = mf.invert(mf.Codebook(prototypes=moved), factor**2 * noisy, solver=solver).points
    allowed = bound(prototypes, np.vstack([here, prototypes]), sigma_min(prototypes)).max()
    shift_rounding = 1.0 + np.abs(shift).max() / factor
    np.testing.assert_allclose(
        (there - shift) @ rotation / factor, here, rtol=0, atol=4 * allowed * shift_rounding
    )


@given(seed=seeds, dimension=st.integers(1, 8), solver=st.sampled_from(["exact", "ridge"]))
def test_the_order_of_the_units_does_not_matter(seed, dimension, solver):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(2 * dimension + 2, dimension))
    points = rng.normal(size=(3, dimension))
    order = rng.permutation(len(prototypes))
    first = mf.Codebook(prototypes=prototypes)
    second = mf.Codebook(prototypes=prototypes[order])
    distances = first.squared_distances(points)
    here = mf.invert(first, distances, solver=solver).points
    there = mf.invert(second, distances[:, order], solver=solver).points
    allowed = bound(prototypes, points, sigma_min(prototypes)).max()
    np.testing.assert_allclose(there, here, rtol=0, atol=2 * allowed)


@given(seed=seeds, dimension=st.integers(1, 8))
def test_a_batch_equals_its_rows_one_by_one(seed, dimension):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(2 * dimension + 2, dimension)))
    points = rng.normal(size=(6, dimension))
    inverter = mf.Inverter(codebook)
    distances = codebook.squared_distances(points)
    rows = np.vstack([inverter(row).points for row in distances])
    allowed = bound(codebook.prototypes, points, sigma_min(codebook.prototypes)).max()
    np.testing.assert_allclose(inverter(distances).points, rows, rtol=0, atol=allowed)


@given(seed=seeds, noise=st.floats(1e-4, 1e-1))
def test_noise_moves_the_answer_no_further_than_the_amplification_says(seed, noise):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(30, 6))
    points = rng.normal(size=(4, 6))
    codebook = mf.Codebook(prototypes=prototypes)
    distances = codebook.squared_distances(points)
    error = noise * rng.normal(size=distances.shape)
    inverted = mf.invert(codebook, distances + error + 1.0)
    moved = np.linalg.norm(inverted.points - points, axis=1)
    centred = error - error.mean(axis=1, keepdims=True)
    amplified = inverted.well_posedness.noise_amplification * np.linalg.norm(centred, axis=1)
    rounding = bound(prototypes, points, sigma_min(prototypes))
    assert (moved <= amplified * (1 + 1e-9) + rounding).all()


@given(seed=seeds)
def test_distances_that_no_point_has_are_never_silently_accepted(seed):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(20, 5)))
    distances = codebook.squared_distances(rng.normal(size=(4, 5)))
    # One distance wrong; all distances too large by the same amount; another codebook's.
    one_wrong = distances.copy()
    one_wrong[:, 3] *= 1.01
    other = mf.Codebook(prototypes=rng.normal(size=(20, 5)))
    for wrong in (one_wrong, distances + 0.1, np.sqrt(distances), distances[:, ::-1]):
        assert (mf.invert(codebook, wrong).status == mf.Status.INCONSISTENT).all()
    assert (mf.invert(other, distances).status == mf.Status.INCONSISTENT).all()
