"""Solver ``exact``: the least-squares solution of the centred system."""

from __future__ import annotations

from musicfw.api import CentredSystem, NoParams, SolverFactory
from musicfw.solvers.filters import SpectralFilter


class ExactSolver:
    """``f = 1/σ`` on the r nonzero singular values.

    Recovers every point exactly if the prototypes hold D+1 affinely independent ones, else its
    projection on their affine hull (the minimum-norm solution about the centroid).
    """

    def factorise(self, system: CentredSystem) -> SpectralFilter:
        """Return the filter 1/σ."""
        return SpectralFilter(system=system, weights=1.0 / system.singular_values)


EXACT = SolverFactory(
    name="exact",
    params=NoParams,
    build=lambda params: ExactSolver(),
    summary="Least squares on the centred system: exact when the prototypes span the space.",
)
