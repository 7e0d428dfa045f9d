"""Policy ``music``: lower the distances to chosen prototypes, keep the others.

Source: Londei, Benati, Lanzieri, Loreto 2026, arXiv 2601.13851. The steps are those of
`musicfw.control.spectral`, made safe by Levenberg–Marquardt control of λ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from musicfw.api import BoolArray, FloatArray, IntArray, Move, PolicyFactory, SteeringProblem, param
from musicfw.control.spectral import (
    SpectralState,
    SpectralSystem,
    music_step,
    selected_squared_distances,
    spectral_system,
    to_spectral,
)

# Points per block: a block's arrays (r ≈ 400 numbers per point and array) stay in the cache.
BLOCK = 64
# Share of the predicted fall of the objective that a step must bring in truth.
_ACCEPT = 0.1
_RELAX, _TIGHTEN = 0.5, 4.0
# λ relative to 4σ₁²: below, the system is as good as undamped; above, a step moves nothing.
_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e8
# A step shorter than this share of the map's extent is no move.
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class MusicParams:
    """Options of the policy ``music``."""

    rate: Annotated[float, Ge(0), Le(1)] = param(
        0.05, help="Share of a selected squared distance to remove per step."
    )
    selected_weight: Annotated[float, Gt(0)] = param(
        20.0, help="Weight ω of the target's units in the least-squares objective."
    )
    preserve_weight: Annotated[float, Ge(0)] = param(
        1.0, help="Weight ω of every other unit, whose distance is to stay as it is."
    )
    damping: Annotated[float, Gt(0)] = param(
        1e-3,
        help="Tikhonov λ relative to the spectrum: λ = damping · 4σ₁², σ₁ the largest singular "
        "value of √Ω(W − c). With step control it is where λ starts.",
    )
    step_control: Literal["levenberg-marquardt", "fixed"] = param(
        "levenberg-marquardt",
        help="levenberg-marquardt takes only steps that lower the true objective and adapts λ; "
        "fixed is the plain rule, which can diverge.",
    )
    max_step: Annotated[float, Gt(0)] | None = param(
        None, help="Longest step, in the map's units; null for no limit."
    )


class Music:
    """The MUSIC rule with every unit preserved and fixed weights along a walk."""

    def __init__(self, params: MusicParams) -> None:
        self._params = params

    def begin(self, problem: SteeringProblem) -> _Walk:
        """Factorise once for the target and return the walk of all points."""
        params = self._params
        prototypes = problem.codebook.prototypes
        weights = np.full(prototypes.shape[0], params.preserve_weight)
        weights[problem.units] = params.selected_weight
        system = spectral_system(prototypes, weights=weights, selected=problem.units)
        state = to_spectral(system, problem.points)
        extent = np.sqrt(np.einsum("kr,kr->k", system.selected, system.selected).max())
        reach = np.sqrt(np.einsum("nr,nr->n", state.a, state.a) + state.s**2)
        return _Walk(
            params=params,
            problem=problem,
            system=system,
            state=state,
            start=SpectralState(a=state.a.copy(), s=state.s.copy(), normal=state.normal),
            damping=np.full(problem.points.shape[0], params.damping * system.scale),
            negligible=_NEGLIGIBLE * (extent + reach),
        )


@dataclass(slots=True, kw_only=True, eq=False)
class _Walk:
    params: MusicParams
    problem: SteeringProblem
    system: SpectralSystem
    state: SpectralState
    start: SpectralState
    damping: FloatArray
    negligible: FloatArray
    settled: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        self.settled = np.zeros(self.damping.shape, dtype=np.bool_)

    def advance(self, active: BoolArray) -> Move:
        """Take one step for the active points, block by block."""
        moving = np.flatnonzero(active & ~self.settled)
        for first in range(0, moving.size, BLOCK):
            self.step(moving[first : first + BLOCK])
        return Move(points=self._points(), settled=self.settled.copy())

    def step(self, rows: IntArray) -> None:
        """Take one step for these points, which should be few enough for the cache."""
        a, s, damping = self.state.a[rows], self.state.s[rows], self.damping[rows]
        problem, system = self.problem, self.system
        distances = selected_squared_distances(system, a, s)
        change = (problem.direction * self.params.rate) * (problem.goals - distances)
        step = music_step(
            system, a, s, change=change, damping=damping, max_step=self.params.max_step
        )
        if self.params.step_control == "fixed":
            taken = np.ones(rows.shape, dtype=np.bool_)
        else:
            fall, hoped = step.before - step.after, step.before - step.predicted
            taken = (fall > _ACCEPT * hoped) & (hoped > 0.0)
            factor = np.where(taken, _RELAX, _TIGHTEN)
            self.damping[rows] = np.maximum(damping * factor, _LEAST_DAMPING * system.scale)
        self.state.a[rows] = np.where(taken[:, np.newaxis], a + step.da, a)
        self.state.s[rows] = np.where(taken, s + step.ds, s)
        nothing_left = step.norm <= self.negligible[rows]
        nothing_left |= self.damping[rows] > _MOST_DAMPING * system.scale
        self.settled[rows] = nothing_left

    def _points(self) -> FloatArray:
        # As a displacement, so that a point that did not move is the input bit for bit.
        state, start = self.state, self.start
        moved = (state.a - start.a) @ self.system.directions.T
        moved += (state.s - start.s)[:, np.newaxis] * state.normal
        return self.problem.points + moved


MUSIC = PolicyFactory(
    name="music",
    params=MusicParams,
    build=Music,
    summary="Lower the distances to the target's prototypes, keep the others (MUSIC).",
)
