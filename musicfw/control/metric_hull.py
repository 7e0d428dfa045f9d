"""The hull of active prototypes whose units measure with relevances of their own.

As in `musicfw.control.local_hull` a point moves among its active prototypes and carries what lies
outside their affine hull along. Distances are counted from p, its place in the hull::

    d_i = Σ_k R_ik (p_k − w_ik)²,    J_i = 2 R_i∘(p − w_i) in the hull's directions
    d_i(p + Δ) − d_i(p) = J_i Δ + Σ_k R_ik Δ_k²    (exactly)

With relevances of 1 these are the formulas of the Euclidean hull. Where the active prototypes span
all features, as in a code of few dimensions, p is the point itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musicfw.api import Codebook, FloatArray, IntArray
from musicfw.control.local_hull import LocalHull, local_hull


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MetricHull(LocalHull):
    """Points in the coordinates of active prototypes that measure differently.

    Parameters
    ----------
    relevances : ndarray, shape (N, A, D)
        R of the active units.
    offsets : ndarray, shape (N, A, D)
        ``p − w_i``.
    """

    relevances: FloatArray
    offsets: FloatArray

    @property
    def squared_distances(self) -> FloatArray:
        """Squared distances of p, as the units measure them, shape (N, A)."""
        return np.asarray(np.einsum("nad,nad,nad->na", self.relevances, self.offsets, self.offsets))

    @property
    def jacobian(self) -> FloatArray:
        """``J_i = 2 R_i∘(p − w_i)`` in the hull's directions, shape (N, A, directions)."""
        gradient = 2.0 * self.relevances * self.offsets
        return np.asarray(gradient @ self.basis.transpose(0, 2, 1))

    @property
    def spacing(self) -> FloatArray:
        """How far the others are from the first prototype, as its unit measures, shape (N,)."""
        apart = self.offsets - self.offsets[:, :1, :]
        squared = np.einsum("nd,nad,nad->n", self.relevances[:, 0], apart, apart)
        return np.asarray(np.sqrt(squared / apart.shape[1]))

    def curved(self, step: FloatArray) -> FloatArray:
        """Return ``Σ_k R_ik Δ_k²`` of a step (N, directions), shape (N, A)."""
        move = np.einsum("na,nad->nd", step, self.basis)
        return np.asarray(np.einsum("nad,nd,nd->na", self.relevances, move, move))

    def including_hidden(self) -> MetricHull:
        """Return the hull with each point's own normal, in which p is the point itself."""
        wider = LocalHull.including_hidden(self)
        assert isinstance(wider, MetricHull)
        return replace(wider, offsets=self.offsets + self.hidden[:, np.newaxis, :])


def hull_of(codebook: Codebook, units: IntArray, points: FloatArray) -> LocalHull:
    """Return the hull of the active units (N, A) of every point (N, D)."""
    prototypes = codebook.prototypes[units]
    hull = local_hull(points, prototypes)
    if codebook.relevances is None:
        return hull
    place = points - hull.hidden
    return MetricHull(
        centre=hull.centre,
        basis=hull.basis,
        corners=hull.corners,
        inside=hull.inside,
        hidden=hull.hidden,
        relevances=codebook.relevances[units],
        offsets=place[:, np.newaxis, :] - prototypes,
    )
