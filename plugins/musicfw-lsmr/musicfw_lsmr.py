"""Inversion by LSMR: products with the prototypes in place of a factorisation.

``min ||V u − b||² + damping² ||u − p||²``, p the start; D. C.-L. Fong and M. Saunders, "LSMR: An
iterative algorithm for sparse least-squares problems", SIAM J. Sci. Comput. 33 (2011).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from scipy.sparse.linalg import lsmr

from musicfw.api import CentredSystem, FloatArray, RawSolution, SolverFactory, hookimpl, param


@dataclass(frozen=True, slots=True, kw_only=True)
class LsmrParams:
    """Options of ``lsmr``; where relevances differ by unit it starts at the centroid."""

    start: Literal["centroid", "winner"] = param("winner", help="Where the iterations start.")
    iterations: Annotated[int, Ge(1)] = param(1000, help="Iterations per point, at most.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DampedParams(LsmrParams):
    """Options of the solver ``lsmr-damped``, whose answers are drawn to the start."""

    damping: Annotated[float, Ge(0)] = param(1e-3, help="√λ, in the units of the data.")


@dataclass(frozen=True)
class Prepared:
    """A system that is ready to be solved; LSMR needs nothing but its matrix."""

    params: LsmrParams
    system: CentredSystem

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Solve for every column of rhs (M, B), one column for each point."""
        V, eps = self.system.matrix, np.finfo(np.float64).eps
        limits = {"atol": eps, "btol": eps, "conlim": 1 / (eps * max(V.shape))}
        damping = getattr(self.params, "damping", 0.0)
        u = np.zeros((V.shape[1], rhs.shape[1]))
        for column, b in zip(u.T, rhs.T, strict=True):
            if self.params.start == "winner" and self.system.relevances is None:
                # d_i = ||u||² + ||v_i||² − 2 b_i up to what all units share: the smallest wins.
                column[:] = V[np.argmin(self.system.squared_norms - 2 * b)]
            column[:] = lsmr(V, b, damping, maxiter=self.params.iterations, x0=column, **limits)[0]
        return RawSolution(coordinates=u)


@dataclass(frozen=True)
class Lsmr:
    """The solver: what `musicfw.invert` builds."""

    params: LsmrParams

    def factorise(self, system: CentredSystem) -> Prepared:
        """Return the system, ready for any number of solves."""
        return Prepared(self.params, system)


PLAIN = SolverFactory(name="lsmr", params=LsmrParams, build=Lsmr, summary="Least squares by LSMR.")
DAMPED = SolverFactory(
    name="lsmr-damped", params=DampedParams, build=Lsmr, traits=frozenset({"regularised"}),
    summary="LSMR with Tikhonov damping: for distances with noise.",
)  # fmt: skip


@hookimpl
def musicfw_solvers() -> list[SolverFactory]:
    """Return both solvers."""
    return [PLAIN, DAMPED]
