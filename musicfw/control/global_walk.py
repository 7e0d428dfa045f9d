"""A walk that preserves every unit: ``scope: all`` of the policy ``music``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musicfw.api import BoolArray, FloatArray, IntArray, Move, SteeringProblem
from musicfw.control.guide import Guide, ranked, way_out
from musicfw.control.levenberg_marquardt import MOST_DAMPING, accepted, next_damping
from musicfw.control.reselected import reselected_step
from musicfw.control.spectral import (
    Step,
    music_step,
    selected_squared_distances,
    spectral_system,
    to_spectral,
)
from musicfw.errors import UsageError
from musicfw.geometry import squared_distances

if TYPE_CHECKING:
    from musicfw.control.music import MusicParams

DAMPING = 1e-3
# Points per block: a block's arrays (r ≈ 400 numbers per point and array) stay in the cache.
BLOCK = 64
# λ relative to the spectrum: below, the system is as good as undamped.
_LEAST_DAMPING = 1e-14
# A step shorter than this share of the map's extent is no move.
NEGLIGIBLE = 1e-9


class GlobalWalk:
    """The walk of a batch of points.

    With ``selection: all`` the weights are fixed and one factorisation holds them
    (`musicfw.control.spectral`); else each point's selected units change on the way
    (`musicfw.control.reselected`).

    Parameters
    ----------
    problem : SteeringProblem
        The walk.
    params : MusicParams
        Options of the policy.
    """

    def __init__(self, problem: SteeringProblem, params: MusicParams) -> None:
        if problem.cost is not None:
            raise UsageError("cost: the policy 'music' heeds it with scope 'local' only")
        self._problem, self._params = problem, params
        units = problem.codebook.units
        self._weights = np.full(units, params.preserve_weight)
        self._strength = np.full(units, params.selected_weight)
        self._strength[problem.units] *= problem.weights
        self._guide: Guide | None = None
        at_once = params.selection == "all" and not problem.waypoints.size
        if at_once or not problem.approaches:
            self._weights[problem.units] = self._strength[problem.units]
        else:
            selected = params.selected_units
            self._guide = Guide(problem, route=params.route, selected_units=selected)
            if params.preserve_weight == 0.0:
                raise UsageError(
                    "preserve_weight: expected more than 0 with scope 'all' and selection "
                    "'nearest'; use selection 'all'"
                )
        self._points = problem.points.copy()
        self._scale, self._negligible = self._prepare()
        damping = DAMPING if params.damping is None else params.damping
        self._damping = np.full(problem.points.shape[0], damping * self._scale)
        self._settled = np.zeros(problem.points.shape[0], dtype=np.bool_)
        self._pace: FloatArray | None = None
        if params.max_step is not None:
            self._pace = np.full(problem.points.shape[0], params.max_step)
        elif (problem.directions < 0).any():
            self._pace = way_out(problem) / problem.steps

    def _prepare(self) -> tuple[float, FloatArray]:
        """Return what λ is relative to, and the length below which a step is no move, (N,)."""
        problem, prototypes = self._problem, self._problem.codebook.prototypes
        self._system = spectral_system(prototypes, weights=self._weights, selected=problem.units)
        self._corners = (prototypes - self._system.centroid) @ self._system.directions
        self._state = to_spectral(self._system, problem.points)
        self._first = (self._state.a.copy(), self._state.s.copy())
        extent = np.sqrt(np.einsum("mr,mr->m", self._corners, self._corners).max())
        reach = np.sqrt(np.einsum("nr,nr->n", self._state.a, self._state.a) + self._state.s**2)
        return self._system.scale, NEGLIGIBLE * (extent + reach)

    @property
    def _bounded(self) -> bool:
        return self._problem.lower is not None

    def advance(self, active: BoolArray) -> Move:
        """Take one step for the active points, block by block."""
        moving = np.flatnonzero(active & ~self._settled)
        for first in range(0, moving.size, BLOCK):
            self.step(moving[first : first + BLOCK])
        self._decode()
        return Move(points=self._points.copy(), settled=self._settled.copy())

    def _decode(self) -> None:
        """Bring the points up to date with the state."""
        if not self._bounded:
            self._points = self._decoded(slice(None))

    def step(self, rows: IntArray) -> None:
        """Take one step for these points, which should be few enough for the cache."""
        state, damping = self._state, self._damping[rows]
        step, change, units = self._propose(rows)
        after, there = step.after, None
        if self._bounded:
            there = self._clipped(rows, step)
            after = self._true_objective(rows, there, change, units)
        if self._params.step_control == "fixed":
            taken = np.ones(rows.shape, dtype=np.bool_)
        else:
            taken = accepted(step.before, step.predicted, after)
            least = _LEAST_DAMPING * self._scale
            self._damping[rows] = next_damping(damping, taken, least=least)
        moved = rows[taken]
        if there is None:
            state.a[moved] += step.da[taken]
            state.s[moved] += step.ds[taken]
        else:
            self._points[moved] = there[taken]
            fresh = to_spectral(self._system, there[taken])
            state.a[moved], state.s[moved] = fresh.a, fresh.s
            state.normal[moved] = fresh.normal
        self._settle(rows, step.norm)

    def _settle(self, rows: IntArray, norm: FloatArray) -> None:
        stuck = self._damping[rows] > MOST_DAMPING * self._scale
        self._settled[rows] = (norm <= self._negligible[rows]) | stuck

    def _propose(self, rows: IntArray) -> tuple[Step, FloatArray, IntArray | None]:
        """Return the step, the wanted changes and, if they differ by point, the selected units."""
        problem, params, system = self._problem, self._params, self._system
        a, s, damping = self._state.a[rows], self._state.s[rows], self._damping[rows]
        cap = None if self._pace is None else self._pace[rows]
        if self._guide is None:
            distances = selected_squared_distances(system, a, s)
            change = params.rate * problem.directions * (problem.goals[rows] - distances)
            step = music_step(system, a, s, change=change, damping=damping, max_step=cap)
            return step, change, None
        points = self._decoded(rows)
        units = self._guide.select(rows, ranked(problem, points, rows))
        corners = self._corners[units]
        offset = a[:, np.newaxis, :] - corners
        distances = np.einsum("nkr,nkr->nk", offset, offset) + (s * s)[:, np.newaxis]
        change = -params.rate * distances
        step = reselected_step(
            system,
            a,
            s,
            corners=corners,
            weights=self._strength[units],
            change=change,
            damping=damping,
            max_step=cap,
        )
        return step, change, units

    def _decoded(self, rows: IntArray | slice) -> FloatArray:
        if self._bounded:
            return self._points[rows]
        # As a displacement, so that a point that did not move is the input bit for bit.
        moved = (self._state.a[rows] - self._first[0][rows]) @ self._system.directions.T
        moved += (self._state.s - self._first[1])[rows, np.newaxis] * self._state.normal[rows]
        return np.asarray(self._problem.points[rows] + moved)

    def _clipped(self, rows: IntArray, step: Step) -> FloatArray:
        moved = step.da @ self._system.directions.T
        moved += step.ds[:, np.newaxis] * self._state.normal[rows]
        return np.clip(self._points[rows] + moved, self._problem.lower, self._problem.upper)

    def _true_objective(
        self, rows: IntArray, there: FloatArray, change: FloatArray, units: IntArray | None
    ) -> FloatArray:
        """Return the objective over all units at points that the bounds have moved."""
        prototypes = self._problem.codebook.prototypes
        wanted = np.zeros((rows.size, prototypes.shape[0]))
        weights = np.broadcast_to(self._weights, wanted.shape).copy()
        if units is None:
            wanted[:, self._problem.units] = change
        else:
            np.put_along_axis(wanted, units, change, axis=1)
            np.put_along_axis(weights, units, self._strength[units], axis=1)
        before = squared_distances(self._points[rows], prototypes)
        after = squared_distances(there, prototypes)
        return np.asarray(np.einsum("nm,nm->n", weights, (after - before - wanted) ** 2))
