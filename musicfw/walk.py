"""The host's loop around a policy: frames, arrivals, stop reasons. One loop for every policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from musicfw import geometry
from musicfw.api import Move, Steering, SteeringProblem
from musicfw.arrays import BoolArray, FloatArray, IntArray, read_only
from musicfw.control.targets import ResolvedTarget
from musicfw.plugins import Provided
from musicfw.status import StopReason

Until = Literal["settled", "arrived"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """What the loop itself heeds.

    Parameters
    ----------
    target : ResolvedTarget
        When a point has arrived.
    until : {"settled", "arrived"}
        Whether it stops there.
    reach : float
        A point farther than this from every prototype has left the manifold.
    progress : callable
        ``progress(done, total)``.
    """

    target: ResolvedTarget
    until: Until
    reach: float
    progress: Callable[[int, int], None]


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """What the loop has seen so far.

    Parameters
    ----------
    frames : ndarray, shape (T+1, N, D)
        Of these the first ``done + 1`` are there.
    step_norm : ndarray, shape (T, N)
        Length of each step.
    arrival : ndarray of intp, shape (N,)
        First frame in the target, or −1.
    stop : ndarray of int8, shape (N,)
        A `StopReason` per point.
    done : int
        Steps done.
    """

    frames: FloatArray
    step_norm: FloatArray
    arrival: IntArray
    stop: npt.NDArray[np.int8]
    done: int = 0


def walk(problem: SteeringProblem, rules: Rules, chosen: Provided, policy: Any) -> Record:
    """Run a policy; numerical failure and interruption become stop reasons."""
    count, steps = problem.points.shape[0], problem.steps
    home, _ = _survey(problem, rules, problem.points)
    record = Record(
        frames=np.empty((steps + 1, *problem.points.shape)),
        step_norm=np.zeros((steps, count)),
        arrival=np.where(home, 0, -1).astype(np.intp),
        stop=np.full(count, StopReason.STEP_LIMIT, dtype=np.int8),
    )
    record.frames[0] = problem.points
    active = np.ones(count, dtype=np.bool_)
    if rules.until == "arrived":
        active &= record.arrival < 0
    try:
        with chosen.calling("begin"):
            steering: Steering = policy.begin(problem)
        while record.done < steps:
            if active.any():
                settled = _one_step(steering, active, chosen, record)
                active &= ~_guard(problem, rules, record, active)
                active &= ~settled
                if rules.until == "arrived":
                    active &= record.arrival < 0
            else:
                record.frames[record.done + 1] = record.frames[record.done]
            record.done += 1
            rules.progress(record.done, steps)
    except KeyboardInterrupt:
        record.stop[active] = StopReason.INTERRUPTED
        active[:] = False
    _give_reasons(problem, rules, record, active)
    return record


def _one_step(steering: Steering, active: BoolArray, chosen: Provided, record: Record) -> BoolArray:
    """Add one frame; return which points have settled (or diverged)."""
    with chosen.calling("advance"), np.errstate(all="ignore"):
        move = steering.advance(read_only(active.copy()))
    here = record.frames[record.done]
    if not isinstance(move, Move):
        raise chosen.error("advance", f"expected a Move, got {type(move).__name__}")
    points = chosen.checked(move.points, call="advance", name="points", shape=here.shape)
    settled = chosen.checked(move.settled, call="advance", name="settled", shape=active.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        # A point whose squared length overflows has no distances either.
        finite = np.isfinite(np.einsum("nd,nd->n", points, points, dtype=np.float64))
    moved = active & finite
    there = record.frames[record.done + 1]
    np.copyto(there, here)
    # Only what differs: -0.0 stays -0.0, and an unmoved point is the input bit for bit.
    np.copyto(there, points, where=moved[:, np.newaxis] & (points != here))
    record.step_norm[record.done] = np.sqrt(np.einsum("nd,nd->n", there - here, there - here))
    record.stop[active & ~finite] = StopReason.DIVERGED
    return np.asarray(settled.astype(np.bool_) | ~finite, dtype=np.bool_)


def _guard(problem: SteeringProblem, rules: Rules, record: Record, active: BoolArray) -> BoolArray:
    """Note arrivals; send back what left the manifold and return which points did, shape (N,)."""
    left = np.zeros(active.shape, dtype=np.bool_)
    rows = np.flatnonzero(active)
    there = record.frames[record.done + 1]
    home, distance = _survey(problem, rules, there[rows], rows)
    if np.isfinite(rules.reach):
        _, before = _survey(problem, rules, record.frames[record.done][rows], rows)
        # A start that is far out already may come back, but not go farther.
        left[rows] = (distance > rules.reach) & (distance > before)
        there[left] = record.frames[record.done][left]
        record.step_norm[record.done][left] = 0.0
        record.stop[left] = StopReason.LEFT_MANIFOLD
    new = home & (record.arrival[rows] < 0) & ~left[rows]
    record.arrival[rows[new]] = record.done + 1
    return left


def _survey(
    problem: SteeringProblem, rules: Rules, points: FloatArray, rows: IntArray | None = None
) -> tuple[BoolArray, FloatArray]:
    """Return which points are where they were sent, and their distance to the map."""
    prototypes, relevances = problem.codebook.prototypes, problem.codebook.relevances
    frozen = problem.frozen_distances
    if frozen is None and not np.isfinite(rules.reach):
        winners = geometry.best_matching_units(points, prototypes, relevances)
        distance = np.zeros(winners.shape)
    else:
        squared = geometry.squared_distances(points, prototypes, relevances)
        if frozen is not None:
            squared += frozen if rows is None else frozen[rows]
        winners = squared.argmin(axis=1)
        distance = np.sqrt(squared.min(axis=1, initial=np.inf))
    target = rules.target
    home = np.ones(winners.shape, dtype=np.bool_)
    if target.home.size:
        home &= np.isin(winners, target.home)
    home &= ~np.isin(winners, target.shunned)
    return home, distance


def _give_reasons(
    problem: SteeringProblem, rules: Rules, record: Record, active: BoolArray
) -> None:
    """REACHED for every point that ended in the target, else why it stopped."""
    told = (StopReason.INTERRUPTED, StopReason.DIVERGED, StopReason.LEFT_MANIFOLD)
    kept = np.isin(record.stop, told)
    home, _ = _survey(problem, rules, record.frames[record.done])
    record.stop[~kept & ~active] = StopReason.STALLED
    record.stop[~kept & home] = StopReason.REACHED
