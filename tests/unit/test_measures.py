"""Measures of paths: laws that follow from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw import measures
from musicfw.errors import UsageError
from musicfw.measures import distance_to_data, frames_at_fractions, path_measures, sharpness
from musicfw.metrics import trajectory_metrics

EPS = np.finfo(np.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = np.array([0.0, 0.1, 0.25, 0.5, 0.77, 1.0])


def a_path(seed, frames=12, dimension=3):
    return np.random.default_rng(seed).standard_normal((frames, dimension))


def length_of(points):
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


# --- frames at fractions -------------------------------------------------------------------------


@given(seed=SEEDS)
def test_fraction_0_is_the_start_and_fraction_1_the_end_bit_for_bit(seed):
    points = a_path(seed)
    found = frames_at_fractions(points, [0.0, 1.0, 0.5])
    assert found[0].tobytes() == points[0].tobytes()
    assert found[1].tobytes() == points[-1].tobytes()


def test_a_tiny_last_step_still_counts_as_the_end():
    points = np.array([[0.0], [1.0], [1.0 + EPS]])
    assert frames_at_fractions(points, [1.0])[0, 0] == 1.0 + EPS


@given(seed=SEEDS)
def test_the_length_up_to_a_fraction_is_that_share_of_the_whole(seed):
    points = a_path(seed)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    for share, frame in zip(FRACTIONS, frames_at_fractions(points, FRACTIONS), strict=True):
        before = points[arc <= share * arc[-1]]
        walked = length_of(np.vstack([before, frame]))
        assert walked == pytest.approx(share * arc[-1], abs=50 * EPS * arc[-1])


@given(seed=SEEDS)
def test_the_two_parts_of_a_path_cut_at_a_fraction_have_the_frames_of_the_whole(seed):
    points = a_path(seed)
    whole = length_of(points)
    cut = frames_at_fractions(points, [0.5])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    first = np.vstack([points[arc < 0.5 * whole], cut])
    second = np.vstack([cut, points[arc > 0.5 * whole]])
    assert length_of(first) + length_of(second) == pytest.approx(whole, rel=50 * EPS)
    wanted = frames_at_fractions(points, [0.25, 0.75])
    tolerance = 50 * EPS * whole
    np.testing.assert_allclose(frames_at_fractions(first, [0.5])[0], wanted[0], atol=tolerance)
    np.testing.assert_allclose(frames_at_fractions(second, [0.5])[0], wanted[1], atol=tolerance)


@given(seed=SEEDS)
def test_lingering_and_finer_steps_along_the_same_line_change_no_frame(seed):
    points = a_path(seed)
    middles = 0.5 * (points[:-1] + points[1:])
    finer = np.empty((2 * points.shape[0] - 1, points.shape[1]))
    finer[::2], finer[1::2] = points, middles
    repeats = 1 + np.random.default_rng(seed).integers(0, 4, size=finer.shape[0])
    lingering = np.repeat(finer, repeats, axis=0)
    np.testing.assert_allclose(
        frames_at_fractions(lingering, FRACTIONS),
        frames_at_fractions(points, FRACTIONS),
        rtol=0,
        atol=100 * EPS * length_of(points),
    )


@given(seed=SEEDS)
def test_the_reversed_path_has_the_frames_in_reverse(seed):
    points = a_path(seed)
    np.testing.assert_allclose(
        frames_at_fractions(points[::-1], 1.0 - FRACTIONS),
        frames_at_fractions(points, FRACTIONS),
        rtol=0,
        atol=100 * EPS * length_of(points),
    )


def test_a_path_that_does_not_move_gives_its_start_every_time():
    points = np.full((4, 2), -0.0)
    found = frames_at_fractions(points, FRACTIONS)
    assert found.tobytes() == np.full((FRACTIONS.size, 2), -0.0).tobytes()


# --- sharpness -----------------------------------------------------------------------------------


def test_an_even_image_and_a_linear_ramp_have_no_sharpness():
    y, x = np.mgrid[0:6.0, 0:5.0]
    images = np.stack([np.full((6, 5), 7.0), 3 * x - 2 * y + 1]).reshape(2, -1)
    assert sharpness(images, (6, 5)).tolist() == [0.0, 0.0]


@given(seed=SEEDS, contrast=st.floats(0.01, 100.0))
def test_sharpness_is_quadratic_in_the_contrast(seed, contrast):
    images = a_path(seed, frames=4, dimension=30)
    expected = contrast**2 * sharpness(images, (6, 5))
    np.testing.assert_allclose(sharpness(contrast * images, (6, 5)), expected, rtol=100 * EPS)


@given(seed=SEEDS)
def test_sharpness_does_not_change_when_the_image_is_moved_brightened_or_mirrored(seed):
    rng = np.random.default_rng(seed)
    image = np.zeros((12, 11))
    image[3:6, 3:6] = rng.standard_normal((3, 3))
    variants = [np.roll(image, (3, 2), axis=(0, 1)), image + 2.0, image[::-1], image[:, ::-1]]
    expected = sharpness(image.reshape(1, -1), (12, 11))[0]
    for variant in variants:
        found = sharpness(variant.reshape(1, -1), (12, 11))[0]
        assert found == pytest.approx(expected, rel=1000 * EPS)


def test_sharpness_is_the_variance_of_the_laplacian_counted_by_hand():
    image = np.zeros((3, 4))
    image[1, 1] = 1.0  # the Laplacian at the two inner pixels is −4 and 1
    assert sharpness(image.reshape(1, -1), (3, 4)).tolist() == [np.var([-4.0, 1.0])]


@pytest.mark.parametrize("shape", [(2, 6), (6, 2)])
def test_sharpness_refuses_an_image_without_an_inner_pixel(shape):
    with pytest.raises(UsageError, match=r"sharpness: expected images of at least 3 × 3 pixels"):
        sharpness(np.zeros((1, 12)), shape)


# --- distance to data ----------------------------------------------------------------------------


def rounding(*matrices):
    """How far a distance of 0 may seem: the root of the rounding of squared norms."""
    size = sum(np.linalg.norm(m - matrices[-1].mean(axis=0), axis=1).max() for m in matrices)
    return np.sqrt((matrices[0].shape[1] + 4) * EPS) * size


@given(seed=SEEDS)
def test_a_row_of_the_data_has_no_distance_to_them(seed):
    data = a_path(seed, frames=30)
    found = distance_to_data(data[[4, 17]], data)
    np.testing.assert_allclose(found, 0.0, atol=rounding(data, data))


@given(seed=SEEDS, neighbours=st.integers(1, 20))
def test_the_distance_to_data_is_the_mean_over_the_nearest_rows(seed, neighbours):
    points, data = a_path(seed, frames=5), a_path(seed + 1, frames=20)
    every = np.linalg.norm(points[:, np.newaxis] - data, axis=2)
    expected = np.sort(every, axis=1)[:, :neighbours].mean(axis=1)
    found = distance_to_data(points, data, neighbours=neighbours)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(points, data))


def test_the_distance_to_data_does_not_depend_on_the_blocks(monkeypatch):
    points, data = a_path(0, frames=50), a_path(1, frames=20)
    expected = distance_to_data(points, data)
    monkeypatch.setattr(measures, "_BLOCK_ELEMENTS", 60)
    np.testing.assert_allclose(distance_to_data(points, data), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("neighbours", [0, 4])
def test_the_distance_to_data_refuses_more_neighbours_than_rows(neighbours):
    with pytest.raises(UsageError, match=rf"neighbours: expected 1 … 3 .*, got {neighbours}"):
        distance_to_data(np.zeros((1, 2)), np.zeros((3, 2)), neighbours=neighbours)


# --- measures of whole paths ---------------------------------------------------------------------

BOOK = mf.Codebook(prototypes=np.random.default_rng(5).standard_normal((12, 4)) * 3.0)
STARTS = np.random.default_rng(6).standard_normal((7, 4))
STEPS = 20


def line(units=(2, 5), starts=STARTS, steps=STEPS):
    target = mf.Target.units(list(units))
    return mf.steer(BOOK, starts, target=target, policy="straight-line", steps=steps)


def made(frames, units=(0,), book=BOOK):
    """A trajectory of one point through the given frames."""
    points = np.asarray(frames, dtype=np.float64)[:, np.newaxis]
    norms = np.linalg.norm(np.diff(points, axis=0), axis=2)
    home = np.isin(book.best_matching_units(points[:, 0]), units)
    reached = mf.StopReason.REACHED if home[-1] else mf.StopReason.STALLED
    return mf.Trajectory(
        points=points,
        stop=np.array([reached]),
        step_norm=norms,
        arrival=np.array([np.flatnonzero(home)[0] if home.any() else -1]),
        target_units=np.array(units),
        codebook=book,
        scaling=mf.Scaling.identity(points.shape[2]),
        policy="made",
        params={},
        elapsed_s=0.0,
    )


def test_a_straight_line_is_as_long_as_its_chord_steady_and_always_falling():
    found = path_measures(line())
    tolerance = 100 * STEPS * EPS
    np.testing.assert_allclose(found["path_over_chord"], 1.0, rtol=tolerance)
    np.testing.assert_allclose(found["longest_step_over_mean"], 1.0, rtol=STEPS * tolerance)
    np.testing.assert_allclose(found["acceleration"], 0.0, atol=(STEPS * tolerance) ** 2)
    assert found["monotone_fall"].tolist() == [1.0] * 7
    assert found["arrived"].tolist() == [1.0] * 7


@given(seed=SEEDS)
def test_no_path_is_shorter_than_its_chord_nor_its_longest_step_than_the_mean(seed):
    found = {k: v[0] for k, v in path_measures(made(a_path(seed, dimension=4))).items()}
    assert found["path_over_chord"] >= 1.0 - 20 * EPS
    assert found["longest_step_over_mean"] >= 1.0 - 20 * EPS
    assert found["acceleration"] > 0.0
    assert 0.0 <= found["monotone_fall"] <= 1.0


@given(seed=SEEDS)
def test_repeating_the_last_frame_changes_only_the_acceleration(seed):
    points = a_path(seed, dimension=4)
    stopped = np.vstack([points, np.repeat(points[-1:], 5, axis=0)])
    expected, found = path_measures(made(points)), path_measures(made(stopped))
    for name in set(expected) - {"acceleration"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=20 * EPS)


def test_the_measures_of_a_path_counted_by_hand():
    book = mf.Codebook(prototypes=[[4.0, 0.0], [0.0, 3.0], [0.0, -6.0]])
    # Three moves: 3 east, 1 back west, 3 east; and one frame of rest.
    found = path_measures(made([[0, 0], [3, 0], [2, 0], [2, 0], [5, 0]], units=(0,), book=book))
    found = {name: values[0] for name, values in found.items()}
    assert found["arrived"] == 1.0
    assert found["path_over_chord"] == 7 / 5
    assert found["longest_step_over_mean"] == pytest.approx(3 / (7 / 3))
    assert found["acceleration"] == pytest.approx((16 + 1 + 9) / (9 + 1 + 9))
    # From 0 to (5, 0) the squared distances 9 and 36 become 34 and 61.
    assert found["preserved_change"] == pytest.approx(np.median([25 / 9, 25 / 36]))
    assert found["monotone_fall"] == pytest.approx(2 / 3)  # 16 → 1 → 4 → 4 → 1


def test_a_point_that_never_moved_has_no_ratios_but_preserves_everything():
    found = {k: v[0] for k, v in path_measures(made([[1, 2, 3, 4.0]] * 3)).items()}
    for name in ("path_over_chord", "longest_step_over_mean", "acceleration", "monotone_fall"):
        assert np.isnan(found[name])
    assert found["preserved_change"] == 0.0


def test_a_closed_path_has_no_chord_to_compare_with():
    found = path_measures(made([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]))
    assert np.isnan(found["path_over_chord"][0])


def test_with_every_unit_in_the_target_nothing_is_left_to_preserve():
    found = path_measures(made(a_path(3, dimension=4), units=tuple(range(12))))
    assert np.isnan(found["preserved_change"]).all()


def test_measures_of_a_path_do_not_depend_on_the_units_of_the_features():
    scaling = mf.Scaling(offset=np.arange(4.0), scale=np.array([2.0, 8.0, 0.5, 4.0]))
    plain = mf.TrainedMap(
        codebook=BOOK, scaling=mf.Scaling.identity(4), backend="", params={}, seed=0
    )
    scaled = mf.TrainedMap(codebook=BOOK, scaling=scaling, backend="", params={}, seed=0)
    units = mf.Target.units([2])
    expected = path_measures(mf.steer(plain, STARTS, target=units, steps=15))
    original = STARTS * scaling.scale + scaling.offset
    found = path_measures(mf.steer(scaled, original, target=units, steps=15))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, err_msg=name)


# --- the numbers of a walk in a run --------------------------------------------------------------


def test_the_metrics_of_a_walk_are_medians_of_the_measures_of_its_paths():
    path = line()
    found, values = trajectory_metrics(path), path_measures(path)
    assert (found["points"], found["reached"], found["stops"]) == (7, 7, {"REACHED": 7})
    assert found["median_arrival"] == np.median(path.arrival)
    assert found["median_path_length"] == np.median(path.step_norm.sum(axis=0))
    for name in set(values) - {"arrived"}:
        assert found[name] == np.median(values[name])
    assert "arrived" not in found


def test_the_metrics_of_a_walk_are_null_where_no_point_has_the_measure():
    found = trajectory_metrics(made([[1, 2, 3, 4.0]] * 3, units=(0,)))
    nothing = ("path_over_chord", "longest_step_over_mean", "acceleration", "monotone_fall")
    assert [found[name] for name in nothing] == [None] * 4
    assert found["preserved_change"] == 0.0


def test_the_metrics_of_a_walk_without_points_are_null():
    found = trajectory_metrics(line(starts=np.empty((0, 4))))
    assert (found["points"], found["reached"], found["stops"]) == (0, 0, {})
    assert {v for k, v in found.items() if k not in ("points", "reached", "stops")} == {None}
