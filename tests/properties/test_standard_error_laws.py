"""Laws of the standard errors of inverted points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.testing.strategies import conditioned_prototypes

seeds = st.integers(0, 2**32 - 1)


def fitted(book, distances):
    return mf.invert(book, distances, solver="maximum-likelihood").points


def scene(kind, rng):
    """Return a map and a point of its units, relevances and scaling as the kind says."""
    W = rng.normal(size=(60, 4))
    relevances = {
        "shared": np.array([1.0, 0.25, 4.0, 1.0]),
        "by unit": rng.uniform(0.2, 2.0, size=W.shape),
    }.get(kind)
    book = mf.Codebook(prototypes=W, relevances=relevances)
    x = rng.normal(size=4)
    if kind != "scaled":
        return book, x
    scaling = mf.Scaling(offset=np.arange(4.0), scale=np.array([1.0, 10.0, 0.1, 2.0]))
    trained = mf.TrainedMap(codebook=book, scaling=scaling, backend="", params={}, seed=0)
    return trained, scaling.to_original(x[np.newaxis])[0]


@pytest.mark.parametrize("kind", ["plain", "shared", "by unit", "scaled"])
@pytest.mark.parametrize("errors", ["absolute", "relative"])
def test_they_are_the_spread_of_points_over_draws_of_the_noise(kind, errors):
    rng = np.random.default_rng(0)
    book, x = scene(kind, rng)
    distances = book.squared_distances(x)
    noise = 0.01 * (distances if errors == "relative" else 1.0)
    drawn = np.abs(distances + noise * rng.normal(size=(2000, 60)))
    found = fitted(book, drawn)
    sd = 0.01 * drawn if errors == "relative" else 0.01
    told = mf.standard_errors(book, found, drawn, noise=sd)
    # A standard deviation of 2000 draws has a standard error of 1.6 %: five of them, and 1 % for
    # what is of second order in the noise.
    np.testing.assert_allclose(np.sqrt(np.mean(told**2, axis=0)), found.std(axis=0), rtol=0.09)
    np.testing.assert_allclose(found.mean(axis=0), x, atol=0.2 * told.mean(axis=0).max())


def test_the_hidden_part_is_one_more_unknown():
    rng = np.random.default_rng(1)
    W = np.hstack([rng.normal(size=(40, 3)), np.zeros((40, 1))])
    book = mf.Codebook(prototypes=W)
    distances = book.squared_distances([[0.5, -1.0, 2.0, 1.5]])
    drawn = distances + 0.01 * rng.normal(size=(2000, 40))
    found = mf.invert(book, drawn, solver="maximum-likelihood", errors="absolute").points
    told = mf.standard_errors(book, found, drawn, noise=0.01)
    np.testing.assert_allclose(told.mean(axis=0)[:3], found.std(axis=0)[:3], rtol=0.09)
    assert np.isinf(told[:, 3]).all()
    expected = 0.01 * np.array(mf.well_posedness(book).feature_amplification)
    np.testing.assert_allclose(told, np.tile(expected, (2000, 1)), rtol=1e-9)


@given(seed=seeds, noise=st.sampled_from([1e-3, 1.0, 50.0]))
def test_without_misfit_no_more_is_unsure_than_for_the_linear_answer(seed, noise):
    rng = np.random.default_rng(seed)
    book = mf.Codebook(prototypes=rng.normal(size=(20, 5)))
    linear = noise * np.array(mf.well_posedness(book).feature_amplification)
    points = np.vstack([book.prototypes.mean(axis=0), rng.normal(size=(4, 5))])
    told = mf.standard_errors(book, points, book.squared_distances(points), noise=noise)
    # At the centroid the length of the point tells nothing, elsewhere something.
    np.testing.assert_allclose(told[0], linear, rtol=1e-9)
    assert (told <= linear * (1.0 + 1e-9)).all()


@given(seed=seeds)
def test_they_turn_move_and_grow_with_the_map(seed):
    rng = np.random.default_rng(seed)
    W, x = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    book = mf.Codebook(prototypes=W)
    distances = book.squared_distances(x) * (1.0 + 0.01 * rng.normal(size=(4, 20)))
    order, shift = rng.permutation(20), rng.normal(size=3)
    moved = mf.Codebook(prototypes=(10.0 * W[:, ::-1] + shift)[order])
    here = mf.standard_errors(book, x, distances, noise=0.01 * distances)
    there = mf.standard_errors(
        moved, 10.0 * x[:, ::-1] + shift, 100.0 * distances[:, order], noise=distances[:, order]
    )
    np.testing.assert_allclose(there, 10.0 * here[:, ::-1], rtol=1e-8)


def test_on_a_thin_map_they_tell_the_size_of_the_error_where_linear_ones_are_far_too_large():
    rng = np.random.default_rng(2)
    W = conditioned_prototypes(rng, 100, 8, condition=1e5)
    book = mf.Codebook(prototypes=W)
    x = 0.7 * W[:50] + 0.3 * W[50:]
    distances = book.squared_distances(x)
    noise = 0.01 * np.median(distances)
    drawn = np.abs(distances + noise * rng.normal(size=(20, *distances.shape))).reshape(1000, 100)
    found = mf.invert(book, drawn, solver="maximum-likelihood", errors="absolute").points
    told = mf.standard_errors(book, found, drawn, noise=noise)
    error = np.abs(found - np.tile(x, (20, 1)))
    # Normal errors would be within two standard errors in 95 %.
    assert np.mean(error <= 2.0 * told, axis=0).min() >= 0.95
    linear = noise * np.array(mf.well_posedness(book).feature_amplification)
    assert (linear > 10.0 * np.median(told, axis=0)).all()


def test_what_the_distances_do_not_place_has_an_infinite_error_and_no_point_has_none():
    rng = np.random.default_rng(3)
    W = rng.normal(size=(20, 4))
    W[:, 1] = 3.0
    book = mf.Codebook(prototypes=W, relevances=[1.0, 1.0, 0.0, 1.0])
    distances = book.squared_distances(rng.normal(size=(3, 4)) * [1, 0, 1, 1] + [0, 3, 0, 0])
    distances[1, 5] = np.nan
    found = mf.invert(book, distances, solver="maximum-likelihood").points
    told = mf.standard_errors(book, found, distances, noise=0.1)
    assert np.isnan(told[1]).all()
    assert np.isinf(told[[0, 2]][:, [1, 2]]).all()
    assert np.isfinite(told[[0, 2]][:, [0, 3]]).all()
    beyond = mf.standard_errors(book, found[:1], distances[:1] + 1e300, noise=1e-100)
    assert np.isinf(beyond).all()
    one = mf.Codebook(prototypes=W[:1])
    alone = mf.standard_errors(one, W[:2], one.squared_distances(W[:2]), noise=0.1)
    assert np.isinf(alone).all()


def test_mistakes_are_told():
    book = mf.Codebook(prototypes=np.eye(4))
    x = np.zeros((2, 4))
    d = book.squared_distances(x)
    with pytest.raises(mf.UsageError, match="noise: expected positive standard deviations, got 0"):
        mf.standard_errors(book, x, d, noise=0.0)
    with pytest.raises(mf.UsageError, match=r"broadcasts to \(2, 4\), got the shape \(3,\)"):
        mf.standard_errors(book, x, d, noise=np.ones(3))
    with pytest.raises(mf.UsageError, match="expected 2 rows, one per point, got 1"):
        mf.standard_errors(book, x, d[:1], noise=1.0)
