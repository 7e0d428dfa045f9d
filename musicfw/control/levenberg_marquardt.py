"""Levenberg–Marquardt control: take only steps that lower the true objective, and adapt λ.

Source: Marquardt 1963, J. SIAM 11, 431; the acceptance test compares the true fall with that of
the linear model, as in trust-region methods.
"""

from __future__ import annotations

import numpy as np

from musicfw.api import BoolArray, FloatArray

# Share of the predicted fall of the objective that a step must bring in truth.
_ACCEPT = 0.1
_RELAX, _TIGHTEN = 0.5, 4.0
# λ relative to the spectrum: above this a step moves nothing.
MOST_DAMPING = 1e8


def accepted(before: FloatArray, predicted: FloatArray, after: FloatArray) -> BoolArray:
    """Return which steps may be taken.

    Parameters
    ----------
    before, predicted, after : ndarray, shape (N,)
        The objective without the step, by the linear model, and in truth.
    """
    hoped = before - predicted
    return np.asarray((before - after > _ACCEPT * hoped) & (hoped > 0.0), dtype=np.bool_)


def next_damping(damping: FloatArray, taken: BoolArray, *, least: float) -> FloatArray:
    """Return λ / 2 (but not below ``least``) after a step that was taken, else 4 λ."""
    return np.maximum(damping * np.where(taken, _RELAX, _TIGHTEN), least)
