import tracemalloc

import numpy as np
import pytest

from musicfw.api import TrainingProblem
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som import musicfw_backends
from musicfw.som.initialization import (
    Overview,
    overview,
    principal_components,
    principal_plane,
    sampled_rows,
)
from musicfw.som.native import NATIVE
from musicfw.som.native_params import NativeParams, radius_schedule
from musicfw.som.neighbourhoods import gaussian_neighbourhood
from musicfw.som.quality import quantization_error
from musicfw.som.statistics import Statistics, statistics, update

EPS = np.finfo(np.float64).eps


def fit(points, lattice, *, seed=0, progress=lambda done, total: None, **params):
    problem = TrainingProblem(
        points=points, lattice=lattice, rng=np.random.default_rng(seed), progress=progress
    )
    return NATIVE.build(NativeParams(**params)).fit(problem)


def plane(points, lattice, seed=0):
    return principal_plane(overview(points, rng=np.random.default_rng(seed)), lattice)


def components(points):
    centre = points.mean(axis=0)
    return principal_components(Overview(centre=centre, spread=points - centre))


def test_the_hook_offers_the_backends():
    assert [factory.name for factory in musicfw_backends()] == ["native", "relevance", "minisom"]


# --- statistics and update -----------------------------------------------------------------------


def test_statistics_add_up_points_by_best_matching_unit():
    found = statistics(np.array([[0.0], [1.0], [9.0]]), np.array([[0.0], [10.0], [50.0]]))
    np.testing.assert_array_equal([[1.0], [9.0], [0.0]], found.sums)
    np.testing.assert_array_equal([2.0, 1.0, 0.0], found.counts)
    assert (found.rows, found.error_sum) == (3, 2.0)
    assert found.quantization_error == 2.0 / 3.0


def test_of_equally_near_units_the_lowest_counts():
    found = statistics(np.array([[0.0]]), np.array([[2.0], [-1.0], [1.0], [-1.0]]))
    np.testing.assert_array_equal([0, 1, 0, 0], found.counts)


def test_float32_statistics_of_small_integers_are_exact():
    rng = np.random.default_rng(0)
    points = rng.integers(-20, 20, (300, 5)).astype(np.float64)
    prototypes = rng.integers(-20, 20, (9, 5)).astype(np.float64)
    expected = statistics(points, prototypes)
    found = statistics(points.astype(np.float32), prototypes)
    np.testing.assert_array_equal(expected.sums, found.sums)
    np.testing.assert_array_equal(expected.counts, found.counts)
    assert found.sums.dtype == np.float64


def test_update_is_the_neighbourhood_weighted_mean():
    collected = Statistics(
        sums=np.array([[6.0], [4.0]]), counts=np.array([2.0, 1.0]), error_sum=0.0, rows=3
    )
    H = np.array([[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(
        [[8.0 / 2.5], [7.0 / 2.0]], update(collected, H, np.zeros((2, 1)))
    )


def test_a_unit_without_any_weight_keeps_its_prototype():
    collected = Statistics(
        sums=np.array([[6.0], [0.0]]), counts=np.array([2.0, 0.0]), error_sum=0.0, rows=2
    )
    prototypes = np.array([[1.0], [7.0]])
    np.testing.assert_array_equal([[3.0], [7.0]], update(collected, np.eye(2), prototypes))
    np.testing.assert_array_equal([[1.0], [7.0]], prototypes)


def test_the_neighbourhood_is_gaussian_without_denormal_weights():
    H = gaussian_neighbourhood(np.array([[0.0, 4.0], [2400.0, 0.0]]), 2.0)
    np.testing.assert_array_equal([[1.0, np.exp(-0.5)], [0.0, 1.0]], H)


def test_far_units_are_no_quotient_of_denormal_numbers():
    # At distance 38 the weight is the least denormal number h: (0.7 h) / h would round to 1.
    trained = fit(
        np.array([[-0.7], [0.7]]),
        Lattice(rows=1, columns=120),
        epochs=1,
        radius_start=0.98484,
        radius_end=0.98484,
    )
    assert np.abs(trained.prototypes).max() == pytest.approx(0.7, rel=4 * EPS)


def test_a_huge_or_tiny_radius_gives_no_warning():
    points = np.random.default_rng(0).normal(size=(30, 2))
    trained = fit(points, Lattice(rows=4, columns=4), radius_start=1e6, radius_end=0.01)
    assert np.isfinite(trained.prototypes).all()


# --- radius --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [3.4, 2.6, 1.8, 1.0]),
        ("exponential", [3.4, 3.4 ** (2 / 3), 3.4 ** (1 / 3), 1.0]),
        ("inverse-time", [3.4, 3.4 / 1.8, 3.4 / 2.6, 1.0]),
    ],
)
def test_the_radius_falls_from_a_share_of_the_larger_side(name, expected):
    lattice = Lattice(rows=8, columns=16)
    radii = radius_schedule(NativeParams(radius_decay=name), lattice, updates=4)
    np.testing.assert_allclose(expected, radii, rtol=8 * EPS)


def test_a_single_update_uses_the_last_radius():
    params = NativeParams(radius_start=5.0, radius_end=2.0)
    np.testing.assert_array_equal(
        [2.0], radius_schedule(params, Lattice(rows=9, columns=9), updates=1)
    )


def test_the_default_radius_never_starts_below_its_end():
    radii = radius_schedule(NativeParams(radius_end=3.0), Lattice(rows=2, columns=2), updates=3)
    np.testing.assert_array_equal([3.0] * 3, radii)


def test_a_growing_radius_is_refused():
    with pytest.raises(UsageError, match=r"radius_start: expected at least radius_end = 2"):
        NativeParams(radius_start=1.0, radius_end=2.0)


# --- initialization ------------------------------------------------------------------------------


def test_the_plane_spans_one_standard_deviation_along_each_component():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200, 4)) * [5.0, 0.1, 2.0, 0.3] + 3.0
    prototypes = plane(points, Lattice(rows=3, columns=5)).reshape(3, 5, 4)
    _, sigma, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    along = (prototypes[0, 4] - prototypes[0, 0]) / 2.0
    across = (prototypes[2, 0] - prototypes[0, 0]) / 2.0
    # The Gram matrix squares the condition, here below 100.
    tolerance = 200 * 4 * EPS * 100**2
    for vector, deviation, axis in zip(
        (along, across), sigma[:2] / np.sqrt(200), axes[:2], strict=True
    ):
        np.testing.assert_allclose(deviation, np.linalg.norm(vector), rtol=tolerance)
        assert abs(vector @ axis) == pytest.approx(deviation, rel=tolerance)
        assert vector[np.abs(vector).argmax()] > 0
    np.testing.assert_allclose(0.0, prototypes[1, 2], atol=tolerance)


def test_the_longer_side_lies_along_the_first_component():
    points = np.random.default_rng(2).normal(size=(100, 2)) * [1.0, 9.0]
    tall = plane(points, Lattice(rows=7, columns=2)).reshape(7, 2, 2)
    wide = plane(points, Lattice(rows=2, columns=7)).reshape(2, 7, 2)
    np.testing.assert_array_equal(wide.transpose(1, 0, 2), tall)


def test_components_of_wide_data_agree_with_those_of_the_same_data_padded():
    points = np.random.default_rng(3).normal(size=(8, 5)) * [9, 5, 1, 1, 1]
    points -= points.mean(axis=0)
    wide = components(np.hstack([points, np.zeros((8, 20))]))
    expected = components(points)
    np.testing.assert_allclose(expected, wide[:, :5], atol=9 * 8 * 25 * EPS * 9**2)
    np.testing.assert_array_equal(0.0, wide[:, 5:])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_data_on_a_line_leave_the_second_component_zero(offset):
    direction = np.array([1.0, -3.0, 2.0])
    points = np.arange(-4.0, 5.0)[:, np.newaxis] * direction + offset
    first, second = components(points)
    deviation = np.sqrt(60.0 / 9.0)
    np.testing.assert_allclose(-deviation * direction, first, rtol=9 * 3 * 10 * EPS)
    np.testing.assert_array_equal(0.0, second)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (3, 4)])
@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("initialization", ["pca", "sample"])
def test_every_shape_of_lattice_and_data_trains(shape, dimension, count, initialization):
    points = np.random.default_rng(4).normal(size=(count, dimension))
    lattice = Lattice(rows=shape[0], columns=shape[1], topology="hexagonal")
    trained = fit(points, lattice, epochs=3, initialization=initialization)
    assert trained.prototypes.shape == (lattice.units, dimension)
    assert np.isfinite(trained.prototypes).all()


def test_a_map_of_one_unit_is_the_mean():
    points = np.random.default_rng(5).normal(size=(50, 3))
    trained = fit(points, Lattice(rows=1, columns=1), epochs=2)
    np.testing.assert_allclose([points.mean(axis=0)], trained.prototypes, atol=50 * 4 * EPS)


def test_components_of_many_rows_come_from_a_subset_that_the_seed_decides():
    points = np.random.default_rng(6).normal(size=(5000, 3)) * [4.0, 2.0, 1.0]
    lattice = Lattice(rows=4, columns=6)
    first = plane(points, lattice, seed=1)
    assert first.tobytes() == plane(points, lattice, seed=1).tobytes()
    assert first.tobytes() != plane(points, lattice, seed=2).tobytes()
    # Five standard errors of a deviation from 1024 rows, and of a direction at this gap.
    whole = components(points)
    assert np.abs(first[-1] - whole.sum(axis=0)).max() < 5 * 2 * 4.0 / np.sqrt(2 * 1024)


def test_sampled_rows_are_distinct_if_there_are_enough():
    points = np.arange(12.0).reshape(12, 1)
    rows = sampled_rows(points, 12, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(points, np.sort(rows, axis=0))


def test_too_few_rows_are_drawn_again():
    rows = sampled_rows(np.array([[1.0], [2.0]]), 9, rng=np.random.default_rng(0))
    assert rows.shape == (9, 1)
    assert set(rows[:, 0]) <= {1.0, 2.0}


# --- the whole -----------------------------------------------------------------------------------


def test_progress_is_reported_after_every_epoch():
    calls = []
    points = np.random.default_rng(7).normal(size=(20, 2))
    fit(
        points,
        Lattice(rows=2, columns=3),
        epochs=3,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_history_ends_with_the_error_of_the_prototypes_returned(dtype):
    points = np.random.default_rng(8).normal(size=(500, 6))
    trained = fit(points, Lattice(rows=4, columns=4), epochs=5, dtype=dtype)
    expected = quantization_error(Codebook(prototypes=trained.prototypes), points)
    assert all(values.shape == (5,) for values in trained.history.values())
    # δd = δ(d²)/2d, with δ(d²) of a dozen roundings of (||x|| + ||w||)² < 100 and d above 0.1.
    tolerance = 12 * float(np.finfo(dtype).eps) * 100 / 0.2
    assert trained.history["quantization_error"][-1] == pytest.approx(expected, abs=tolerance)


def test_the_quantization_error_falls_over_the_epochs():
    rng = np.random.default_rng(9)
    points = np.vstack([rng.normal(size=(100, 4)) + 6 * rng.normal(size=4) for _ in range(5)])
    errors = fit(points, Lattice(rows=6, columns=6)).history["quantization_error"]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("toroidal", [False, True])
def test_a_map_of_a_sheet_or_a_torus_is_ordered(toroidal):
    rng = np.random.default_rng(10)
    angle = rng.random((3000, 2)) * 2 * np.pi
    # A product of circles of unequal size, or a rectangle.
    ring = np.column_stack([1.5 * np.cos(angle[:, 0]), 1.5 * np.sin(angle[:, 0])])
    torus = np.column_stack([ring, np.cos(angle[:, 1]), np.sin(angle[:, 1])])
    points = torus if toroidal else angle * [1.5, 1.0]
    lattice = Lattice(rows=8, columns=12, toroidal=toroidal)
    prototypes = fit(points, lattice).prototypes
    between = np.linalg.norm(prototypes[:, np.newaxis] - prototypes, axis=2)
    adjacent = lattice.touching()
    far = ~adjacent & ~np.eye(lattice.units, dtype=bool)
    assert between[adjacent].mean() < 0.4 * between[far].mean()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_memory_is_bounded_by_the_chunk(dtype):
    points = np.random.default_rng(11).normal(size=(60_000, 30))
    lattice = Lattice(rows=10, columns=10)
    fit(points[:100], lattice, epochs=1)
    tracemalloc.start()
    fit(points, lattice, epochs=2, dtype=dtype, chunk_size=200, initialization="sample")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 1024 rows for the centre, thrice, an order of the rows, the history of 600 updates, twice, a
    # few M×D matrices and chunks; a copy of the data would be 7.2 or 14.4 MB.
    assert peak < 3 * 1024 * 30 * 8 + 60_000 * 8 + 2 * 4 * 600 * 8 + 0.5e6


@pytest.mark.parametrize(
    ("dtype", "size", "hint"), [("float32", 1e25, "or use dtype: float64"), ("float64", 1e200, "")]
)
def test_data_that_overflow_are_refused(dtype, size, hint):
    points = np.random.default_rng(12).normal(size=(20, 2)) * size
    with pytest.raises(UsageError, match=rf"overflow {dtype}; scale the data.*{hint}"):
        fit(points, Lattice(rows=2, columns=2), dtype=dtype, initialization="sample")
