"""The loop around a policy: leaving the manifold, arriving, waypoints, what changed on the way."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import Move, NoParams, PolicyFactory
from musicfw.control.guide import CLOSE

seeds = st.integers(0, 2**32 - 1)
FORMS = [
    {"scope": scope, "selection": selection}
    for scope in ("local", "all")
    for selection in ("nearest", "all")
]
forms = st.sampled_from(FORMS)


def trained_map(prototypes, *, reach=None, scaling=None, names=None, lattice=None):
    """Return a map whose training data lie within ``reach`` of it (99 % quantile)."""
    quantiles = None
    if reach is not None:
        quantiles = np.linspace(0.0, reach, 100)
        quantiles = np.append(quantiles, 10.0 * reach)
    return mf.TrainedMap(
        codebook=mf.Codebook(prototypes=prototypes, lattice=lattice),
        scaling=scaling or mf.Scaling.identity(np.shape(prototypes)[1]),
        backend="",
        params={},
        seed=0,
        feature_names=names,
        distance_quantiles=quantiles,
    )


class Strides:
    """Walks straight on; sees to it that the host's rules are the host's."""

    def __init__(self, stride):
        self.stride = np.asarray(stride)

    def begin(self, problem):
        self.points = problem.points.copy()
        return self

    def advance(self, active):
        self.points[active] += self.stride
        return Move(points=self.points.copy(), settled=np.zeros(active.shape, dtype=bool))


def strides(*stride):
    return PolicyFactory(
        name="strides", params=NoParams, build=lambda params: Strides(stride), summary="Straight."
    )


# --- off the manifold ----------------------------------------------------------------------------


@given(seed=seeds, form=forms, away=st.booleans(), factor=st.sampled_from([0.5, 1.0, 1.5]))
def test_no_frame_is_beyond_the_reach_unless_its_point_started_there(seed, form, away, factor):
    rng = np.random.default_rng(seed)
    trained = trained_map(rng.normal(size=(20, 4)), reach=1.0)
    starts = trained.codebook.prototypes[:8] + 0.7 * rng.normal(size=(8, 4))
    path = mf.steer(
        trained,
        starts,
        target=mf.Target.units([2, 5, 7], away=away),
        off_manifold=factor,
        steps=40,
        **form,
    )
    far = path.distance_to_map()
    rounding = 1e-12
    near = far[0] <= factor
    assert (far[:, near] <= factor + rounding).all()
    # A start that is beyond already may come back, but never goes farther.
    beyond = np.maximum(far[:-1], factor)
    assert (far[1:] <= beyond + rounding).all()
    left = path.stop == mf.StopReason.LEFT_MANIFOLD
    for n in np.flatnonzero(left):
        last = np.flatnonzero(path.step_norm[:, n])
        stopped = 0 if last.size == 0 else last[-1] + 1
        np.testing.assert_array_equal(
            path.points[stopped:, n], np.broadcast_to(path.points[-1, n], (41 - stopped, 4))
        )


def test_a_point_stops_at_the_last_frame_within_the_reach_and_is_told_why():
    trained = trained_map(np.zeros((1, 2)), reach=1.0)
    path = mf.steer(
        trained,
        [[0.0, 0.0], [-5.0, 0.0], [5.0, 0.0]],
        target=mf.Target.units([0]),
        policy=strides(1.0, 0.0),
        off_manifold=2.5,
        steps=9,
    )
    # Goes 0, 1, 2; comes from −5 as far as 2; and is beyond from the start, on the way out.
    assert path.points[-1, :, 0].tolist() == [2.0, 2.0, 5.0]
    assert (path.stop == mf.StopReason.LEFT_MANIFOLD).all()
    assert path.counts() == {mf.StopReason.LEFT_MANIFOLD: 3}
    assert path.step_norm.sum(axis=0).tolist() == [2.0, 7.0, 0.0]
    advice = mf.StopReason.LEFT_MANIFOLD.advice
    assert "farther from every prototype" in advice
    assert "off_manifold" in advice
    assert "Raise preserve_weight or active_units, or allow more" in advice


def test_a_point_that_was_sent_back_has_not_arrived():
    trained = trained_map([[0.0], [3.0]], reach=1.0)
    path = mf.steer(
        trained,
        [[0.0]],
        target=mf.Target.units([1]),
        policy=strides(2.0),
        off_manifold=0.9,
        steps=3,
    )
    assert path.arrival.tolist() == [-1]
    assert path.stop.tolist() == [mf.StopReason.LEFT_MANIFOLD]


def test_the_reach_counts_frozen_features_too():
    trained = trained_map(np.zeros((1, 2)), reach=1.0)
    settings = {"target": mf.Target.units([0]), "policy": strides(0.5), "steps": 9}
    path = mf.steer(trained, [[0.0, 3.0]], frozen=[1], off_manifold=4.0, **settings)
    # √(x² + 3²) ≤ 4 up to x = √7 = 2.64…
    assert path.points[-1, 0].tolist() == [2.5, 3.0]


@pytest.mark.parametrize(
    ("given", "value", "message"),
    [
        ("map", 0.0, "off_manifold: expected a number greater than 0, got 0.0"),
        ("map", -1.0, "off_manifold: expected a number greater than 0, got -1.0"),
        ("map", np.nan, "off_manifold: expected a number greater than 0, got nan"),
        ("codebook", 1.0, "off_manifold: needs a map that knows its training data; give the Train"),
        ("untrained", 1.0, "off_manifold: needs a map that knows its training data; give the Trai"),
    ],
)
def test_off_manifold_needs_a_positive_number_and_a_trained_map(given, value, message):
    maps = {
        "map": trained_map(np.eye(2), reach=1.0),
        "codebook": mf.Codebook(prototypes=np.eye(2)),
        "untrained": trained_map(np.eye(2)),
    }
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.steer(maps[given], [[0.0, 0.0]], target=mf.Target.units([0]), off_manifold=value)


def test_a_map_from_train_knows_how_far_its_data_are():
    data = np.random.default_rng(0).normal(size=(200, 3))
    trained = mf.train(data, lattice=mf.Lattice(rows=3, columns=3), seed=0, epochs=3)
    nearest = np.sqrt(trained.squared_distances(data).min(axis=1))
    np.testing.assert_allclose(
        trained.distance_quantiles, np.quantile(nearest, np.linspace(0, 1, 101)), atol=1e-7
    )


# --- arriving ------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=seeds, form=forms, away=st.booleans(), frozen=st.sampled_from([(), (0, 3)]))
def test_until_arrived_a_point_stops_in_its_first_frame_in_the_target(seed, form, away, frozen):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(20, 5)))
    starts = rng.normal(size=(6, 5))
    units = [2, 5, 7]
    options = {"target": mf.Target.units(units, away=away), "frozen": frozen, "steps": 40, **form}
    path = mf.steer(codebook, starts, until="arrived", **options)
    on = mf.steer(codebook, starts, **options)
    np.testing.assert_array_equal(path.arrival, on.arrival)
    for n, arrival in enumerate(path.arrival):
        winners = codebook.best_matching_units(path.points[:, n])
        inside = np.isin(winners, units) != away
        if arrival < 0:
            assert not inside.any()
            continue
        assert inside.tolist() == [t >= arrival for t in range(41)]
        assert path.stop[n] == mf.StopReason.REACHED
        # Stopping early changes nothing of the way before.
        np.testing.assert_allclose(
            path.points[: arrival + 1, n], on.points[: arrival + 1, n], rtol=0, atol=1e-9
        )
        assert not path.step_norm[arrival:, n].any()


def test_the_frozen_part_of_a_distance_counts_for_the_winner():
    # Without the second feature unit 1 would win from x = 1.5 on; with it not before x = 2.
    codebook = mf.Codebook(prototypes=[[1.0, 0.0], [2.0, 1.0]])
    path = mf.steer(
        codebook,
        [[0.0, 0.0]],
        target=mf.Target.units([1]),
        policy=strides(0.25),
        frozen=[1],
        until="arrived",
        steps=12,
    )
    assert path.arrival.tolist() == [9]  # x = 2.25: 1.25² > 0.25² + 1²
    assert path.points[-1, 0].tolist() == [2.25, 0.0]
    assert path.reached.all()


# --- waypoints and several targets ---------------------------------------------------------------


@settings(max_examples=20)
@given(seed=seeds, form=forms, route=st.sampled_from(["core", "direct"]))
def test_a_path_passes_its_waypoints_in_order(seed, form, route):
    rng = np.random.default_rng(seed)
    # A line of prototypes with side steps, so that no waypoint is on the way of another.
    prototypes = np.column_stack([2.0 * np.arange(8), 3.0 * (np.arange(8) % 2), np.zeros(8)])
    codebook = mf.Codebook(prototypes=prototypes + 0.1 * rng.normal(size=prototypes.shape))
    way = rng.permutation(8)[:4]
    path = mf.steer(
        codebook,
        codebook.prototypes[rng.integers(8, size=3)] + 0.1 * rng.normal(size=(3, 3)),
        target=mf.Target.path(way),
        route=route,
        steps=250,
        **form,
    )
    assert path.reached.all()
    assert path.target_units.tolist() == [way[-1]]
    d = path.squared_distances()
    for n in range(3):
        passed = 0
        for squared in d[:, n]:
            near = squared[way[passed]] <= (CLOSE + 1e-9) * squared.min()
            if near and passed < len(way) - 1:
                passed += 1
        assert passed == len(way) - 1


def test_a_path_may_come_back_to_a_unit():
    codebook = mf.Codebook(prototypes=[[0.0, 0.0], [5.0, 0.0], [5.0, 5.0]])
    path = mf.steer(codebook, [[0.0, 0.1]], target=mf.Target.path([0, 2, 0]), steps=300)
    assert path.reached.all()
    d = path.squared_distances()[:, 0]
    assert (d[:, 2] <= CLOSE * d.min(axis=1)).any()


@settings(max_examples=25)
@given(seed=seeds, selection=st.sampled_from(["all", "nearest"]))
def test_of_several_targets_the_heavier_ends_nearer(seed, selection):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(12, 4)))
    start = rng.normal(size=(1, 4))
    ends = []
    for weight in (0.1, 1.0, 10.0):
        target = mf.Target.several((mf.Target.units([3]), weight), (mf.Target.units([8]), 1.0))
        path = mf.steer(
            codebook,
            start,
            target=target,
            scope="all",
            selection=selection,
            selected_units=2,
            route="direct",
            steps=30,
        )
        ends.append(path.squared_distances([3])[-1, 0, 0])
    assert ends[0] > ends[1] > ends[2]


def test_in_the_local_form_too_the_heavier_of_several_targets_ends_nearer():
    codebook = mf.Codebook(prototypes=[[0.0, 0.0], [4.0, 0.0], [2.0, 1.0]])
    ends = []
    for weight in (0.1, 1.0, 10.0):
        target = mf.Target.several((mf.Target.units([0]), weight), (mf.Target.units([1]), 1.0))
        path = mf.steer(codebook, [[2.0, 3.0]], target=target, selection="all", steps=50)
        ends.append(path.squared_distances([0])[-1, 0, 0])
    assert ends[0] > ends[1] > ends[2]


@settings(max_examples=10)
@given(seed=seeds)
def test_one_target_of_several_is_that_target(seed):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(20, 4)))
    starts = rng.normal(size=(3, 4))
    for form in FORMS:
        for away in (False, True):
            target = mf.Target.units([3, 4], away=away)
            paths = [
                mf.steer(codebook, starts, target=t, steps=8, **form)
                for t in (target, mf.Target.several((target, 1.0)))
            ]
            np.testing.assert_array_equal(paths[0].points, paths[1].points)
            np.testing.assert_array_equal(paths[0].arrival, paths[1].arrival)


@pytest.mark.parametrize("form", FORMS)
def test_one_of_several_targets_may_be_away(form):
    codebook = mf.Codebook(prototypes=[[10.0, 0.0], [0.0, 10.0], [-3.0, -3.0]])
    target = mf.Target.several((mf.Target.units([0]), 1.0), (mf.Target.units([1], away=True), 1.0))
    path = mf.steer(codebook, [[4.0, 5.0]], target=target, until="arrived", steps=60, **form)
    d = path.squared_distances()[:, 0]
    assert path.reached.all()
    assert d[-1, 0] < d[0, 0]
    assert d[-1, 1] > d[0, 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (mf.Target.several(), "Target.several: expected at least one (target, weight), got none"),
        (
            mf.Target.several((mf.Target.path([1, 2]), 1.0)),
            "Target.several: expected targets that mean units, got Target.path",
        ),
        (
            mf.Target.several((mf.Target.several(), 1.0)),
            "Target.several: expected targets that mean units, got Target.several",
        ),
        (
            mf.Target.several((mf.Target.activations([1.0, 1.0]), 1.0)),
            "Target.several: expected targets that mean units, got Target.activations",
        ),
        (
            mf.Target.several((mf.Target.units([0]), 0.0)),
            "Target.several: expected positive weights, got 0.0",
        ),
        (
            mf.Target.several((mf.Target.units([0]), np.inf)),
            "Target.several: expected positive weights, got inf",
        ),
        (
            mf.Target.several((mf.Target.units([0]), 1.0), (mf.Target.units([0, 1]), 1.0)),
            "Target.several: expected each unit in one target only, got unit 0 in several",
        ),
        (mf.Target.path([]), "Target.path: expected at least one unit, got none"),
        (mf.Target.path([0, 2]), "Target.path: expected unit numbers in 0 … 1"),
        (mf.Target.path([0.5]), "Target.path: expected one or more unit numbers"),
    ],
)
def test_combined_targets_that_make_no_sense_are_refused(target, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.steer(mf.Codebook(prototypes=np.eye(2)), [0.0, 0.0], target=target)


def test_combined_targets_say_what_they_are():
    several = mf.Target.several((mf.Target.label("a"), 2.0), (mf.Target.units([1], away=True), 0.5))
    assert str(several) == "2 × label a and 0.5 × away from units [1]"
    assert str(mf.Target.path([3, 1])) == "the path over units [3, 1]"


@given(seed=seeds)
def test_the_straight_line_away_from_activations_mirrors_the_point_that_has_them(seed):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(20, 4)))
    start, other = rng.normal(size=(2, 4))
    target = mf.Target.activations(codebook.squared_distances(other)[0], away=True)
    path = mf.steer(codebook, start, target=target, policy="straight-line", steps=4)
    np.testing.assert_allclose(path.points[-1, 0], 2.0 * start - other, rtol=0, atol=1e-9)


# --- what changed --------------------------------------------------------------------------------


@given(seed=seeds, frame=st.sampled_from([-1, 0, 3]))
def test_changes_are_in_original_units_and_their_shares_add_up_to_one(seed, frame):
    rng = np.random.default_rng(seed)
    scaling = mf.Scaling(offset=rng.normal(size=3), scale=10.0 ** rng.uniform(-3, 3, size=3))
    names = ("a", "b", "c")
    trained = trained_map(rng.normal(size=(9, 3)), scaling=scaling, names=names)
    starts = scaling.to_original(rng.normal(size=(2, 3)))
    path = mf.steer(trained, starts, target=mf.Target.units([4]), frozen=["b"], steps=9)
    for n in range(2):
        changes = path.changes(n, frame=frame)
        assert sorted(c.feature for c in changes) == list(names)
        shares = [c.share for c in changes]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(0.0 if frame == 0 else 1.0, abs=10 * 2.3e-16)
        scaled = scaling.to_map(path.points[frame, n]) - scaling.to_map(starts[n])
        for c in changes:
            k = names.index(c.feature)
            assert (c.start, c.end) == (starts[n, k], path.points[frame, n, k])
            assert c.change == c.end - c.start
            if frame != 0:
                expected = scaled[k] ** 2 / (scaled**2).sum()
                assert c.share == pytest.approx(expected, abs=1e-6)
        assert [c.share for c in changes if c.feature == "b"] == [0.0]


def test_features_without_names_are_numbered():
    path = mf.steer(
        mf.Codebook(prototypes=np.eye(2)), [0.1, 0.2], target=mf.Target.units([1]), steps=3
    )
    assert sorted(c.feature for c in path.changes()) == ["feature 0", "feature 1"]


@given(seed=seeds)
def test_the_distance_to_the_map_is_that_of_the_nearest_prototype(seed):
    rng = np.random.default_rng(seed)
    scaling = mf.Scaling(offset=rng.normal(size=3), scale=rng.uniform(0.1, 10.0, size=3))
    trained = trained_map(rng.normal(size=(9, 3)), scaling=scaling)
    starts = scaling.to_original(rng.normal(size=(4, 3)))
    path = mf.steer(trained, starts, target=mf.Target.units([1, 4]), steps=6)
    assert path.distance_to_map().shape == (7, 4)
    expected = np.sqrt(path.squared_distances().min(axis=2))
    np.testing.assert_allclose(path.distance_to_map(), expected, rtol=0, atol=1e-7)
