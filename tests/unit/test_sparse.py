"""Sparse matrices: the same map, units and measures as from the dense array, in less memory."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw import geometry
from musicfw.api import BackendFactory, NoParams
from musicfw.errors import DataError, UsageError
from musicfw.scaling import fit_scaling
from musicfw.som import quality
from musicfw.som.sparse_points import SparseSearch
from musicfw.som.statistics import statistics

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=4, columns=5, topology="hexagonal")
SEEDS = st.integers(0, 2**32 - 1)
FORMATS = ["csr_array", "csr_matrix", "csc_array", "coo_matrix", "lil_array"]


def documents(seed=0, rows=400, features=30, density=0.15):
    """Return rows with few nonzeros, of four topics, and their topics."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(4, size=rows)
    chances = density * rng.gamma(0.5, 2.0, size=(4, features))
    present = rng.random((rows, features)) < chances[topics]
    return np.where(present, rng.gamma(2.0, 1.0, size=(rows, features)), 0.0), topics


def rounding(points):
    """How far prototypes may differ for equal best matching units: as for chunks of a batch."""
    return 4 * (points.shape[0] + LATTICE.units) * EPS * np.abs(points).max()


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["minibatch", "batch", "progressive", "online"])
@pytest.mark.parametrize("scaling", ["none", "standard", "minmax"])
def test_a_sparse_matrix_trains_the_map_of_its_dense_array(mode, scaling):
    X, topics = documents()
    options = {"lattice": LATTICE, "scaling": scaling, "labels": topics}
    options |= {"mode": mode, "epochs": 1 if mode == "online" else 12}
    expected = mf.train(X, **options)
    found = mf.train(scipy.sparse.csr_array(X), **options)
    # The order of sums differs; where a winner changes by it, so do the updates after: not here.
    # Kohonen's rule adds the roundings of all 400 updates; the scale 1/s may be a hundred.
    bound = rounding(expected.scaling.to_map(X)) * (100 if mode == "online" else 1)
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=bound
    )
    np.testing.assert_allclose(expected.scaling.offset, found.scaling.offset, rtol=1e3 * EPS)
    np.testing.assert_allclose(expected.scaling.scale, found.scaling.scale, rtol=1e3 * EPS)
    np.testing.assert_array_equal(expected.codebook.labels, found.codebook.labels)
    np.testing.assert_allclose(
        expected.history["quantization_error"], found.history["quantization_error"], rtol=1e-9
    )
    np.testing.assert_allclose(
        expected.distance_quantiles, found.distance_quantiles, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("scaling", ["none", "standard", "minmax"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_feature_weights_of_a_sparse_matrix_are_those_of_its_dense_array(scaling, dtype):
    X, topics = documents()
    weights = np.random.default_rng(1).integers(0, 4, 30).astype(float)  # some of them 0
    options = {"lattice": LATTICE, "scaling": scaling, "labels": topics, "mode": "batch"}
    options |= {"feature_weights": weights, "epochs": 5}
    expected = mf.train(X.astype(dtype), **options)
    sparse = scipy.sparse.csr_array(X.astype(dtype))
    found = mf.train(sparse, **options)
    kept = np.dtype(dtype) if scaling == "none" else np.dtype(np.float64)
    bound = 2 * rounding(expected.scaling.to_map(X)) * float(np.finfo(kept).eps) / EPS
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=bound
    )
    np.testing.assert_array_equal(weights, found.codebook.relevances)
    np.testing.assert_array_equal(expected.codebook.labels, found.codebook.labels)
    np.testing.assert_array_equal(
        found.best_matching_units(X), found.best_matching_units(scipy.sparse.csr_array(X))
    )
    np.testing.assert_array_equal(X.astype(dtype), sparse.toarray())  # left alone


def test_a_feature_of_weight_nothing_holds_the_mean_of_each_units_rows():
    X, _ = documents()
    weights = np.where(np.arange(30) == 4, 0.0, 1.0)
    trained = mf.train(scipy.sparse.csr_array(X), lattice=LATTICE, feature_weights=weights)
    winners = trained.best_matching_units(X)
    for unit in np.unique(winners):
        expected = X[winners == unit, 4].mean()
        found = trained.codebook.prototypes[unit, 4]
        assert found == pytest.approx(expected, abs=len(X) * EPS * X.max())


def test_weights_of_sparse_columns_are_their_scale():
    X, _ = documents()
    factors = np.random.default_rng(2).integers(1, 4, 30).astype(float)
    first = X[:20]
    options = {"lattice": LATTICE, "mode": "batch", "epochs": 3}
    scaled = scipy.sparse.csr_array(X * factors)
    expected = mf.train(scaled, initial=first * factors, **options).codebook.prototypes
    found = mf.train(
        scipy.sparse.csr_array(X), feature_weights=factors**2, initial=first, **options
    )
    # The roots of squares of small integers are exact.
    np.testing.assert_array_equal(expected / factors, found.codebook.prototypes)


def test_sparse_rows_are_searched_plainly_whatever_was_asked_and_the_log_says_so(caplog):
    X = scipy.sparse.csr_array(documents()[0])
    expected = mf.train(X, lattice=LATTICE).codebook.prototypes
    with caplog.at_level("INFO", logger="musicfw"):
        found = mf.train(X, lattice=LATTICE, search="compiled").codebook.prototypes
    np.testing.assert_array_equal(expected, found)
    assert "'plain' instead of 'compiled' for sparse data" in caplog.text


def test_early_stopping_judges_sparse_rows_held_out():
    X, _ = documents()
    options = {"lattice": LATTICE, "mode": "batch", "validation_share": 0.3, "patience": 2}
    expected = mf.train(X, **options)
    found = mf.train(scipy.sparse.csr_array(X), **options)
    assert expected.history.keys() == found.history.keys()
    for name, values in expected.history.items():
        np.testing.assert_allclose(values, found.history[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_bits(name):
    X, _ = documents()
    expected = mf.train(scipy.sparse.csr_array(X), lattice=LATTICE).codebook.prototypes
    found = mf.train(getattr(scipy.sparse, name)(X), lattice=LATTICE).codebook.prototypes
    assert expected.tobytes() == found.tobytes()


def test_entries_that_stand_twice_add_up_and_the_input_is_left_alone():
    rows, columns, values = [0, 0, 1, 2], [1, 1, 0, 2], [1.0, 2.0, 5.0, 7.0]
    twice = scipy.sparse.csr_array((values, columns, [0, 2, 3, 4]), shape=(3, 3))
    once = scipy.sparse.coo_array((values, (rows, columns)), shape=(3, 3)).toarray()
    trained = mf.train(once, lattice=LATTICE)
    found = trained.squared_distances(twice)
    np.testing.assert_allclose(trained.squared_distances(once), found, rtol=0, atol=1e-12)
    assert twice.nnz == 4


def test_a_backend_cannot_write_into_the_callers_matrix():
    class Writes:
        def fit(self, problem):
            problem.points.data[:] = 0.0

    X = scipy.sparse.csr_array(documents()[0])
    before = X.toarray()
    factory = BackendFactory(
        name="writes",
        params=NoParams,
        build=lambda params: Writes(),
        summary="Writes.",
        traits=frozenset({"sparse"}),
    )
    with pytest.raises(mf.PluginError, match="read-only"):
        mf.train(X, lattice=LATTICE, backend=factory)
    np.testing.assert_array_equal(before, X.toarray())


@pytest.mark.parametrize("initialization", ["pca", "sample", "k-means++"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_first_prototypes_and_precision_are_those_of_dense_data(initialization, dtype):
    X, _ = documents()
    options = {"lattice": LATTICE, "mode": "batch", "initialization": initialization}
    options["radius_decay"] = [1.25, 1.1, 1.0]
    expected = mf.train(X.astype(dtype), **options)
    found = mf.train(scipy.sparse.csr_array(X.astype(dtype)), **options)
    scale = np.finfo(dtype).eps / EPS
    np.testing.assert_allclose(
        expected.codebook.prototypes,
        found.codebook.prototypes,
        rtol=0,
        atol=scale * rounding(X),
    )


def test_prototypes_that_are_given_are_in_original_units():
    X, _ = documents()
    initial = X[:20]
    options = {"lattice": LATTICE, "scaling": "standard", "mode": "batch", "epochs": 1}
    expected = mf.train(X, initial=initial, **options).codebook.prototypes
    found = mf.train(scipy.sparse.csr_array(X), initial=initial, **options).codebook.prototypes
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e3 * rounding(X))


def test_weighted_sparse_rows_count_as_repeated_ones():
    X, _ = documents()
    times = np.random.default_rng(0).integers(0, 4, len(X))
    options = {"lattice": LATTICE, "mode": "batch", "epochs": 5}
    expected = mf.train(np.repeat(X, times, axis=0), initial=X[:20], **options)
    found = mf.train(scipy.sparse.csr_array(X), initial=X[:20], weights=times, **options)
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=2 * rounding(X)
    )


def test_a_sparse_training_goes_on_from_its_checkpoint_number_for_number(tmp_path):
    X, file = scipy.sparse.csr_array(documents(rows=3000)[0]), tmp_path / "state.npz"
    options = {"lattice": LATTICE, "chunk_size": 500, "checkpoint_every_s": 0}

    def stop(done, total):
        if done == 20:
            raise RuntimeError

    whole = mf.train(X, **options)
    with pytest.raises(RuntimeError):
        mf.train(X, checkpoint=file, progress=stop, **options)
    with pytest.raises(UsageError, match="belongs to a training with other data"):
        mf.train(X * 2.0, checkpoint=file, **options)
    again = mf.train(X, checkpoint=file, **options)
    assert whole.codebook.prototypes.tobytes() == again.codebook.prototypes.tobytes()


def test_a_stream_of_sparse_chunks_is_that_of_dense_ones_bit_for_bit():
    X, _ = documents(rows=700)
    whole = mf.train_stream([X], lattice=LATTICE, chunk_size=64)
    sparse = scipy.sparse.csr_matrix(X)
    parts = [sparse[:3], sparse[3:300], X[300:310], sparse[310:]]
    found = mf.train_stream(parts, lattice=LATTICE, chunk_size=64)
    assert whole.codebook.prototypes.tobytes() == found.codebook.prototypes.tobytes()


def test_nothing_as_large_as_the_dense_data_is_ever_made():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((20_000, 2000), density=0.005, format="csr", rng=rng)
    lattice = mf.Lattice(rows=5, columns=5)
    mf.train(X[:2000], lattice=lattice)  # imports
    tracemalloc.start()
    trained = mf.train(X, lattice=lattice, scaling="standard", labels=np.arange(20_000) % 3)
    trained.best_matching_units(X)
    quality.quantization_error(trained.codebook, X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Dense: 320 MB. The overview's 1024 rows and their offsets: 33 MB, and blocks of 8 MB.
    assert peak < 100e6


# --- statistics, distances, units, measures ------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_statistics_of_sparse_points_are_those_of_dense_ones(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-9, 9, (40, 6)) * (rng.random((40, 6)) < 0.4).astype(float)
    W = rng.integers(-9, 9, (7, 6)).astype(float)
    weights = rng.integers(0, 3, 40).astype(float)
    expected = statistics(X, W, weights=weights)
    csr = scipy.sparse.csr_array(X)
    found = statistics(csr, W, weights=weights, search=SparseSearch(W, np.float64))
    np.testing.assert_array_equal(expected.sums, found.sums)
    np.testing.assert_array_equal(expected.counts, found.counts)
    assert expected.error_sum == found.error_sum


@pytest.mark.parametrize("relevances", [None, "shared", "per unit"])
def test_distances_of_sparse_points_are_those_of_dense_ones(relevances):
    rng = np.random.default_rng(1)
    X, _ = documents(1)
    W = X[:9] + rng.random((9, 30))
    shape = {"shared": 30, "per unit": (9, 30)}
    R = None if relevances is None else rng.random(shape[relevances])
    csr = scipy.sparse.csr_array(X)
    # Three sums over D products of the squares' size, on both sides.
    bound = 6 * 30 * EPS * (np.abs(X).max() ** 2 + np.abs(W).max() ** 2) * 30
    for function in (geometry.squared_distances, geometry.nearest_squared_distances):
        np.testing.assert_allclose(function(X, W, R), function(csr, W, R), rtol=0, atol=bound)
    np.testing.assert_array_equal(
        geometry.best_matching_units(X, W, R), geometry.best_matching_units(csr, W, R)
    )
    book = mf.Codebook(prototypes=W, relevances=R)
    np.testing.assert_array_equal(
        book.squared_distances(csr), geometry.squared_distances(csr, W, R)
    )


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_a_map_takes_sparse_points_in_original_units(scaling):
    X, _ = documents(2)
    trained = mf.train(X, lattice=LATTICE, scaling=scaling)
    csr = scipy.sparse.csr_array(X)
    size = np.abs(trained.encode(X)).max() ** 2 * 30
    np.testing.assert_allclose(
        trained.squared_distances(X), trained.squared_distances(csr), rtol=0, atol=200 * EPS * size
    )
    np.testing.assert_array_equal(trained.best_matching_units(X), trained.best_matching_units(csr))
    np.testing.assert_array_equal(trained.encode(X), trained.encode(csr))
    one = mf.steer(trained, X[:2], target=mf.Target.units([3]), steps=2).points
    two = mf.steer(trained, csr[:2], target=mf.Target.units([3]), steps=2).points
    np.testing.assert_array_equal(one, two)


def test_measures_of_sparse_points_are_those_of_dense_ones():
    X, topics = documents(3)
    csr = scipy.sparse.csr_array(X)
    book = mf.train(X, lattice=LATTICE).codebook
    for measure in (
        quality.quantization_error,
        quality.topographic_error,
        quality.explained_variance,
        quality.kaski_lagus,
        lambda book, points: quality.distortion(book, points, radius=1.0),
        quality.hit_counts,
        quality.dead_units,
    ):
        np.testing.assert_allclose(measure(book, X), measure(book, csr), rtol=1e-9)
    np.testing.assert_array_equal(
        quality.majority_labels(book, X, topics), quality.majority_labels(book, csr, topics)
    )


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["none", "standard", "minmax"]))
def test_the_scaling_of_a_sparse_matrix_is_that_of_its_dense_array(seed, kind):
    X, _ = documents(seed, rows=50)
    expected, found = fit_scaling(X, kind), fit_scaling(scipy.sparse.csc_matrix(X), kind)
    # Sums over 50 rows, squared and rooted.
    np.testing.assert_allclose(expected.offset, found.offset, rtol=100 * EPS)
    np.testing.assert_allclose(expected.scale, found.scale, rtol=500 * EPS)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "minisom"}, "X: the backend 'minisom' takes no sparse data; use the backend"),
        ({"scaling": "robust"}, "scaling: expected 'none', 'standard' or 'minmax', got 'robust'"),
    ],
)
def test_what_does_not_work_on_sparse_data_is_refused(options, message):
    X = scipy.sparse.csr_array(documents()[0])
    with pytest.raises(UsageError, match=message):
        mf.train(X, lattice=LATTICE, **options)


def test_values_that_are_not_finite_are_named():
    X = scipy.sparse.lil_array(documents()[0])
    X[7, 3] = np.nan
    for missing in ("refuse", "keep"):
        with pytest.raises(DataError, match=r"X: row 7, column 3 holds nan, .*in dense data only"):
            mf.train(X, lattice=LATTICE, missing=missing)
    with pytest.raises(DataError, match=r"X: row 7, column 3 \('f3'\) holds nan"):
        mf.train(X, lattice=LATTICE, feature_names=[f"f{k}" for k in range(30)])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            scipy.sparse.csr_array(np.eye(3) * 1j),
            "X: expected real numbers, got a sparse matrix of",
        ),
        (scipy.sparse.csr_array(np.ones((4, 2))), "every one of the 4 rows is the same"),
        (scipy.sparse.csr_array((1, 3)), "expected at least 2 rows"),
        (scipy.sparse.csr_array((3, 0)), r"expected a matrix with columns, got shape \(3, 0\)"),
    ],
)
def test_a_sparse_matrix_that_no_map_can_be_trained_on_is_refused(X, message):
    with pytest.raises(DataError, match=message):
        mf.train(X, lattice=LATTICE)


def test_other_columns_and_places_for_dense_arrays_only_are_refused():
    X, _ = documents()
    trained = mf.train(X, lattice=LATTICE)
    narrow = scipy.sparse.csr_array(X[:, :4])
    with pytest.raises(DataError, match="points: expected 30 columns, got 4"):
        trained.squared_distances(narrow)
    with pytest.raises(DataError, match=r"points: expected a dense array, .*give its toarray"):
        mf.Dataset(points=narrow)
