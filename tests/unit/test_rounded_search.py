"""The search that rounds to float32 finds what the plain one in float64 finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfw.som import rounded_search
from musicfw.som.rounded_search import RoundedSearch
from musicfw.som.statistics import PlainSearch

EPS = np.finfo(np.float64).eps


class Counted(PlainSearch):
    """Notes how many points it was asked for, and how often."""

    rows = calls = 0

    def __call__(self, chunk):
        Counted.rows += chunk.shape[0]
        Counted.calls += 1
        return super().__call__(chunk)


@pytest.fixture
def looked_at_twice(monkeypatch):
    monkeypatch.setattr("musicfw.som.rounded_search.PlainSearch", Counted)
    monkeypatch.setattr(Counted, "rows", 0)
    monkeypatch.setattr(Counted, "calls", 0)
    return Counted


@pytest.fixture(scope="module")
def worthwhile():
    """Search maps of 64 units as larger ones are, whose equal columns BLAS may round apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("musicfw.som.rounded_search._LEAST_UNITS", 64)
        yield


@pytest.mark.usefixtures("worthwhile")
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    units=st.integers(64, 150),
    features=st.integers(16, 60),
    # Distances of float32 tell all, some or nothing; or are infinite, or zero.
    spread=st.sampled_from([1.0, 1e-3, 1e-6, 1e-9]),
    scale=st.sampled_from([1.0, 1e-30, 1e30]),
    count=st.integers(1, 1500),
)
def test_the_nearest_units_are_those_of_float64_and_of_equals_the_lowest(
    seed, units, features, spread, scale, count
):
    rng = np.random.default_rng(seed)
    W = scale * (1.0 + spread * rng.normal(size=(units, features)))
    half = units // 2
    W[half : 2 * half] = W[:half]
    X = scale * (1.0 + spread * rng.normal(size=(count, features)))
    winners, squared = RoundedSearch(W, np.float64)(X)
    expected, least = PlainSearch(W, np.float64)(X)
    room = 4 * (features + 4) * EPS * (X**2).sum(axis=1).max()
    np.testing.assert_allclose(least, squared, rtol=0, atol=room)
    np.testing.assert_allclose(((X - W[winners]) ** 2).sum(axis=1), squared, rtol=0, atol=room)
    assert not np.isin(winners, np.arange(half, 2 * half)).any()
    if spread >= 1e-3:  # else float64 itself cannot tell
        np.testing.assert_array_equal(expected, winners)


@pytest.mark.usefixtures("worthwhile")
def test_few_points_are_looked_at_twice(looked_at_twice):
    rng = np.random.default_rng(0)
    W, X = rng.normal(size=(100, 64)), rng.normal(size=(3000, 64))
    winners, _ = RoundedSearch(W, np.float64)(X)
    assert looked_at_twice.rows < 30
    np.testing.assert_array_equal(PlainSearch(W, np.float64)(X)[0], winners)


@pytest.mark.usefixtures("worthwhile")
def test_where_float32_tells_nothing_it_is_given_up_after_the_first_points(looked_at_twice):
    rng = np.random.default_rng(1)
    W, X = (1e4 + 1e-3 * rng.normal(size=(count, 64)) for count in (100, 3000))
    expected, search = PlainSearch(W, np.float64)(X)[0], RoundedSearch(W, np.float64)
    for _ in range(2):
        np.testing.assert_array_equal(expected, search(X)[0])
    # The first block, what is left of its chunk, the second chunk; and no point thrice.
    assert (looked_at_twice.calls, looked_at_twice.rows) == (3, 2 * 3000)


@pytest.mark.parametrize(("more", "features"), [(-1, 99), (9, rounded_search._LEAST_FEATURES - 1)])
def test_small_maps_and_few_features_are_searched_plainly(looked_at_twice, more, features):
    units = rounded_search._LEAST_UNITS + more
    rng = np.random.default_rng(2)
    W, X = rng.normal(size=(units, features)), rng.normal(size=(50, features))
    found = RoundedSearch(W, np.float64)(X)
    for expected, value in zip(PlainSearch(W, np.float64)(X), found, strict=True):
        np.testing.assert_array_equal(expected, value)
    assert looked_at_twice.rows == 50
