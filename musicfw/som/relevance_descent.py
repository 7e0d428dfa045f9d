"""One descent of batch SOMRL: winners, prototypes, dispersions and relevances in turn.

Every step lowers the energy of `musicfw.som.relevance_laws` with the rest held fixed::

    b(x) = argmin_i d_i(x),  d_i = Σ_k r_ik (x_k − w_ik)²
    w_i  = Σ_x h_b(x)i x / n_i,  n_i = Σ_x h_b(x)i
    v_ik = Σ_x h_b(x)i (x_k − w_ik)² / n_i,  then r by the law

over the points x in the receptive field: those whose d_b is not among the largest of all (the batch
form of LARFDSSOM's activation threshold), so that noise draws no prototype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musicfw.arrays import FloatArray, IntArray
from musicfw.geometry import squared_distances
from musicfw.som.relevance_laws import LawName, relevances, shrunk
from musicfw.som.statistics import Neighbourhood

# Rows per block of distances: about 8 MB.
_BLOCK_ELEMENTS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """The state of a descent.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        W.
    relevances : ndarray, shape (M, D), or None
        R; None is 1 everywhere, and stays so.
    """

    prototypes: FloatArray
    relevances: FloatArray | None

    @classmethod
    def alike(cls, prototypes: FloatArray, *, learning: bool) -> Units:
        """Return units to which all features matter alike; ``learning`` if that may change."""
        ones = np.ones_like(prototypes) if learning else None
        return cls(prototypes=prototypes, relevances=ones)

    def taken(self, units: IntArray) -> Units:
        """Return some of the units."""
        R = self.relevances
        return Units(prototypes=self.prototypes[units], relevances=None if R is None else R[units])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """Which unit every point belongs to.

    Parameters
    ----------
    winners : ndarray of intp, shape (N,)
        b(x).
    squared_distances : ndarray, shape (N,)
        d_b(x).
    kept : ndarray of intp, shape (n,)
        Rows in the receptive field.
    """

    winners: IntArray
    squared_distances: FloatArray
    kept: IntArray

    @property
    def energy(self) -> float:
        """Mean squared distance in the receptive field: what restarts are judged by."""
        return float(self.squared_distances[self.kept].mean())

    @property
    def quantization_error(self) -> float:
        """Mean distance of all points."""
        return float(np.sqrt(self.squared_distances).mean())

    def same_as(self, other: Assignment | None) -> bool:
        """Whether a refit from either is the same."""
        return (
            other is not None
            and np.array_equal(self.kept, other.kept)
            and np.array_equal(self.winners, other.winners)
        )


def assigned(points: FloatArray, units: Units, *, receptive_field: float) -> Assignment:
    """Return the winners of all points; the nearest share ``receptive_field`` of them is kept."""
    count = points.shape[0]
    winners, nearest = np.empty(count, dtype=np.intp), np.empty(count)
    block = max(1, _BLOCK_ELEMENTS // units.prototypes.shape[0])
    for start in range(0, count, block):
        rows = slice(start, start + block)
        squared = squared_distances(points[rows], units.prototypes, units.relevances)
        winners[rows] = squared.argmin(axis=1)
        nearest[rows] = np.take_along_axis(squared, winners[rows, np.newaxis], axis=1)[:, 0]
    kept = np.arange(count)
    if receptive_field < 1.0:
        kept = np.flatnonzero(nearest <= np.quantile(nearest, receptive_field))
    return Assignment(winners=winners, squared_distances=nearest, kept=kept)


def with_means(
    points: FloatArray, units: Units, found: Assignment, neighbourhood: Neighbourhood | None
) -> tuple[Units, FloatArray, FloatArray]:
    """Return the units at the means of their points, the dispersions (M, D) and the counts (M,).

    A unit without points stays where it is, with dispersion 0.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        x; near 0 beside their spread, for the dispersions are differences of squares.
    units : Units
        Before.
    found : Assignment
        Of the points to them.
    neighbourhood : Neighbourhood, optional
        h; without it every unit learns from its own points alone.
    """
    members, rows = points[found.kept], found.winners[found.kept]
    size = units.prototypes.shape[0]
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=size).astype(np.float64)
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    sums, squares = np.zeros((2, size, points.shape[1]))
    occupied, members = rows[order][starts], members[order]
    sums[occupied] = np.add.reduceat(members, starts, axis=0)
    squares[occupied] = np.add.reduceat(members * members, starts, axis=0)
    if neighbourhood is not None:
        counts, sums = neighbourhood @ counts, neighbourhood @ sums
        squares = neighbourhood @ squares
    n = counts[:, np.newaxis]
    W = np.where(n > 0.0, sums / np.where(n > 0.0, n, 1.0), units.prototypes)
    mean_squares = np.where(n > 0.0, squares / np.where(n > 0.0, n, 1.0), W * W)
    return replace(units, prototypes=W), np.maximum(mean_squares - W * W, 0.0), counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """How relevances follow from dispersions.

    Parameters
    ----------
    name : str
        See `musicfw.som.relevance_laws.relevances`.
    floor : float
        Least relevance.
    shrinkage : float
        n₀ of `musicfw.som.relevance_laws.shrunk`.
    """

    name: LawName
    floor: float
    shrinkage: float


def refitted(
    points: FloatArray,
    units: Units,
    found: Assignment,
    *,
    neighbourhood: Neighbourhood | None,
    law: Law,
    temperature: float | FloatArray,
) -> Units:
    """Return the units after both steps, at a temperature for all or, shape (M, 1), for each."""
    moved, dispersions, counts = with_means(points, units, found, neighbourhood)
    if units.relevances is None:
        return moved
    v = shrunk(dispersions, counts, strength=law.shrinkage)
    learnt = relevances(v, law=law.name, temperature=temperature, floor=law.floor)
    return replace(moved, relevances=learnt)
