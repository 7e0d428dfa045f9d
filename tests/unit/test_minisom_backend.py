import numpy as np
import pytest
from minisom import MiniSom

from musicfw.api import TrainingProblem
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som.minisom_adapter import MINISOM, MiniSomParams, prototypes_by_unit
from musicfw.som.quality import quantization_error

LATTICE = Lattice(rows=4, columns=5)
POINTS = np.random.default_rng(0).normal(size=(60, 3))
POINTS.flags.writeable = False


def fit(points, lattice, *, seed=0, progress=lambda done, total: None, **params):
    problem = TrainingProblem(
        points=points, lattice=lattice, rng=np.random.default_rng(seed), progress=progress
    )
    return MINISOM.build(MiniSomParams(**params)).fit(problem)


def plain_minisom(lattice, *, seed=0, **options):
    """MiniSom as its own documentation uses it, with the seed that the adapter draws."""
    return MiniSom(
        lattice.columns,
        lattice.rows,
        3,
        topology=lattice.topology,
        random_seed=int(np.random.default_rng(seed).integers(2**32)),
        **options,
    )


# --- the order of the units ----------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("rows", [1, 2, 5, 6])
@pytest.mark.parametrize("columns", [1, 4, 5])
def test_lattice_distances_are_minisoms(topology, rows, columns):
    lattice = Lattice(rows=rows, columns=columns, topology=topology)
    som = MiniSom(columns, rows, 2, topology=topology)
    position = prototypes_by_unit(np.stack(som.get_euclidean_coordinates(), axis=2), lattice)
    difference = position[:, np.newaxis, :] - position[np.newaxis, :, :]
    np.testing.assert_allclose(
        lattice.squared_distances(),
        (difference**2).sum(axis=2),
        rtol=16 * np.finfo(float).eps,
        atol=16 * np.finfo(float).eps,
    )


def test_units_are_numbered_row_by_row():
    weights = np.zeros((5, 4, 2))
    weights[:, :, 0], weights[:, :, 1] = np.indices((5, 4))
    prototypes = prototypes_by_unit(weights, LATTICE)
    np.testing.assert_array_equal([2.0, 1.0], prototypes[LATTICE.unit(1, 2)])


# --- parity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("random_order", [False, True])
@pytest.mark.parametrize("initialization", ["sample", "pca", "random"])
@pytest.mark.parametrize("length", [{"epochs": 3}, {"num_iteration": 100}], ids=str)
def test_online_training_equals_minisom_train_bit_for_bit(
    topology, random_order, initialization, length
):
    lattice = Lattice(rows=4, columns=5, topology=topology)
    trained = fit(
        POINTS, lattice, random_order=random_order, initialization=initialization, **length
    )
    som = plain_minisom(lattice, sigma=2.0, sigma_decay_function="linear_decay_to_one")
    if initialization == "sample":
        som.random_weights_init(POINTS)
    elif initialization == "pca":
        som.pca_weights_init(POINTS)
    som.train(
        POINTS,
        next(iter(length.values())),
        random_order=random_order,
        use_epochs="epochs" in length,
    )
    np.testing.assert_array_equal(
        prototypes_by_unit(som.get_weights(), lattice), trained.prototypes
    )


def test_batch_training_equals_minisom_train_batch_offline_bit_for_bit():
    trained = fit(POINTS, LATTICE, mode="batch", epochs=4)
    som = plain_minisom(
        LATTICE, sigma=2.0, learning_rate=1.0, sigma_decay_function="linear_decay_to_one"
    )
    som.random_weights_init(POINTS)
    som.train_batch_offline(POINTS, 4)
    np.testing.assert_array_equal(
        prototypes_by_unit(som.get_weights(), LATTICE), trained.prototypes
    )


def test_every_option_reaches_minisom():
    options = {
        "sigma": 3.0,
        "learning_rate": 0.3,
        "decay_function": "linear_decay_to_zero",
        "sigma_decay_function": "inverse_decay_to_one",
        "neighborhood_function": "bubble",
    }
    trained = fit(POINTS, LATTICE, epochs=3, random_order=False, initialization="random", **options)
    som = plain_minisom(LATTICE, **options)
    som.train(POINTS, 3, use_epochs=True)
    np.testing.assert_array_equal(
        prototypes_by_unit(som.get_weights(), LATTICE), trained.prototypes
    )


# --- randomness, history, progress ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_the_seed_decides_and_numpys_global_state_is_left_alone(mode):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state that must not change
    first, again, other = (
        fit(POINTS, LATTICE, mode=mode, epochs=2, seed=seed).prototypes for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_the_history_holds_the_error_of_the_prototypes_returned(mode):
    trained = fit(POINTS, LATTICE, mode=mode, epochs=2)
    expected = quantization_error(Codebook(prototypes=trained.prototypes), POINTS)
    assert list(trained.history) == ["quantization_error"]
    np.testing.assert_array_equal([expected], trained.history["quantization_error"])


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_training_lowers_the_quantization_error(mode):
    blobs = np.vstack([POINTS, POINTS + 9.0, POINTS - [9.0, 0.0, 5.0]])
    trained = fit(blobs, LATTICE, mode=mode, initialization="random")
    before = plain_minisom(LATTICE).quantization_error(blobs)
    assert trained.history["quantization_error"][-1] < before / 3


def test_batch_progress_is_reported_after_every_epoch():
    calls = []
    fit(POINTS, LATTICE, mode="batch", epochs=3, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("length", [{"epochs": 5}, {"num_iteration": 7}], ids=str)
def test_online_progress_rises_to_its_total(length):
    calls = []
    fit(POINTS, LATTICE, progress=lambda *call: calls.append(call), **length)
    done = [call[0] for call in calls]
    total = 300 if "epochs" in length else 7
    assert done == sorted(set(done))
    assert calls[-1] == (total, total)
    assert 7 <= len(calls) <= 101


@pytest.mark.parametrize("mode", ["online", "batch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1)])
@pytest.mark.parametrize("dimension", [1, 2])
def test_small_lattices_and_data_train_without_a_warning(mode, shape, dimension):
    lattice = Lattice(rows=shape[0], columns=shape[1], topology="hexagonal")
    trained = fit(POINTS[:9, :dimension], lattice, mode=mode, epochs=2)
    assert trained.prototypes.shape == (lattice.units, dimension)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("borders", ["toroidal", "cylindrical"])
def test_a_torus_and_a_cylinder_are_refused(borders):
    with pytest.raises(UsageError, match=rf"lattice\.{borders}: expected false.* use the backend"):
        fit(POINTS, Lattice(rows=4, columns=4, **{borders: True}))


def test_a_sigma_wider_than_the_lattice_is_refused():
    with pytest.raises(UsageError, match=r"sigma: expected at most 6\.403, .* 4 × 5 .*got 7"):
        fit(POINTS, LATTICE, sigma=7.0)


def test_a_bubble_on_a_hexagonal_lattice_is_refused():
    hexagonal = Lattice(rows=4, columns=4, topology="hexagonal")
    with pytest.raises(UsageError, match=r"expected 'gaussian' on a hexagonal lattice"):
        fit(POINTS, hexagonal, neighborhood_function="bubble")


def test_a_bubble_needs_a_whole_sigma():
    with pytest.raises(UsageError, match=r"sigma: expected a whole number .*got 2\.4; take 2"):
        MiniSomParams(neighborhood_function="bubble", sigma=2.4)


def test_single_updates_are_refused_in_batch_mode():
    with pytest.raises(UsageError, match=r"num_iteration: expected null .*got 5; set epochs"):
        MiniSomParams(mode="batch", num_iteration=5)


@pytest.mark.parametrize(
    ("points", "lattice"), [(POINTS[:, :1], LATTICE), (POINTS, Lattice(rows=1, columns=5))]
)
def test_minisoms_pca_is_refused_where_it_does_not_work(points, lattice):
    with pytest.raises(UsageError, match=r"initialization: expected 'sample' or 'random'"):
        fit(points, lattice, initialization="pca")
