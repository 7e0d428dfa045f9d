"""Solver ``truncated-svd``: only the leading singular directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from musicfw.api import CentredSystem, SolverFactory, param
from musicfw.solvers.filters import SpectralFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedSvdParams:
    """Options of the solver ``truncated-svd``."""

    rank: Annotated[int, Ge(0)] | None = param(
        None, help="How many leading singular directions to keep at most; null: all above rcond."
    )
    rcond: Annotated[float, Ge(0), Le(1)] = param(
        0.0, help="Directions with σ < rcond · σ₁ are dropped."
    )


class TruncatedSvdSolver:
    """``f = 1/σ`` for the first k directions, else 0: the answer keeps to where the map is wide."""

    def __init__(self, params: TruncatedSvdParams) -> None:
        self._params = params

    def factorise(self, system: CentredSystem) -> SpectralFilter:
        """Return the filter 1/σ on the kept directions."""
        sigma = system.singular_values
        kept = int(np.count_nonzero(sigma >= self._params.rcond * sigma[:1].sum()))
        if self._params.rank is not None:
            kept = min(kept, self._params.rank)
        return SpectralFilter(system=system, weights=1.0 / sigma[:kept])


TRUNCATED_SVD = SolverFactory(
    name="truncated-svd",
    params=TruncatedSvdParams,
    build=TruncatedSvdSolver,
    summary="The leading singular directions only: for distances with noise.",
    traits=frozenset({"regularised"}),
)
