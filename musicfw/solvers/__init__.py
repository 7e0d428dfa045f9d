"""Inversion solvers: exact, ridge and truncated SVD. Each is a filter on the singular values."""

from __future__ import annotations

from musicfw.api import SolverFactory, hookimpl
from musicfw.solvers.exact import EXACT
from musicfw.solvers.ridge import RIDGE
from musicfw.solvers.truncated_svd import TRUNCATED_SVD


@hookimpl
def musicfw_solvers() -> list[SolverFactory]:
    """Return the built-in solvers."""
    return [EXACT, RIDGE, TRUNCATED_SVD]
