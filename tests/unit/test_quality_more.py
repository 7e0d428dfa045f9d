"""Laws of explained variance, distortion, Kaski and Lagus's measure; conversion to MiniSom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.som.initialization import suggested_lattice
from musicfw.som.quality import distortion, explained_variance, kaski_lagus, quantization_error

EPS = np.finfo(np.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=25, deadline=None)


def random_map(seed, rows=3, columns=4, topology="rectangular"):
    rng = np.random.default_rng(seed)
    lattice = mf.Lattice(rows=rows, columns=columns, topology=topology)
    codebook = mf.Codebook(prototypes=rng.normal(size=(rows * columns, 3)), lattice=lattice)
    return codebook, rng.normal(size=(50, 3))


# --- explained variance --------------------------------------------------------------------------


@FEW
@given(seed=SEEDS)
def test_explained_variance_is_r2_of_the_prototypes_as_a_prediction(seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    codebook, points = random_map(seed)
    predicted = codebook.prototypes[codebook.best_matching_units(points)]
    expected = metrics.r2_score(points, predicted, multioutput="variance_weighted")
    assert explained_variance(codebook, points) == pytest.approx(expected, abs=1e3 * EPS)


def test_one_prototype_at_the_mean_explains_nothing_and_one_per_point_all():
    points = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 11.0]])
    mean = mf.Codebook(prototypes=points.mean(axis=0, keepdims=True))
    assert explained_variance(mean, points) == 0.0
    assert explained_variance(mf.Codebook(prototypes=points), points) == 1.0


def test_equal_points_have_no_variance_to_explain():
    with pytest.raises(UsageError, match="points: expected points that differ"):
        explained_variance(mf.Codebook(prototypes=np.zeros((2, 2))), np.ones((3, 2)))


# --- distortion ----------------------------------------------------------------------------------


@FEW
@given(seed=SEEDS, radius=st.floats(0.2, 4.0))
def test_distortion_agrees_with_a_naive_loop(seed, radius):
    codebook, points = random_map(seed, topology="hexagonal")
    squared_lattice = codebook.lattice.squared_distances()
    expected = 0.0
    for x in points:
        squared = ((x - codebook.prototypes) ** 2).sum(axis=1)
        weights = np.exp(-squared_lattice[squared.argmin()] / (2 * radius**2))
        expected += (weights * squared).sum() / len(points)
    assert distortion(codebook, points, radius=radius) == pytest.approx(expected, rel=1e3 * EPS)


def test_distortion_at_a_vanishing_radius_is_the_mean_squared_error():
    codebook, points = random_map(0)
    expected = codebook.squared_distances(points).min(axis=1).mean()
    assert distortion(codebook, points, radius=0.01) == pytest.approx(expected, rel=100 * EPS)


def test_distortion_refuses_a_radius_that_is_not_positive():
    with pytest.raises(UsageError, match="radius: expected a positive number, got 0"):
        distortion(*random_map(0), radius=0)


# --- Kaski and Lagus -----------------------------------------------------------------------------


def test_kaski_lagus_of_a_hand_made_map():
    # Units at 0, 1, 3 in a row. 0.1: error 0.1, path 0-1 of length 1. 2.9: 0.1, path 3-1 of 2.
    lattice = mf.Lattice(rows=1, columns=3)
    straight = mf.Codebook(prototypes=[[0.0], [1.0], [3.0]], lattice=lattice)
    assert kaski_lagus(straight, [[0.1], [2.9]]) == pytest.approx(0.1 + 1.5, rel=16 * EPS)
    # Folded: the two nearest to 0.1 are the ends 0 and 1, and the path between goes by 3.
    folded = mf.Codebook(prototypes=[[0.0], [3.0], [1.0]], lattice=lattice)
    assert kaski_lagus(folded, [[0.1]]) == pytest.approx(0.1 + 3.0 + 2.0, rel=16 * EPS)


@FEW
@given(seed=SEEDS)
def test_kaski_lagus_is_no_less_than_the_error_and_the_step_between_the_two_units(seed):
    codebook, points = random_map(seed)
    two = np.argsort(codebook.squared_distances(points), axis=1)[:, :2]
    step = np.linalg.norm(
        codebook.prototypes[two[:, 0]] - codebook.prototypes[two[:, 1]], axis=1
    ).mean()
    least = quantization_error(codebook, points) + step
    assert kaski_lagus(codebook, points) >= least * (1 - 100 * EPS)


def test_kaski_lagus_of_one_unit_is_the_quantization_error():
    codebook, points = random_map(0, rows=1, columns=1)
    assert kaski_lagus(codebook, points) == quantization_error(codebook, points)


def test_equal_prototypes_are_no_gap_in_the_map():
    lattice = mf.Lattice(rows=1, columns=3)
    codebook = mf.Codebook(prototypes=[[0.0], [0.0], [1.0]], lattice=lattice)
    assert kaski_lagus(codebook, [[0.0]]) == pytest.approx(0.0, abs=1e-300)


# --- MiniSom, and a lattice from data ------------------------------------------------------------


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_a_codebook_survives_the_way_to_minisom_and_back(topology):
    codebook, points = random_map(1, rows=4, columns=5, topology=topology)
    som = codebook.to_minisom(sigma=1.5, random_seed=0)
    back = mf.Codebook.from_minisom(som)
    np.testing.assert_array_equal(codebook.prototypes, back.prototypes)
    assert back.lattice == codebook.lattice
    assert som.quantization_error(points) == pytest.approx(
        quantization_error(codebook, points), rel=100 * EPS
    )
    # MiniSom sees the same neighbours: distances between cells are those of the lattice.
    cells = [som.winner(w) for w in codebook.prototypes]
    positions = np.array([som.convert_map_to_euclidean(cell) for cell in cells], dtype=float)
    between = ((positions[:, np.newaxis] - positions) ** 2).sum(axis=2)
    np.testing.assert_allclose(codebook.lattice.squared_distances(), between, atol=100 * EPS)


def test_what_minisom_does_not_have_is_refused():
    for borders in ("toroidal", "cylindrical"):
        lattice = mf.Lattice(rows=2, columns=2, **{borders: True})
        with pytest.raises(UsageError, match=f"expected a planar lattice, got a {borders} one"):
            mf.Codebook(prototypes=np.eye(4), lattice=lattice).to_minisom()
    with pytest.raises(UsageError, match="to_minisom: expected a planar lattice, got none"):
        mf.Codebook(prototypes=np.eye(4)).to_minisom()


def test_a_lattice_from_data_has_5_sqrt_n_units_in_the_shape_of_the_data():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(900, 3)) * [6.0, 2.0, 0.5]
    trained = mf.train(points)
    lattice = trained.codebook.lattice
    assert lattice.units == pytest.approx(150, rel=0.05)
    assert lattice.columns / lattice.rows == pytest.approx(3.0, rel=0.25)
    assert lattice == suggested_lattice(points, rng=np.random.default_rng(0))


@pytest.mark.parametrize("points", [np.arange(16.0)[:, None], np.arange(16.0)[:, None] * [1, 2]])
def test_data_on_a_line_get_a_single_row(points):
    assert suggested_lattice(points, rng=np.random.default_rng(0)) == mf.Lattice(rows=1, columns=20)
