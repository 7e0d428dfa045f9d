"""A relevance shared by all units is a change of axes, for training, inversion and control."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import BackendFactory, NoParams

EPS = float(np.finfo(np.float64).eps)
seeds = st.integers(0, 2**32 - 1)
LATTICE = mf.Lattice(rows=4, columns=5)
WEIGHTS = np.array([4.0, 0.25, 1.0, 9.0])
AXES = np.sqrt(WEIGHTS)


def drawn(seed, units=20):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(units, 4)), rng.normal(size=(6, 4))


def weighted_and_scaled(prototypes, **rest):
    return (
        mf.Codebook(prototypes=prototypes, relevances=WEIGHTS, **rest),
        mf.Codebook(prototypes=prototypes * AXES, **rest),
    )


@given(seed=seeds, by_unit=st.booleans())
@pytest.mark.parametrize(
    ("solver", "params"),
    [("exact", {}), ("ridge", {"alpha": 0.5, "prior": "winner"}), ("truncated-svd", {"rank": 2})],
)
def test_inversion_is_that_of_the_scaled_map(solver, params, seed, by_unit):
    prototypes, points = drawn(seed)
    weighted, scaled = weighted_and_scaled(prototypes)
    if by_unit:
        weighted = mf.Codebook(prototypes=prototypes, relevances=np.tile(WEIGHTS, (20, 1)))
    distances = scaled.squared_distances(points * AXES)
    expected = mf.invert(scaled, distances, solver=solver, **params)
    found = mf.invert(weighted, distances, solver=solver, **params)
    np.testing.assert_array_equal(expected.points / AXES, found.points)
    np.testing.assert_array_equal(expected.status, found.status)
    np.testing.assert_array_equal(expected.residual, found.residual)
    assert found.well_posedness == mf.well_posedness(weighted)
    assert found.well_posedness.condition == expected.well_posedness.condition
    np.testing.assert_allclose(
        np.array(expected.well_posedness.feature_amplification) / AXES,
        found.well_posedness.feature_amplification,
        rtol=1e-12,
    )


@given(seed=seeds)
def test_points_come_back_from_weighted_distances(seed):
    prototypes, points = drawn(seed)
    weighted, _ = weighted_and_scaled(prototypes)
    found = mf.invert(weighted, weighted.squared_distances(points))
    assert (found.status == mf.Status.EXACT).all()
    sigma = 0.5 / found.well_posedness.noise_amplification
    size = np.linalg.norm(points * AXES, axis=1) + np.linalg.norm(prototypes * AXES, axis=1).max()
    bound = 50 * EPS * np.sqrt(20) * size**2 / (2 * sigma) / AXES.min()
    assert (np.linalg.norm(found.points - points, axis=1) <= bound).all()


POLICIES = {
    "music": {},
    "music over all units": {"policy": "music", "scope": "all"},
    "music, all at once": {"policy": "music", "scope": "all", "selection": "all"},
    "straight-line": {"policy": "straight-line"},
    "cluster-mean": {"policy": "cluster-mean"},
}


@pytest.mark.parametrize("params", POLICIES.values(), ids=POLICIES.keys())
@given(seed=seeds)
@settings(max_examples=5)
def test_a_walk_is_that_of_the_scaled_map(params, seed):
    prototypes, points = drawn(seed)
    weighted, scaled = weighted_and_scaled(prototypes, lattice=LATTICE)
    target = mf.Target.units([0, 1, 5])
    bounds = {"frozen": [1], "lower": -6.0, "upper": 6.0} if params == {} else {}
    expected = mf.steer(
        scaled,
        points * AXES,
        target=target,
        **params,
        **(bounds and {"frozen": [1], "lower": -6.0 * AXES, "upper": 6.0 * AXES}),
    )
    found = mf.steer(weighted, points, target=target, **params, **bounds)
    np.testing.assert_array_equal(expected.stop, found.stop)
    np.testing.assert_array_equal(expected.arrival, found.arrival)
    np.testing.assert_array_equal(expected.step_norm, found.step_norm)
    np.testing.assert_allclose(expected.points / AXES, found.points, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(points, found.points[0])


def test_training_with_weights_is_training_on_scaled_axes():
    X = np.random.default_rng(0).normal(size=(300, 4))
    for backend in ("native", "minisom"):
        options = {"lattice": LATTICE, "backend": backend, "seed": 3}
        expected = mf.train(X * AXES, **options).codebook
        trained = mf.train(X, feature_weights=WEIGHTS, **options)
        np.testing.assert_array_equal(expected.prototypes / AXES, trained.codebook.prototypes)
        np.testing.assert_array_equal(WEIGHTS, trained.codebook.relevances)
        np.testing.assert_array_equal(
            expected.best_matching_units(X * AXES), trained.best_matching_units(X)
        )


def test_weights_of_one_change_no_bit():
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    plain = mf.train(X, lattice=LATTICE)
    ones = mf.train(X, lattice=LATTICE, feature_weights=np.ones(4))
    np.testing.assert_array_equal(plain.codebook.prototypes, ones.codebook.prototypes)
    np.testing.assert_array_equal(plain.distance_quantiles, ones.distance_quantiles)


def test_a_feature_of_weight_zero_has_no_say_and_is_not_recovered():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    X[:, 2] *= 100.0
    weights = {"b": 0.0, "c": 2.0}
    names = ["a", "c", "b", "d"]
    trained = mf.train(X, lattice=LATTICE, feature_weights=weights, feature_names=names)
    without = mf.train(
        X[:, [0, 1, 3]], lattice=LATTICE, feature_weights=[1.0, 2.0, 1.0], feature_names=list("acd")
    )
    kept = trained.codebook.prototypes[:, [0, 1, 3]]
    np.testing.assert_allclose(without.codebook.prototypes, kept, rtol=0, atol=1e-9)
    winners = trained.best_matching_units(X)
    for unit in np.unique(winners):
        mean = X[winners == unit, 2].mean()
        assert trained.codebook.prototypes[unit, 2] == pytest.approx(mean, rel=1e-12, abs=1e-12)
    inverted = mf.invert(trained, trained.squared_distances(X[:9]))
    np.testing.assert_allclose(inverted.points[:, [0, 1, 3]], X[:9, [0, 1, 3]], rtol=0, atol=1e-10)
    assert (inverted.status == mf.Status.AMBIGUOUS).all()
    assert inverted.well_posedness.irrelevant == (2,)
    assert not inverted.well_posedness.is_exact
    assert inverted.well_posedness.affine_rank == 3
    told = "; feature 2 matters to no unit, so the distances say nothing about it: all other"
    assert told in inverted.well_posedness.message
    with pytest.raises(mf.NumericalError, match=r"AMBIGUOUS.*some features matter to no unit"):
        inverted.raise_for_status()
    path = mf.steer(trained, X[:9], target=mf.Target.units([0]), policy="music")
    np.testing.assert_array_equal(path.points[-1][:, 2], X[:9, 2])
    assert path.reached.all()


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (2.0, mf.UsageError, "feature_weights: expected 2 numbers, or a mapping"),
        ([1.0, 2.0, 3.0], mf.UsageError, r"feature_weights: expected .* shape \(2,\), got shape"),
        ([1.0, -2.0], mf.UsageError, "feature_weights: expected finite numbers of at least 0"),
        ([0.0, 0.0], mf.UsageError, "and one above 0 at least"),
        ({"depht": 1.0}, mf.UsageError, "feature_weights: .*'depht'; did you mean 'depth'"),
        ([1.0, 0.0], mf.DataError, "X with feature_weights: .*rows is the same"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights, error, message):
    X = np.column_stack([np.ones(9), np.arange(9.0)])
    with pytest.raises(error, match=message):
        mf.train(X, feature_weights=weights, feature_names=["depth", "width"])


def test_a_walk_with_nothing_left_to_change_is_refused():
    codebook = mf.Codebook(prototypes=np.eye(3), relevances=[0.0, 1.0, 0.0])
    with pytest.raises(mf.UsageError, match="frozen: every feature that matters to any unit"):
        mf.steer(codebook, np.ones(3), target=mf.Target.units([0]), frozen=[1])


def test_distances_of_frozen_features_count_their_relevance():
    prototypes, points = drawn(1)
    weighted, scaled = weighted_and_scaled(prototypes)
    wanted = mf.Target.activations(scaled.squared_distances(points[:1] * AXES)[0])
    options = {"target": wanted, "frozen": [0, 3], "policy": "music"}
    expected = mf.steer(scaled, points[1:] * AXES, **options)
    found = mf.steer(weighted, points[1:], **options)
    np.testing.assert_allclose(expected.points / AXES, found.points, rtol=0, atol=1e-12)


def test_several_features_without_a_say_are_told_in_the_plural():
    X = np.random.default_rng(0).normal(size=(100, 12))
    weights = np.r_[1.0, 1.0, np.zeros(10)]
    report = mf.well_posedness(mf.train(X, lattice=LATTICE, feature_weights=weights))
    assert (
        "; features 2, 3, 4, 5, 6, 7, 8, 9, … matter to no unit, so the distances say nothing "
        "about them: all other features are determined uniquely."
    ) in report.message


def test_an_estimator_takes_feature_weights():
    pytest.importorskip("sklearn")
    from musicfw.sklearn import SOM

    X = np.random.default_rng(0).normal(size=(200, 4))
    som = SOM(4, 5, feature_weights=WEIGHTS, random_state=0).fit(X)
    np.testing.assert_array_equal(WEIGHTS, som.map_.codebook.relevances)
    np.testing.assert_allclose(som.inverse_transform(som.transform(X)), X, rtol=0, atol=1e-10)
    streamed = SOM(4, 5, feature_weights=WEIGHTS, random_state=0).partial_fit(X)
    np.testing.assert_array_equal(WEIGHTS, streamed.map_.codebook.relevances)


def test_weights_go_with_missing_values():
    X = np.random.default_rng(0).normal(size=(300, 4))
    X[::7, 1], X[3::11, 3] = np.nan, np.nan
    options = {"lattice": LATTICE, "missing": "keep", "mode": "batch"}
    expected = mf.train(X * AXES, **options).codebook.prototypes
    trained = mf.train(X, feature_weights=WEIGHTS, **options)
    np.testing.assert_array_equal(expected / AXES, trained.codebook.prototypes)
    zero = mf.train(X, feature_weights=[1.0, 1.0, 1.0, 0.0], **options).codebook
    known = ~np.isnan(X[:, 3])
    assert zero.prototypes[:, 3].min() >= X[known, 3].min()
    assert zero.prototypes[:, 3].max() <= X[known, 3].max()


def test_a_backend_with_codes_of_its_own_takes_no_feature_weights():
    factory = BackendFactory(
        name="coding",
        params=NoParams,
        build=lambda params: None,
        summary="",
        traits=frozenset({"embedding"}),
    )
    with pytest.raises(mf.UsageError, match="feature_weights: the backend 'coding' measures in"):
        mf.train(np.eye(3), backend=factory, feature_weights=np.ones(3))
