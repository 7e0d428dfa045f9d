"""Exact search for best matching units that skips most of them; needs numba (``musicfw[fast]``).

With k orthonormal directions Q and the length ρ of what they leave of a vector, every distance is
bounded from below in k + 1 dimensions::

    ||x − w||² = ||x||² + ||w||² − 2 x·w ≥ ||x||² + ||w||² − 2 (Qᵀx·Qᵀw + ρ(x) ρ(w))

A unit whose bound exceeds the distance to a unit already looked at cannot be the nearest. How many
are left decides what that is worth: a first look at 256 points falls back to `PlainSearch` for good
where they are more than one in ten, as in white noise.

The winners are those of `PlainSearch` but for units whose distances agree to rounding. Every
comparison leaves room for the worst rounding of D-term products, ``4 D eps`` of squared lengths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray
from musicfw.errors import UsageError
from musicfw.som.initialization import leading_directions
from musicfw.som.statistics import PlainSearch, Search, WorkArray

_DIRECTIONS = 48
_TRIAL_ROWS = 256
_WORTHWHILE_SHARE = 0.1


class FilteredSearches:
    """Makes a search for every new set of prototypes of one training.

    Parameters
    ----------
    sample : ndarray, shape (n, D)
        Centred points, whose leading principal directions become Q.
    dtype : dtype
        float64 or float32, as the points.

    Raises
    ------
    UsageError
        If numba is not installed.
    """

    def __init__(self, sample: FloatArray, dtype: npt.DTypeLike) -> None:
        try:
            from musicfw.som.kernels import nearest
        except ImportError as err:
            raise UsageError(
                "search: 'compiled' needs numba, which is not installed; pip install "
                "'musicfw[fast]', or take search: plain"
            ) from err
        self.nearest = nearest
        self.rounding = 4 * sample.shape[1] * float(np.finfo(np.dtype(dtype)).eps)
        # With few features there is little to skip.
        self.prunes = min(sample.shape) >= 2 * _DIRECTIONS
        if self.prunes:
            self._directions = leading_directions(sample, _DIRECTIONS).T.astype(dtype)

    def __call__(self, prototypes: FloatArray, dtype: npt.DTypeLike) -> Search:
        """Return a search among the prototypes."""
        plain = PlainSearch(prototypes, dtype)
        return _FilteredSearch(self, prototypes.astype(dtype), plain) if self.prunes else plain

    def reduced(self, vectors: WorkArray) -> tuple[WorkArray, WorkArray]:
        """Return (Qᵀv, ρ(v)), shape (n, k + 1), ρ rather too long, and ||v||², shape (n,)."""
        result = np.empty((vectors.shape[0], _DIRECTIONS + 1), dtype=vectors.dtype)
        result[:, :-1] = vectors @ self._directions
        squared = np.einsum("nd,nd->n", vectors, vectors)
        rest = squared - np.einsum("nk,nk->n", result[:, :-1], result[:, :-1])
        result[:, -1] = np.sqrt(np.maximum(rest, 0.0) + self.rounding * squared)
        return result, squared


class _FilteredSearch:
    """The search among some prototypes; see the module."""

    def __init__(self, maker: FilteredSearches, W: WorkArray, plain: PlainSearch) -> None:
        self._maker, self._W, self._plain = maker, np.ascontiguousarray(W), plain
        reduced, squared = maker.reduced(self._W)
        self._minus_twice = -2 * reduced.T
        self._squared = squared * W.dtype.type(1 - maker.rounding)
        self._tried = False

    def __call__(self, chunk: WorkArray, /) -> tuple[IntArray, WorkArray]:
        """Return the nearest prototype of every point, of equals the lowest, and how near."""
        if not self._tried:
            self._tried = True
            trial = chunk[:_TRIAL_ROWS]
            computed = self._filtered(trial)[2]
            self._maker.prunes = computed <= _WORTHWHILE_SHARE * trial.shape[0] * len(self._W)
        if not self._maker.prunes:
            return self._plain(chunk)
        winners, squared, _ = self._filtered(chunk)
        return winners, squared

    def _filtered(self, chunk: WorkArray) -> tuple[IntArray, WorkArray, int]:
        reduced, lengths = self._maker.reduced(chunk)
        bounds = reduced @ self._minus_twice
        bounds += self._squared
        bounds += (lengths * lengths.dtype.type(1 - self._maker.rounding))[:, np.newaxis]
        winners = np.empty(chunk.shape[0], dtype=np.intp)
        squared = np.empty(chunk.shape[0], dtype=chunk.dtype)
        computed = self._maker.nearest(chunk, bounds, self._W, winners, squared)
        return winners, squared, int(computed)
