"""What the errors of distances are like: as large for all, or in proportion to the distance."""

from __future__ import annotations

from typing import Literal

import numpy as np

from musicfw.arrays import BoolArray, FloatArray

Errors = Literal["absolute", "relative"]

# A distance below this share of the median counts as that: weights of a wider range than its
# inverse square would leave nothing of the other units in double precision.
_LEAST_DISTANCE = 1e-4


def sizes(distances: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return what relative errors are relative to, shape (N, M), and where there is such, (N,)."""
    size = np.maximum(distances, _LEAST_DISTANCE * np.median(distances, axis=1, keepdims=True))
    usable = np.asarray((size > 0.0).all(axis=1))
    size[~usable] = 1.0
    return size, usable


def relative_is_likelier(
    with_equal: FloatArray, with_relative: FloatArray, size: FloatArray
) -> BoolArray:
    """Return whether relative errors make their misfit likelier, shape (N,).

    Parameters
    ----------
    with_equal, with_relative : ndarray, shape (N, M)
        ``d(x̂) − d`` of the fits with equal weights and with weights 1/d².
    size : ndarray, shape (N, M)
        Of `sizes`.

    Notes
    -----
    −2/M times the log-likelihoods of normal errors, their variance from the fit, less what both
    share.
    """
    tiny = np.finfo(np.float64).tiny
    equal = np.log(np.maximum(np.mean(with_equal**2, axis=1), tiny))
    relative = np.log(np.maximum(np.mean((with_relative / size) ** 2, axis=1), tiny))
    return np.asarray(relative + 2.0 * np.log(size).mean(axis=1) < equal)
