"""The distances that a map keeps the percentiles of."""

import sys

import numpy as np
import pytest
import scipy.sparse

import musicfw as mf
from musicfw.geometry import nearest_squared_distances

LATTICE = mf.Lattice(rows=5, columns=6)


def points(count=900, dimension=60):
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(7, dimension))
    return 5.0 + groups[rng.integers(0, 7, count)] + 0.1 * rng.normal(size=(count, dimension))


def percentiles(trained, X):
    nearest = nearest_squared_distances(trained.scaling.to_map(X), trained.codebook.prototypes)
    return np.quantile(np.sqrt(nearest), np.linspace(0.0, 1.0, 101))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("search", ["plain", "compiled"])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "batch", "chunk_size": 70},
        {"mode": "minibatch"},  # all points at once
        {"mode": "minibatch", "chunk_size": 200},  # too few at hand
        {"mode": "progressive"},
        {"mode": "batch", "scaling": "standard"},
        {"mode": "batch", "validation_share": 0.2},
    ],
    ids=str,
)
def test_percentiles_are_those_of_all_points_if_these_are_few(options, search, dtype):
    if search == "compiled":
        pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    X = points()
    trained = mf.train(X.astype(dtype), lattice=LATTICE, search=search, **options)
    # Roots of squares that round to a few eps of |x|² < 4000, at distances above 0.3.
    atol = 10 * np.finfo(dtype).eps * 4000 / 0.6
    np.testing.assert_allclose(percentiles(trained, X), trained.distance_quantiles, atol=atol)


@pytest.mark.parametrize("mode", ["batch", "minibatch"])
def test_percentiles_of_many_points_are_those_of_a_fair_sample(mode):
    X = points(30_000, 5)
    trained = mf.train(X, lattice=LATTICE, mode=mode, epochs=2)
    below = np.searchsorted(np.sort(percentiles(trained, X)), trained.distance_quantiles[1:100])
    # Shares of 1000 points are off by √(p (1 − p) / 1000) ≤ 1.6 %; five times that, and a step.
    assert np.abs(below - np.arange(1, 100)).max() <= 9


def test_a_sparse_map_keeps_the_percentiles_of_a_dense_one():
    X = np.where(np.random.default_rng(1).random((900, 60)) < 0.2, points(), 0.0)
    options = {"lattice": LATTICE, "mode": "batch", "epochs": 3}
    dense, sparse = (mf.train(Y, **options) for Y in (X, scipy.sparse.csr_array(X)))
    np.testing.assert_allclose(dense.distance_quantiles, sparse.distance_quantiles, atol=1e-7)


def test_weighted_features_are_measured_as_the_map_weighs_them():
    X, weights = points(), np.linspace(0.0, 2.0, 60)
    trained = mf.train(X, lattice=LATTICE, feature_weights=weights)
    nearest = np.sqrt(trained.squared_distances(X).min(axis=1))
    expected = np.quantile(nearest, np.linspace(0.0, 1.0, 101))
    np.testing.assert_allclose(expected, trained.distance_quantiles, atol=1e-7)


def threads_of_blas():
    from threadpoolctl import threadpool_info

    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


@pytest.mark.skipif(sys.platform != "linux", reason="counts the cores that may be used")
@pytest.mark.parametrize("threads", [1, 2])
def test_blas_has_one_thread_while_compiled_loops_have_several(threads, monkeypatch):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    from threadpoolctl import threadpool_limits

    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    seen = []
    with threadpool_limits(limits=2, user_api="blas"):
        mf.train(
            points(),
            lattice=LATTICE,
            mode="batch",
            search="compiled",
            progress=lambda done, total: seen.append(threads_of_blas()),
        )
        assert threads_of_blas() == {2}
    assert all(now == {3 - threads} for now in seen)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the cores that may be used")
def test_blas_has_its_threads_back_where_the_compiled_search_is_given_up(monkeypatch):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    from threadpoolctl import threadpool_limits

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    seen, noise = [], np.random.default_rng(0).normal(size=(900, 60))
    with threadpool_limits(limits=2, user_api="blas"):
        mf.train(
            noise,
            lattice=mf.Lattice(rows=10, columns=10),
            mode="batch",
            search="compiled",
            progress=lambda done, total: seen.append(threads_of_blas()),
        )
    # The first prototypes lie in a plane, which bounds tell something of.
    assert all(now == {2} for now in seen[1:])
