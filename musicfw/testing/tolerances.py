"""How far rounding may carry a result: every tolerance of the kit, derived and not tuned.

``C = 50`` throughout, in the style of LAPACK's test ratios: a method based on orthogonal factors
stays near 3, the normal equations exceed it by the condition number.
"""

from __future__ import annotations

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.geometry import CentredSystem, centred_system

__all__ = [
    "EPS",
    "RATIO",
    "recovery_bound",
    "rounding_of_rhs",
    "smallest_singular_value",
    "solution_bound",
]

EPS = float(np.finfo(np.float64).eps)
"""Relative rounding error of float64."""

RATIO = 50.0
"""C, the test ratio."""


def smallest_singular_value(prototypes: FloatArray) -> float:
    """Return σ_r of the centred prototypes, r their affine rank; 1 for r = 0."""
    sigma = centred_system(prototypes).singular_values
    return float(sigma[-1]) if sigma.size else 1.0


def recovery_bound(prototypes: FloatArray, points: FloatArray) -> FloatArray:
    """Return how far a recovered point may be from the point itself, shape (N,).

    A distance carries rounding errors of about ``eps · (||u|| + max ||v_i||)²`` (and, far from the
    origin, of ``eps`` times the size of the coordinates times that length, for the coordinates are
    rounded themselves); the centred system divides them by ``2 σ_r``, so that ::

        ||x̂ − x|| ≤ C · eps · √M · s · (s + max |w| + max |x|) / (2 σ_r),   s = ||u|| + max ||v_i||

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        w_i.
    points : ndarray, shape (N, D)
        x.
    """
    centre = prototypes.mean(axis=0)
    spread = np.linalg.norm(prototypes - centre, axis=1).max()
    scale = np.linalg.norm(points - centre, axis=1) + spread
    storage = np.abs(prototypes).max() + np.abs(points).max(initial=0.0)
    root = np.sqrt(prototypes.shape[0])
    return np.asarray(
        RATIO * EPS * root * scale * (scale + storage) / (2 * smallest_singular_value(prototypes))
    )


def rounding_of_rhs(system: CentredSystem, solution: FloatArray) -> FloatArray:
    """Return ``η = √M · (||u|| + max ||v_i||)²``, shape (B,).

    b comes from squared distances of that size, so it is not known better than ``eps · η``.
    """
    reach = np.linalg.norm(solution, axis=0) + np.sqrt(system.squared_norms.max())
    return np.asarray(np.sqrt(system.units) * reach**2)


def solution_bound(system: CentredSystem, rhs: FloatArray, solution: FloatArray) -> FloatArray:
    """Return how far two backward stable solutions of ``V u = b`` may differ, shape (B,).

    Wedin's bound for a least-squares problem whose V and b are each off by ``eps`` (N. Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, theorem 20.1), r the residual::

        C · eps · √M · ( (||b|| + η + σ₁ ||u||) / σ_r + σ₁ ||r|| / σ_r² )

    with η the `rounding_of_rhs`.

    Parameters
    ----------
    system : CentredSystem
        V.
    rhs : ndarray, shape (M, B)
        b.
    solution : ndarray, shape (D, B)
        u.
    """
    sigma = system.singular_values
    first, last = (float(sigma[0]), float(sigma[-1])) if sigma.size else (1.0, 1.0)
    size_b, size_u = np.linalg.norm(rhs, axis=0), np.linalg.norm(solution, axis=0)
    residual = np.linalg.norm(rhs - system.matrix @ solution, axis=0)
    size_b = size_b + rounding_of_rhs(system, solution)
    loss = (size_b + first * size_u) / last + first * residual / last**2
    return np.asarray(RATIO * EPS * np.sqrt(system.units) * loss)
