"""The compiled search finds what the plain one finds."""

import sys

import numpy as np
import pytest

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.som.compiled import FilteredSearches
from musicfw.som.statistics import PlainSearch

LATTICE = mf.Lattice(rows=6, columns=8)


def low_rank(rng, count, dimension=150, rank=12, noise=0.05):
    """Return points near a plane of few dimensions, where a projection tells much."""
    plane = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, dimension))
    return plane + noise * rng.normal(size=(count, dimension))


def test_without_numba_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "musicfw.som.kernels", raising=False)
    with pytest.raises(UsageError, match=r"needs numba.*pip install 'musicfw\[fast\]'"):
        FilteredSearches(np.zeros((300, 200)), np.float64)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_compiled_search_finds_the_nearest_units_and_of_equals_the_lowest(dtype, offset):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    rng = np.random.default_rng(0)
    # Small integers: all distances are exact in float32 too, and ties are ties.
    points = np.round(low_rank(rng, 900)) + offset
    prototypes = points[rng.integers(0, 900, 70)]
    prototypes[35:] = prototypes[:35]
    searches = FilteredSearches(points - points.mean(axis=0), dtype)
    search = searches(prototypes, dtype)
    winners, squared = search(points.astype(dtype))
    expected, squared_expected = PlainSearch(prototypes, dtype)(points.astype(dtype))
    assert searches.prunes
    np.testing.assert_array_equal(expected, winners)
    np.testing.assert_array_equal(squared_expected, squared)


def test_points_in_the_span_of_the_directions_are_no_trap():
    # ρ(x) is rounding, and its root is large: a bound that trusted it would skip the nearest.
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    rng = np.random.default_rng(1)
    points = low_rank(rng, 600, noise=0.0)
    prototypes = points[:40] + 1e-3 * rng.normal(size=(40, 150))
    for dtype in (np.float64, np.float32):
        search = FilteredSearches(points - points.mean(axis=0), dtype)(prototypes, dtype)
        winners, _ = search(points[:40].astype(dtype))
        np.testing.assert_array_equal(np.arange(40), winners)


def test_white_noise_falls_back_to_the_plain_search_bit_for_bit():
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    points = np.random.default_rng(2).normal(size=(1500, 200))
    searches = FilteredSearches(points, np.float64)
    searches(points[:50], np.float64)(points)
    assert not searches.prunes
    plain, compiled = (
        mf.train(points, lattice=LATTICE, mode="batch", epochs=3, search=search)
        for search in ("plain", "compiled")
    )
    assert plain.codebook.prototypes.tobytes() == compiled.codebook.prototypes.tobytes()


@pytest.mark.parametrize("mode", ["batch", "minibatch", "progressive"])
def test_a_map_trained_with_the_compiled_search_is_the_same(mode):
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    points = low_rank(np.random.default_rng(3), 2500)
    plain, compiled = (
        mf.train(points, lattice=LATTICE, mode=mode, epochs=4, search=search).codebook.prototypes
        for search in ("plain", "compiled")
    )
    # Equal best matching units give equal sums.
    np.testing.assert_array_equal(plain, compiled)


def test_few_features_are_searched_plainly():
    pytest.importorskip("numba", reason="musicfw[fast] is not installed")
    points = np.random.default_rng(4).normal(size=(500, 20))
    assert isinstance(FilteredSearches(points, np.float64)(points[:9], np.float64), PlainSearch)
