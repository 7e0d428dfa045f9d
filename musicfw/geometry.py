"""Squared distances and the centred linear system that inverts them.

With a centroid c of the prototypes, ``V = W − c``, ``u = x − c`` and ``e_i = d_i − ||v_i||²``::

    e_i = ||u||² − 2 v_i·u      hence      V u = −½ (e − mean e) = b

a linear system without an arbitrary reference prototype. The mean equation that centring removes
still tells ``||u||²``, and so the length of what lies outside the prototypes' affine hull.

Source: the multilateration system of the MUSIC paper (Londei, Benati, Lanzieri, Loreto 2026,
arXiv 2601.13851), referred to the centroid instead of one prototype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from musicfw.arrays import FloatArray, IntArray, WorkArray, read_only
from musicfw.sparse import dense, is_sparse, squared_row_lengths

# Rows per block, so that memory beside the result stays small: about 8 MB of distances.
_BLOCK_ELEMENTS = 1 << 20
# A unit vector with a part as small as this outside a space lies in it.
_WITHIN = 1e-8


def squared_distances(
    points: FloatArray, prototypes: FloatArray, relevances: FloatArray | None = None
) -> FloatArray:
    """Return ``d_i = Σ_k R_ik (x_k − w_ik)²``, shape (N, M), by one or two matrix products.

    Parameters
    ----------
    points : ndarray or csr_array, shape (N, D)
        x.
    prototypes : ndarray, shape (M, D)
        w_i.
    relevances : ndarray, shape (D,) or (M, D), optional
        R, shared by all units or one row per unit, not negative; all 1 by default.

    Notes
    -----
    ``Σ R (x − w)² = (x∘x)·R_i − 2 x·(R_i∘w_i) + (w_i∘w_i)·R_i`` about a common centre, which
    removes most of the cancellation; what rounding leaves below zero is clipped.
    """
    if is_sparse(points):
        return _of_sparse(points, prototypes, relevances)
    if relevances is not None and relevances.ndim == 1:
        scale = np.sqrt(relevances)
        return squared_distances(points * scale, prototypes * scale)
    centre = centre_of(prototypes, relevances)
    V = prototypes - centre
    U = points - centre
    weighted = V if relevances is None else relevances * V
    squared: FloatArray = U @ weighted.T
    squared *= -2.0
    if relevances is None:
        squared += np.einsum("nd,nd->n", U, U)[:, np.newaxis]
    else:
        squared += (U * U) @ relevances.T
    squared += np.einsum("md,md->m", weighted, V)
    np.maximum(squared, 0.0, out=squared)
    return squared


def _of_sparse(points: Any, prototypes: FloatArray, relevances: FloatArray | None) -> FloatArray:
    """Return `squared_distances` of a CSR array, about the origin: nothing is centred."""
    weighted = prototypes if relevances is None else relevances * prototypes
    squared: FloatArray = points @ np.ascontiguousarray(weighted.T)
    squared *= -2.0
    if relevances is None:
        squared += squared_row_lengths(points)[:, np.newaxis]
    else:
        squared += points.power(2) @ np.broadcast_to(relevances, prototypes.shape).T
    squared += np.einsum("md,md->m", weighted, prototypes)
    np.maximum(squared, 0.0, out=squared)
    return squared


def centre_of(prototypes: FloatArray, relevances: FloatArray | None = None) -> FloatArray:
    """Return the mean of the prototypes, shape (D,); of those that a feature matters to, if any.

    A prototype may lie anywhere in a feature that is irrelevant to it, however far.
    """
    if relevances is None or relevances.ndim == 1:
        return np.asarray(prototypes.mean(axis=0))
    total = relevances.sum(axis=0)
    shares = np.where(total > 0.0, relevances, 1.0) / np.where(total > 0.0, total, len(prototypes))
    return np.asarray(np.einsum("md,md->d", shares, prototypes))


def best_matching_units(
    points: FloatArray, prototypes: FloatArray, relevances: FloatArray | None = None
) -> IntArray:
    """Return the number of the nearest prototype, shape (N,); of equals the lowest.

    Distances are computed in the precision of the points.
    """
    count = points.shape[0]
    prototypes = prototypes.astype(points.dtype, copy=False)
    relevances = None if relevances is None else relevances.astype(points.dtype, copy=False)
    units = np.empty(count, dtype=np.intp)
    block = max(1, _BLOCK_ELEMENTS // prototypes.shape[0])
    for start in range(0, count, block):
        rows = slice(start, start + block)
        units[rows] = squared_distances(points[rows], prototypes, relevances).argmin(axis=1)
    return units


def nearest_squared_distances(
    points: FloatArray, prototypes: FloatArray, relevances: FloatArray | None = None
) -> FloatArray:
    """Return the squared distance to the nearest prototype, shape (N,)."""
    winners = best_matching_units(points, prototypes, relevances)
    nearest = np.empty(winners.shape)
    block = max(1, _BLOCK_ELEMENTS // prototypes.shape[1])
    for start in range(0, winners.size, block):
        rows = slice(start, start + block)
        offset = dense(points[rows]) - prototypes[winners[rows]]
        nearest[rows] = squared_lengths(offset, of_units(relevances, winners[rows]))
    return nearest


def winners_of(relative: WorkArray, squared_sizes: WorkArray) -> tuple[IntArray, WorkArray]:
    """Return the nearest prototype of every point, of equals the lowest, and how near, (n,) each.

    Parameters
    ----------
    relative : ndarray, shape (n, M)
        Squared distances without the term that all prototypes share, ``||x||²``.
    squared_sizes : ndarray, shape (n,)
        That term.
    """
    winners = relative.argmin(axis=1)
    squared = relative[np.arange(winners.size), winners]
    squared += squared_sizes
    return winners, np.maximum(squared, 0.0, out=squared)


def of_units(relevances: FloatArray | None, units: IntArray) -> FloatArray | None:
    """Return the relevances of some units: None, (D,) as it is, or one row per unit."""
    return relevances if relevances is None or relevances.ndim == 1 else relevances[units]


def squared_lengths(offsets: FloatArray, relevances: FloatArray | None = None) -> FloatArray:
    """Return ``Σ_k R_k v_k²`` of each offset v, shape (n,); R is None, (D,) or (n, D)."""
    weighted = offsets if relevances is None else offsets * relevances
    return np.asarray(np.einsum("nd,nd->n", weighted, offsets))


def pair_squared_distances(
    prototypes: FloatArray, relevances: FloatArray | None, first: IntArray, second: IntArray
) -> FloatArray:
    """Return squared distances between pairs of prototypes, shape (P,).

    Two units that measure differently (relevances by unit) agree on the mean of both distances.
    """
    one, other = of_units(relevances, first), of_units(relevances, second)
    both = None if one is None or other is None else 0.5 * (one + other)
    return squared_lengths(prototypes[first] - prototypes[second], both)


def prototype_squared_distances(
    prototypes: FloatArray, relevances: FloatArray | None = None
) -> FloatArray:
    """Return squared distances between all prototypes, (M, M), as `pair_squared_distances`."""
    between = squared_distances(prototypes, prototypes, relevances)
    return between if relevances is None else np.asarray(0.5 * (between + between.T))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CentredSystem:
    """The linear system ``V u = b`` of a codebook, with its singular value decomposition.

    Made by `centred_system`, or by `musicfw.lifted` for units that measure differently; all arrays
    are read-only.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        w_i.
    centroid : ndarray, shape (D,)
        c, the mean of the prototypes.
    matrix : ndarray, shape (M, D)
        V, with columns that sum to zero.
    squared_norms : ndarray, shape (M,)
        ``||w_i − c||²``.
    left, singular_values, right : ndarray, shapes (M, r), (r,), (D, r)
        The nonzero part of ``V = P S Zᵀ``; r is the affine rank.
    relevances : ndarray, shape (M, D), optional
        Where units measure differently: V is then ``P (R∘(W − c))``, P the projection that removes
        the columns of R, and its rows are no prototypes (`musicfw.lifted`).
    """

    prototypes: FloatArray
    centroid: FloatArray
    matrix: FloatArray
    squared_norms: FloatArray
    left: FloatArray
    singular_values: FloatArray
    right: FloatArray
    relevances: FloatArray | None = None

    @property
    def units(self) -> int:
        """Number of prototypes M."""
        return int(self.matrix.shape[0])

    @property
    def dimension(self) -> int:
        """Number of features D."""
        return int(self.matrix.shape[1])

    @property
    def affine_rank(self) -> int:
        """Dimension r of the prototypes' affine hull."""
        return int(self.singular_values.shape[0])

    @property
    def relevance_rank(self) -> int:
        """Number of unknown squares that enter the distances: ``||u||²`` alone."""
        return 1

    @property
    def condition(self) -> float:
        """``σ₁ / σ_r``; 1 for r = 0 (all prototypes equal: nothing to solve)."""
        sigma = self.singular_values
        return float(sigma[0] / sigma[-1]) if sigma.size else 1.0

    def right_hand_side(self, squared_distances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return b, shape (M, B), and the mean of e, shape (B,), for activations (B, M)."""
        e = squared_distances - self.squared_norms
        mean = e.mean(axis=1)
        b = np.ascontiguousarray((e - mean[:, np.newaxis]).T)
        b *= -0.5
        return b, mean

    def uncentred(self, squared_distances: FloatArray) -> FloatArray:
        """Return ``−½ e``, shape (M, B), for activations (B, M): what b is before the centring."""
        return np.ascontiguousarray(-0.5 * (squared_distances - self.squared_norms).T)

    def distances_of(self, uncentred: FloatArray) -> FloatArray:
        """Return the activations (B, M) of which ``uncentred`` (M, B) is the right-hand side."""
        return np.ascontiguousarray(self.squared_norms - 2.0 * uncentred.T)


def centred_system(prototypes: FloatArray) -> CentredSystem:
    """Return the centred system of the prototypes (M, D), factorised.

    The affine rank counts singular values above ``max(M, D)·eps·σ₁``, and above the rounding of the
    prototypes themselves far from the origin (``eps·max|W|``).
    """
    prototypes = np.ascontiguousarray(prototypes, dtype=np.float64)
    centroid = prototypes.mean(axis=0)
    offset = prototypes - centroid
    # The rounded mean leaves a rest as large as eps·|c|: far from the origin it would show.
    matrix = offset - offset.mean(axis=0)
    left, sigma, right_t = np.linalg.svd(matrix, full_matrices=False)
    rank = affine_rank(sigma, prototypes)
    return CentredSystem(
        prototypes=read_only(prototypes),
        centroid=read_only(centroid),
        matrix=read_only(matrix),
        squared_norms=read_only(np.einsum("md,md->m", offset, offset)),
        left=read_only(np.ascontiguousarray(left[:, :rank])),
        singular_values=read_only(sigma[:rank]),
        right=read_only(np.ascontiguousarray(right_t[:rank].T)),
    )


def affine_rank(singular_values: FloatArray, prototypes: FloatArray) -> int:
    """Return how many singular values of the centred prototypes are above rounding."""
    if singular_values.size == 0 or singular_values[0] == 0.0:
        return 0
    return int(np.count_nonzero(singular_values > rank_tolerance(singular_values, prototypes)))


def rank_tolerance(singular_values: FloatArray, prototypes: FloatArray) -> float:
    """Return what rounding makes of a singular value 0: of the product, and of the storage."""
    eps = float(np.finfo(np.float64).eps)
    units, dimension = prototypes.shape
    largest = float(singular_values[0]) if singular_values.size else 0.0
    storage = float(np.sqrt(units)) * eps * float(np.abs(prototypes).max())
    return float(max(max(units, dimension) * eps * largest, storage))


@dataclass(frozen=True, slots=True, kw_only=True)
class WellPosedness:
    """Whether distances to a codebook's prototypes determine a point, and how well.

    Parameters
    ----------
    affine_rank : int
        r, the dimension of the prototypes' affine hull.
    dimension : int
        D, the number of features.
    units : int
        M, the number of prototypes.
    condition : float
        ``σ₁ / σ_r`` of the centred prototypes.
    noise_amplification : float
        ``1 / (2 σ_r)``: an error of this many units in x per unit of error in the distances
        (``||δx|| ≤ ||C δd|| / (2 σ_r)``, C the centring projector).
    feature_amplification : tuple of float
        By feature, the standard error of x_k per unit of independent standard errors in the
        distances, the other features unknown too (``½ sqrt(Σ_r Z_kr² / σ_r²)``; its square is the
        inverse of the Fisher information); infinite where the distances do not place x_k.
    irrelevant : tuple of int
        Features of relevance 0 to every unit: the distances tell nothing of them.
    relevance_rank : int
        Rank of the relevances: 1 unless they differ by unit. ``dimension + relevance_rank`` units
        in general position determine a point, less the irrelevant features.
    """

    affine_rank: int
    dimension: int
    units: int
    condition: float
    noise_amplification: float
    feature_amplification: tuple[float, ...] = ()
    irrelevant: tuple[int, ...] = ()
    relevance_rank: int = 1

    def __post_init__(self) -> None:
        for name in ("feature_amplification", "irrelevant"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def is_exact(self) -> bool:
        """Whether every point is determined uniquely: r = D."""
        return self.affine_rank == self.dimension

    @property
    def message(self) -> str:
        """One or two sentences for a reader."""
        numbers = (
            f"{self.units} prototypes span {self.affine_rank} of {self.dimension} dimensions "
            f"(condition {self.condition:.3g})"
        )
        if self.relevance_rank > 1:
            numbers += f", their relevances have rank {self.relevance_rank}"
        if self.is_exact:
            return f"{numbers}: the distances determine every point uniquely."
        missing = self.dimension - self.affine_rank - len(self.irrelevant)
        if self.irrelevant:
            numbers += f"; {_without_say(self.irrelevant)}"
        if missing == 0:
            return f"{numbers}: all other features are determined uniquely."
        shape = (
            "two mirror points" if missing == 1 else f"a sphere in the {missing} missing dimensions"
        )
        needed = self.dimension - len(self.irrelevant) + self.relevance_rank
        if self.relevance_rank > 1 and self.units < needed:
            return (
                f"{numbers}: a point is searched for from several starts, and others may have the "
                f"same distances (at least {needed} prototypes are needed)."
            )
        if self.units < needed:
            cure = f"at least {needed} prototypes are needed"
        else:
            cure = "the prototypes have no spread in those dimensions"
        return (
            f"{numbers}: points in their affine hull are recovered exactly; for a point outside it "
            f"the distances leave {shape} ({cure})."
        )


def _without_say(features: tuple[int, ...]) -> str:
    """Return which features matter to no unit, in words."""
    shown = ", ".join(str(k) for k in features[:8]) + (", …" if len(features) > 8 else "")
    if len(features) == 1:
        return f"feature {shown} matters to no unit, so the distances say nothing about it"
    return f"features {shown} matter to no unit, so the distances say nothing about them"


def well_posedness(system: CentredSystem) -> WellPosedness:
    """Return rank, condition and noise amplification of a centred system."""
    sigma, right = system.singular_values, system.right
    placed = np.einsum("dr,dr->d", right, right) > 1.0 - _WITHIN
    errors = 0.5 * np.linalg.norm(right / sigma, axis=1)
    return WellPosedness(
        affine_rank=system.affine_rank,
        dimension=system.dimension,
        units=system.units,
        feature_amplification=tuple(np.where(placed, errors, np.inf).tolist()),
        relevance_rank=system.relevance_rank,
        condition=system.condition,
        noise_amplification=float(0.5 / sigma[-1]) if sigma.size else float("inf"),
    )
