"""Inversion solvers: exact, ridge, truncated SVD (filters on singular values), best fit."""

from __future__ import annotations

from musicfw.api import SolverFactory, hookimpl
from musicfw.solvers.exact import EXACT
from musicfw.solvers.maximum_likelihood import MAXIMUM_LIKELIHOOD
from musicfw.solvers.ridge import RIDGE
from musicfw.solvers.truncated_svd import TRUNCATED_SVD


@hookimpl
def musicfw_solvers() -> list[SolverFactory]:
    """Return the built-in solvers."""
    return [EXACT, MAXIMUM_LIKELIHOOD, RIDGE, TRUNCATED_SVD]
