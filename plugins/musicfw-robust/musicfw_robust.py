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

p unknowns can make p residuals 0, and which ones may be a matter of rounding: a scale taken from
those would make the answer one, too. So where M is less than about 3 p, the residual that the scale
is taken from is not the median but the one that exceeds a quarter of the M − p others (the remedy
of Maronna, Martin and Yohai, Robust Statistics, 2006, section 4.4.2, is their median). With hardly
more units than unknowns that is least squares, and no single wrong distance could be told anyway.

The columns of V are centred, so the left singular vectors and a constant column together are
orthonormal: weighted normal equations in that basis are as well conditioned as the weights are
even, whatever the condition of the map. Where relevances differ by unit, the system has the columns
of the relevances R projected away in place of the constant. That spreads a wrong distance over all
of b, so an orthonormal basis of those columns is put back as unknowns: the residuals are those of
the distances again, one for each.
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
_MOST_OF_REST = 0.75
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
    """A system with its orthonormal basis ``[P, 1/√M]`` or ``[P, Q]``, shape (M, p)."""

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
        sigma = self.system.singular_values
        in_hull = spectral[: sigma.size] / sigma[:, np.newaxis]
        return RawSolution(coordinates=self.system.right @ in_hull)

    def _reweighted(self, targets: FloatArray) -> FloatArray:
        """Return the spectral coordinates (B, p) for targets (B, M)."""
        basis = self.basis
        # λ ||u||² in these coordinates, which are σ times those of u.
        penalty = np.zeros(basis.shape[1])
        penalty[: self.system.affine_rank] = self.params.alpha / self.system.singular_values**2
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
        units, unknowns = self.basis.shape
        exceed = min(units // 2, _MOST_OF_REST * (units - unknowns))
        rank = max(units - max(int(np.ceil(exceed)), 1), 0)
        middle = np.partition(absolute, rank, axis=1)[:, rank]
        scale = np.maximum(_NORMAL * middle, _ROUNDING * size)
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
        squares = np.full((system.units, 1), system.units**-0.5)
        if system.relevances is not None:
            columns = np.linalg.svd(system.relevances, full_matrices=False)[0]
            squares = columns[:, : system.relevance_rank]
        return Prepared(self.params, system, np.hstack([system.left, squares]))


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
