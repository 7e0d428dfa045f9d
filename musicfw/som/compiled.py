"""Statistics by an exact search that skips most units; needs numba (``musicfw[fast]``).

With k orthonormal directions Q and the length ρ of what they leave of a vector, every distance is
bounded from below in k + 1 dimensions::

    ||x − w||² = ||x||² + ||w||² − 2 x·w ≥ ||x||² + ||w||² − 2 (Qᵀx·Qᵀw + ρ(x) ρ(w))

A unit whose bound exceeds the distance to a unit already looked at cannot be the nearest. Twelve
directions bound all units; where there are many features, 42 bound those that are left. How many
are left then decides what that is worth: the first 256 points of every chunk fall back to
`CentredPoints`, for good, where they are more than one in ten, as in white noise.

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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, WorkArray
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints
from musicfw.som.initialization import leading_directions
from musicfw.som.statistics import Statistics

_COARSE, _DIRECTIONS = 12, 42
_TRIAL_ROWS = 256
_WORTHWHILE_SHARE = 0.1
_MOST_BYTES_KEPT = 64 * 2**20
# Chunks whose sums are added up before they become float64.
_CHUNKS_TOGETHER = 4
_FLOAT32 = np.finfo(np.float32)
_LONGEST = float(_FLOAT32.max) / 16.0


class _Chunk(NamedTuple):
    """Some points, and what the bounds need of them; see `musicfw.som.kernels.collect`."""

    rows: IntArray
    reduced: WorkArray
    lengths: WorkArray


class FilteredPoints(CentredPoints):
    """`CentredPoints` whose statistics are found faster, where that is possible.

    Parameters
    ----------
    points, centre, dtype, chunk_size, weights
        As of `CentredPoints`.
    sample : ndarray, shape (n, D)
        Centred points, whose leading principal directions become Q.

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
        sample: FloatArray,
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
        least = min(sample.shape)
        directions = _DIRECTIONS if least >= 2 * _DIRECTIONS else _COARSE
        self._rounding = (math.sqrt(directions) + 3.0) * points.shape[1]
        self._room = self._rounding * float(_FLOAT32.eps)
        # With few features there is little to skip.
        self.prunes = least >= 4 * _COARSE
        if self.prunes:
            self._directions = leading_directions(sample, directions).T.astype(np.float32)
        self._kept: dict[int, _Chunk] = {}
        self._bytes_left = _MOST_BYTES_KEPT
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

    def _filtered(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics | None:
        """Return the statistics; None where the bounds are of no use, now and later."""
        W = prototypes.astype(self.dtype, order="C")
        tables = self._of_units(prototypes)

        def collect(chunks: list[_Chunk]) -> tuple[Statistics, WorkArray] | None:
            return self._collect(chunks, W, tables) if self.prunes else None

        total: Statistics | None = None
        count, start = self.count if rows is None else rows.size, 0
        chunks = self._reduced_chunks(rows)
        together = iter(lambda: list(islice(chunks, _CHUNKS_TOGETHER)), [])
        # As many at a time as there are threads: their sums wait in memory.
        while now := list(islice(together, self._threads)):
            for found in self._pool.map(collect, now) if len(now) > 1 else map(collect, now):
                if found is None:
                    self.prunes = False
                    if self._limits is not None:  # from now on BLAS does the work
                        self._limits.restore_original_limits()
                    return None
                fresh, squared = found
                total = fresh if total is None else total + fresh
                self._sample(squared, start, count)
                start += squared.size
        return total

    def _collect(
        self, chunks: list[_Chunk], W: WorkArray, tables: tuple[WorkArray, WorkArray]
    ) -> tuple[Statistics, WorkArray] | None:
        """Return the statistics of some chunks, and the squared distances of their points.

        None where too many distances were computed.
        """
        sums, counts, error_sum, weight = np.zeros_like(W), np.zeros(len(W)), 0.0, 0.0
        all_squared = np.empty(sum(chunk.rows.size for chunk in chunks), W.dtype)
        start = 0
        for chunk in chunks:
            count = chunk.rows.size
            shares = np.ones(count) if self._weights is None else self._weights[chunk.rows]
            squared = all_squared[start : start + count]
            start += count
            for part in (slice(_TRIAL_ROWS), slice(_TRIAL_ROWS, None)):
                rows, reduced, lengths = (facts[part] for facts in chunk)
                made = sums, counts, squared[part]
                given = rows, reduced, lengths, shares[part], W, *tables, *made
                computed = self._kernels.collect(self._points, self._centre, *given)
                if computed > _WORTHWHILE_SHARE * rows.size * len(W):
                    return None
            error_sum += float(shares @ np.sqrt(squared).astype(np.float64))
            weight += float(shares.sum())
        found = Statistics(
            sums=sums.astype(np.float64), counts=counts, error_sum=error_sum, rows=weight
        )
        return found, all_squared

    def _of_units(self, W: FloatArray) -> tuple[WorkArray, WorkArray]:
        """Return what `musicfw.som.kernels.collect` takes as ``table`` and ``fine``."""
        units, lanes = W.shape[0], self._kernels.LANES
        groups = -(-units // (8 * lanes)) * 8  # whole vectors of them
        rows = np.zeros((groups * lanes, _COARSE + 2), dtype=np.float32)
        rows[units:, -1] = np.inf
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            # In float64, which leaves ρ(w) as it is: it counts most where it is small.
            squared, coarse, left, *fine = self._reduced(W)
            rows[:units, :_COARSE] = -2 * coarse
            rows[:units, _COARSE] = -2 * left
            rows[:units, -1] = squared * (1.0 - self._room)
            # A column per unit, `unit % lanes * groups + unit // lanes`.
            table = rows.reshape(groups, lanes, -1).transpose(2, 1, 0).reshape(_COARSE + 2, -1)
            if not fine:
                return table, np.empty((units, 0), dtype=np.float32)
            return table, 2 * np.column_stack([*fine, left]).astype(np.float32)

    def _reduced_chunks(self, rows: IntArray | None) -> Iterator[_Chunk]:
        """Yield some of the points, or all for None, as `chunks` does."""
        count, size = self._points.shape[0] if rows is None else rows.size, self._chunk.shape[0]
        for start in range(0, count, size):
            if rows is None and start in self._kept:
                yield self._kept[start]
                continue
            stop = min(start + size, count)
            now = np.arange(start, stop) if rows is None else rows[start:stop]
            V = next(self.chunks(now))
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                V = V.astype(np.float32, copy=False)
                lengths, coarse, left, *fine = self._reduced(V)
            rest = [*fine, -left] if fine else []
            reduced = np.column_stack([coarse, left, np.ones_like(left), *rest])
            lengths *= np.float32(1.0 - self._room)
            lengths -= 64 * _FLOAT32.tiny
            chunk = _Chunk(now, reduced, lengths)
            weight = sum(part.nbytes for part in chunk)
            if rows is None and weight <= self._bytes_left:
                self._bytes_left -= weight
                self._kept[start] = chunk
            yield chunk

    def _reduced(self, V: WorkArray) -> tuple[WorkArray, ...]:
        """Return ||v||², then Qᵀv and ρ(v), rather too long, of the coarse and of all directions.

        Those of all directions (without the coarse Qᵀv) only if there are more.
        """
        squared = np.einsum("nd,nd->n", V, V)
        self.prunes &= bool(squared.max() <= _LONGEST)  # or the bounds would overflow
        room = squared * V.dtype.type(self._rounding * np.finfo(V.dtype).eps)
        projections = V @ self._directions
        rest, found = squared, []
        for start in range(0, projections.shape[1], _COARSE)[:2]:
            part = projections[:, start : None if start else _COARSE]
            rest = np.maximum(rest - np.einsum("nk,nk->n", part, part), 0)
            found += [part, np.sqrt(rest + room)]
        return squared, *found


def _thread_count() -> int:
    """Return how many threads to use: as many as cores, at most ``OMP_NUM_THREADS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(limit) if limit.isdecimal() and int(limit) else 2**31)
