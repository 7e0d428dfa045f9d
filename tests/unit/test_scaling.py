"""Scaling gives features comparable units, and its inverse gives the data back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicfw.errors import DataError, UsageError
from musicfw.scaling import fit_scaling

EPS = np.finfo(np.float64).eps
TINY = np.finfo(np.float64).tiny
LARGEST = np.finfo(np.float64).max


def matrices(largest: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-largest, largest),
    )


@given(matrices(LARGEST / 8), st.sampled_from(["none", "standard", "minmax"]))
def test_original_units_come_back_whatever_the_magnitudes(points, kind):
    scaling = fit_scaling(points, kind)
    scaled = scaling.to_map(points)
    assert np.isfinite(scaled).all()
    # One rounding each of the subtraction, division, product and sum, all of at most this size.
    tolerance = 4 * EPS * (np.abs(points) + np.abs(scaling.offset) + scaling.scale) + TINY
    assert (np.abs(scaling.to_original(scaled) - points) <= tolerance).all()


@given(matrices(LARGEST / 8))
def test_standard_features_have_mean_zero_and_deviation_one(points):
    scaling = fit_scaling(points, "standard")
    scaled = scaling.to_map(points)
    span = np.ptp(points, axis=0)
    # Rounding of sums of N terms, and of the offset to a double, in units of the scale.
    of_sums = 8 * EPS * len(points) * (span / scaling.scale)
    of_offset = 8 * EPS * (np.abs(points).max(axis=0) / scaling.scale)
    assert (np.abs(scaled.mean(axis=0)) <= of_sums + of_offset + TINY).all()
    varies = span > 1e3 * TINY
    assert (np.abs(scaled.std(axis=0) - 1.0) <= of_sums)[varies].all()


@given(matrices(LARGEST / 8))
def test_minmax_features_reach_from_zero_to_one(points):
    scaled = fit_scaling(points, "minmax").to_map(points)
    span = points.max(axis=0) - points.min(axis=0)
    varies = span >= TINY
    np.testing.assert_array_equal(scaled.min(axis=0), np.zeros(points.shape[1]))
    np.testing.assert_array_equal(scaled.max(axis=0)[varies], np.ones(varies.sum()))


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.1, 1e300, 5e-324, -7.0])
def test_a_constant_feature_keeps_its_unit(kind, value):
    scaling = fit_scaling(np.full((7, 2), value), kind)
    np.testing.assert_array_equal(scaling.scale, [1.0, 1.0])
    np.testing.assert_array_equal(scaling.offset, [value, value])


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_feature_with_subnormal_spread_counts_as_constant(kind):
    scaling = fit_scaling([[0.0], [5e-324], [1e-310]], kind)
    np.testing.assert_array_equal(scaling.scale, [1.0])


@given(matrices(1e3), st.floats(0.5, 100.0), st.floats(-100.0, 100.0))
def test_a_change_of_units_does_not_change_minmax_scaled_data(points, factor, shift):
    points = np.round(points, 3)
    scaled = fit_scaling(points, "minmax").to_map(points)
    moved = points * factor + shift
    again = fit_scaling(moved, "minmax").to_map(moved)
    span = np.where(np.ptp(points, axis=0) > 0, np.ptp(points, axis=0), np.inf)
    rounding = 8 * EPS * (np.abs(points).max() * factor + 100.0) / (factor * span)
    assert (np.abs(again - scaled) <= rounding + 8 * EPS).all()


def test_standard_is_the_population_deviation():
    scaling = fit_scaling([[1.0], [2.0], [3.0], [6.0]], "standard")
    np.testing.assert_allclose(scaling.offset, [3.0], rtol=4 * EPS)
    np.testing.assert_allclose(scaling.scale, [np.sqrt(3.5)], rtol=8 * EPS)


def test_none_lets_points_pass_bit_for_bit():
    points = np.array([[0.1, -0.0]])
    scaling = fit_scaling(points, "none")
    assert scaling.is_identity
    assert scaling.to_map(points) is points


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_range_beyond_the_largest_double_is_refused(kind):
    message = (
        "points: column 1 reaches from -1.7e+308 to 1.7e+308, expected a range that a double "
        "holds (1.8e308); change the unit of that column"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        fit_scaling([[0.0, 1.7e308], [1.0, -1.7e308]], kind)


def test_an_unknown_kind_is_answered_with_the_nearest():
    message = (
        "scaling: expected 'none', 'standard' or 'minmax', got 'standart'; did you mean 'standard'?"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        fit_scaling([[1.0]], "standart")


def test_a_scaling_needs_rows_and_finite_numbers():
    with pytest.raises(DataError, match="points: expected at least one row to fit a scaling to"):
        fit_scaling(np.empty((0, 2)), "standard")
    with pytest.raises(DataError, match="points: row 1, column 0 holds nan"):
        fit_scaling([[0.0], [np.nan]], "minmax")
