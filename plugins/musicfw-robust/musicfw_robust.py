"""Inversion that a few grossly wrong distances do not spoil: Huber's M-estimate.

A distance that is wrong by δ moves one entry of b by δ/2 and, through the mean that is subtracted,
all others by a common shift. So the shift is an unknown of its own here:

``min scale² Σ_i ρ((b_i − v_i·u − s) / scale) + λ ||u||²``,

ρ quadratic up to the threshold and linear beyond,

by iteratively reweighted least squares with the weights ``min(1, threshold·scale / |r_i|)``; the
scale is the residuals' normalised median absolute deviation, 1.4826·median |r_i|, in every
iteration. P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964);
P. W. Holland and R. E. Welsch, "Robust regression using iteratively reweighted least-squares",
Comm. Statist. A6 (1977).

The columns of V are centred, so the left singular vectors and a constant column together are
orthonormal: weighted normal equations in that basis are as well conditioned as the weights are
even, whatever the condition of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from musicfw.api import CentredSystem, FloatArray, RawSolution, SolverFactory, hookimpl, param

# Residuals below this share of the largest |b| are rounding: no distance is wrong by that.
_ROUNDING = 1e-13
# The least weight, so that the weighted system keeps full rank.
_LEAST_WEIGHT = 1e-8
_NORMAL = 1.4826  # median |r| of a normal distribution is its standard deviation over this
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class HuberParams:
    """Options of the solver ``huber``."""

    threshold: Annotated[float, Gt(0)] = param(
        1.345,
        help="Residuals beyond so many standard deviations count linearly; 1.345 has 95 % of the "
        "efficiency of least squares if the noise is normal after all.",
    )
    alpha: Annotated[float, Ge(0)] = param(
        0.0, help="Tikhonov parameter λ as in ridge, in squared units of the data."
    )
    iterations: Annotated[int, Ge(1)] = param(
        50, help="Reweightings: as many for every point that is not at rest before."
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A system with its orthonormal basis ``[P, 1/√M]``, shape (M, r + 1)."""

    params: HuberParams
    system: CentredSystem
    basis: FloatArray

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Solve for every column of ``rhs`` (M, B), in blocks of bounded memory."""
        kept = self.basis.shape[1]
        spectral = np.zeros((kept, rhs.shape[1]))
        block = max(1, _BLOCK_ELEMENTS // (self.basis.shape[0] * kept))
        for start in range(0, rhs.shape[1], block):
            columns = slice(start, start + block)
            spectral[:, columns] = self._reweighted(rhs[:, columns].T).T
        in_hull = spectral[:-1] / self.system.singular_values[:, np.newaxis]
        return RawSolution(coordinates=self.system.right @ in_hull)

    def _reweighted(self, targets: FloatArray) -> FloatArray:
        """Return the spectral coordinates (B, r + 1) for targets (B, M)."""
        basis = self.basis
        # λ ||u||² in these coordinates, which are σ times those of u.
        penalty = np.append(self.params.alpha / self.system.singular_values**2, 0.0)
        found = (targets @ basis) / (1.0 + penalty)
        residual = targets - found @ basis.T
        size = np.abs(targets).max(axis=1, initial=0.0)
        active = np.arange(targets.shape[0])
        for _ in range(self.params.iterations):
            if active.size == 0:
                break
            weights = self._weights(residual[active], size[active])
            normal = (weights[:, np.newaxis, :] * basis.T) @ basis
            normal += np.diag(penalty)
            moment = (weights * targets[active]) @ basis
            found[active] = np.linalg.solve(normal, moment[:, :, np.newaxis])[:, :, 0]
            before = residual[active]
            residual[active] = targets[active] - found[active] @ basis.T
            # Rest means rounding: an earlier end would come at another iteration for the same point
            # in another batch.
            change = np.abs(residual[active] - before).max(axis=1)
            active = active[change > _ROUNDING * size[active]]
        return found

    def _weights(self, residual: FloatArray, size: FloatArray) -> FloatArray:
        """Return Huber's weights (B, M)."""
        absolute = np.abs(residual)
        scale = np.maximum(_NORMAL * np.median(absolute, axis=1), _ROUNDING * size)
        reach = self.params.threshold * scale[:, np.newaxis]
        inside = absolute <= reach
        ratio = np.divide(reach, absolute, out=np.ones_like(absolute), where=~inside)
        return np.maximum(ratio, _LEAST_WEIGHT)


@dataclass(frozen=True, slots=True)
class Huber:
    """The solver: what `musicfw.invert` builds."""

    params: HuberParams

    def factorise(self, system: CentredSystem) -> Prepared:
        """Return the system with its basis."""
        constant = np.full((system.units, 1), system.units**-0.5)
        return Prepared(self.params, system, np.hstack([system.left, constant]))


HUBER = SolverFactory(
    name="huber",
    params=HuberParams,
    build=Huber,
    summary="Huber's M-estimate: for distances of which a few are grossly wrong.",
    traits=frozenset({"regularised"}),
)


@hookimpl
def musicfw_solvers() -> list[SolverFactory]:
    """Return the solver."""
    return [HUBER]
