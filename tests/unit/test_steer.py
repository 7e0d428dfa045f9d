"""The verb *steer*: one loop for every policy."""

from __future__ import annotations

import re

import numpy as np
import pytest

import musicfw as mf
from musicfw.api import Move, NoParams, PolicyFactory

# A row of prototypes at 0, 1, …, 9 on the first axis: the best matching unit of x is round(x₀).
CODEBOOK = mf.Codebook(
    prototypes=np.column_stack([np.arange(10.0), np.zeros(10)]),
    lattice=mf.Lattice(rows=1, columns=10),
)
STARTS = np.array([[0.2, 0.5], [4.0, 0.0], [6.9, -0.5]])
TARGET = mf.Target.units([7])


class Walk:
    def __init__(self, problem, stride, settles_after):
        self.problem, self.stride, self.left = problem, stride, settles_after
        self.points = problem.points.copy()

    def advance(self, active):
        self.points[active, 0] += self.stride
        self.left -= 1
        return Move(points=self.points.copy(), settled=np.full(active.shape, self.left <= 0))


class Stride:
    def __init__(self, stride, settles_after):
        self.begin = lambda problem: Walk(problem, stride, settles_after)


def stride(length=1.0, settles_after=10**9):
    return PolicyFactory(
        name="stride",
        params=NoParams,
        build=lambda params: Stride(length, settles_after),
        summary="Along the first axis.",
    )


def walk(target=TARGET, policy=None, steps=5, **rest):
    return mf.steer(CODEBOOK, STARTS, target=target, policy=policy or stride(), steps=steps, **rest)


def test_a_trajectory_has_one_frame_more_than_steps_and_starts_at_the_input_bit_for_bit():
    path = walk()
    assert path.points.shape == (6, 3, 2)
    assert path.step_norm.shape == (5, 3)
    assert path.points[0].tobytes() == STARTS.tobytes()
    np.testing.assert_allclose(path.points[5, :, 0], STARTS[:, 0] + 5, rtol=1e-15)
    np.testing.assert_allclose(path.step_norm, 1.0, rtol=1e-14)
    assert path.policy == "stride"
    assert path.target_units.tolist() == [7]
    assert path.elapsed_s > 0.0


def test_arrival_is_the_first_frame_in_the_target_and_reaching_is_ending_there():
    path = walk(steps=7)
    # 0.2 → 7.2 after 7 steps; 4 passes 7 after 3; 6.9 begins there and leaves.
    assert path.arrival.tolist() == [7, 3, 0]
    assert path.stop.tolist() == [mf.StopReason.REACHED] + 2 * [mf.StopReason.STEP_LIMIT]
    assert path.reached.tolist() == [True, False, False]
    assert path.counts() == {mf.StopReason.REACHED: 1, mf.StopReason.STEP_LIMIT: 2}


def test_until_arrived_every_point_stops_in_its_first_frame_in_the_target():
    path = walk(steps=9, until="arrived")
    assert path.arrival.tolist() == [7, 3, 0]
    assert path.reached.all()
    for n, frame in enumerate(path.arrival):
        inside = CODEBOOK.best_matching_units(path.points[:, n]) == 7
        assert inside.tolist() == [t >= frame for t in range(10)]
        np.testing.assert_array_equal(
            path.points[frame:, n], np.broadcast_to(path.points[frame, n], (10 - frame, 2))
        )
        assert (path.step_norm[frame:, n] == 0.0).all()


def test_until_arrived_when_all_are_there_already_nothing_moves():
    path = mf.steer(CODEBOOK, STARTS[2], target=TARGET, policy=stride(), steps=3, until="arrived")
    for frame in path.points:
        np.testing.assert_array_equal(frame, STARTS[2:])
    assert path.reached.all()


def test_away_has_arrived_when_the_best_matching_unit_is_another():
    path = walk(target=mf.Target.units([6, 7], away=True), steps=2)
    assert path.arrival.tolist() == [0, 0, 1]
    assert path.stop.tolist() == [
        mf.StopReason.REACHED,
        mf.StopReason.STEP_LIMIT,
        mf.StopReason.REACHED,
    ]


def test_a_point_that_settles_outside_the_target_has_stalled():
    path = walk(policy=stride(settles_after=3), steps=5)
    assert path.stop.tolist() == [
        mf.StopReason.STALLED,
        mf.StopReason.REACHED,
        mf.StopReason.STALLED,
    ]
    np.testing.assert_array_equal(path.points[3:], np.broadcast_to(path.points[3], (3, 3, 2)))


def test_squared_distances_along_a_path_are_those_of_its_frames():
    path = walk(steps=2)
    every = path.squared_distances()
    assert every.shape == (3, 3, 10)
    for t in range(3):
        np.testing.assert_allclose(
            every[t], CODEBOOK.squared_distances(path.points[t]), rtol=0, atol=1e-12
        )
    np.testing.assert_allclose(path.squared_distances([7, 2]), every[:, :, [7, 2]], atol=1e-12)


def test_the_straight_line_away_doubles_the_distance_to_the_nearest_prototype_of_the_target():
    target = mf.Target.units([3, 7], away=True)
    path = mf.steer(CODEBOOK, STARTS, target=target, policy="straight-line", steps=4)
    nearest = CODEBOOK.prototypes[[3, 3, 7]]
    np.testing.assert_allclose(path.points[-1] - nearest, 2 * (STARTS - nearest), atol=1e-14)


@pytest.mark.parametrize("policy", ["music", "straight-line"])
def test_an_empty_batch_is_a_path_of_no_points(policy):
    path = mf.steer(CODEBOOK, np.empty((0, 2)), target=TARGET, policy=policy, steps=3)
    assert path.points.shape == (4, 0, 2)
    assert path.squared_distances().shape == (4, 0, 10)
    assert path.counts() == {}


@pytest.mark.parametrize("policy", ["music", "straight-line"])
def test_one_point_may_be_given_without_a_batch(policy):
    alone = mf.steer(CODEBOOK, STARTS[0], target=TARGET, policy=policy, steps=3)
    batch = mf.steer(CODEBOOK, STARTS, target=TARGET, policy=policy, steps=3)
    assert alone.points.shape == (4, 1, 2)
    np.testing.assert_allclose(alone.points[:, 0], batch.points[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "layout",
    [STARTS.tolist(), np.asfortranarray(STARTS), np.repeat(STARTS, 2, axis=0)[::2]],
)
def test_the_layout_of_the_points_does_not_matter_and_they_stay_as_they_were(layout):
    before = np.array(layout).tobytes()
    path = mf.steer(CODEBOOK, layout, target=TARGET, policy="music", steps=3)
    expected = mf.steer(CODEBOOK, STARTS, target=TARGET, policy="music", steps=3)
    np.testing.assert_array_equal(expected.points, path.points)
    assert before == np.array(layout).tobytes()
    assert not np.shares_memory(path.points, np.asarray(layout))


def test_points_in_single_precision_start_at_their_own_value():
    starts = STARTS.astype(np.float32)
    path = mf.steer(CODEBOOK, starts, target=TARGET, steps=2)
    np.testing.assert_array_equal(path.points[0], starts.astype(np.float64))


def test_a_map_with_a_scaling_takes_and_gives_original_units():
    scaling = mf.Scaling(offset=[100.0, -1.0], scale=[10.0, 0.1])
    trained = mf.TrainedMap(codebook=CODEBOOK, scaling=scaling, backend="", params={}, seed=0)
    originals = scaling.to_original(STARTS)
    path = mf.steer(trained, originals, target=TARGET, policy=stride(), steps=4)
    plain = mf.steer(CODEBOOK, scaling.to_map(originals), target=TARGET, policy=stride(), steps=4)
    assert path.points[0].tobytes() == originals.tobytes()
    np.testing.assert_allclose(path.points, scaling.to_original(plain.points), rtol=1e-14)
    # The second feature never moved: bit for bit the input.
    for frame in path.points:
        assert frame[:, 1].tobytes() == originals[:, 1].tobytes()
    np.testing.assert_array_equal(path.arrival, plain.arrival)
    np.testing.assert_allclose(path.step_norm, 1.0, rtol=1e-13)
    np.testing.assert_allclose(
        path.squared_distances([7]), plain.squared_distances([7]), rtol=0, atol=1e-12
    )


def test_progress_counts_every_step_once():
    told = []
    walk(steps=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_callback_that_is_interrupted_keeps_the_frames_so_far():
    def progress(done, total):
        if done == 2:
            raise KeyboardInterrupt

    path = walk(progress=progress)
    assert path.points.shape == (3, 3, 2)
    assert (path.stop == mf.StopReason.INTERRUPTED).all()


def test_the_plain_rule_that_runs_away_is_a_stop_reason_and_no_warning():
    path = mf.steer(
        CODEBOOK,
        [[3.2, 0.4], [5.1, 1.0]],
        target=mf.Target.units([3], away=True),
        step_control="fixed",
        damping=1e-12,
        rate=1.0,
        selected_weight=1e3,
        steps=3000,
    )
    assert np.isfinite(path.points).all()
    assert np.isfinite(path.squared_distances()).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": [3]}, "target: expected a Target, such as Target.units([3, 4]), got list"),
        ({"steps": 0}, "steps: expected an integer of at least 1, got 0"),
        ({"steps": 2.0}, "steps: expected an integer of at least 1, got 2.0"),
        ({"steps": True}, "steps: expected an integer of at least 1, got True"),
        ({"until": "done"}, "until: expected 'settled' or 'arrived', got 'done'"),
        ({"policy": "musik"}, "expected the name of a policy, got 'musik' (did you mean 'music'?"),
        ({"policy": "music", "rte": 1.0}, "music: error[unknown-key] rte: "),
        ({"policy": "music", "rate": 2.0}, "music: error[out-of-range] rate: expected "),
        ({"target": mf.Target.units([10])}, "Target.units: expected unit numbers in 0 … 9"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_moves(settings, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.steer(CODEBOOK, STARTS, **{"target": TARGET, "steps": 2, **settings})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0, 2.0, 3.0]], "x: expected 2 columns, got 3"),
        ([[np.nan, 0.0]], "x: row 0, column 0 holds nan"),
        ("here", "x: "),
    ],
)
def test_points_that_are_not_the_maps_are_refused(x, message):
    with pytest.raises(mf.DataError, match=message):
        mf.steer(CODEBOOK, x, target=TARGET, steps=2)


def test_an_array_in_place_of_a_codebook_is_refused():
    with pytest.raises(mf.UsageError, match="codebook: expected a Codebook or a TrainedMap, got"):
        mf.steer(CODEBOOK.prototypes, STARTS, target=TARGET)


def test_as_many_steps_as_numpy_counts_are_as_good():
    assert walk(steps=np.int64(2)).points.shape == (3, 3, 2)
