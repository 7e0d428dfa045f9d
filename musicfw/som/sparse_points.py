"""The points of a training as a sparse matrix: products of nonzeros only, nothing centred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import TrainingProblem
from musicfw.arrays import FloatArray, IntArray
from musicfw.geometry import winners_of
from musicfw.som.centred_points import CentredPoints, refuse_overflow
from musicfw.som.statistics import Statistics, WorkArray, statistics
from musicfw.sparse import is_sparse, squared_row_lengths

# Elements of a dense block of rows: 8 MB.
_BLOCK_ELEMENTS = 1 << 20


class SparsePoints(CentredPoints):
    """A sparse matrix of points, which are not centred: their origin is near most values.

    A step costs ``nnz · M`` operations instead of ``n · D · M``, at a tenth of the speed of a dense
    product: it pays below about 10 % of nonzeros.

    Parameters
    ----------
    points : csr_array of float64 or float32, shape (N, D)
        Points.
    dtype : dtype
        Precision of the distances.
    chunk_size : int
        Rows in memory at a time, beside the points.
    weights : ndarray, shape (N,), optional
        As how many points each counts.
    """

    def __init__(
        self,
        points: Any,
        dtype: npt.DTypeLike,
        chunk_size: int,
        *,
        weights: FloatArray | None = None,
    ) -> None:
        rows = max(1, min(chunk_size, _BLOCK_ELEMENTS // points.shape[1]))
        super().__init__(points, np.zeros(points.shape[1]), dtype, rows, weights=weights)
        self._rows = chunk_size

    def chunks(self, rows: IntArray | None) -> Iterator[WorkArray]:
        """Yield some of the points, or all for None, as dense blocks of at most 8 MB."""
        for chunk, _ in self._parts(rows, self._chunk.shape[0]):
            yield chunk.toarray().astype(self.dtype, copy=False)

    def statistics(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics:
        """Return the statistics of some of the points, or of all for None."""
        total: Statistics | None = None
        search = SparseSearch(prototypes, self.dtype)
        count, start = self.count if rows is None else rows.size, 0
        for chunk, weights in self._parts(rows, self._rows):
            chunk = chunk.astype(self.dtype, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):
                part = statistics(chunk, prototypes, weights=weights, search=search)
            total = part if total is None else total + part
            self._sample(search.squared, start, count)
            start += chunk.shape[0]
        assert total is not None  # the host gives at least two rows
        if not np.isfinite(total.error_sum):
            refuse_overflow(self.dtype)
        return total

    def _parts(self, rows: IntArray | None, size: int) -> Iterator[tuple[Any, FloatArray | None]]:
        count = self.count if rows is None else rows.size
        for start in range(0, count, size):
            here: Any = slice(start, min(start + size, count))
            here = here if rows is None else rows[here]
            yield self._points[here], None if self._weights is None else self._weights[here]


def points_of(
    problem: TrainingProblem, centre: FloatArray, dtype: npt.DTypeLike, chunk_size: int
) -> CentredPoints:
    """Return the points of a problem, dense (about the centre) or sparse."""
    if is_sparse(problem.points):
        return SparsePoints(problem.points, dtype, chunk_size, weights=problem.weights)
    return CentredPoints(
        problem.points,
        centre,
        dtype,
        chunk_size,
        weights=problem.weights,
        missing=problem.missing,
    )


class SparseSearch:
    """Best matching units of sparse points, as `musicfw.som.statistics.PlainSearch`.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Prototypes.
    dtype : dtype
        float64 or float32, as the points.
    """

    def __init__(self, prototypes: FloatArray, dtype: npt.DTypeLike) -> None:
        W = prototypes.astype(dtype, copy=False)
        self._norms = np.einsum("md,md->m", W, W)
        self._minus_twice = np.ascontiguousarray(W.T) * W.dtype.type(-2.0)

    def __call__(self, chunk: Any, /) -> tuple[IntArray, WorkArray]:
        """Return the nearest prototype of every point, of equals the lowest, and how near."""
        relative = chunk @ self._minus_twice
        relative += self._norms
        winners, self.squared = winners_of(relative, squared_row_lengths(chunk))
        return winners, self.squared
