"""A walk among few prototypes at a time: ``scope: local`` of the policy ``music``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from musicfw.api import BoolArray, FloatArray, IntArray, Move, SteeringProblem
from musicfw.control.guide import CLOSE, Guide, ranked, way_out
from musicfw.control.levenberg_marquardt import MOST_DAMPING, accepted, next_damping
from musicfw.control.local_hull import LocalHull, local_step, objective
from musicfw.control.metric_hull import hull_of

if TYPE_CHECKING:
    from musicfw.control.music import MusicParams

DAMPING = 0.1
_BLOCK = 64
# The pace is such that a point needs this share of the steps for the length of its route; what is
# left is for the turns that preserving neighbours makes, and for the hidden part in the end.
_SHARE_OF_STEPS = 0.7
# A point has landed within this share of the spacing of its active prototypes.
_LANDED = 0.1
# A step, or a hidden part, below this share of the first distance is nothing.
_NEGLIGIBLE = 1e-6

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(slots=True, kw_only=True, eq=False)
class _Proposal:
    points: FloatArray
    hull: LocalHull
    weights: FloatArray
    change: FloatArray
    step: FloatArray


class LocalWalk:
    """The walk of a batch of points; see `musicfw.control.local_hull` for one step.

    Parameters
    ----------
    problem : SteeringProblem
        The walk.
    params : MusicParams
        Options of the policy.
    """

    def __init__(self, problem: SteeringProblem, params: MusicParams) -> None:
        count = problem.points.shape[0]
        self._problem = problem
        self._params = params
        everyone = params.selection == "all"
        led = _part_to_approach(problem)
        self._approaches = led.approaches
        self._guide = Guide(
            led,
            route="direct" if everyone else params.route,
            selected_units=led.units.size if everyone else params.selected_units,
        )
        self._points = problem.points.copy()
        self._least = DAMPING if params.damping is None else params.damping
        self._damping = np.full(count, self._least)
        self._progress = np.zeros(count)
        self._settled = np.zeros(count, dtype=np.bool_)
        self._carried = np.zeros(problem.points.shape)
        self._first_distance = np.full(count, np.nan)
        self._strength = np.full(problem.codebook.units, params.selected_weight)
        self._strength[problem.units] *= problem.weights
        self._sign = np.ones(problem.codebook.units)
        self._sign[problem.units] = problem.directions

    def advance(self, active: BoolArray) -> Move:
        """Take one step for the active points, block by block."""
        moving = np.flatnonzero(active & ~self._settled)
        for first in range(0, moving.size, _BLOCK):
            self.step(moving[first : first + _BLOCK])
        return Move(points=self._points.copy(), settled=self._settled.copy())

    def step(self, rows: IntArray) -> None:
        """Take one step for these points."""
        proposal, distance = self._propose(rows)
        hull, here = proposal.hull, self._points[rows]
        pace = self._pace(rows, distance)
        step = proposal.step
        norm = np.sqrt(np.einsum("na,na->n", step, step))
        step = step * (pace / np.maximum(norm, pace))[:, np.newaxis]
        there = self._within_bounds(here + np.einsum("na,nad->nd", step, hull.basis))
        # What the bounds left of the step, so that the test is about what would really happen.
        step = np.einsum("nad,nd->na", hull.basis, there - here)
        taken = self._judge(proposal, step)
        landed = self._landed(rows, hull)
        waiting = ~landed
        self._damping[rows[waiting]] = next_damping(
            self._damping[rows[waiting]], taken[waiting], least=self._least
        )
        moved = np.where(taken[:, np.newaxis], there, here)
        held_up = landed | self._is_held_up(rows, hull)
        lost = self._lost_detail(rows, hull, distance, taken, held_up, pace)
        if self._params.max_step is not None:
            lost = _shortened(lost, self._params.max_step - _lengths(moved - here))
        moved = self._within_bounds(moved - lost)
        self._carried[rows] = hull.hidden - lost
        self._points[rows] = np.where(moved == here, here, moved)
        self._settle(rows, moved - here, taken, landed)

    def _propose(self, rows: IntArray) -> tuple[_Proposal, FloatArray]:
        """Return the step among the active prototypes, and the distance to the waypoint."""
        problem, params = self._problem, self._params
        points = self._points[rows]
        distances = self._ranked(rows)
        nearness = distances / np.maximum(distances.min(axis=1, keepdims=True), _TINY)
        selected = self._guide.select(rows, distances)
        chosen = selected.shape[1]
        np.put_along_axis(distances, selected, -1.0, axis=1)
        size = min(chosen + params.active_units, problem.codebook.units)
        others = np.argsort(distances, axis=1, kind="stable")[:, chosen:size]
        units = np.concatenate([selected, others], axis=1)
        hull = hull_of(problem.codebook, units, points)
        if params.detail is None:
            hull = hull.including_hidden()
        within = hull.squared_distances
        weights = np.full(units.shape, params.preserve_weight)
        weights[:, :chosen] = self._strength[selected]
        change = np.zeros(units.shape)
        change[:, :chosen] = -params.rate * self._sign[selected] * within[:, :chosen]
        if self._approaches and (problem.directions < 0).any():
            # A unit to keep away from pushes only where it is about to win: a distance that is to
            # grow by a share of itself would otherwise outgrow what the point is led to.
            close = np.take_along_axis(nearness, units, axis=1) <= CLOSE
            pushing = close & (self._sign[units] < 0)
            change[pushing] = params.rate * within[pushing]
            weights[pushing] = self._strength[units][pushing]
        step = local_step(
            hull, weights=weights, change=change, damping=self._damping[rows], cost=problem.cost
        )
        proposal = _Proposal(points=points, hull=hull, weights=weights, change=change, step=step)
        return proposal, np.sqrt(hull.squared_lengths[:, :chosen].min(axis=1))

    def _ranked(self, rows: IntArray) -> FloatArray:
        """Return squared distances (n, M) that tell which prototypes are near.

        Where units measure differently, some would look near only because the hidden part h that a
        point carries along does not matter to them. So what h adds counts with the mean relevance:
        ``d_i(p) + r (||x − w_i||² − ||p − w_i||²)``, p = x − h.
        """
        problem, points = self._problem, self._points[rows]
        book, hidden = problem.codebook, self._carried[rows]
        if book.relevances is None:
            return ranked(problem, points, rows)
        place = points - hidden
        added = np.einsum("nd,nd->n", hidden, points + place)[:, np.newaxis]
        added = added - 2.0 * hidden @ book.prototypes.T
        there = ranked(problem, place, rows) + book.relevances.mean() * added
        return np.asarray(np.maximum(there, 0.0))

    def _judge(self, proposal: _Proposal, step: FloatArray) -> BoolArray:
        if self._params.step_control == "fixed":
            return np.ones(step.shape[0], dtype=np.bool_)
        hull, weights, change = proposal.hull, proposal.weights, proposal.change
        linear = np.einsum("nar,nr->na", hull.jacobian, step)
        true = linear + hull.curved(step)
        nothing = np.zeros_like(change)
        before = objective(nothing, nothing, weights=weights, change=change)
        predicted = objective(nothing, linear, weights=weights, change=change)
        after = objective(nothing, true, weights=weights, change=change)
        return accepted(before, predicted, after)

    def _pace(self, rows: IntArray, distance: FloatArray) -> FloatArray:
        """Return the longest step of each point: its route spread evenly over the steps."""
        fresh = np.isnan(self._first_distance[rows])
        if fresh.any():
            length = distance + self._guide.length_after(rows)
            if not self._approaches:
                length = way_out(self._problem)[rows]
            self._first_distance[rows[fresh]] = length[fresh]
        if self._params.max_step is not None:
            return np.full(rows.shape, self._params.max_step)
        pace = self._first_distance[rows] / (_SHARE_OF_STEPS * self._problem.steps)
        return np.maximum(pace, np.finfo(np.float64).tiny)

    def _landed(self, rows: IntArray, hull: LocalHull) -> BoolArray:
        if not self._approaches:
            return np.zeros(rows.shape, dtype=np.bool_)
        chosen = self._guide.units_at_once
        nearest = hull.squared_distances[:, :chosen].min(axis=1)
        near = np.sqrt(nearest) <= _LANDED * hull.spacing
        return np.asarray(self._guide.on_last(rows) & near)

    def _is_held_up(self, rows: IntArray, hull: LocalHull) -> BoolArray:
        """Return which points would be home but for the hidden part that they carry along.

        Where units measure differently it adds to some distances more than to others.
        """
        held = np.zeros(rows.shape, dtype=np.bool_)
        if self._problem.codebook.relevances is None or not self._approaches:
            return held
        last = np.flatnonzero(self._guide.on_last(rows))
        here, place = self._points[rows], self._points[rows] - hull.hidden
        away = last[~self._is_home(rows, here, last)]
        held[away] = self._is_home(rows, place, away)
        return held

    def _is_home(self, rows: IntArray, points: FloatArray, some: IntArray) -> BoolArray:
        home = self._problem.units[self._problem.directions > 0]
        winners = ranked(self._problem, points[some], rows[some]).argmin(axis=1)
        return np.isin(winners, home)

    def _lost_detail(
        self,
        rows: IntArray,
        hull: LocalHull,
        distance: FloatArray,
        taken: BoolArray,
        landed: BoolArray,
        pace: FloatArray,
    ) -> FloatArray:
        """Return what goes of the hidden part in this step, shape (n, D).

        On the way it shrinks in proportion to the progress, to the share ``detail`` of what it
        was; after landing the rest goes at the walk's pace.
        """
        keep = self._params.detail
        if keep is None or keep == 1.0 or not self._approaches:
            return np.zeros_like(hull.hidden)
        first = np.maximum(self._first_distance[rows], np.finfo(np.float64).tiny)
        left = (distance + self._guide.length_after(rows)) / first
        old = self._progress[rows]
        new = np.where(taken, np.maximum(old, np.clip(1.0 - left, 0.0, 1.0)), old)
        self._progress[rows] = new
        # With detail 0 a point at the end of its way has lost all of it: 0 of 0 is left.
        had = np.maximum(1.0 - (1.0 - keep) * old, np.finfo(np.float64).tiny)
        share = 1.0 - (1.0 - (1.0 - keep) * new) / had
        size = np.sqrt(np.einsum("nd,nd->n", hull.hidden, hull.hidden))
        after_landing = np.minimum(
            self._params.rate, pace / np.maximum(size, np.finfo(np.float64).tiny)
        )
        share = np.where(landed, np.maximum(share, after_landing), share)
        return np.asarray(share[:, np.newaxis] * hull.hidden)

    def _within_bounds(self, points: FloatArray) -> FloatArray:
        problem = self._problem
        if problem.lower is None or problem.upper is None:
            return points
        return np.clip(points, problem.lower, problem.upper)

    def _settle(
        self, rows: IntArray, moved: FloatArray, taken: BoolArray, landed: BoolArray
    ) -> None:
        length = np.sqrt(np.einsum("nd,nd->n", moved, moved))
        still = length <= _NEGLIGIBLE * self._first_distance[rows]
        stuck = self._damping[rows] > MOST_DAMPING
        self._settled[rows] = (still & (taken | landed)) | stuck


def _lengths(moves: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", moves, moves)))


def _shortened(moves: FloatArray, longest: FloatArray) -> FloatArray:
    """Return the moves (N, D), none longer than ``longest`` (N,)."""
    length = np.maximum(_lengths(moves), np.finfo(np.float64).tiny)
    return np.asarray(moves * np.clip(longest / length, 0.0, 1.0)[:, np.newaxis])


def _part_to_approach(problem: SteeringProblem) -> SteeringProblem:
    """Return the problem of the target's units to approach, if it has others to leave as well."""
    toward = problem.directions > 0
    if toward.all() or not toward.any():
        return problem
    return replace(
        problem,
        units=problem.units[toward],
        goals=problem.goals[:, toward],
        directions=problem.directions[toward],
        weights=problem.weights[toward],
    )
