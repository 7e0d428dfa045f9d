"""From data to the `Scaling` that gives its features comparable units."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_matrix, known_range
from musicfw.dataset import Scaling
from musicfw.errors import DataError, UsageError, did_you_mean, one_of
from musicfw.sparse import as_csr, column_moments, column_range, is_sparse

__all__ = ["ScalingKind", "checked_kind", "fit_scaling"]

ScalingKind = Literal["none", "standard", "minmax"]


def fit_scaling(points: npt.ArrayLike, kind: ScalingKind, *, missing: bool = False) -> Scaling:
    """Return the change of units that gives every feature the same weight in a distance.

    A map compares points by Euclidean distance, in which a feature in millimetres outweighs one in
    metres. Per feature x, with ``scaled = (x − offset) / scale``:

    ==========  ===========  ============================================
    kind        offset       scale
    ==========  ===========  ============================================
    none        0            1 (points pass through bit for bit)
    standard    mean(x)      sqrt(mean((x − mean(x))²)), ddof 0
    minmax      min(x)       max(x) − min(x)
    ==========  ===========  ============================================

    A constant feature, or one whose scale is below the smallest normal double (2.2e-308), keeps
    scale 1.

    Parameters
    ----------
    points : array_like or sparse matrix, shape (N, D)
        Finite data in original units.
    kind : {"none", "standard", "minmax"}
        Which scaling.
    missing : bool
        Whether NaN stands for a missing value; the scaling is that of the known ones.

    Returns
    -------
    Scaling
        Offsets and scales (D,) in original units.

    Raises
    ------
    DataError
        For unusable points, for a feature without any known value, and for one whose range exceeds
        the largest double (1.8e308).
    UsageError
        For an unknown kind.
    """
    checked_kind(kind)
    if is_sparse(points):
        return _of_sparse(as_csr(points, name="points"), kind)
    matrix = as_matrix(points, name="points", missing=missing)
    if matrix.shape[0] == 0:
        raise DataError("points: expected at least one row to fit a scaling to, got none")
    if kind == "none":
        return Scaling.identity(matrix.shape[1])
    lowest, span = _range(matrix)
    if kind == "minmax":
        return Scaling(offset=lowest, scale=_usable(span))
    # Moments of the data squeezed into 0 … 1: no square or sum can overflow or underflow, and a
    # constant column has deviation 0 exactly.
    squeezed = (matrix - lowest) / np.where(span > 0, span, 1.0)
    mean = lowest + span * (np.nanmean if missing else np.mean)(squeezed, axis=0)
    deviation = (np.nanstd if missing else np.std)(squeezed, axis=0)
    return Scaling(offset=mean, scale=_usable(span * deviation))


def _of_sparse(matrix: Any, kind: ScalingKind) -> Scaling:
    """Return `fit_scaling` of a CSR array, of which nothing becomes dense."""
    if kind == "none":
        return Scaling.identity(matrix.shape[1])
    if kind == "minmax":
        lowest, highest = column_range(matrix)
        return Scaling(offset=lowest, scale=_usable(highest - lowest))
    mean, deviation = column_moments(matrix)
    return Scaling(offset=mean, scale=_usable(deviation))


def checked_kind(kind: ScalingKind) -> ScalingKind:
    """Return a kind of scaling, refusing what is none."""
    kinds = get_args(ScalingKind)
    if isinstance(kind, str) and kind in kinds:
        return kind
    near = did_you_mean(str(kind), kinds)
    raise UsageError(
        f"scaling: expected {one_of(kinds)}, got {kind!r}" + (f"; {near}" if near else "")
    )


def _range(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    lowest, highest = known_range(matrix)
    if np.isnan(lowest).any():
        column = int(np.flatnonzero(np.isnan(lowest))[0])
        raise DataError(
            f"points: column {column} has no known value in any row, expected at least one to fit "
            f"a scaling to; leave it out"
        )
    with np.errstate(over="ignore"):
        span = highest - lowest
    if not np.isfinite(span).all():
        column = int(np.flatnonzero(~np.isfinite(span))[0])
        raise DataError(
            f"points: column {column} reaches from {lowest[column]:.3g} to {highest[column]:.3g}, "
            f"expected a range that a double holds (1.8e308); change the unit of that column"
        )
    return lowest, span


def _usable(scale: FloatArray) -> FloatArray:
    return np.where(scale < np.finfo(np.float64).tiny, 1.0, scale)
