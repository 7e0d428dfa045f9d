"""The border: what comes in is coerced or refused with its place, what goes out is read-only."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicfw.arrays import (
    as_matrix,
    as_points,
    as_training_data,
    as_unit_indices,
    frozen,
    read_only,
)
from musicfw.errors import DataError, UsageError

finite = st.floats(allow_nan=False, allow_infinity=False)
matrices = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=finite
)


@given(matrices)
def test_a_finite_matrix_passes_unchanged_in_any_memory_order(matrix):
    for value in (matrix, np.asfortranarray(matrix), matrix.tolist(), matrix.astype(object)):
        taken = as_matrix(value, name="X")
        np.testing.assert_array_equal(taken, matrix)
        assert taken.dtype == np.float64
        assert taken.flags.c_contiguous


def test_a_matrix_that_is_already_right_is_not_copied():
    matrix = np.eye(3)
    assert np.shares_memory(matrix, as_matrix(matrix, name="X"))


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2]],
        [[True, False]],
        [["1", "2.0"]],
        [[Decimal("1.5"), 2]],
        np.array([[1, 2]], dtype=np.uint8),
        np.array([[1, 2]], dtype=np.float16),
        np.array([[1, 2]], dtype=">f8"),
    ],
)
def test_numbers_of_every_kind_become_float64(value):
    expected = np.array([[float(x) for x in row] for row in value])
    np.testing.assert_array_equal(as_matrix(value, name="X"), expected)


def test_no_rows_are_allowed_where_a_batch_may_be_empty():
    assert as_matrix(np.empty((0, 3)), name="X").shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "X: expected a matrix with one row per point (2 dimensions), got an array of sha"),
        (5.0, "X: expected a matrix with one row per point (2 dimensions), got an array of shape"),
        (np.zeros((2, 2, 2)), "got an array of shape (2, 2, 2); for one point or one feature use"),
        ([[]], "X: expected at least one column, got shape (1, 0)"),
        ([[1, 2], [3]], "X: ragged rows: row 0 has 2 values and row 1 has 1; expected the same"),
        ([1, [2, 3]], "X: ragged rows: row 0 has 1 values and row 1 has 2; expected the same"),
        ([[[1], [2]], [[1], [2, 3]]], "X: expected a matrix of numbers, and NumPy cannot make one"),
        ([[1, 2], [3, "red"]], "X: row 1, column 1 holds 'red', expected a number; encode text"),
        ([[1, {}]], "X: row 0, column 1 holds {}, expected a number; encode text columns"),
        ([[10**400]], "X: row 0, column 0 holds 1000"),
        ("text", "X: it holds 'text', expected a number"),
        (["a"], "X: position 0 holds 'a', expected a number"),
        (
            scipy.sparse.eye_array(2),
            "X: expected a dense array, got a sparse matrix; give its toarray()",
        ),
        ([[1j]], "X: expected real numbers, got complex128; turn complex numbers and dates into"),
        (np.zeros((1, 1), "M8[D]"), "X: expected real numbers, got datetime64[D]; turn complex"),
        (np.ma.array([[1.0]], mask=True), "X: holds masked values, expected numbers; remove or"),
        (np.zeros((1, 1), dtype=[("a", float), ("b", float)]), "X: row 0, column 0 holds (0.0, 0"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused_with_its_place(value, message):
    with pytest.raises(DataError, match=re.escape(message)):
        as_matrix(value, name="X")


def test_an_object_that_fails_to_become_an_array_is_named_with_its_own_reason():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise ValueError("out of ideas")

    with pytest.raises(DataError, match=r"X: .* cannot make one of it \(out of ideas\)"):
        as_matrix(Broken(), name="X")


def test_a_masked_array_without_masked_values_is_an_array():
    masked = np.ma.array([[1.0, 2.0]], mask=False)
    np.testing.assert_array_equal(as_matrix(masked, name="X"), [[1.0, 2.0]])


@given(matrices, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_the_first_value_that_is_not_finite_is_named_by_row_and_column(matrix, bad, data):
    row = data.draw(st.integers(0, matrix.shape[0] - 1))
    column = data.draw(st.integers(0, matrix.shape[1] - 1))
    matrix[row, column] = bad
    expected = (
        f"X: row {row}, column {column} holds {bad}, expected a finite number (1 such value in "
        f"1 of {matrix.shape[0]} rows); remove or impute those rows"
    )
    with pytest.raises(DataError, match=re.escape(expected)):
        as_matrix(matrix, name="X")
    assert as_matrix(matrix, name="X", finite=False) is not None


def test_values_that_are_not_finite_are_counted():
    message = r"column 1 \('age'\) holds nan.*\(3 such values in 2 of 3 rows\)"
    with pytest.raises(DataError, match=message):
        as_matrix([[1, np.nan], [2, 2], [np.inf, np.nan]], name="X", column_names=["height", "age"])


def test_a_wrong_number_of_columns_reminds_of_the_training_features():
    with pytest.raises(
        DataError, match=r"X: expected 3 columns, got 2 \(shape \(1, 2\)\); use the"
    ):
        as_matrix([[1, 2]], name="X", columns=3)


def test_one_point_and_many_points_are_both_points():
    np.testing.assert_array_equal(as_points([1, 2], name="x", dimension=2), [[1, 2]])
    np.testing.assert_array_equal(as_points([[1, 2]], name="x", dimension=2), [[1, 2]])
    with pytest.raises(DataError, match="x: expected 3 columns, got 2"):
        as_points([1, 2], name="x", dimension=3)


def test_a_map_cannot_be_trained_on_one_row_or_on_constant_data():
    with pytest.raises(DataError, match="X: expected at least 2 rows to train on, got 1; check"):
        as_training_data([[1, 2]])
    with pytest.raises(
        DataError, match=r"X: every one of the 3 rows is the same \(constant data\)"
    ):
        as_training_data([[1, 2]] * 3)
    np.testing.assert_array_equal(as_training_data([[1, 2], [1, 3]]), [[1, 2], [1, 3]])


@given(matrices)
def test_a_frozen_array_is_a_copy_that_nobody_can_write(matrix):
    copy = frozen(matrix)
    np.testing.assert_array_equal(copy, matrix)
    assert not np.shares_memory(copy, matrix)
    with pytest.raises(ValueError, match="read-only"):
        copy[0, 0] = 1.0


def test_a_read_only_view_shares_the_data_and_leaves_the_original_writable():
    matrix = np.zeros((2, 2))
    view = read_only(matrix)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1.0
    matrix[0, 0] = 2.0
    assert view[0, 0] == 2.0


@given(st.lists(st.integers(0, 9), min_size=1, unique=True))
def test_unit_numbers_keep_their_order(units):
    taken = as_unit_indices(units, name="units", units=10)
    assert taken.tolist() == units
    assert taken.dtype == np.intp


def test_one_unit_number_is_a_list_of_one():
    assert as_unit_indices(3, name="units", units=4).tolist() == [3]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "units: expected one or more unit numbers (integers 0 … 3), got []"),
        ([1.5], "units: expected one or more unit numbers (integers 0 … 3), got [1.5]"),
        ([True], "units: expected one or more unit numbers (integers 0 … 3), got [True]"),
        ([[1]], "units: expected one or more unit numbers (integers 0 … 3), got [[1]]"),
        ([0, 4], "units: expected unit numbers in 0 … 3 (the map has 4 units), got 4"),
        ([-1], "units: expected unit numbers in 0 … 3 (the map has 4 units), got -1"),
        ([1, 1], "units: expected each unit once, got [1, 1]"),
    ],
)
def test_numbers_that_name_no_unit_or_one_twice_are_refused(value, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        as_unit_indices(value, name="units", units=4)
