"""The linear system of distances whose relevances differ by unit.

With ``u = x − c``, ``v_i = w_i − c`` and ``e_i = d_i − Σ_k R_ik v_ik²``, what a unit says of a
point is linear in the *lifted* unknowns u and u∘u::

    d_i = Σ_k R_ik (u_k − v_ik)²        ⇔        (R_i∘v_i)·u − ½ R_i·(u∘u) = −½ e_i

The squares enter by the columns of R alone, so projecting those away leaves D unknowns::

    P (R∘V) u = −½ P e,       P = 1 − Q Qᵀ,  Q an orthonormal basis of the columns of R

If R is 1 everywhere, Q is the constant vector, P takes means away, and this is the centred system
``V u = −½ (e − mean e)`` of `musicfw.geometry`, where ``||u||²`` is the one square to be removed.
So every solver finds the same kind of system, in the units of the data, and what it regularises
keeps its meaning. Of M equations ``M − rank R`` are left: a point is determined by ``D + rank R``
units in general position (D + 1 for shared relevances, 2 D at most).

Source: the squared-range linearisation of multilateration (as in arXiv 2601.13851), lifted to a
diagonal metric for every unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from musicfw.arrays import BoolArray, FloatArray, read_only
from musicfw.geometry import CentredSystem, centre_of

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedSystem(CentredSystem):
    """A centred system of units that measure differently. Made by `lifted_system`.

    ``matrix`` is ``P (R∘V)``: its rows are no prototypes, but a row that a point of the map has for
    its right-hand side is still ``matrix @ u``.

    Parameters
    ----------
    relevances : ndarray, shape (M, D)
        R.
    offsets : ndarray, shape (M, D)
        V.
    squares : ndarray, shape (M, rank R)
        Q.
    flat : ndarray of bool, shape (D,)
        Features in which the prototypes do not differ: of them only ``|u_k|`` can be known.
    tolerance : float
        What rounding makes of a singular value 0.
    """

    relevances: FloatArray
    offsets: FloatArray
    squares: FloatArray
    flat: BoolArray
    tolerance: float

    @property
    def relevance_rank(self) -> int:
        """Rank of R: as many combinations of squares enter the distances."""
        return int(self.squares.shape[1])

    @property
    def is_determined(self) -> bool:
        """Whether all of u is determined but the signs of the flat features."""
        return self.affine_rank == int(np.count_nonzero(~self.flat))

    def right_hand_side(self, squared_distances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return b, shape (M, B), and the mean of e, shape (B,), for activations (B, M)."""
        e = squared_distances - self.squared_norms
        b = np.ascontiguousarray(_without(self.squares, e.T))
        b *= -0.5
        return b, e.mean(axis=1)

    def lengths(self, u: FloatArray) -> FloatArray:
        """Return the distances of points c + u to all units, shape (B, M)."""
        offset = u[:, np.newaxis, :] - self.offsets
        return np.asarray(np.einsum("md,bmd,bmd->bm", self.relevances, offset, offset))

    @cached_property
    def least_lifted(self) -> FloatArray:
        """``A⁺`` of all 2 D lifted unknowns, shape (2 D, M), for too few units.

        Both halves are scaled to the extent of the map: the least solution is that of numbers
        around 1.
        """
        scale = np.repeat([self.extent, self.extent**2], self.dimension)
        lifted = np.hstack([self.relevances * self.offsets, -0.5 * self.relevances]) * scale
        return np.asarray(scale[:, np.newaxis] * np.linalg.pinv(lifted))

    @property
    def extent(self) -> float:
        """Root mean square offset of a prototype in a feature; 1 if there is none."""
        return float(np.sqrt(np.mean(self.offsets**2))) or 1.0


def lifted_system(prototypes: FloatArray, relevances: FloatArray) -> LiftedSystem:
    """Return the lifted system of prototypes (M, D) with relevances (M, D), factorised.

    The affine rank is that of ``P (R∘V)``: singular values above rounding are counted.
    """
    prototypes = np.ascontiguousarray(prototypes, dtype=np.float64)
    centre = centre_of(prototypes, relevances)
    offsets = prototypes - centre
    weighted = relevances * offsets
    size = max(prototypes.shape) * _EPS
    basis, spread, _ = np.linalg.svd(relevances, full_matrices=False)
    squares = np.ascontiguousarray(basis[:, spread > size * spread[0]])
    # Twice: the first projection leaves what rounding makes of the part that it takes away.
    matrix = _without(squares, _without(squares, weighted))
    left, sigma, right_t = np.linalg.svd(matrix, full_matrices=False)
    storage = np.sqrt(len(prototypes)) * _EPS * np.abs(relevances * prototypes).max(initial=0.0)
    tolerance = max(size * float(np.linalg.norm(weighted)), float(storage))
    rank = int(np.count_nonzero(sigma > tolerance))
    return LiftedSystem(
        prototypes=read_only(prototypes),
        centroid=read_only(centre),
        matrix=read_only(matrix),
        squared_norms=read_only(np.einsum("md,md->m", weighted, offsets)),
        left=read_only(np.ascontiguousarray(left[:, :rank])),
        singular_values=read_only(sigma[:rank]),
        right=read_only(np.ascontiguousarray(right_t[:rank].T)),
        relevances=relevances,
        offsets=read_only(offsets),
        squares=read_only(squares),
        flat=np.linalg.norm(weighted, axis=0) <= tolerance,
        tolerance=tolerance,
    )


def _without(basis: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the part of the columns that is orthogonal to an orthonormal basis."""
    return columns - basis @ (basis.T @ columns)
