"""Rows with gaps: NaN stands for a value that is not known.

A row is compared with the prototypes in the features it has, by its masked squared distance::

    d_i = Σ_k known (x_k − w_ik)²

and a gap is filled from the best matching unit b: ``x̂_k = w_bk``. That is consistent, because
``d_i(x̂) = d_i + Σ_k missing (w_bk − w_ik)² ≥ d_i ≥ d_b = d_b(x̂)``: the masked distance to b is
that of the filled row, whose best matching unit is b too. So in every measure a row with gaps
counts as the row that is filled.

Source: T. Samad and S. A. Harp, "Self-organization with partial data", Network 3 (1992).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from musicfw.arrays import BoolArray, FloatArray, IntArray, WorkArray
from musicfw.errors import UsageError
from musicfw.geometry import centre_of, winners_of

MissingValues = Literal["refuse", "keep"]

# Elements per block of rows: about 8 MB.
_BLOCK_ELEMENTS = 1 << 20


def keeps_gaps(missing: MissingValues) -> bool:
    """Return whether NaN stands for a missing value.

    Raises
    ------
    UsageError
        If it is neither "refuse" nor "keep".
    """
    if missing not in get_args(MissingValues):
        raise UsageError(f"missing: expected 'refuse' or 'keep', got {missing!r}")
    return missing == "keep"


def has_gaps(points: FloatArray) -> bool:
    """Return whether any value is missing, in the memory of a block of rows."""
    block = max(1, _BLOCK_ELEMENTS // points.shape[1])
    starts = range(0, points.shape[0], block)
    return any(bool(np.isnan(points[start : start + block]).any()) for start in starts)


def known_and_filled(points: WorkArray) -> tuple[BoolArray, WorkArray]:
    """Return which values are known, and the points with 0 for the others, both (N, D)."""
    known = ~np.isnan(points)
    return known, np.where(known, points, points.dtype.type(0))


class MaskedSearch:
    """Best matching units by masked distances: two matrix products in the precision of the points.

    ``d_i = Σ_k m_k w_ik² − 2 Σ_k m_k x_k w_ik + Σ_k m_k x_k²`` with m_k = 1 where x_k is known and
    0 elsewhere. As for `musicfw.som.statistics.PlainSearch`, points and prototypes share one origin
    near the data, or it cancels.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Prototypes.
    dtype : dtype
        float64 or float32, as the points.
    """

    def __init__(self, prototypes: FloatArray, dtype: npt.DTypeLike) -> None:
        W = prototypes.astype(dtype, copy=False)
        self._squares = W * W
        self._minus_twice = W * W.dtype.type(-2.0)

    def __call__(self, chunk: WorkArray, /) -> tuple[IntArray, WorkArray]:
        """Return the nearest prototype of every point, of equals the lowest, and how near."""
        known, filled = known_and_filled(chunk)
        relative = filled @ self._minus_twice.T
        relative += known.astype(chunk.dtype) @ self._squares.T
        winners, self.squared = winners_of(relative, np.einsum("nd,nd->n", filled, filled))
        return winners, self.squared


def masked_best_matching_units(
    points: FloatArray, prototypes: FloatArray, relevances: FloatArray | None = None
) -> IntArray:
    """Return the unit with the least masked distance to each point, shape (N,).

    Parameters
    ----------
    points : ndarray, shape (N, D)
        With NaN for what is missing.
    prototypes : ndarray, shape (M, D)
        Prototypes. Of several nearest ones the lowest counts.
    relevances : ndarray, shape (D,) or (M, D), optional
        R in ``Σ_k known R_ik (x_k − w_ik)²``; all 1 by default.
    """
    centre = centre_of(prototypes, relevances)
    V = prototypes - centre
    R = np.ones((1, V.shape[1])) if relevances is None else np.atleast_2d(relevances)
    minus_twice, squares = -2.0 * R * V, R * V * V
    units = np.empty(points.shape[0], dtype=np.intp)
    block = max(1, _BLOCK_ELEMENTS // max(V.shape))
    for start in range(0, points.shape[0], block):
        rows = slice(start, start + block)
        known, filled = known_and_filled(points[rows] - centre)
        relative = filled @ minus_twice.T + known.astype(np.float64) @ squares.T
        if R.shape[0] > 1:  # else this term is the same for all units
            relative += (filled * filled) @ R.T
        units[rows] = relative.argmin(axis=1)
    return units


def filled_from(points: FloatArray, prototypes: FloatArray, units: IntArray) -> FloatArray:
    """Return the points with gaps filled from a prototype each; known values keep their bits."""
    result = points.copy()
    rows, columns = np.nonzero(np.isnan(points))
    result[rows, columns] = prototypes[units[rows], columns]
    return result
