"""Laws of the modes of the backend `native`, of its neighbourhoods, decays and first prototypes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import TrainingProblem
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som.initialization import distant_rows
from musicfw.som.minisom_adapter import prototypes_by_unit, weights_by_cell
from musicfw.som.native import NATIVE
from musicfw.som.native_params import NativeParams
from musicfw.som.neighbourhoods import GaussianNeighbourhood, gaussian_neighbourhood, neighbourhood
from musicfw.som.quality import quantization_error, topographic_error
from musicfw.som.schedules import decay, minibatch_steps, progressive_steps

EPS = np.finfo(np.float64).eps
FEW = settings(max_examples=25, deadline=None)
MODES = ["minibatch", "batch", "progressive", "online"]


def fit(points, lattice, *, seed=0, initial=None, **params):
    problem = TrainingProblem(
        points=points,
        lattice=lattice,
        rng=np.random.default_rng(seed),
        progress=lambda done, total: None,
        initial=initial,
    )
    return NATIVE.build(NativeParams(**params)).fit(problem)


def blobs(seed, count, dimension=6):
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(8, dimension))
    return centres[rng.integers(8, size=count)] + rng.normal(size=(count, dimension))


def held_out(trained, lattice, points):
    codebook = Codebook(prototypes=trained.prototypes, lattice=lattice)
    return quantization_error(codebook, points), topographic_error(codebook, points)


# --- modes ---------------------------------------------------------------------------------------


@FEW
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 1000))
def test_a_minibatch_that_holds_all_points_is_the_batch_bit_for_bit(seed, count):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    lattice = Lattice(rows=3, columns=4)
    minibatch = fit(points, lattice, seed=seed)
    batch = fit(points, lattice, seed=seed, mode="batch", epochs=24)
    assert minibatch.prototypes.tobytes() == batch.prototypes.tobytes()
    assert {k: v.tobytes() for k, v in minibatch.history.items()} == {
        k: v.tobytes() for k, v in batch.history.items()
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_mode_gives_the_same_bytes_for_the_same_seed_and_keeps_the_data(mode, dtype):
    points = blobs(0, 3000).astype(dtype)
    before = points.tobytes()
    points.flags.writeable = False
    lattice = Lattice(rows=5, columns=6, topology="hexagonal")
    first, again = (fit(points, lattice, mode=mode).prototypes for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.dtype == np.float64
    assert points.tobytes() == before
    assert (first >= points.min(axis=0)).all()
    assert (first <= points.max(axis=0)).all()


@pytest.mark.parametrize("mode", ["minibatch", "progressive"])
def test_the_fast_modes_end_as_well_as_the_batch(mode):
    points, others = blobs(1, 12_000), blobs(1, 13_000)[12_000:]
    lattice = Lattice(rows=10, columns=10)
    expected, _ = held_out(fit(points, lattice, mode="batch"), lattice, others)
    found, error = held_out(fit(points, lattice, mode=mode), lattice, others)
    assert found < 1.02 * expected
    assert error < 0.15


def test_sorted_data_are_no_trap_for_the_minibatch():
    points = blobs(2, 6000)
    ordered = points[np.argsort(points[:, 0])]
    lattice = Lattice(rows=8, columns=8)
    errors = [held_out(fit(data, lattice), lattice, points)[0] for data in (points, ordered)]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


def test_full_epochs_continue_with_the_last_radius():
    points = blobs(3, 4000)
    lattice = Lattice(rows=6, columns=6)
    first = fit(points, lattice)
    expected = fit(
        points, lattice, mode="batch", epochs=2, radius_start=1.0, initial=first.prototypes
    )
    found = fit(points, lattice, full_epochs=2)
    # The centre that is subtracted on the way differs, so rounding does.
    np.testing.assert_allclose(expected.prototypes, found.prototypes, rtol=0, atol=1e4 * EPS * 16)
    np.testing.assert_array_equal([1.0, 1.0], found.history["radius"][-2:])


def test_the_default_number_of_updates_grows_with_the_map_and_stops_at_a_pass():
    params = NativeParams()
    assert params.updates(points=150, units=100) == 24
    assert params.updates(points=60_000, units=400) == 26
    assert params.updates(points=60_000, units=800) == 52
    assert params.updates(points=60_000, units=1600) == 60
    assert NativeParams(epochs=3).updates(points=2500, units=9) == 9
    assert NativeParams(mode="online", epochs=2).updates(points=70, units=9) == 140


def test_minibatch_steps_take_every_point_once_a_pass_and_forget_over_a_growing_window():
    steps = list(minibatch_steps(100, count=24, chunks=10, rng=np.random.default_rng(0)))
    for one_pass in (steps[:10], steps[10:20]):
        rows = np.concatenate([step.rows for step in one_pass])
        np.testing.assert_array_equal(np.arange(100), np.sort(rows))
    assert [step.memory for step in steps[:8]] == [0.0] * 8
    assert [steps[t].memory for t in (15, 23)] == [1 - 8 / 16, 1 - 8 / 24]


def test_growing_steps_take_no_point_twice_and_end_with_a_whole_chunk():
    steps = list(
        minibatch_steps(60_000, count=26, chunks=60, rng=np.random.default_rng(0), growing=True)
    )
    sizes = [step.rows.size for step in steps]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (250, 1000)
    rows = np.concatenate([step.rows for step in steps])
    assert np.unique(rows).size == rows.size == 16_250
    fixed = list(minibatch_steps(60_000, count=26, chunks=60, rng=np.random.default_rng(0)))
    assert [step.memory for step in steps] == [step.memory for step in fixed]


@pytest.mark.parametrize(("points", "count", "chunks"), [(100, 30, 10), (100, 9, 40), (9, 4, 1)])
def test_steps_do_not_grow_where_passes_repeat_or_chunks_are_too_small(points, count, chunks):
    fixed, growing = (
        minibatch_steps(points, count=count, chunks=chunks, rng=np.random.default_rng(0), **options)
        for options in ({}, {"growing": True})
    )
    for step, other in zip(fixed, growing, strict=True):
        np.testing.assert_array_equal(step.rows, other.rows)


def test_only_the_default_number_of_updates_takes_less_than_a_pass():
    X = blobs(0, 2400)
    lattice, few = Lattice(rows=3, columns=3), {"chunk_size": 50}
    grown, whole = (
        fit(X, lattice, **few, **options).history["change"] for options in ({}, {"epochs": 1})
    )
    assert (grown.size, whole.size) == (24, 48)


def test_progressive_steps_grow_from_a_hundredth_to_all_and_each_holds_the_one_before():
    steps = list(progressive_steps(10_000, count=6, rng=np.random.default_rng(0)))
    assert steps[0].rows.size == 100
    assert steps[-1].rows is None
    for before, after in pairwise(steps[:-1]):
        assert np.isin(before.rows, after.rows).all()


def test_online_agrees_with_minisom_number_for_number():
    # The same first prototypes, order, rates and neighbourhood; rounding aside.
    from minisom import MiniSom

    points = blobs(4, 400, dimension=5)
    lattice, count = Lattice(rows=4, columns=6), 400
    order = np.random.default_rng(7).permutation(count)
    initial = points[:24]
    som = MiniSom(
        6, 4, 5, sigma=2.5, learning_rate=0.6,
        decay_function="asymptotic_decay", sigma_decay_function="asymptotic_decay",
    )  # fmt: skip
    som._weights = weights_by_cell(initial, lattice)
    som.train(points[order], count)
    # MiniSom's rates are start / (1 + 2 t / T), t = 0 … T − 1.
    last = 1.0 / (1.0 + 2.0 * (count - 1) / count)
    found = fit(
        points, lattice, seed=7, initial=initial, mode="online", radius_decay="inverse-time",
        radius_start=2.5, radius_end=2.5 * last, learning_rate=0.6, learning_rate_end=0.6 * last,
    )  # fmt: skip
    expected = prototypes_by_unit(som.get_weights(), lattice)
    # Each of 400 updates adds a few roundings, and shrinks those before.
    np.testing.assert_allclose(expected, found.prototypes, rtol=0, atol=4 * count * 20 * EPS)


def test_online_history_has_an_entry_per_pass_and_learning_lowers_the_error():
    trained = fit(blobs(5, 500), Lattice(rows=5, columns=5), mode="online", epochs=4)
    assert {values.shape for values in trained.history.values()} == {(4,)}
    assert trained.history["radius"][-1] == 1.0
    assert np.diff(trained.history["quantization_error"]).max() < 0


def test_a_growing_learning_rate_is_refused():
    with pytest.raises(UsageError, match="learning_rate: expected at least learning_rate_end"):
        NativeParams(learning_rate=0.001)


# --- float32 and given prototypes ----------------------------------------------------------------


def test_float32_data_are_trained_without_a_copy_of_them():
    import tracemalloc

    points = blobs(6, 50_000, dimension=40).astype(np.float32)
    lattice = Lattice(rows=6, columns=6)
    mf.train(points[:2000], lattice=lattice)
    tracemalloc.start()
    trained = mf.train(points, lattice=lattice)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert trained.params["dtype"] is None
    # 1024 rows as float64, thrice, an order of the rows and some chunks; the data hold 8 MB.
    assert peak < 3 * 1024 * 40 * 8 + 50_000 * 8 + 1e6


def test_float32_agrees_with_float64_in_quality():
    points = blobs(7, 4000)
    lattice = Lattice(rows=7, columns=7)
    double, single = (
        held_out(fit(points, lattice, dtype=dtype), lattice, points)[0]
        for dtype in ("float64", "float32")
    )
    assert single == pytest.approx(double, rel=0.01)


def test_given_prototypes_come_in_original_units():
    points = blobs(8, 200) * [1, 10, 100, 1, 1, 1]
    lattice = Lattice(rows=3, columns=3)
    options = {"lattice": lattice, "epochs": 1, "radius_end": 0.01, "scaling": "standard"}
    trained = mf.train(points, initial=points[:9], **options)
    scaled = trained.scaling.to_map(points)
    expected = fit(scaled, lattice, initial=scaled[:9], epochs=1, radius_end=0.01)
    np.testing.assert_array_equal(expected.prototypes, trained.codebook.prototypes)


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_minisom_starts_from_given_prototypes_too(topology):
    points = blobs(9, 60)
    lattice = Lattice(rows=3, columns=4, topology=topology)
    weights = weights_by_cell(points[:12], lattice)
    np.testing.assert_array_equal(points[:12], prototypes_by_unit(weights, lattice))
    trained = mf.train(
        points, lattice=lattice, backend="minisom", initial=points[:12], num_iteration=1,
        learning_rate=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(points[:12], trained.codebook.prototypes, rtol=0, atol=1e-9)


def test_initial_of_the_wrong_size_is_refused():
    with pytest.raises(UsageError, match="initial: expected 4 rows, one prototype per unit"):
        mf.train(blobs(0, 9), lattice=Lattice(rows=2, columns=2), initial=np.zeros((3, 6)))


# --- neighbourhoods, decays, first prototypes ----------------------------------------------------


@FEW
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 7),
    topology=st.sampled_from(["rectangular", "hexagonal"]),
    borders=st.sampled_from([{}, {"cylindrical": True}, {"toroidal": True}]),
    radius=st.floats(0.3, 6.0),
)
def test_smoothing_along_rows_and_columns_is_the_dense_product(
    rows, columns, topology, borders, radius
):
    lattice = Lattice(rows=2 * rows, columns=columns, topology=topology, **borders)
    values = np.random.default_rng(0).normal(size=(lattice.units, 3))
    dense = gaussian_neighbourhood(lattice.squared_distances(), radius)
    separable = GaussianNeighbourhood(lattice, radius)
    tolerance = 8 * lattice.units * EPS * np.abs(values).max()
    for unit_values in (values, values[:, 0]):
        np.testing.assert_allclose(
            dense @ unit_values, separable @ unit_values, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("name", ["cut-gaussian", "bubble", "triangle"])
def test_neighbourhoods_have_their_formula(name):
    lattice = Lattice(rows=1, columns=4)
    row = (neighbourhood(lattice, 2.0, name=name) @ np.eye(4))[0]
    expected = {
        "cut-gaussian": [1.0, np.exp(-1 / 8), np.exp(-4 / 8), 0.0],
        "bubble": [1.0, 1.0, 1.0, 0.0],
        "triangle": [1.0, 0.5, 0.0, 0.0],
    }
    np.testing.assert_allclose(expected[name], row, rtol=EPS)


@pytest.mark.parametrize("name", ["gaussian", "cut-gaussian", "bubble", "triangle"])
@pytest.mark.parametrize("mode", ["minibatch", "online"])
def test_every_neighbourhood_orders_a_sheet(name, mode):
    points = np.random.default_rng(1).random((3000, 2)) * [3.0, 2.0]
    lattice = Lattice(rows=6, columns=9)
    trained = fit(points, lattice, neighborhood=name, mode=mode, radius_end=1.5)
    _, error = held_out(trained, lattice, points)
    assert error < 0.1


@pytest.mark.parametrize("name", ["linear", "exponential", "inverse-time"])
def test_decays_fall_from_start_to_end(name):
    values = decay(5.0, 0.5, steps=7, name=name)
    assert (values[0], values[-1]) == pytest.approx((5.0, 0.5), rel=4 * EPS)
    assert (np.diff(values) < 0).all()
    np.testing.assert_array_equal([0.5], decay(5.0, 0.5, steps=1, name=name))


def test_distant_rows_leave_no_cluster_without_a_prototype():
    rng = np.random.default_rng(2)
    points = np.repeat(np.eye(9) * 1e3, 40, axis=0) + rng.normal(size=(360, 9))
    chosen = distant_rows(points, 9, rng=rng)
    assert sorted(chosen.argmax(axis=1)) == list(range(9))


def test_distant_rows_of_too_few_different_points_are_drawn_again():
    chosen = distant_rows(np.repeat([[1.0], [2.0]], 5, axis=0), 4, rng=np.random.default_rng(0))
    assert set(chosen.ravel()) == {1.0, 2.0}
