"""Statistics by an exact search that skips most units; needs numba (``musicfw[fast]``).

With k orthonormal directions Q and the length ρ of what they leave of a vector, every distance is
bounded from below in k + 1 dimensions::

    ||x − w||² = ||x||² + ||w||² − 2 x·w ≥ ||x||² + ||w||² − 2 (Qᵀx·Qᵀw + ρ(x) ρ(w))

A unit whose bound exceeds the distance to a unit already looked at cannot be the nearest. Twelve
directions bound all units; where there are many features, 42 bound those that are left. How many
are left then decides what that is worth: where they are more than one in ten, as in white noise,
from the first 256 points of a chunk on, all points fall back to `CentredPoints`, for good.

What a bound needs of a point is the same in every pass over all points: it is kept from the first
one on, up to 64 MB of it (340,000 points).

The best matching units are those of `CentredPoints` but where distances agree to rounding; the sums
are formed in the same order, whatever the number of threads. Bounds are in float32, whatever the
precision of the distances. Every comparison leaves room for the worst rounding, in D eps of squared
lengths: √k of k projections, less than 3 of lengths and distances; and for the least numbers there
are, which the relative errors leave out.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, WorkArray
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints
from musicfw.som.initialization import Overview, leading_directions
from musicfw.som.statistics import POINTS_HANDED_ON, Statistics

_COARSE, _DIRECTIONS = 12, 42
_MOST_COMPUTED = 0.1
_MOST_BYTES_KEPT = 64 * 2**20
# Chunks whose sums are added up before they become float64.
_CHUNKS_TOGETHER = 4
# Elements of the points that are reduced at a time: they stay in the cache.
_BLOCK_ELEMENTS = 1 << 18
_FLOAT32 = np.finfo(np.float32)
_LONGEST = float(_FLOAT32.max) / 16.0


class _Chunk(NamedTuple):
    """Some points, and what the bounds need of them; see `musicfw.som.kernels.collect`."""

    rows: IntArray
    reduced: WorkArray
    lengths: WorkArray


class _Collected(NamedTuple):
    """What some chunks add to `Statistics`, and the squared distances of their points."""

    sums: WorkArray
    counts: FloatArray
    error_sum: float
    rows: float
    squared: WorkArray

    def joined(self, total: Statistics | None) -> Statistics:
        """Return the statistics of these chunks and of those before, which are used up."""
        if total is None:
            sums, counts, before, rows = self.sums.astype(np.float64), self.counts, 0.0, 0.0
        else:
            sums, counts, before, rows = total.sums, total.counts, total.error_sum, total.rows
            sums += self.sums
            counts += self.counts
        error_sum = before + self.error_sum
        return Statistics(sums=sums, counts=counts, error_sum=error_sum, rows=rows + self.rows)


class FilteredPoints(CentredPoints):
    """`CentredPoints` whose statistics are found faster, where that is possible.

    Parameters
    ----------
    points, centre, dtype, chunk_size, weights
        As of `CentredPoints`.
    seen : Overview
        Of the points; its leading principal directions become Q.

    Raises
    ------
    UsageError
        If numba is not installed.
    """

    def __init__(
        self,
        points: WorkArray,
        centre: FloatArray,
        dtype: npt.DTypeLike,
        chunk_size: int,
        *,
        seen: Overview,
        weights: FloatArray | None = None,
    ) -> None:
        super().__init__(points, centre, dtype, chunk_size, weights=weights)
        try:
            import threadpoolctl  # noqa: F401 - wanted later

            from musicfw.som import kernels
        except ImportError as err:
            raise UsageError(
                "search: 'compiled' needs numba, which is not installed; pip install "
                "'musicfw[fast]', or take search: plain"
            ) from err
        self._kernels = kernels
        least = min(seen.spread.shape)
        directions = _DIRECTIONS if least >= 2 * _DIRECTIONS else _COARSE
        self._rounding = (math.sqrt(directions) + 3.0) * points.shape[1]
        self._room = self._rounding * float(_FLOAT32.eps)
        # With few features there is little to skip.
        self.prunes = least >= 4 * _COARSE
        if self.prunes:
            self._directions = leading_directions(seen, directions).T.astype(np.float32)
        self._block = max(1, _BLOCK_ELEMENTS // points.shape[1])
        self._columns = kernels.TERMS + (directions - _COARSE + 2 if directions > _COARSE else 0)
        self._most_kept = _MOST_BYTES_KEPT // (8 + 4 * (self._columns + 1))
        self._kept: dict[int, _Chunk] = {}
        # Prototypes that were searched last, in the precision of the chunks, and the table of them.
        self._searched: tuple[FloatArray, WorkArray, WorkArray] | None = None
        self._threads = _thread_count()
        self._limits: Any = None
        self._pool = ThreadPoolExecutor(self._threads)

    def all_to_itself(self) -> AbstractContextManager[object]:
        """Return what holds BLAS to one thread, if there are several here, while bounds are of use.

        Threads of OpenBLAS wait for work in a loop, for milliseconds after every product, on the
        cores that the search has threads for: with two it took a third more time.
        """
        if self._threads == 1 or not self.prunes:
            return nullcontext()
        from threadpoolctl import threadpool_limits

        limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
        self._limits = limits
        return limits

    def statistics(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics:
        """Return the statistics of some of the points, or of all for None."""
        found = self._filtered(rows, prototypes) if self.prunes else None
        return super().statistics(rows, prototypes) if found is None else found

    def best_two(self, rows: IntArray | None, prototypes: FloatArray) -> IntArray:
        """Return the two nearest units of the first 64 of some, or all, points, shape (n, 2)."""
        if self._searched is None or self._searched[0] is not prototypes or not self.prunes:
            return super().best_two(rows, prototypes)
        chunk = self._chunk_from(0, rows if rows is None else rows[:POINTS_HANDED_ON])
        if chunk.rows.size < POINTS_HANDED_ON:
            return super().best_two(rows, prototypes)
        head = (facts[:POINTS_HANDED_ON] for facts in chunk)
        given = self._points, self._centre, *head, *self._searched[1:]
        nearest: IntArray = self._kernels.two_nearest(*given)
        return nearest

    def _filtered(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics | None:
        """Return the statistics; None where the bounds are of no use, now and later."""
        W = prototypes.astype(self.dtype, order="C")
        tables = self._of_units(prototypes)
        self._searched = prototypes, W, tables[0]

        def collect(starts: list[int]) -> _Collected | None:
            return self._collect(starts, rows, W, tables) if self.prunes else None

        total: Statistics | None = None
        count, start = self.count if rows is None else rows.size, 0
        starts = iter(range(0, count, self._rows_of_chunk(count)))
        together = iter(lambda: list(islice(starts, _CHUNKS_TOGETHER)), [])
        # As many at a time as there are threads: their sums wait in memory.
        while now := list(islice(together, self._threads)):
            for found in self._pool.map(collect, now) if len(now) > 1 else map(collect, now):
                if found is None:
                    self.prunes = False
                    if self._limits is not None:  # from now on BLAS does the work
                        self._limits.restore_original_limits()
                    return None
                total = found.joined(total)
                self._sample(found.squared, start, count)
                start += found.squared.size
        return total

    def _collect(
        self,
        starts: list[int],
        rows: IntArray | None,
        W: WorkArray,
        tables: tuple[WorkArray, WorkArray],
    ) -> _Collected | None:
        """Return what some chunks add to the statistics; None where bounds are of no use."""
        sums, counts, error_sum, weight, squares = np.zeros_like(W), np.zeros(len(W)), 0.0, 0.0, []
        for start in starts:
            chunk = self._chunk_from(start, rows)
            if not self.prunes:  # of infinite distances no bound could be told
                return None
            count = chunk.rows.size
            shares = np.ones(count) if self._weights is None else self._weights[chunk.rows]
            squared = np.empty(count, W.dtype)
            given = self._points, self._centre, *chunk, shares, W, *tables, sums, counts, squared
            if not self._kernels.collect(*given, _MOST_COMPUTED):
                return None
            error_sum += float(shares @ np.sqrt(squared).astype(np.float64))
            weight += float(shares.sum())
            squares.append(squared)
        return _Collected(sums, counts, error_sum, weight, np.concatenate(squares))

    def _of_units(self, W: FloatArray) -> tuple[WorkArray, WorkArray]:
        """Return what `musicfw.som.kernels.collect` takes as ``table`` and ``fine``."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            # In float64, which leaves ρ(w) as it is: it counts most where it is small.
            given = W, W @ self._directions, self._rounding, self._room, _LONGEST
            fits, table, fine = self._kernels.of_units(*given)
        self.prunes &= bool(fits)
        return table, fine

    def _rows_of_chunk(self, count: int) -> int:
        """Return into how large chunks so many points go: two threads are given as many."""
        most, even = len(self._chunk), 2 * _CHUNKS_TOGETHER
        chunks = -(-count // most)
        return most if chunks <= _CHUNKS_TOGETHER else -(-count // (-(-chunks // even) * even))

    def _chunk_from(self, start: int, rows: IntArray | None) -> _Chunk:
        """Return a chunk of some of the points, or of all for None."""
        if rows is None and start in self._kept:
            return self._kept[start]
        count = self.count if rows is None else rows.size
        stop = min(start + self._rows_of_chunk(count), count)
        now = np.arange(start, stop) if rows is None else rows[start:stop]
        chunk = _Chunk(
            rows=now,
            reduced=np.empty((now.size, self._columns), dtype=np.float32),
            lengths=np.empty(now.size, dtype=np.float32),
        )
        buffer = np.empty((min(self._block, now.size), self._points.shape[1]), dtype=np.float32)
        for first in range(0, now.size, self._block):
            part = slice(first, first + self._block)
            here = slice(start + first, min(start + part.stop, stop)) if rows is None else now[part]
            V = self._about_centre(here, out=buffer[: now.size - first])
            self._reduce(V.astype(np.float32, copy=False), chunk.reduced[part], chunk.lengths[part])
        if rows is None and stop <= self._most_kept:
            self._kept[start] = chunk
        return chunk

    def _reduce(self, V: WorkArray, reduced: WorkArray, lengths: WorkArray) -> None:
        """Write what `musicfw.som.kernels.collect` takes of these points."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            squared = np.einsum("nd,nd->n", V, V)
            if not squared.max() <= _LONGEST:  # or the bounds would overflow
                self.prunes = False
            projections = V @ self._directions
            room, rest = squared * V.dtype.type(self._room), squared
            coarse, fine = projections[:, :_COARSE], projections[:, _COARSE:]
            rest = np.maximum(rest - np.einsum("nk,nk->n", coarse, coarse), 0)
            left = np.sqrt(rest + room)
            reduced[:, :_COARSE], reduced[:, _COARSE], reduced[:, _COARSE + 1] = coarse, left, 1
            if fine.size:
                rest = np.maximum(rest - np.einsum("nk,nk->n", fine, fine), 0)
                reduced[:, _COARSE + 2 : -2], reduced[:, -1] = fine, -left
                reduced[:, -2] = np.sqrt(rest + room)
            np.multiply(squared, 1.0 - self._room, out=lengths)
            lengths -= 64 * _FLOAT32.tiny


def _thread_count() -> int:
    """Return how many threads to use: as many as cores, at most ``OMP_NUM_THREADS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(limit) if limit.isdecimal() and int(limit) else 2**31)
