"""Growth by need: which units of a relevance map last, and where another one is wanted.

A unit *represents* a point if its activation ``a = 1 / (1 + d / (D s²))`` reaches a threshold, d
their squared distance with the relevances, s² the mean variance of the features: LARFDSSOM's
activation for relevances of sum D, made independent of the data's scale (H. F. Bassani and A. F. R.
Araujo, IEEE TNNLS 26 (2015)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.arrays import BoolArray, FloatArray, IntArray
from musicfw.geometry import squared_distances
from musicfw.som.relevance_descent import Assignment, Units


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The rules.

    Parameters
    ----------
    activation_threshold : float
        Least activation of a point that is represented.
    least_share : float
        Least share of all points that a unit must have.
    """

    activation_threshold: float
    least_share: float


def represented(points: FloatArray, squared: FloatArray, rules: Growth) -> BoolArray:
    """Return whether squared distances (N, …) of the points (N, D) mean representation."""
    scale = points.shape[1] * float(points.var(axis=0).mean())
    return np.asarray(1.0 / (1.0 + squared / scale) >= rules.activation_threshold)


def badly_represented_rows(
    points: FloatArray,
    found: Assignment,
    rules: Growth,
    *,
    count: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return rows drawn by squared distance from those that no unit represents, (count, D)."""
    distances = found.squared_distances
    rejected = np.where(represented(points, distances, rules), 0.0, distances)
    shares = rejected / rejected.sum() if rejected.any() else None
    return np.asarray(points[rng.choice(points.shape[0], count, p=shares)])


def lasting_units(points: FloatArray, units: Units, found: Assignment, rules: Growth) -> IntArray:
    """Return the units that have enough points and are not redundant, in ascending order.

    Points outside the receptive field do not count. A unit is redundant if others represent most of
    its points; units with few points go first. At least one unit lasts.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        All points.
    units : Units
        M of them.
    found : Assignment
        Of the points to them.
    rules : Growth
        What is enough.
    """
    rows = found.kept
    winners = found.winners[rows]
    counts = np.bincount(winners, minlength=units.prototypes.shape[0])
    lasting = counts >= rules.least_share * points.shape[0]
    lasting[counts.argmax()] = True
    squared = squared_distances(points[rows], units.prototypes, units.relevances)
    covered = represented(points, squared, rules)
    for unit in np.argsort(counts, kind="stable"):
        others = lasting.copy()
        others[unit] = False
        if lasting[unit] and others.any():
            shared = covered[winners == unit][:, others].any(axis=1)
            lasting[unit] = shared.mean() <= 0.5
    return np.flatnonzero(lasting)
