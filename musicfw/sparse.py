"""Sparse matrices (scipy.sparse): rows that are mostly zeros, never made dense as a whole.

Data stay a CSR array with canonical indices; prototypes are dense. What would not stay sparse,
the offset of a scaling, moves to the prototypes: with ``x = y / s − t``, ``t = offset / s``, the
distance ``||x − w||`` is ``||y / s − (w + t)||``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.errors import DataError


def is_sparse(value: Any) -> bool:
    """Return whether ``value`` is a sparse array or matrix of scipy."""
    module = sys.modules.get("scipy.sparse")  # without it nobody has made one
    return module is not None and bool(module.issparse(value))


def dense(rows: Any) -> npt.NDArray[Any]:
    """Return rows as an array: a block of a sparse matrix becomes dense, an array stays itself."""
    return np.asarray(rows.toarray() if is_sparse(rows) else rows)


def arrays_of(rows: Any) -> tuple[npt.NDArray[Any], ...]:
    """Return the arrays that hold a CSR array; an array holds itself."""
    return (rows.data, rows.indices, rows.indptr) if is_sparse(rows) else (rows,)


def as_csr(
    value: Any,
    *,
    name: str,
    columns: int | None = None,
    column_names: Sequence[str] | None = None,
    keep_float32: bool = False,
) -> Any:
    """Return a sparse matrix as a canonical CSR array of float64; copies only when it must.

    Parameters
    ----------
    value : sparse array or matrix, shape (N, D)
        Of any format.
    name, columns, column_names, keep_float32
        As in `musicfw.arrays.as_matrix`.

    Raises
    ------
    DataError
        For complex numbers and objects, one dimension, a wrong number of columns, NaN and
        infinities.
    """
    from scipy.sparse import csr_array

    if value.dtype.kind not in "fiub":
        raise DataError(f"{name}: expected real numbers, got a sparse matrix of {value.dtype}")
    if value.ndim != 2 or value.shape[1] == 0:
        raise DataError(f"{name}: expected a matrix with columns, got shape {value.shape}")
    if columns is not None and value.shape[1] != columns:
        raise DataError(
            f"{name}: expected {columns} columns, got {value.shape[1]} (shape {value.shape}); use "
            f"the features, in the order, that the map was trained on"
        )
    kept = keep_float32 and value.dtype == np.float32
    matrix = csr_array(value, dtype=np.float32 if kept else np.float64)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if bad.size:
        row = int(np.searchsorted(matrix.indptr, bad[0], side="right")) - 1
        column = int(matrix.indices[bad[0]])
        named = "" if column_names is None else f" ({column_names[column]!r})"
        raise DataError(
            f"{name}: row {row}, column {column}{named} holds {matrix.data[bad[0]]}, expected a "
            f"finite number ({bad.size} such value{'s' if bad.size > 1 else ''}); remove or "
            f"impute those rows (gaps can be kept in dense data only)"
        )
    return matrix


def column_range(matrix: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the least and the greatest value of every column of a CSR array, shapes (D,)."""
    lowest, highest = (dense(found).ravel() for found in (matrix.min(axis=0), matrix.max(axis=0)))
    return lowest.astype(np.float64), highest.astype(np.float64)


def column_moments(matrix: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return mean and standard deviation (ddof 0) of every column of a CSR array, (D,)."""
    rows, dimension = matrix.shape
    stored = np.bincount(matrix.indices, minlength=dimension)
    mean = np.bincount(matrix.indices, weights=matrix.data, minlength=dimension) / rows
    # About the mean: the zeros that are not stored deviate by it too.
    squares = (matrix.data - mean[matrix.indices]) ** 2
    total = np.bincount(matrix.indices, weights=squares, minlength=dimension)
    total += (rows - stored) * mean**2
    return mean, np.sqrt(total / rows)


def read_only_csr(matrix: Any) -> Any:
    """Return a view of a CSR array that cannot be written to."""
    from scipy.sparse import csr_array

    views = tuple(array.view() for array in arrays_of(matrix))
    for view in views:
        view.flags.writeable = False
    return csr_array(views, shape=matrix.shape, copy=False)


def columns_divided(matrix: Any, scale: npt.NDArray[Any]) -> Any:
    """Return a CSR array with every column divided by its scale (D,); itself if all are 1."""
    from scipy.sparse import csr_array

    if (scale == 1.0).all():
        return matrix
    data = matrix.data / scale[matrix.indices]
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def columns_multiplied(matrix: Any, factors: npt.NDArray[Any]) -> Any:
    """Return a CSR array with every column times its factor (D,); float32 stays float32.

    What a factor of 0 makes 0 is not stored.
    """
    from scipy.sparse import csr_array

    data = matrix.data * factors.astype(matrix.dtype)[matrix.indices]
    copies = not factors.all()  # the indices without the zeros are others
    product = csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape, copy=copies)
    if copies:
        product.eliminate_zeros()
    return product


def squared_row_lengths(matrix: Any) -> npt.NDArray[Any]:
    """Return ``||x||²`` of every row of a CSR array, shape (N,)."""
    return np.asarray(matrix.power(2).sum(axis=1)).ravel()
