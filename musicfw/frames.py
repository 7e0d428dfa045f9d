"""Data frames (pandas, polars): columns by name, without importing either library.

A frame is what has ``columns`` and ``to_numpy``. Its columns must hold numbers or truth values;
None, pandas' NA and polars' null become NaN. Nothing is guessed about text, categories and dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from reprlib import repr as short_repr
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.errors import DataError, did_you_mean

_ONE_HOT = (
    "one-hot encode it (scikit-learn's OneHotEncoder, get_dummies of pandas, to_dummies of polars) "
    "or leave it out"
)


def is_frame(value: Any) -> bool:
    """Return whether ``value`` is a data frame."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def names_of(value: Any) -> tuple[str, ...] | None:
    """Return the column names of a frame, if all are text; None for anything else."""
    if not is_frame(value):
        return None
    names = tuple(value.columns)
    return names if all(isinstance(name, str) for name in names) else None


def frame_values(
    frame: Any, *, name: str, column_names: Sequence[str] | None = None
) -> npt.NDArray[Any]:
    """Return the columns of a frame as a matrix of numbers, shape (N, D).

    Parameters
    ----------
    frame : DataFrame
        Of pandas or polars.
    name : str
        What the caller calls it, for messages.
    column_names : sequence of str, optional
        The columns wanted, in this order, whatever the order of the frame's; others are left out.
        A frame whose names are not text (0, 1, …) is taken as it is.

    Raises
    ------
    DataError
        For a name that is wanted and missing or there twice, and for a column that does not hold
        numbers.
    """
    own = list(frame.columns)
    wanted = own if column_names is None or names_of(frame) is None else list(column_names)
    for column in wanted:
        if own.count(column) != 1:
            raise DataError(_not_once(name, column, own))
    kinds = {str(dtype) for dtype in frame.dtypes}
    if wanted == own and len(kinds) == 1 and not _is_categorical(*kinds):
        array = np.asarray(frame.to_numpy())
        if array.dtype.kind in "fiub":  # often without a copy
            return array
    if not wanted:
        return np.empty((len(frame), 0))
    return np.column_stack([_numbers(frame[column], name, column) for column in wanted])


def _not_once(name: str, column: Any, own: list[Any]) -> str:
    if column in own:
        return (
            f"{name}: {own.count(column)} columns are named {column!r}, expected one; rename them"
        )
    near = did_you_mean(str(column), map(str, own))
    return (
        f"{name}: there is no column {column!r}, expected the features that the map has, in any "
        f"order" + (f"; {near}" if near else f"; the frame has {short_repr(own)}")
    )


def _is_categorical(dtype: str) -> bool:
    return dtype.lower().startswith(("category", "categorical", "enum"))


def _numbers(series: Any, name: str, column: Any) -> npt.NDArray[Any]:
    dtype = str(series.dtype)
    if _is_categorical(dtype):
        raise DataError(f"{name}: column {column!r} holds categories, expected numbers; {_ONE_HOT}")
    array = np.asarray(series.to_numpy())
    if array.dtype.kind in "fiub":
        return array
    if array.dtype.kind in "cmM":
        raise DataError(
            f"{name}: column {column!r} holds {dtype}, expected real numbers; turn complex numbers "
            f"and dates into real features (days since the first, say) or leave it out"
        )
    numbers = np.empty(array.shape[0])
    for row, value in enumerate(array.tolist()):
        # pandas' NA has no public type without importing pandas.
        if value is None or type(value).__name__ == "NAType":
            numbers[row] = np.nan
        elif isinstance(value, Real):
            numbers[row] = float(value)
        else:
            raise DataError(
                f"{name}: column {column!r} holds {short_repr(value)} in row {row}, expected "
                f"numbers; if they are categories, {_ONE_HOT}"
            )
    return numbers
