"""Laws of inversion where every unit measures with relevances of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw import geometry, store
from musicfw.api import NoParams, RawSolution, SolverFactory, hookimpl
from musicfw.lifted import lifted_system

EPS = float(np.finfo(np.float64).eps)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *, units, dimension, points=8, least=0.05):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(
        prototypes=rng.normal(size=(units, dimension)),
        relevances=rng.uniform(least, 2.0, size=(units, dimension)),
    )
    return codebook, rng.normal(size=(points, dimension)), rng


def errors(inverted, points):
    return np.linalg.norm(inverted.points - points, axis=1) / np.linalg.norm(points, axis=1)


@given(seed=seeds, shape=st.sampled_from([(3, 1), (12, 5), (21, 10), (60, 10), (100, 40)]))
@settings(max_examples=25)
def test_points_come_back_when_there_are_two_units_per_feature_and_one(seed, shape):
    codebook, points, _ = drawn(seed, units=shape[0], dimension=shape[1])
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert (inverted.status == mf.Status.EXACT).all()
    assert inverted.well_posedness.is_exact
    assert inverted.well_posedness.relevance_rank == shape[1]
    assert errors(inverted, points).max() <= 1e-9
    assert inverted.residual.max() <= 1e-14
    assert (inverted.hidden_radius == 0.0).all()


@given(seed=seeds, rank=st.integers(2, 5))
@settings(max_examples=20)
def test_so_many_units_are_needed_as_features_and_the_rank_of_the_relevances(seed, rank):
    rng = np.random.default_rng(seed)
    relevances = rng.uniform(0.1, 1.0, size=(12, rank)) @ rng.uniform(0.1, 1.0, size=(rank, 6))
    prototypes, points = rng.normal(size=(12, 6)), rng.normal(size=(5, 6))
    for units in (6 + rank, 6 + rank - 1):
        codebook = mf.Codebook(prototypes=prototypes[:units], relevances=relevances[:units])
        posed = mf.well_posedness(codebook)
        assert posed.relevance_rank == rank
        assert posed.is_exact == (units == 6 + rank)
        if posed.is_exact:
            inverted = mf.invert(codebook, codebook.squared_distances(points))
            bound = 1e4 * EPS * posed.condition
            assert errors(inverted, points).max() <= bound
        else:
            assert f"at least {6 + rank} prototypes are needed" in posed.message


@given(seed=seeds)
def test_with_relevances_of_one_the_system_is_the_centred_one(seed):
    rng = np.random.default_rng(seed)
    prototypes, points = rng.normal(size=(9, 4)) + 3.0, rng.normal(size=(3, 4))
    expected = geometry.centred_system(prototypes)
    found = lifted_system(prototypes, np.ones((9, 4)))
    distances = geometry.squared_distances(points, prototypes)
    np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=100 * EPS)
    np.testing.assert_allclose(found.singular_values, expected.singular_values, rtol=1e-13)
    for one, other in zip(
        found.right_hand_side(distances), expected.right_hand_side(distances), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert found.relevance_rank == expected.relevance_rank == 1
    np.testing.assert_allclose(
        geometry.well_posedness(found).feature_amplification,
        geometry.well_posedness(expected).feature_amplification,
        rtol=1e-12,
    )


@given(seed=seeds)
@settings(max_examples=15)
def test_nearly_shared_relevances_give_the_points_of_shared_ones(seed):
    rng = np.random.default_rng(seed)
    prototypes, points = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    relevances = np.ones((30, 4))
    relevances[3, 2] += 1e-7
    codebook = mf.Codebook(prototypes=prototypes, relevances=relevances)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert errors(inverted, points).max() <= 1e-12


@given(seed=seeds, solver=st.sampled_from(["exact", "ridge", "truncated-svd"]))
@settings(max_examples=15)
def test_order_place_and_unit_of_the_distances_do_not_matter(seed, solver):
    codebook, points, rng = drawn(seed, units=30, dimension=5)
    distances = codebook.squared_distances(points)
    expected = mf.invert(codebook, distances, solver=solver).points
    order, shift, unit = rng.permutation(30), rng.normal(size=5), rng.uniform(0.5, 2.0, size=30)
    moved = mf.Codebook(
        prototypes=(codebook.prototypes + shift)[order], relevances=codebook.relevances[order]
    )
    found = mf.invert(moved, distances[:, order], solver=solver).points
    np.testing.assert_allclose(expected + shift, found, rtol=0, atol=1e-11)
    if solver == "exact":  # others weigh the equations of units by their size
        rescaled = mf.Codebook(
            prototypes=codebook.prototypes, relevances=codebook.relevances * unit[:, np.newaxis]
        )
        found = mf.invert(rescaled, distances * unit).points
        np.testing.assert_allclose(expected, found, rtol=0, atol=1e-11)


class Lstsq:
    def factorise(self, system):
        self.pseudo_inverse = np.linalg.pinv(system.matrix, rcond=1e-12)
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.pseudo_inverse @ rhs)


def test_a_strangers_solver_inverts_without_knowing_of_relevances():
    factory = SolverFactory(name="lstsq", params=NoParams, build=lambda p: Lstsq(), summary="")
    plugin = SimpleNamespace(__name__="strange", musicfw_solvers=hookimpl(lambda: [factory]))
    registry = mf.Registry.from_modules(plugin)
    codebook, points, _ = drawn(3, units=40, dimension=6)
    inverted = mf.invert(
        codebook, codebook.squared_distances(points), solver="lstsq", registry=registry
    )
    assert errors(inverted, points).max() <= 1e-12
    assert (inverted.status == mf.Status.EXACT).all()


def noisy(codebook, points, rng, *, relative=0.0, absolute=0.0):
    distances = codebook.squared_distances(points)
    noise = rng.normal(size=distances.shape)
    return distances + noise * (relative * distances + absolute)


def trained(seed=0):
    """Return a map of clusters in subspaces with floored relevances, some of its data, and rng."""
    rng = np.random.default_rng(seed)
    centres, spread = 3.0 * rng.normal(size=(6, 8)), rng.choice([0.1, 1.0], size=(6, 8))
    own = rng.integers(6, size=800)
    X = centres[own] + spread[own] * rng.normal(size=(800, 8))
    W = mf.train(X, lattice=mf.Lattice(rows=7, columns=7), seed=seed).codebook.prototypes
    own_spread = spread[((W[:, np.newaxis] - centres) ** 2).sum(axis=2).argmin(axis=1)]
    relevances = np.maximum(np.exp(-2.0 * own_spread**2 / (own_spread**2).mean()), 0.05)
    return mf.Codebook(prototypes=W, relevances=relevances), X[:150], rng


@pytest.mark.parametrize("seed", range(3))
def test_relative_noise_costs_no_more_than_with_relevances_of_one(seed):
    codebook, points, rng = trained(seed)
    ones = np.ones(codebook.relevances.shape)
    ones[0, 0] += 1e-12  # or it would be a shared relevance, and not refined
    for plain in (None, ones):
        plain = mf.Codebook(prototypes=codebook.prototypes, relevances=plain)
        expected = errors(mf.invert(plain, noisy(plain, points, rng, relative=1e-3)), points)
        found = errors(mf.invert(codebook, noisy(codebook, points, rng, relative=1e-3)), points)
        assert np.median(found) <= np.median(expected)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_steps_on_the_distances_are_better_than_the_linear_answer(kind):
    codebook, points, rng = trained()
    distances = noisy(codebook, points, rng, **{kind: 1e-3})
    linear = mf.invert(codebook, distances, solver="truncated-svd")
    found = mf.invert(codebook, distances)
    least = {"relative": 3.0, "absolute": 1.0}[kind]
    assert np.median(errors(linear, points)) > least * np.median(errors(found, points))


def test_weights_by_size_are_taken_only_where_the_noise_is_relative():
    codebook, _, rng = drawn(6, units=60, dimension=5)
    near = codebook.prototypes[:50] + 0.01 * rng.normal(size=(50, 5))
    for level in ({"relative": 1e-3}, {"absolute": 1e-5}):
        distances = noisy(codebook, near, rng, **level)
        inverted = mf.invert(codebook, distances)
        misfit = codebook.squared_distances(inverted.points) - distances
        nearest = distances.argmin(axis=1)
        at_nearest = np.abs(misfit[np.arange(50), nearest])
        # Weighted, the distance to the nearest unit is met to its own, tiny, error.
        assert (np.median(at_nearest) < 2e-6) == ("relative" in level)


def test_a_point_does_not_depend_on_the_others_of_its_batch():
    codebook, points, rng = drawn(7, units=30, dimension=5, points=20)
    distances = noisy(codebook, points, rng, relative=1e-3)
    inverter = mf.Inverter(codebook)
    together = inverter(distances).points
    for n in range(20):
        np.testing.assert_allclose(inverter(distances[n]).points[0], together[n], rtol=1e-9)


@pytest.mark.parametrize("units", [11, 13, 16, 19])
def test_with_too_few_units_a_point_is_searched_for_and_the_status_says_so(units):
    codebook, points, _ = drawn(units, units=units, dimension=10, points=50)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert set(inverted.counts()) <= {mf.Status.AMBIGUOUS, mf.Status.INCONSISTENT}
    found = inverted.status == mf.Status.AMBIGUOUS
    assert found.mean() >= 0.9
    assert inverted.residual[found].max() <= 1e-6
    assert np.median(errors(inverted, points)) <= 1e-9
    assert "searched for from several starts" in inverted.well_posedness.message
    with pytest.raises(mf.NumericalError, match=r"AMBIGUOUS|INCONSISTENT"):
        inverted.raise_for_status()


def test_a_feature_that_is_the_same_everywhere_comes_back_exactly():
    codebook, points, _ = drawn(8, units=30, dimension=5)
    prototypes = codebook.prototypes.copy()
    prototypes[:, 2] = points[:, 2] = 7.0
    codebook = mf.Codebook(prototypes=prototypes, relevances=codebook.relevances)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert errors(inverted, points).max() <= 1e-12
    assert (inverted.status == mf.Status.EXACT).all()
    assert inverted.well_posedness.affine_rank == 4
    assert inverted.well_posedness.feature_amplification[2] == np.inf
    # Off that value the distances tell how far, but not on which side.
    points[:, 2] = 7.5
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    np.testing.assert_allclose(np.abs(inverted.points[:, 2] - 7.0), 0.5, rtol=1e-9)
    np.testing.assert_allclose(inverted.points[:, [0, 1, 3, 4]], points[:, [0, 1, 3, 4]], atol=1e-9)
    assert (inverted.status == mf.Status.AMBIGUOUS).all()


def test_a_feature_that_matters_to_no_unit_is_reported():
    codebook, points, _ = drawn(9, units=30, dimension=5)
    relevances = codebook.relevances.copy()
    relevances[:, 4] = 0.0
    codebook = mf.Codebook(prototypes=codebook.prototypes, relevances=relevances)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    np.testing.assert_allclose(inverted.points[:, :4], points[:, :4], rtol=0, atol=1e-12)
    np.testing.assert_allclose(inverted.points[:, 4], codebook.prototypes[:, 4].mean(), rtol=1e-12)
    assert (inverted.status == mf.Status.AMBIGUOUS).all()
    assert inverted.well_posedness.irrelevant == (4,)
    assert inverted.well_posedness.feature_amplification[4] == np.inf
    assert np.isfinite(inverted.well_posedness.feature_amplification[:4]).all()


def test_the_amplification_of_a_feature_is_the_error_of_the_linear_answer():
    codebook, points, rng = drawn(10, units=30, dimension=4, points=1)
    distances = codebook.squared_distances(points)
    many = distances + 1e-6 * rng.normal(size=(4000, 30))
    linear = mf.invert(codebook, many, solver="truncated-svd")
    expected = 1e-6 * np.array(linear.well_posedness.feature_amplification)
    # The standard error of a standard deviation of 4000 is 1.1 %: five of them.
    np.testing.assert_allclose(linear.points.std(axis=0), expected, rtol=0.055)


def test_a_feature_that_matters_little_is_known_less():
    codebook, _, _ = drawn(11, units=60, dimension=4)
    relevances = codebook.relevances.copy()
    relevances[:, 1] *= 1e-3
    before = mf.well_posedness(codebook).feature_amplification
    codebook = mf.Codebook(prototypes=codebook.prototypes, relevances=relevances)
    after = mf.well_posedness(codebook).feature_amplification
    assert after[1] == pytest.approx(1e3 * before[1], rel=0.5)


def test_a_regularised_answer_is_not_refined_and_keeps_its_meaning():
    codebook, points, _ = drawn(12, units=40, dimension=6)
    distances = codebook.squared_distances(points)
    system = lifted_system(codebook.prototypes, codebook.relevances)
    rhs, _ = system.right_hand_side(distances)
    V = system.matrix
    expected = np.linalg.solve(V.T @ V + 0.3 * np.eye(6), V.T @ rhs).T + system.centroid
    found = mf.invert(codebook, distances, solver="ridge", alpha=0.3)
    np.testing.assert_allclose(expected, found.points, rtol=0, atol=1e-12)
    assert (found.status == mf.Status.REGULARISED).all()
    misfit = codebook.squared_distances(found.points) - distances
    relative = np.linalg.norm(misfit, axis=1) / np.linalg.norm(distances, axis=1)
    np.testing.assert_allclose(relative, found.residual, rtol=1e-9)
    none = mf.invert(codebook, distances, solver="ridge", alpha=0.0)
    assert errors(none, points).max() <= 1e-12
    with pytest.raises(mf.UsageError, match="prior: expected 'centroid', got 'winner'"):
        mf.invert(codebook, distances, solver="ridge", prior="winner")


def test_unusable_distances_have_no_point_and_harm_no_other():
    codebook, points, _ = drawn(13, units=30, dimension=5)
    distances = codebook.squared_distances(points)
    distances[2, 3], distances[4, 0], distances[5] = np.nan, -1.0, 1e300
    inverted = mf.invert(codebook, distances)
    assert (inverted.status[[2, 4, 5]] == mf.Status.INVALID_INPUT).all()
    good = [0, 1, 3, 6, 7]
    assert errors(inverted, points)[good].max() <= 1e-12


def test_a_point_on_a_prototype_comes_back():
    codebook, _, rng = drawn(14, units=30, dimension=5)
    distances = codebook.squared_distances(codebook.prototypes)
    inverted = mf.invert(codebook, distances)
    np.testing.assert_allclose(inverted.points, codebook.prototypes, rtol=0, atol=1e-9)
    with_noise = mf.invert(codebook, distances * (1.0 + 1e-3 * rng.normal(size=distances.shape)))
    assert np.isfinite(with_noise.points).all()
    np.testing.assert_allclose(with_noise.points, codebook.prototypes, rtol=0, atol=1e-2)


def test_what_is_known_of_each_feature_is_stored(tmp_path):
    codebook, points, _ = drawn(15, units=9, dimension=5)
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert np.inf in inverted.well_posedness.feature_amplification
    store.save_inversion(tmp_path / "i.npz", inverted)
    assert store.load_inversion(tmp_path / "i.npz").well_posedness == inverted.well_posedness


def test_a_feature_that_is_the_same_far_from_the_origin_counts_as_such():
    codebook, points, _ = drawn(16, units=30, dimension=5)
    prototypes = codebook.prototypes.copy()
    prototypes[:, 2] = points[:, 2] = 7e8 + 0.1  # its mean is rounded to 1e-7
    codebook = mf.Codebook(prototypes=prototypes, relevances=codebook.relevances)
    assert mf.well_posedness(codebook).affine_rank == 4
    inverted = mf.invert(codebook, codebook.squared_distances(points))
    assert (inverted.status == mf.Status.EXACT).all()
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(inverted.points[:, others], points[:, others], rtol=0, atol=1e-10)
