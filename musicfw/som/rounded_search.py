"""Best matching units in float64, of which a product in float32 settles most in half the time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, WorkArray
from musicfw.som.statistics import POINTS_HANDED_ON, PlainSearch

# Below, what the second look costs is more than the product saves.
_LEAST_UNITS, _LEAST_FEATURES = 256, 16
_ROWS = 1024


class RoundedSearch:
    """The search of `PlainSearch`, with most of its work in float32.

    A squared distance in float32, without the term that all units share, is off by at most
    ``(D + 4) eps/2 (||x||² + max ||w||²)``: D + 4 roundings to half the spacing eps of what stays
    below that sum. Where the two nearest units differ by less than twice this, or are not finite in
    float32, the point is searched in float64; if that holds for more than a quarter of some points,
    so are all after them.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Prototypes, with the origin of the points, near the data.
    dtype : dtype
        float64, as the points.
    """

    def __init__(self, prototypes: FloatArray, dtype: npt.DTypeLike) -> None:
        self._plain = PlainSearch(prototypes, dtype)
        self.relative: WorkArray  # as of a plain search, in the precision of the product
        units, features = prototypes.shape
        self._helps = units >= _LEAST_UNITS and features >= _LEAST_FEATURES
        if self._helps:
            norms = np.einsum("md,md->m", prototypes, prototypes)
            self._W, self._longest = prototypes, norms.max()
            self._rounding = (features + 4) * float(np.finfo(np.float32).eps)
            with np.errstate(over="ignore", under="ignore"):
                self._norms = norms.astype(np.float32)
                self._minus_twice = (-2.0 * prototypes).astype(np.float32)

    def __call__(self, chunk: WorkArray, /) -> tuple[IntArray, WorkArray]:
        """Return the nearest prototype of every point, of equals the lowest, and how near."""
        winners = np.empty(chunk.shape[0], dtype=np.intp)
        squared = np.empty(chunk.shape[0], dtype=chunk.dtype)
        for start in range(0, chunk.shape[0], _ROWS):
            if not self._helps:
                winners[start:], squared[start:] = self._plain(chunk[start:])
                self.relative = self._plain.relative if start == 0 else self.relative
                break
            here = slice(start, start + _ROWS)
            winners[here], squared[here], relative = self._of_block(chunk[here])
            self.relative = relative if start == 0 else self.relative
        self.squared = squared
        return winners, squared

    def _of_block(self, X: WorkArray) -> tuple[IntArray, WorkArray, WorkArray]:
        rows = np.arange(X.shape[0])
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            relative = X.astype(np.float32) @ self._minus_twice.T
            relative += self._norms
            handed_on = relative[:POINTS_HANDED_ON].copy()
            winners = relative.argmin(axis=1)
            least = relative[rows, winners]
            relative[rows, winners] = np.inf
            ahead = relative.min(axis=1) - least
            room = self._rounding * (np.einsum("nd,nd->n", X, X) + self._longest)
            doubtful = np.flatnonzero(~(ahead > room))
            winners[doubtful] = self._plain(X[doubtful])[0]
            offset = X - self._W[winners]
        self._helps = 4 * doubtful.size <= rows.size
        return winners, np.einsum("nd,nd->n", offset, offset), handed_on
