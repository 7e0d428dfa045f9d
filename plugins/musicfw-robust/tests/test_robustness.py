"""What the kit cannot know: that wrong distances do little harm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from musicfw_robust import HUBER

import musicfw as mf

SEEDS = st.integers(0, 2**32 - 1)


def scene(seed, *, units=40, dimension=5, points=6):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(prototypes=rng.normal(size=(units, dimension)))
    x = rng.normal(size=(points, dimension))
    return rng, codebook, x, codebook.squared_distances(x)


def errors(codebook, distances, x, solver=HUBER, **params):
    found = mf.invert(codebook, distances, solver=solver, **params).points
    return np.linalg.norm(found - x, axis=1)


def spoil(rng, distances, count):
    """Make so many distances of every point 3 to 100 times too large."""
    for row in distances:
        row[rng.choice(row.size, count, replace=False)] *= rng.uniform(3.0, 100.0, count)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_few_gross_errors_leave_the_point_where_it_is(seed):
    rng, codebook, x, distances = scene(seed)
    spoil(rng, distances, 2)
    robust = errors(codebook, distances, x, iterations=200)
    assert robust.max() < 1e-4 < errors(codebook, distances, x, solver="exact").min()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_gross_errors_do_no_more_harm_where_relevances_differ_by_unit(seed):
    rng, codebook, x, _ = scene(seed, units=60)
    relevances = rng.uniform(0.1, 2.0, size=codebook.prototypes.shape)
    codebook = mf.Codebook(prototypes=codebook.prototypes, relevances=relevances)
    distances = codebook.squared_distances(x)
    spoil(rng, distances, 3)
    robust = errors(codebook, distances, x, iterations=200)
    assert robust.max() < 1e-4 < errors(codebook, distances, x, solver="exact").min()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_with_one_unit_more_than_unknowns_it_is_least_squares(seed):
    rng, codebook, _, distances = scene(seed, units=7)
    noisy = distances * (1.0 + 0.05 * rng.standard_normal(distances.shape))
    expected = mf.invert(codebook, noisy, solver="exact").points
    found = mf.invert(codebook, noisy, solver=HUBER).points
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 39))
def test_the_influence_of_one_distance_is_bounded(seed, unit):
    rng, codebook, x, distances = scene(seed)
    distances = distances * (1.0 + 0.01 * rng.standard_normal(distances.shape))
    harm = []
    for factor in (1e2, 1e4, 1e6):
        wrong = distances.copy()
        wrong[:, unit] += factor
        harm.append(errors(codebook, wrong, x))
    # Least squares errs in proportion to the error, a thousand million times more at the end.
    assert np.all(harm[2] < 10.0 * harm[0] + 0.05)


def test_a_high_threshold_is_least_squares():
    rng, codebook, _, distances = scene(1)
    noisy = distances * (1.0 + 0.05 * rng.standard_normal(distances.shape))
    expected = mf.invert(codebook, noisy, solver="exact").points
    found = mf.invert(codebook, noisy, solver=HUBER, threshold=1e6).points
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_a_high_threshold_with_alpha_is_ridge(alpha):
    rng, codebook, _, distances = scene(2)
    noisy = distances * (1.0 + 0.05 * rng.standard_normal(distances.shape))
    expected = mf.invert(codebook, noisy, solver="ridge", alpha=alpha).points
    found = mf.invert(codebook, noisy, solver=HUBER, threshold=1e6, alpha=alpha).points
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_normal_noise_costs_little():
    rng, codebook, x, distances = scene(3, units=60, points=400)
    noisy = distances + 0.1 * rng.standard_normal(distances.shape)
    squares = np.square(errors(codebook, noisy, x, solver="exact")).sum()
    robust = np.square(errors(codebook, noisy, x)).sum()
    # 95 % efficiency asymptotically; 1600 numbers estimate the ratio to about 4 %.
    assert robust / squares < 1.0 / 0.95 + 0.12
