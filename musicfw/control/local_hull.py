"""The MUSIC step among few prototypes: the local, piecewise-linear form.

Only the active prototypes A take part: the selected ones and the nearest others. In the affine hull
of A a point has coordinates a (at most |A|−1 numbers) and, outside of it, a hidden part h with
``d_i = ||a − b_i||² + ||h||²``. The step solves, for Δ within the hull,

    Δ = argmin Σ_A ω_i (J_i Δ − δ_i)² + λ Δᵀ C Δ,     J_i = 2 (a − b_i)

so that what is special about the point (h: the texture that prototypes average away) stays as it is
while the point moves among prototypes; how much of it goes is decided apart. C is the identity, or
the price of changing each feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musicfw.api import FloatArray

# λ relative to the mean eigenvalue: below, the system could be singular in double precision.
_LEAST_DAMPING = 1e-14
# Directions of the hull that are this much narrower than its widest are rounding.
_FLAT = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalHull:
    """Points in the coordinates of their active prototypes. See `local_hull`.

    Parameters
    ----------
    centre : ndarray, shape (N, D)
        Mean of the active prototypes.
    basis : ndarray, shape (N, A, D)
        Orthonormal directions of the hull; rows of zeros beyond its dimension.
    corners : ndarray, shape (N, A, A)
        b_i, active prototypes in these coordinates.
    inside : ndarray, shape (N, A)
        a, the points' coordinates.
    hidden : ndarray, shape (N, D)
        h, the part of each point outside the hull.
    """

    centre: FloatArray
    basis: FloatArray
    corners: FloatArray
    inside: FloatArray
    hidden: FloatArray

    @property
    def squared_lengths(self) -> FloatArray:
        """``||a − b_i||²``, how far the point is from each prototype, shape (N, A)."""
        offset = self.inside[:, np.newaxis, :] - self.corners
        return np.asarray(np.einsum("nij,nij->ni", offset, offset))

    @property
    def squared_distances(self) -> FloatArray:
        """Squared distances within the hull, as the units measure them, shape (N, A)."""
        return self.squared_lengths

    @property
    def jacobian(self) -> FloatArray:
        """``J_i = 2 (a − b_i)``, the gradients of `squared_distances`, shape (N, A, directions)."""
        return np.asarray(2.0 * (self.inside[:, np.newaxis, :] - self.corners))

    @property
    def spacing(self) -> FloatArray:
        """How far the first prototype is from the others, root mean square, shape (N,)."""
        offset = self.corners - self.corners[:, :1, :]
        return np.asarray(np.sqrt(np.einsum("nar,nar->n", offset, offset) / offset.shape[1]))

    def curved(self, step: FloatArray) -> FloatArray:
        """Return what a step (N, directions) adds to the distances beyond ``J Δ``, shape (N, 1).

        ``||Δ||²``, the same to all: exact, for squared distances are quadratic.
        """
        return np.asarray(np.einsum("na,na->n", step, step)[:, np.newaxis])

    def including_hidden(self) -> LocalHull:
        """Return the hull with each point's own normal as one more direction to move in."""
        # A second projection: what rounding left of the hull would make a normal that is none.
        in_hull = np.einsum("nad,nd->na", self.basis, self.hidden)
        hidden = self.hidden - np.einsum("na,nad->nd", in_hull, self.basis)
        size = np.sqrt(np.einsum("nd,nd->n", hidden, hidden))
        inside = np.sqrt(np.einsum("na,na->n", self.inside, self.inside))
        size[size <= 16.0 * np.finfo(np.float64).eps * inside] = 0.0
        there = (size > 0.0)[:, np.newaxis]
        unit = np.where(there, hidden / np.where(there, size[:, np.newaxis], 1.0), 0.0)
        return replace(
            self,
            basis=np.concatenate([self.basis, unit[:, np.newaxis, :]], axis=1),
            corners=np.pad(self.corners, ((0, 0), (0, 0), (0, 1))),
            inside=np.concatenate([self.inside, size[:, np.newaxis]], axis=1),
            hidden=np.zeros_like(self.hidden),
        )


def local_hull(points: FloatArray, prototypes: FloatArray) -> LocalHull:
    """Return the hull of the active prototypes (N, A, D) of every point (N, D)."""
    centre = prototypes.mean(axis=1)
    V = prototypes - centre[:, np.newaxis, :]
    u = points - centre
    spectrum, Q = np.linalg.eigh(V @ V.transpose(0, 2, 1))
    wide = spectrum > _FLAT * spectrum[:, -1:]
    sigma = np.sqrt(np.where(wide, spectrum, 1.0))
    combine = np.where(wide[:, np.newaxis, :], Q / sigma[:, np.newaxis, :], 0.0)
    basis = combine.transpose(0, 2, 1) @ V
    inside = np.einsum("nad,nd->na", basis, u)
    hidden = u - np.einsum("nad,na->nd", basis, inside)
    return LocalHull(
        centre=centre,
        basis=basis,
        corners=V @ basis.transpose(0, 2, 1),
        inside=inside,
        hidden=hidden,
    )


def local_step(
    hull: LocalHull,
    *,
    weights: FloatArray,
    change: FloatArray,
    damping: FloatArray,
    cost: FloatArray | None = None,
) -> FloatArray:
    """Return Δ in the hull's coordinates, shape (N, A).

    Parameters
    ----------
    hull : LocalHull
        The points among their active prototypes.
    weights, change : ndarray, shape (N, A)
        ω and δ of the active prototypes.
    damping : ndarray, shape (N,)
        λ relative to the mean eigenvalue of Jᵀ Ω J.
    cost : ndarray, shape (D,), optional
        Diagonal of C.
    """
    J = hull.jacobian
    weighted = J * weights[:, :, np.newaxis]
    normal = weighted.transpose(0, 2, 1) @ J
    size = normal.shape[1]
    lam = np.maximum(damping, _LEAST_DAMPING) * np.einsum("nii->n", normal) / size
    if cost is None:
        metric = np.broadcast_to(np.eye(size), normal.shape)
    else:
        # Directions beyond the hull are all zero: the identity there keeps the system regular.
        flat = np.asarray(~hull.basis.any(axis=2))
        metric = (hull.basis * cost) @ hull.basis.transpose(0, 2, 1)
        metric = metric + flat[:, :, np.newaxis] * np.eye(size)
    # A point that sits on all its active prototypes at once has nowhere to go.
    lam = np.where(lam > 0.0, lam, 1.0)
    normal = normal + lam[:, np.newaxis, np.newaxis] * metric
    right = np.einsum("nai,na->ni", weighted, change)
    return np.asarray(np.linalg.solve(normal, right[:, :, np.newaxis])[:, :, 0])


def objective(
    before: FloatArray, after: FloatArray, *, weights: FloatArray, change: FloatArray
) -> FloatArray:
    """Return ``Σ ω_i (d_i after − d_i before − δ_i)²``, shape (N,)."""
    return np.asarray(np.einsum("na,na->n", weights, (after - before - change) ** 2))
