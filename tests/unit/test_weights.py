"""Weights of rows: as if each row were there as often as its weight says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import DataError, UsageError
from musicfw.som.statistics import statistics

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=3, columns=4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_statistics_of_weighted_points_are_those_of_repeated_points(seed):
    rng = np.random.default_rng(seed)
    # Integers: every product and sum is exact.
    points = rng.integers(-9, 9, (30, 2)).astype(float)
    prototypes = rng.integers(-9, 9, (7, 2)).astype(float)
    times = rng.integers(0, 4, 30)
    expected = statistics(np.repeat(points, times, axis=0), prototypes)
    found = statistics(points, prototypes, weights=times.astype(float))
    np.testing.assert_array_equal(expected.sums, found.sums)
    np.testing.assert_array_equal(expected.counts, found.counts)
    assert found.rows == expected.rows == times.sum()
    assert found.error_sum == pytest.approx(expected.error_sum, rel=100 * EPS)


@pytest.mark.parametrize("mode", ["minibatch", "batch"])
@pytest.mark.parametrize("chunk_size", [None, 2000])
def test_a_map_of_weighted_rows_is_that_of_repeated_rows(mode, chunk_size):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3))
    times = rng.integers(0, 4, 200)
    options = {"lattice": LATTICE, "mode": mode, "chunk_size": chunk_size, "epochs": 8}
    expected = mf.train(np.repeat(points, times, axis=0), **options)
    found = mf.train(points, weights=times, **options)
    for name, values in expected.history.items():
        np.testing.assert_allclose(values, found.history[name], rtol=1e4 * EPS)
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=2e4 * EPS
    )


def test_scaling_all_weights_changes_nothing_beyond_rounding():
    points = np.random.default_rng(1).normal(size=(2500, 3))
    weights = np.random.default_rng(2).random(2500)
    one, four = (
        mf.train(points, lattice=LATTICE, weights=factor * weights).codebook.prototypes
        for factor in (1.0, 4.0)
    )
    np.testing.assert_array_equal(one, four)  # a power of two: not even rounding


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "weights: expected 30, one per row, got 2"),
        (np.full(30, -1.0), "weights: expected numbers of at least 0"),
        (np.zeros(30), "weights: expected one above 0 at least, they are all 0"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    points = np.random.default_rng(3).normal(size=(30, 2))
    with pytest.raises(UsageError, match=message):
        mf.train(points, lattice=LATTICE, weights=weights)


def test_weights_that_are_not_finite_are_refused():
    points = np.random.default_rng(3).normal(size=(3, 2))
    with pytest.raises(DataError, match="weights: row 1, column 0 holds nan"):
        mf.train(points, lattice=LATTICE, weights=[1.0, np.nan, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "minisom"}, "weights: the backend 'minisom' takes none"),
        ({"mode": "online"}, "weights: expected none with mode: online"),
    ],
)
def test_where_weights_have_no_meaning_they_are_refused(options, message):
    points = np.random.default_rng(3).normal(size=(30, 2))
    with pytest.raises(UsageError, match=message):
        mf.train(points, lattice=LATTICE, weights=np.ones(30), **options)
