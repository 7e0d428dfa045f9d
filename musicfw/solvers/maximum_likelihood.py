"""Solver ``maximum-likelihood``: the point whose distances fit best, for distances with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from musicfw.api import CentredSystem, FloatArray, RawSolution, SolverFactory, param
from musicfw.gauss_newton import lifted_fit
from musicfw.lifted import LiftedSystem
from musicfw.range_fit import best_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class MaximumLikelihoodParams:
    """Options of the solver ``maximum-likelihood``."""

    errors: Literal["absolute", "relative"] | None = param(
        None,
        help="Whether the errors of all squared distances are as large, or in proportion to the "
        "distance; null: whichever makes a point's misfit likelier.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaximumLikelihood:
    """``min Σ_i ω_i (d_i(x) − d_i)²``, ω = 1 or 1/d²: independent normal errors.

    Unlike the centred system it uses the mean of the distances, which tells how far the point is
    from the centroid, and weighs the distances. Its lowest minimum is found (`musicfw.range_fit`),
    or where relevances differ by unit, the one that Gauss–Newton steps from the linear answer lead
    to (`musicfw.gauss_newton`).
    """

    params: MaximumLikelihoodParams

    def factorise(self, system: CentredSystem) -> MaximumLikelihoodFit:
        """Return the system, whose factors are all that is needed."""
        return MaximumLikelihoodFit(params=self.params, system=system)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaximumLikelihoodFit:
    """A system whose distances are to be fitted."""

    params: MaximumLikelihoodParams
    system: CentredSystem

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Return the best fit for every column of ``−½ e`` (M, B)."""
        system, errors = self.system, self.params.errors
        distances = system.distances_of(rhs)
        b, _ = system.right_hand_side(distances)
        linear = (system.left.T @ b).T / system.singular_values
        if isinstance(system, LiftedSystem):
            u = lifted_fit(system, linear @ system.right.T, distances, errors=errors)
        else:
            u = best_fit(system, linear, distances, errors)
        return RawSolution(coordinates=u.T)


MAXIMUM_LIKELIHOOD = SolverFactory(
    name="maximum-likelihood",
    params=MaximumLikelihoodParams,
    build=lambda params: MaximumLikelihood(params=params),
    summary="The point whose distances fit best: for distances with noise.",
    traits=frozenset({"uncentred"}),
)
