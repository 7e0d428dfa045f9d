"""Statistics by an exact search that skips most units; needs numba (``musicfw[fast]``).

With k orthonormal directions Q and the length ρ of what they leave of a vector, every distance is
bounded from below in k + 1 dimensions::

    ||x − w||² = ||x||² + ||w||² − 2 x·w ≥ ||x||² + ||w||² − 2 (Qᵀx·Qᵀw + ρ(x) ρ(w))

A unit whose bound exceeds the distance to a unit already looked at cannot be the nearest. Twelve
directions bound all units, 42 those that are left. How many are left then decides what that is
worth: a first look at 256 points falls back to `CentredPoints` for good where they are more than
one in ten, as in white noise.

What a bound needs of a point is the same in every pass over all points: it is kept from the first
one on, up to 64 MB of it (340,000 points in float32).

The best matching units are those of `CentredPoints` but where distances agree to rounding; the sums
are formed in the same order, whatever the number of threads. Every comparison leaves room for the
worst rounding, in D eps of squared lengths: √k of k projections, less than 3 of lengths and
distances.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import NamedTuple

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


class _Chunk(NamedTuple):
    """Some points, and what the bounds need of them; see `musicfw.som.kernels.collect`."""

    rows: IntArray
    reduced: WorkArray
    lengths: WorkArray


class _Found(NamedTuple):
    """What `musicfw.som.kernels.collect` adds up of a chunk."""

    sums: WorkArray
    counts: FloatArray
    error_sum: float
    weight: float
    computed: int


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
            from musicfw.som import kernels
        except ImportError as err:
            raise UsageError(
                "search: 'compiled' needs numba, which is not installed; pip install "
                "'musicfw[fast]', or take search: plain"
            ) from err
        self._kernels = kernels
        limits = np.finfo(self.dtype)
        self._rounding = (math.sqrt(_DIRECTIONS) + 3.0) * points.shape[1]
        self._room = self._rounding * float(limits.eps)
        self._longest = float(limits.max) / 16.0
        # With few features there is little to skip.
        self.prunes = min(sample.shape) >= 2 * _DIRECTIONS
        if self.prunes:
            self._directions = leading_directions(sample, _DIRECTIONS).T.astype(self.dtype)
        self._kept: dict[int, _Chunk] = {}
        self._bytes_left = _MOST_BYTES_KEPT
        self._threads = _thread_count()
        self._pool = ThreadPoolExecutor(self._threads)

    def statistics(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics:
        """Return the statistics of some of the points, or of all for None."""
        found = self._filtered(rows, prototypes) if self.prunes else None
        return super().statistics(rows, prototypes) if found is None else found

    def _filtered(self, rows: IntArray | None, prototypes: FloatArray) -> Statistics | None:
        """Return the statistics; None where the bounds are of no use, now and later."""
        W = prototypes.astype(self.dtype, order="C")
        tables = self._of_units(W)

        def collect(chunk: _Chunk) -> _Found:
            return self._collect(chunk, W, tables)

        chunks = self._reduced_chunks(rows)
        first = next(chunks)
        trial = _Chunk(
            first.rows[:_TRIAL_ROWS], first.reduced[:_TRIAL_ROWS], first.lengths[:_TRIAL_ROWS]
        )
        most = _WORTHWHILE_SHARE * trial.rows.size * len(W)
        self.prunes = self.prunes and collect(trial).computed <= most
        if not self.prunes:
            return None
        sums, counts, error_sum, weight = np.zeros(W.shape), np.zeros(len(W)), 0.0, 0.0
        chunks = chain([first], chunks)
        # As many at a time as there are threads: their sums wait in memory.
        while now := list(islice(chunks, self._threads)):
            for found in self._pool.map(collect, now) if len(now) > 1 else map(collect, now):
                sums += found.sums
                counts += found.counts
                error_sum += found.error_sum
                weight += found.weight
        if not self.prunes:
            return None
        return Statistics(sums=sums, counts=counts, error_sum=error_sum, rows=weight)

    def _collect(self, chunk: _Chunk, W: WorkArray, tables: tuple[WorkArray, WorkArray]) -> _Found:
        count = chunk.rows.size
        shares = np.ones(count) if self._weights is None else self._weights[chunk.rows]
        sums, counts, squared = np.zeros_like(W), np.zeros(len(W)), np.empty(count, self.dtype)
        computed = self._kernels.collect(
            self._points, self._centre, *chunk, shares, W, *tables, sums, counts, squared
        )
        error_sum = float(shares @ np.sqrt(squared).astype(np.float64))
        return _Found(sums, counts, error_sum, float(shares.sum()), computed)

    def _of_units(self, W: WorkArray) -> tuple[WorkArray, WorkArray]:
        """Return what `musicfw.som.kernels.collect` takes as ``table`` and ``fine``."""
        with np.errstate(over="ignore", invalid="ignore"):
            # In float64, which leaves ρ(w) as it is: it counts most where it is small.
            projections, (left, left_of_all), squared = self._reduced(W.astype(np.float64))
        squared *= 1.0 - self._room
        units, lanes = W.shape[0], self._kernels.LANES
        table = np.zeros((_COARSE + 2, -(-units // lanes) * lanes), dtype=W.dtype)
        table[:_COARSE, :units] = -2 * projections[:, :_COARSE].T
        table[_COARSE, :units] = -2 * left
        table[-1] = np.inf
        table[-1, :units] = squared
        fine = 2 * np.column_stack([projections[:, _COARSE:], left_of_all, left])
        return table, fine.astype(W.dtype)

    def _reduced_chunks(self, rows: IntArray | None) -> Iterator[_Chunk]:
        """Yield some of the points, or all for None, as `chunks` does."""
        count, size = self._points.shape[0] if rows is None else rows.size, self._chunk.shape[0]
        for start in range(0, count, size):
            if rows is None and start in self._kept:
                yield self._kept[start]
                continue
            stop = min(start + size, count)
            now = np.arange(start, stop) if rows is None else rows[start:stop]
            with np.errstate(over="ignore", invalid="ignore"):
                projections, (left, left_of_all), lengths = self._reduced(next(self.chunks(now)))
            coarse, fine = projections[:, :_COARSE], projections[:, _COARSE:]
            reduced = np.column_stack([coarse, left, np.ones_like(left), fine, left_of_all, -left])
            chunk = _Chunk(now, reduced, lengths * (1 - lengths.dtype.type(self._room)))
            weight = sum(part.nbytes for part in chunk)
            if rows is None and weight <= self._bytes_left:
                self._bytes_left -= weight
                self._kept[start] = chunk
            yield chunk

    def _reduced(self, V: WorkArray) -> tuple[WorkArray, list[WorkArray], WorkArray]:
        """Return Qᵀv, the two ρ(v), rather too long, and ||v||²."""
        squared = np.einsum("nd,nd->n", V, V)
        self.prunes &= bool(squared.max() <= self._longest)  # or the bounds would overflow
        room = squared * V.dtype.type(self._rounding * np.finfo(V.dtype).eps)
        projections = V @ self._directions
        rest, left = squared, []
        for part in (projections[:, :_COARSE], projections[:, _COARSE:]):
            rest = np.maximum(rest - np.einsum("nk,nk->n", part, part), 0)
            left.append(np.sqrt(rest + room))
        return projections, left, squared


def _thread_count() -> int:
    """Return how many threads to use: as many as cores, at most ``OMP_NUM_THREADS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores or 1, int(limit) if limit.isdecimal() and int(limit) else 2**31)
