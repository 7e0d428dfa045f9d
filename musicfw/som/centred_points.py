"""The points of a training about their centre, in the memory of one chunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray
from musicfw.errors import DataError
from musicfw.missing import MaskedSearch, known_and_filled
from musicfw.som.rounded_search import RoundedSearch
from musicfw.som.statistics import (
    POINTS_HANDED_ON,
    PlainSearch,
    Statistics,
    WorkArray,
    statistics,
)
from musicfw.sparse import dense, is_sparse

# At least as many distances are kept of every pass, if there are as many points.
_POINTS_SAMPLED = 1000


class CentredPoints:
    """The points about a centre, a chunk at a time.

    Each chunk is centred on its way: a centred copy of the data would save a tenth of the time and
    double the memory; it is made of points that are no more than one chunk. The difference is taken
    in the precision of the points before it is rounded.

    Parameters
    ----------
    points : ndarray of float64 or float32, or csr_array, shape (N, D)
        Points. Those of a sparse matrix become dense, a chunk at a time, and are taken all at once.
    centre : ndarray, shape (D,)
        Subtracted from each.
    dtype : dtype
        Precision of the chunks.
    chunk_size : int
        Rows in memory at a time.
    weights : ndarray, shape (N,), optional
        As how many points each counts.
    missing : bool
        Whether NaN stands for a missing value.
    """

    def __init__(
        self,
        points: WorkArray,
        centre: FloatArray,
        dtype: npt.DTypeLike,
        chunk_size: int,
        *,
        weights: FloatArray | None = None,
        missing: bool = False,
    ) -> None:
        self._missing = missing
        self._handed_on: tuple[FloatArray, WorkArray] | None = None
        self._first: WorkArray | None = None
        self._sampled: list[WorkArray] = []
        whole = RoundedSearch if np.dtype(dtype) == np.float64 else PlainSearch
        self._searches = MaskedSearch if missing else whole
        self._weights = weights
        self._points = points
        self.centre = centre
        # None once the points are about it, and in the precision of the chunks.
        self._centre: WorkArray | None = centre.astype(points.dtype, copy=False)
        self._chunk = np.empty((min(chunk_size, points.shape[0]), points.shape[1]), dtype=dtype)
        if points.shape[0] <= chunk_size and not is_sparse(points):
            self._points = next(self.chunks(None))
            self._centre = None
            self._chunk = np.empty_like(self._chunk)

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """Precision of the chunks."""
        dtype: np.dtype[np.floating[Any]] = self._chunk.dtype
        return dtype

    def chunks(self, rows: IntArray | None) -> Iterator[WorkArray]:
        """Yield some of the points, or all for None.

        Not to be written to, and in one buffer that is used again.
        """
        count = self._points.shape[0] if rows is None else rows.size
        size = self._chunk.shape[0]
        for start in range(0, count, size):
            here = slice(start, min(start + size, count))
            chosen = here if rows is None else rows[here]
            yield self._about_centre(chosen, out=self._chunk[: here.stop - start])

    def _about_centre(self, here: slice | IntArray, *, out: WorkArray) -> WorkArray:
        """Return some of the points about the centre, which may be in ``out``."""
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(here, slice):
                taken = dense(self._points[here])
            elif out.dtype == self._points.dtype:
                taken = np.take(self._points, here, axis=0, out=out, mode="clip")
            else:
                taken = self._points[here]
            if self._centre is None:
                return taken
            np.subtract(taken, self._centre, out=out, casting="same_kind")
            return out

    def all_to_itself(self) -> AbstractContextManager[object]:
        """Return what keeps others from the cores that `statistics` needs, while it lasts."""
        return nullcontext()

    @property
    def count(self) -> int:
        """Number of points N."""
        return int(self._points.shape[0])

    def best_two(self, rows: IntArray | None, prototypes: FloatArray) -> IntArray:
        """Return the two nearest units of the first 64 of some, or all, points, shape (n, 2).

        They are known, at no cost, from the `statistics` of the same points and prototypes, but
        for a masked or compiled search.
        """
        if self._handed_on is not None and self._handed_on[0] is prototypes:
            relative = self._handed_on[1]
        else:
            relative_of = _relative_of_known if self._missing else _relative
            relative = relative_of(self._head(rows), prototypes)
        self._handed_on = None  # it is changed below
        best = relative.argmin(axis=1)
        if prototypes.shape[0] > 1:
            relative[np.arange(best.size), best] = np.inf
        return np.column_stack([best, relative.argmin(axis=1)])

    def _head(self, rows: IntArray | None) -> WorkArray:
        """Return the first 64 of some, or all, points; those of all are kept."""
        if rows is None and self._first is not None:
            return self._first
        first = np.arange(min(self.count, POINTS_HANDED_ON)) if rows is None else rows
        chunks = [chunk.copy() for chunk in self.chunks(first[:POINTS_HANDED_ON])]
        head = np.concatenate(chunks)
        if rows is None:
            self._first = head
        return head

    def sampled_distances(self) -> FloatArray:
        """Return distances to the nearest prototypes, as `statistics` last found them.

        Of all of its points; if there are 2000 or more, of 1000 to 2000 of them, spread evenly.
        """
        return np.sqrt(np.concatenate(self._sampled).astype(np.float64))

    def _sample(self, squared: WorkArray, start: int, count: int) -> None:
        """Keep some of the squared distances of the points from ``start`` on, of ``count``."""
        step = max(1, count // _POINTS_SAMPLED)
        self._sampled = [] if start == 0 else self._sampled
        self._sampled.append(squared[-start % step :: step].copy())

    def statistics(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics:
        """Return the statistics of some of the points, or of all for None."""
        total: Statistics | None = None
        handed_on: list[WorkArray] = []
        search = self._searches(prototypes, self.dtype)
        weights = self._weights if self._weights is None or rows is None else self._weights[rows]
        count = self.count if rows is None else rows.size
        start = 0
        for chunk in self.chunks(rows):
            own = None if weights is None else weights[start : start + chunk.shape[0]]
            start += chunk.shape[0]
            with np.errstate(over="ignore", invalid="ignore"):
                part = statistics(
                    chunk, prototypes, weights=own, search=search, missing=self._missing
                )
            total = part if total is None else total + part
            self._sample(search.squared, start - chunk.shape[0], count)
            first = start - chunk.shape[0] < POINTS_HANDED_ON
            if first and not isinstance(search, MaskedSearch):
                handed_on.append(search.relative)
        if handed_on:
            head = handed_on[0] if len(handed_on) == 1 else np.concatenate(handed_on)
            self._handed_on = prototypes, head[:POINTS_HANDED_ON]
        assert total is not None  # the host gives at least two rows
        if not np.isfinite(total.error_sum):
            refuse_overflow(self.dtype)
        return total


def refuse_overflow(dtype: np.dtype[np.floating[Any]]) -> NoReturn:
    """Say that squared distances do not fit the precision."""
    raise DataError(
        f"points: squared distances between them overflow {dtype.name}; scale the data"
        + (", or use dtype: float64" if dtype == np.float32 else "")
    )


def _relative(points: WorkArray, prototypes: FloatArray) -> WorkArray:
    """Return ``||x − w_i||² − ||x||²``, shape (n, M)."""
    W = prototypes.astype(points.dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((-2 * points) @ W.T + np.einsum("md,md->m", W, W))


def _relative_of_known(points: WorkArray, prototypes: FloatArray) -> WorkArray:
    """Return the masked ``||x − w_i||² − ||x||²``, shape (n, M)."""
    known, filled = known_and_filled(points)
    W = prototypes.astype(points.dtype, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(known.astype(points.dtype) @ (W * W).T - 2 * (filled @ W.T))
