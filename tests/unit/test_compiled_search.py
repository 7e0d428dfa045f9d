"""Statistics by the compiled search are those of the plain one."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints
from musicfw.som.initialization import Overview

LATTICE = mf.Lattice(rows=6, columns=8)


def low_rank(rng, count, dimension=150, rank=12, noise=0.05):
    """Return points near a plane of few dimensions, where a projection tells much."""
    plane = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, dimension))
    return plane + noise * rng.normal(size=(count, dimension))


def filtered(points, *, dtype=np.float64, weights=None, chunk_size=300, sample=None):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    from musicfw.som.compiled import FilteredPoints

    # About one of them: differences of integers stay exact.
    sample = points if sample is None else sample
    seen = Overview(centre=points[0], spread=sample - sample.mean(axis=0))
    return FilteredPoints(points, points[0], dtype, chunk_size, weights=weights, seen=seen)


def plain(points, *, dtype=np.float64, weights=None, chunk_size=300):
    return CentredPoints(points, points[0], dtype, chunk_size, weights=weights)


def assert_same(expected, found, *, rounding=0.0):
    np.testing.assert_array_equal(expected.sums, found.sums)
    np.testing.assert_array_equal(expected.counts, found.counts)
    assert expected.rows == found.rows
    assert abs(expected.error_sum - found.error_sum) <= rounding * expected.error_sum


def test_without_numba_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "musicfw.som.kernels", raising=False)
    monkeypatch.delattr("musicfw.som.kernels", raising=False)  # imported by another test, say
    with pytest.raises(UsageError, match=r"needs numba.*pip install 'musicfw\[fast\]'"):
        mf.train(np.eye(9), lattice=LATTICE, search="compiled")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    units=st.integers(1, 70),
    rank=st.integers(1, 30),
    near=st.sampled_from([0.0, 0.3, 2.0]),
    dimension=st.sampled_from([50, 100]),  # twelve directions, or more
    scale=st.sampled_from([2.0**-20, 1.0, 2.0**20]),
    dtype=st.sampled_from([np.float64, np.float32]),
    threads=st.integers(1, 2),
    weighted=st.booleans(),
    chunk_size=st.sampled_from([60, 300, 800]),  # sums of several parts, of one; centred once
)
def test_all_statistics_are_those_of_the_plain_search(
    seed, units, rank, near, dimension, scale, dtype, threads, weighted, chunk_size
):
    # Multiples of one small integer: distances are exact in float32 too, and ties are ties.
    rng = np.random.default_rng(seed)
    points = scale * np.round(low_rank(rng, 800, dimension=dimension, rank=rank))
    noise = scale * np.round(near * rng.normal(size=(units, dimension)))
    W = points[rng.integers(0, 800, units)] + noise
    W[rng.integers(0, units)] = W[0]
    weights = rng.integers(0, 5, 800) / 4.0 if weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(threads))
        data = filtered(points, dtype=dtype, weights=weights, chunk_size=chunk_size)
    W -= data.centre
    expected = plain(points, dtype=dtype, weights=weights, chunk_size=chunk_size)
    # Distances are added up in other groups where there are many chunks.
    rounding = 800 * np.finfo(float).eps if chunk_size == 60 else 0.0
    some = rng.permutation(800)[: rng.integers(1, 800)]
    for rows in (None, some, None):  # the last time with what was kept
        found = data.statistics(rows, W)
        assert_same(expected.statistics(rows, W), found, rounding=rounding)
        np.testing.assert_array_equal(expected.best_two(rows, W), data.best_two(rows, W))


@pytest.mark.parametrize("dimension", [50, 150])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_units_are_looked_at_and_of_equals_the_lowest_wins(dtype, dimension):
    rng = np.random.default_rng(0)
    points = np.round(low_rank(rng, 900, dimension=dimension)) + 50.0
    data = filtered(points, dtype=dtype)
    W = points[rng.integers(0, 900, 70)] - data.centre
    W[35:] = W[:35]
    found = data.statistics(None, W)
    assert data.prunes
    assert found.counts[35:].sum() == 0
    assert_same(plain(points, dtype=dtype).statistics(None, W), found)


@pytest.mark.parametrize("exponent", [*range(-82, -66, 2), 60, 130, 400])
def test_squares_that_float32_cannot_hold_are_no_trap(exponent):
    # The bounds are in float32: they become 0, or steps of its least number, or infinite.
    rng = np.random.default_rng(6)
    points = 2.0**exponent * np.round(low_rank(rng, 900, dimension=50))
    data = filtered(points)
    W = points[rng.integers(0, 900, 70)] - data.centre
    assert_same(plain(points).statistics(None, W), data.statistics(None, W))


def test_points_in_the_span_of_the_directions_are_no_trap():
    # ρ(x) is rounding, and its root is large: a bound that trusted it would skip the nearest.
    rng = np.random.default_rng(1)
    points = low_rank(rng, 600, noise=0.0)
    for dtype in (np.float64, np.float32):
        data = filtered(points, dtype=dtype)
        W = points[:40] - data.centre + 1e-3 * rng.normal(size=(40, 150))
        found = data.statistics(np.arange(40), W)
        assert data.prunes
        np.testing.assert_array_equal(np.ones(40), found.counts)


def test_white_noise_falls_back_to_the_plain_search_bit_for_bit():
    points = np.random.default_rng(2).normal(size=(1500, 200))
    data = filtered(points)
    assert_same(plain(points).statistics(None, points[:50]), data.statistics(None, points[:50]))
    assert not data.prunes
    plainly, compiled = (
        mf.train(points, lattice=LATTICE, mode="batch", epochs=3, search=search)
        for search in ("plain", "compiled")
    )
    assert plainly.codebook.prototypes.tobytes() == compiled.codebook.prototypes.tobytes()


@pytest.mark.parametrize("mode", ["batch", "minibatch", "progressive"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_map_trained_with_the_compiled_search_is_the_same(mode, dtype):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    points = low_rank(np.random.default_rng(3), 2500).astype(dtype)
    plainly, compiled = (
        mf.train(points, lattice=LATTICE, mode=mode, epochs=4, search=search).codebook.prototypes
        for search in ("plain", "compiled")
    )
    # Equal best matching units give equal sums.
    np.testing.assert_array_equal(plainly, compiled)


def test_lengths_that_would_overflow_a_bound_are_left_to_the_plain_search():
    points = 2.0**57 * np.round(low_rank(np.random.default_rng(5), 300, rank=3))
    data = filtered(points, dtype=np.float32)
    W = points[:20] - data.centre
    assert_same(plain(points, dtype=np.float32).statistics(None, W), data.statistics(None, W))
    assert not data.prunes
    with pytest.raises(UsageError, match="points: squared distances between them overflow float32"):
        filtered(2.0**9 * points, dtype=np.float32).statistics(None, W)


def test_one_point_too_long_for_a_bound_is_enough_for_the_plain_search():
    points = np.round(low_rank(np.random.default_rng(7), 300))
    points[7, 3] = 1.5 * 2.0**62  # its square is above the sixteenth of what float32 holds
    data = filtered(points, dtype=np.float32, sample=points[8:])
    W = points[10:40] - data.centre
    assert_same(plain(points, dtype=np.float32).statistics(None, W), data.statistics(None, W))
    assert not data.prunes


def test_an_infinite_distance_is_told_of_before_units_are_looked_for():
    # A square that float32 holds, and a distance to the prototypes that it does not.
    points = np.round(low_rank(np.random.default_rng(8), 300, dimension=60)) * 1e16
    points[7] = 1.8e19 / np.sqrt(60.0)
    data = filtered(points, dtype=np.float32, sample=points[8:])
    W = points[10:40] - data.centre - 2e18 / np.sqrt(60.0)
    calls = []

    class Kernels:
        of_units = data._kernels.of_units
        collect = calls.append

    data._kernels = Kernels
    with pytest.raises(UsageError, match="squared distances between them overflow float32"):
        data.statistics(None, W)
    assert not calls


def test_few_features_are_searched_plainly():
    assert not filtered(np.random.default_rng(4).normal(size=(500, 20))).prunes
