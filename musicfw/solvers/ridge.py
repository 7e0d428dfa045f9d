"""Solver ``ridge``: Tikhonov regularisation towards a prior point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from musicfw.api import CentredSystem, FloatArray, RawSolution, SolverFactory, param
from musicfw.errors import UsageError
from musicfw.solvers.filters import SpectralFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeParams:
    """Options of the solver ``ridge``."""

    alpha: Annotated[float, Ge(0)] = param(
        1e-6, help="Tikhonov parameter λ in f = σ/(σ² + λ), in squared units of the data."
    )
    prior: Literal["centroid", "winner"] = param(
        "centroid",
        help="The point that the answer is drawn to: the centroid of all prototypes, or the "
        "prototype with the smallest distance.",
    )


class RidgeSolver:
    """``min ||V u − b||² + λ ||u − p||²`` with ``f = σ/(σ² + λ)``; p is the prior point."""

    def __init__(self, params: RidgeParams) -> None:
        self._params = params

    def factorise(self, system: CentredSystem) -> SpectralFilter | _TowardsWinner:
        """Return the filter σ/(σ² + λ), towards the winner's prototype if asked."""
        sigma = system.singular_values
        weights = sigma / (sigma**2 + self._params.alpha)
        shrinkage = SpectralFilter(system=system, weights=weights)
        if self._params.prior == "centroid":
            return shrinkage
        if system.relevances is not None:
            raise UsageError(
                "prior: expected 'centroid', got 'winner': with relevances that differ by unit the "
                "linear system does not tell the best matching unit"
            )
        return _TowardsWinner(shrinkage=shrinkage)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _TowardsWinner:
    shrinkage: SpectralFilter

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Return ``p + Z f(S) Pᵀ (b − V p)``; p is the prototype nearest by its distance."""
        matrix = self.shrinkage.system.matrix
        # d_i = ||u||² + ||v_i||² − 2 b_i up to what all units share: the smallest is the winner.
        nearness = np.einsum("md,md->m", matrix, matrix)[:, np.newaxis] - 2.0 * rhs
        prior = matrix[nearness.argmin(axis=0)].T
        correction = self.shrinkage.solve(rhs - matrix @ prior).coordinates
        return RawSolution(coordinates=prior + correction)


RIDGE = SolverFactory(
    name="ridge",
    params=RidgeParams,
    build=RidgeSolver,
    summary="Tikhonov regularisation towards a prior point: for distances with noise.",
    traits=frozenset({"regularised"}),
)
