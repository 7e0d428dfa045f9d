"""The border between the caller's arrays and ours: the only place that coerces, checks and freezes.

Inside musicfw every array is a C-contiguous ``float64`` array (or ``intp``/``bool``), finite unless
said otherwise; what is handed out is read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from reprlib import repr as short_repr
from typing import Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from musicfw.errors import DataError, UsageError
from musicfw.frames import frame_values, is_frame, names_of
from musicfw.sparse import as_csr, column_range, dense, is_sparse

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
WorkArray = npt.NDArray[np.floating[Any]]  # float64 or float32


def frozen(array: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return a read-only, C-contiguous copy of ``array``."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view, so that a plugin cannot write into the caller's data."""
    view = array.view()
    view.flags.writeable = False
    return view


def is_whole(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Whether ``value`` is an integer; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_whole(value: object, *, name: str, least: int) -> int:
    """Return ``value`` as an int, refusing what is no integer or less than ``least``."""
    if not is_whole(value) or value < least:
        raise UsageError(f"{name}: expected an integer of at least {least}, got {value!r}")
    return int(value)


def as_matrix(
    value: npt.ArrayLike,
    *,
    name: str,
    columns: int | None = None,
    column_names: Sequence[str] | None = None,
    finite: bool = True,
    missing: bool = False,
    keep_float32: bool = False,
    gap_advice: str = "remove or impute those rows",
) -> FloatArray:
    """Return ``value`` as a C-contiguous float64 matrix; copies only when it must.

    Parameters
    ----------
    value : array_like or DataFrame, shape (N, columns)
        What the caller gave.
    name : str
        What the caller calls it, for messages.
    columns : int, optional
        Required number of columns.
    column_names : sequence of str, optional
        Names for messages; of a frame with names these columns are taken, in this order.
    finite : bool
        Whether NaN and infinities are refused.
    missing : bool
        Whether NaN stands for a missing value and is let through, infinities not. What is masked
        (numpy.ma) then becomes NaN.
    gap_advice : str
        What to do about a NaN that is refused, for its message.
    keep_float32 : bool
        Whether float32 stays float32.

    Raises
    ------
    DataError
        For text, complex numbers, dates, masked values, ragged rows, a wrong number of dimensions
        or columns, no columns, NaN and infinities. The message names the row and column (counted
        from 0). No rows are no error here.
    """
    column_names = names_of(value) if column_names is None else column_names
    kept = (np.float32,) if keep_float32 else ()
    matrix = _as_float(value, name=name, column_names=column_names, kept=kept, missing=missing)
    if matrix.ndim != 2:
        raise DataError(
            f"{name}: expected a matrix with one row per point (2 dimensions), got an array of "
            f"shape {matrix.shape}; for one point or one feature use reshape(1, -1) or "
            f"reshape(-1, 1)"
        )
    if matrix.shape[1] == 0:
        raise DataError(f"{name}: expected at least one column, got shape {matrix.shape}")
    if columns is not None and matrix.shape[1] != columns:
        raise DataError(
            f"{name}: expected {columns} columns, got {matrix.shape[1]} (shape {matrix.shape}); "
            f"use the features, in the order, that the map was trained on"
        )
    if finite:
        unusable = np.isinf if missing else _is_not_finite
        _refuse(unusable, matrix, name=name, column_names=column_names, gap_advice=gap_advice)
    return matrix


def as_points(
    value: npt.ArrayLike,
    *,
    name: str,
    dimension: int,
    column_names: Sequence[str] | None = None,
    missing: bool = False,
    sparse: bool = False,
) -> FloatArray:
    """Return one point (D,) or many (N, D) as a finite float64 matrix (N, D).

    ``column_names`` as in `as_matrix`: the columns of a frame are put in their order. A sparse
    matrix becomes dense, or with ``sparse`` a CSR array (`musicfw.sparse`).
    With ``missing`` NaN is let through, but not a row without any known value.
    """
    if is_sparse(value):
        csr = as_csr(value, name=name, columns=dimension, column_names=column_names)
        return cast(FloatArray, csr) if sparse else dense(csr)
    array = _as_float(value, name=name, column_names=column_names, missing=missing)
    if array.ndim == 1:
        array = array[np.newaxis, :]
    matrix = as_matrix(
        array,
        name=name,
        columns=dimension,
        column_names=column_names,
        missing=missing,
        gap_advice="fill gaps first with the TrainedMap's impute, or remove those rows",
    )
    if missing:
        refuse_unknown_rows(matrix, name=name)
    return matrix


def as_activations(
    value: npt.ArrayLike, *, name: str, units: int, finite: bool = True
) -> FloatArray:
    """Return one pattern of squared distances (M,) or many (N, M) as a float64 matrix (N, M)."""
    array = _as_float(value, name=name, column_names=None)
    if array.ndim == 1:
        array = array[np.newaxis, :]
    if array.ndim == 2 and array.shape[1] != units:
        raise DataError(
            f"{name}: expected {units} columns, one per prototype, got {array.shape[1]} (shape "
            f"{array.shape}); give the squared distances to every prototype of this map"
        )
    return as_matrix(array, name=name, finite=finite)


def as_training_data(
    value: npt.ArrayLike,
    *,
    name: str = "X",
    column_names: Sequence[str] | None = None,
    missing: bool = False,
    keep_float32: bool = False,
    gap_advice: str = "remove or impute those rows",
) -> FloatArray:
    """Return ``value`` as a matrix that a map can be trained on; see `as_matrix`.

    Raises
    ------
    DataError
        As `as_matrix`, and for fewer than two rows or data in which every row is the same. With
        ``missing`` for rows and columns that are wholly missing.

    Notes
    -----
    A sparse matrix becomes a CSR array (`musicfw.sparse`), in which nothing can be missing.
    """
    matrix: Any
    if is_sparse(value):
        matrix = as_csr(value, name=name, column_names=column_names, keep_float32=keep_float32)
    else:
        matrix = as_matrix(
            value,
            name=name,
            column_names=column_names,
            missing=missing,
            keep_float32=keep_float32,
            gap_advice=gap_advice,
        )
    if matrix.shape[0] < 2:
        raise DataError(
            f"{name}: expected at least 2 rows to train on, got {matrix.shape[0]}; check the file "
            f"and the share that is held out"
        )
    if is_sparse(matrix):
        lowest, highest = column_range(matrix)
        differ = bool((lowest < highest).any())
    elif missing:
        differ = _known_values_differ(matrix, name=name, column_names=column_names)
    else:
        starts = range(0, matrix.shape[0], 256)  # most data differ within the first rows
        differ = any((matrix[start : start + 256] != matrix[0]).any() for start in starts)
    if not differ:
        raise DataError(
            f"{name}: every one of the {matrix.shape[0]} rows is the same (constant data), "
            f"expected rows that differ; check that the right columns were read"
        )
    return cast(FloatArray, matrix)


def _known_values_differ(
    matrix: FloatArray, *, name: str, column_names: Sequence[str] | None
) -> bool:
    """Return whether some column has two known values; refuse rows and columns without any."""
    refuse_unknown_rows(matrix, name=name)
    lowest, highest = known_range(matrix)
    unknown = np.flatnonzero(np.isnan(lowest))
    if unknown.size:
        raise DataError(
            f"{name}: {_column(int(unknown[0]), column_names)} has no known value in any row "
            f"({unknown.size} such columns), expected at least one; leave it out"
        )
    return bool((lowest < highest).any())


def known_range(matrix: WorkArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the greatest known value of every column; NaN where there is none."""
    return np.fmin.reduce(matrix, axis=0), np.fmax.reduce(matrix, axis=0)


def refuse_unknown_rows(matrix: WorkArray, *, name: str) -> None:
    """Refuse rows that are wholly NaN."""
    unknown = np.flatnonzero(np.isnan(np.fmin.reduce(matrix, axis=1)))
    if unknown.size:
        raise DataError(
            f"{name}: row {int(unknown[0])} has no known value ({unknown.size} such rows), "
            f"expected at least one; remove those rows"
        )


def as_unit_indices(value: npt.ArrayLike, *, name: str, units: int) -> IntArray:
    """Return unit numbers as a 1-D ``intp`` array without repeats, each in ``0 … units-1``."""
    array = np.atleast_1d(np.asarray(value))
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(
            f"{name}: expected one or more unit numbers (integers 0 … {units - 1}), got {value!r}"
        )
    outside = array[(array < 0) | (array >= units)]
    if outside.size:
        raise UsageError(
            f"{name}: expected unit numbers in 0 … {units - 1} (the map has {units} units), "
            f"got {int(outside[0])}"
        )
    if np.unique(array).size != array.size:
        raise UsageError(f"{name}: expected each unit once, got {array.tolist()}")
    return array.astype(np.intp)


def as_relevances(value: npt.ArrayLike, *, name: str, units: int, dimension: int) -> FloatArray:
    """Return relevances shared by all units (D,) or of each unit (M, D) as float64.

    Raises
    ------
    UsageError
        For another shape, and for what is no metric: numbers that are negative or not finite, and
        a row without a positive number (every point would be at distance 0).
    """
    relevances = _as_float(value, name=name, column_names=None)
    if relevances.shape not in ((dimension,), (units, dimension)):
        raise UsageError(
            f"{name}: expected shape ({dimension},), shared by all units, or ({units}, "
            f"{dimension}), a row per unit, got {relevances.shape}"
        )
    bad = ~(np.isfinite(relevances) & (relevances >= 0.0))
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UsageError(
            f"{name}: expected finite numbers of at least 0, got {relevances[place]} for "
            + (f"unit {place[0]}, " if len(place) == 2 else "")
            + f"feature {place[-1]}"
        )
    without = np.flatnonzero(~(relevances > 0.0).any(axis=-1))
    if without.size:
        whose = f" of unit {int(without[0])}" if relevances.ndim == 2 else ""
        raise UsageError(
            f"{name}: expected a number above 0 in every row, the relevances{whose} are all 0"
        )
    return relevances


def _as_float(
    value: npt.ArrayLike,
    *,
    name: str,
    column_names: Sequence[str] | None,
    kept: tuple[type, ...] = (),
    missing: bool = False,
) -> FloatArray:
    if is_sparse(value):
        raise DataError(f"{name}: expected a dense array, got a sparse matrix; give its toarray()")
    if is_frame(value):
        value = frame_values(value, name=name, column_names=column_names)
    try:
        array = np.asarray(value)
    except ValueError as err:
        raise DataError(_ragged_message(value, name, err)) from err
    if np.ma.is_masked(value):
        if not missing or array.dtype.kind not in "fiub":
            raise DataError(f"{name}: holds masked values, expected numbers; remove or impute them")
        array = np.where(np.ma.getmaskarray(np.ma.asarray(value)), np.nan, array)
    if array.dtype.kind in "fiub":
        dtype = array.dtype if array.dtype.type in kept else np.dtype(np.float64)
        return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)
    if array.dtype.kind in "cmM":  # NumPy would cast them: imaginary parts and units of time drop
        raise DataError(
            f"{name}: expected real numbers, got {array.dtype}; turn complex numbers and dates "
            f"into real features first"
        )
    try:
        return np.ascontiguousarray(array.astype(np.float64)).reshape(array.shape)
    except (TypeError, ValueError, OverflowError) as err:
        raise DataError(_text_message(array, name, column_names)) from err


def _ragged_message(value: Any, name: str, err: ValueError) -> str:
    rows = value if isinstance(value, Sequence) else ()
    lengths = [len(row) if hasattr(row, "__len__") else 1 for row in rows]
    row = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if row is None:
        return f"{name}: expected a matrix of numbers, and NumPy cannot make one of it ({err})"
    return (
        f"{name}: ragged rows: row 0 has {lengths[0]} values and row {row} has {lengths[row]}; "
        f"expected the same number in every row"
    )


def _text_message(array: npt.NDArray[Any], name: str, column_names: Sequence[str] | None) -> str:
    for index in np.ndindex(array.shape):
        try:
            float(array[index])
        except (TypeError, ValueError, OverflowError):
            return (
                f"{name}: {_place(index, column_names)} holds {short_repr(array.item(index))}, "
                f"expected a number; encode text columns as numbers or leave them out"
            )
    return f"{name}: expected numbers, got an array of type {array.dtype}"


def _is_not_finite(matrix: FloatArray) -> BoolArray:
    return np.asarray(~np.isfinite(matrix))


def _refuse(
    unusable: Callable[[FloatArray], BoolArray],
    matrix: FloatArray,
    *,
    name: str,
    column_names: Sequence[str] | None,
    gap_advice: str,
) -> None:
    # Sums are finite only if all is, and take no memory; if they are not, they may have overflown.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(matrix @ np.ones(matrix.shape[1], dtype=matrix.dtype)).all():
            return
    bad = unusable(matrix)
    if not bad.any():
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    count = int(bad.sum())
    infinite = np.isinf(matrix[row, column])
    raise DataError(
        f"{name}: {_place((row, column), column_names)} holds {matrix[row, column]}, expected a "
        f"finite number ({count} such value{'s' if count > 1 else ''} in "
        f"{int(bad.any(axis=1).sum())} of {matrix.shape[0]} rows); "
        f"{'remove or impute those rows' if infinite else gap_advice}"
    )


def _place(index: Sequence[int], column_names: Sequence[str] | None) -> str:
    if len(index) < 2:
        return f"position {int(index[0])}" if index else "it"
    return f"row {int(index[0])}, {_column(int(index[1]), column_names)}"


def _column(column: int, column_names: Sequence[str] | None) -> str:
    if column_names is not None and column < len(column_names):
        return f"column {column} ({column_names[column]!r})"
    return f"column {column}"
