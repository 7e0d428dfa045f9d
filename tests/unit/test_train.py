"""The verb *train*: the host's side of every backend."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse

import musicfw as mf
from musicfw.api import BackendFactory, NoParams, RawMap
from musicfw.som.clusters import BY_POINTS
from musicfw.som.quality import majority_labels

RNG = np.random.default_rng(2)
X = RNG.normal(size=(40, 3))
X[20:, 0] += 20.0
LABELS = np.repeat(["near", "far"], 20)
LATTICE = mf.Lattice(rows=2, columns=3)
FAST = {"epochs": 3}


def seen_by_a_backend(**rest):
    seen = []

    class Backend:
        def fit(self, problem):
            seen.append(problem)
            problem.progress(1, 1)
            return RawMap(prototypes=problem.points[: problem.lattice.units].copy())

    factory = BackendFactory(
        name="seen", params=NoParams, build=lambda params: Backend(), summary=""
    )
    trained = mf.train(X, lattice=LATTICE, backend=factory, **rest)
    return trained, seen[0]


def test_a_map_tells_the_story_of_its_training():
    trained = mf.train(
        X, lattice=LATTICE, seed=5, feature_names=["a", "b", "c"], image_shape=(1, 3), **FAST
    )
    assert trained.codebook.lattice == LATTICE
    assert trained.codebook.prototypes.shape == (6, 3)
    assert (trained.backend, trained.seed) == ("native", 5)
    assert trained.params["epochs"] == 3
    assert len(trained.history["quantization_error"]) == 3
    assert trained.feature_names == ("a", "b", "c")
    assert trained.image_shape == (1, 3)
    assert trained.scaling.is_identity
    assert trained.codebook.labels is None
    assert trained.codebook.clusters is None


@pytest.mark.parametrize("backend", ["native", "minisom"])
def test_the_same_seed_gives_the_same_bytes(backend):
    first, again, other = (
        mf.train(
            X, lattice=LATTICE, backend=backend, seed=seed, initialization="sample", **FAST
        ).codebook.prototypes.tobytes()
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_backend_sees_scaled_points_and_the_map_original_ones(kind):
    trained, problem = seen_by_a_backend(scaling=kind)
    np.testing.assert_allclose(problem.points, trained.scaling.to_map(X), rtol=0, atol=1e-15)
    expected = np.zeros(3)
    found = problem.points.mean(axis=0) if kind == "standard" else problem.points.min(axis=0)
    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-14)
    # The prototypes are the first rows, so these match themselves, in original units.
    assert trained.best_matching_units(X[:6]).tolist() == list(range(6))
    inverted = mf.invert(trained, trained.squared_distances(X))
    np.testing.assert_allclose(inverted.points, X, rtol=0, atol=1e-11)


def test_a_backend_sees_the_points_bit_for_bit_without_scaling():
    _, problem = seen_by_a_backend()
    np.testing.assert_array_equal(X, problem.points)
    assert not problem.points.flags.writeable
    assert X.flags.writeable


def test_every_unit_gets_the_label_of_most_of_its_rows():
    trained = mf.train(X, lattice=LATTICE, labels=LABELS, **FAST)
    winners = trained.best_matching_units(X)
    for unit in np.unique(winners):
        own, counts = np.unique(LABELS[winners == unit], return_counts=True)
        assert trained.codebook.labels[unit] in own[counts == counts.max()]
    assert set(trained.codebook.labels) <= {"near", "far", ""}


def test_labels_go_to_the_units_that_match_in_the_maps_units():
    data = X * [1.0, 1e3, 1e-3]
    trained = mf.train(data, lattice=LATTICE, labels=LABELS, scaling="standard", **FAST)
    winners = trained.best_matching_units(data)
    assert {u for u in range(6) if trained.codebook.labels[u]} == set(winners.tolist())
    for unit in np.unique(winners):
        own, counts = np.unique(LABELS[winners == unit], return_counts=True)
        assert trained.codebook.labels[unit] in own[counts == counts.max()]


def test_labels_that_are_numbers_become_text():
    trained = mf.train(X, lattice=LATTICE, labels=np.repeat([3, 8], 20), **FAST)
    assert set(trained.codebook.labels) <= {"3", "8", ""}


def test_clusters_are_made_on_request():
    trained = mf.train(X, lattice=LATTICE, clusters=2, **FAST)
    assert set(trained.codebook.clusters.tolist()) == {0, 1}


@pytest.mark.parametrize("by", BY_POINTS)
def test_clusters_by_points_are_those_of_the_functions_in_the_maps_units(by):
    options = {"clusters": 2, "cluster_by": by, "scaling": "standard", **FAST}
    trained = mf.train(X, lattice=LATTICE, feature_weights=[1.0, 2.0, 0.5], **options)
    points = trained.scaling.to_map(X)
    expected = BY_POINTS[by](trained.codebook, points, clusters=2)
    np.testing.assert_array_equal(expected, trained.codebook.clusters)


@pytest.mark.parametrize("by", BY_POINTS)
def test_clusters_by_points_need_all_values(by):
    options = {"lattice": LATTICE, "clusters": 2, "cluster_by": by, **FAST}
    gaps = np.where(np.arange(X.size).reshape(X.shape) == 3, np.nan, X)
    with pytest.raises(mf.UsageError, match="'prototypes' with data with missing values, got"):
        mf.train(gaps, missing="keep", **options)
    with pytest.raises(mf.UsageError, match="expected 'prototypes' with sparse data, got"):
        mf.train(scipy.sparse.csr_array(X), **options)


@pytest.mark.parametrize(
    "layout",
    [X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.astype(">f8")],
)
def test_the_layout_of_the_data_does_not_matter(layout):
    expected = mf.train(X, lattice=LATTICE, **FAST).codebook.prototypes
    np.testing.assert_array_equal(
        expected, mf.train(layout, lattice=LATTICE, **FAST).codebook.prototypes
    )


def test_the_data_stay_as_they_were():
    data = X.copy()
    mf.train(data, lattice=LATTICE, scaling="standard", **FAST)
    assert data.tobytes() == X.tobytes()


def test_progress_reaches_the_caller():
    told = []
    mf.train(X, lattice=LATTICE, progress=lambda done, total: told.append((done, total)), **FAST)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:1], "X: expected at least 2 rows to train on, got 1"),
        (np.ones((5, 3)), "X: every one of the 5 rows is the same (constant data)"),
        (X[:, 0], "X: expected a matrix with one row per point"),
        ([[1.0, 2.0], [3.0, np.inf]], "X: row 1, column 1 holds inf"),
        ([[1.0, "two"], [3.0, 4.0]], "X: row 0, column 1 holds 'two', expected a number"),
    ],
)
def test_data_that_no_map_can_be_trained_on_are_refused(data, message):
    with pytest.raises(mf.DataError, match=re.escape(message)):
        mf.train(data, lattice=LATTICE)


def test_the_name_of_a_feature_is_told_with_its_column():
    data = X.copy()
    data[4, 1] = np.nan
    with pytest.raises(mf.DataError, match=r"X: row 4, column 1 \('height'\) holds nan"):
        mf.train(data, lattice=LATTICE, feature_names=["age", "height", "mass"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lattice": (2, 3)}, "lattice: expected a Lattice, got tuple"),
        ({"labels": ["a"]}, "labels: expected shape (40,), one per row of X, got (1,)"),
        ({"seed": -1}, "seed: expected an integer of at least 0, got -1"),
        ({"seed": 1.5}, "seed: expected an integer of at least 0, got 1.5"),
        ({"seed": None}, "seed: expected an integer of at least 0, got None"),
        ({"scaling": "minmxa"}, "scaling: expected 'none', 'standard' or 'minmax', got 'minmxa'"),
        (
            {"backend": "natve"},
            "expected the name of a backend, got 'natve' (did you mean 'native'",
        ),
        ({"epoch": 3}, "native: error[unknown-key] epoch: "),
        ({"epochs": 0}, "native: error[out-of-range] epochs: expected "),
        ({"clusters": 7}, "clusters: expected"),
        (
            {"clusters": 2, "cluster_by": "data"},
            "expected one of 'prototypes', 'points', 'winners', 'neighbours', got 'data'",
        ),
        (
            {"cluster_by": "winners"},
            "cluster_by: 'winners' needs to know how many clusters to make; give clusters",
        ),
    ],
)
def test_a_wrong_call_is_refused(settings, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.train(X, **{"lattice": LATTICE, **settings})


@pytest.mark.parametrize("fault", [OSError("screen gone"), mf.UsageError("stop"), SystemExit(4)])
@pytest.mark.parametrize("backend", ["native", "minisom"])
def test_what_the_callers_progress_raises_is_not_blamed_on_the_backend(backend, fault):
    def progress(done, total):
        raise fault

    X = np.random.default_rng(0).normal(size=(20, 2))
    lattice = mf.Lattice(rows=2, columns=2)
    with pytest.raises(type(fault)) as caught:
        mf.train(X, lattice=lattice, backend=backend, epochs=2, progress=progress)
    assert caught.value is fault
    assert str(fault) in ("screen gone", "stop", "4")


def test_a_refusal_of_a_built_in_backend_says_whose_it_is():
    X = np.random.default_rng(0).normal(size=(20, 2))
    lattice = mf.Lattice(rows=2, columns=2, toroidal=True)
    with pytest.raises(
        mf.UsageError,
        match=r"^backend 'minisom' of plugin musicfw: lattice.toroidal: expected false",
    ):
        mf.train(X, lattice=lattice, backend="minisom")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"feature_names": ["a"]}, r"^feature_names: expected 2 names, got 1$"),
        ({"image_shape": (2, 2)}, r"^image_shape: expected height · width = 2 features, got 2 × 2"),
        ({"image_shape": 2}, r"^image_shape: expected \(height, width\), got 2$"),
    ],
)
def test_names_and_image_shapes_that_do_not_fit_the_data_are_refused(given, message):
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(mf.UsageError, match=message):
        mf.train(X, lattice=mf.Lattice(rows=2, columns=2), **given)


def train_with(relevances):
    class Backend:
        def fit(self, problem):
            prototypes = problem.points[: problem.lattice.units].copy()
            return RawMap(prototypes=prototypes, relevances=relevances)

    factory = BackendFactory(
        name="weighing", params=NoParams, build=lambda p: Backend(), summary=""
    )
    return mf.train(X, lattice=LATTICE, backend=factory, labels=LABELS, clusters=2)


def test_the_relevances_of_a_backend_measure_everything_about_its_map():
    relevances = np.random.default_rng(0).uniform(0.1, 3.0, size=(LATTICE.units, X.shape[1]))
    trained = train_with(relevances)
    codebook = mf.Codebook(prototypes=trained.codebook.prototypes, relevances=relevances)
    np.testing.assert_array_equal(relevances, trained.codebook.relevances)
    np.testing.assert_array_equal(
        majority_labels(codebook, X, LABELS), np.asarray(trained.codebook.labels)
    )
    nearest = np.sqrt(codebook.squared_distances(X).min(axis=1))
    np.testing.assert_allclose(nearest.max(), trained.distance_quantiles[100], rtol=1e-9)


def test_relevances_of_a_backend_that_are_no_metric_are_its_fault():
    with pytest.raises(mf.PluginError, match=r"failed in fit: relevances: expected shape \(3,\)"):
        train_with(np.ones(2))
    with pytest.raises(mf.PluginError, match="relevances: expected finite numbers of at least 0"):
        train_with(-np.ones(X.shape[1]))
