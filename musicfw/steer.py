"""The verb *steer*: move points through a map. One loop for every policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from musicfw import geometry
from musicfw.api import Move, PolicyFactory, Steering, SteeringProblem
from musicfw.arrays import BoolArray, FloatArray, IntArray, as_points, read_only
from musicfw.control.targets import ResolvedTarget, Target, resolve_target
from musicfw.errors import UsageError
from musicfw.invert import codebook_and_scaling
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.plugins import Provided, Registry, provided
from musicfw.types import Codebook, StopReason, TrainedMap, Trajectory

Until = Literal["settled", "arrived"]


def steer(
    codebook: Codebook | TrainedMap,
    x: npt.ArrayLike,
    *,
    target: Target,
    policy: str | PolicyFactory = "music",
    steps: int = 100,
    until: Until = "settled",
    registry: Registry | None = None,
    progress: Callable[[int, int], None] | None = None,
    **params: Any,
) -> Trajectory:
    """Return the paths of points that are steered towards (or away from) a target.

    Parameters
    ----------
    codebook : Codebook or TrainedMap
        The map. Given a TrainedMap, points are in original units; given a Codebook, in the map's.
    x : array_like, shape (D,) or (N, D)
        Where the points start; never changed.
    target : Target
        ``Target.units([3, 4])``, ``.cell(row, column)``, ``.label(name)``, ``.cluster(number)`` or
        ``.activations(d)``.
    policy : str or PolicyFactory
        Name of a registered policy.
    steps : int
        Number of steps T.
    until : {"settled", "arrived"}
        Whether a point goes on until its policy settles, or stops in the first frame whose best
        matching unit belongs to the target (the smallest change that gets it there).
    registry : Registry, optional
        Where names are looked up; by default everything installed.
    progress : callable, optional
        Called as ``progress(done, total)`` after each step.
    **params
        The policy's params.

    Returns
    -------
    Trajectory
        With T+1 frames. Interrupted by Ctrl-C, it holds the frames so far.

    Raises
    ------
    UsageError
        For a wrong shape, an unknown target or policy, or wrong params.
    PluginError
        If the policy fails or returns something of the wrong shape.
    """
    book, scaling = codebook_and_scaling(codebook)
    if not isinstance(target, Target):
        raise UsageError(
            f"target: expected a Target, such as Target.units([3, 4]), got {type(target).__name__}"
        )
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise UsageError(f"steps: expected an integer of at least 1, got {steps!r}")
    if until not in get_args(Until):
        raise UsageError(f"until: expected 'settled' or 'arrived', got {until!r}")
    chosen = provided("policy", policy, registry)
    resolved_params = params_from_keywords(chosen.factory, params)
    original = as_points(x, name="x", dimension=book.dimension)
    resolved = resolve_target(target, book)
    problem = SteeringProblem(
        codebook=book,
        points=read_only(scaling.to_map(original)),
        units=read_only(resolved.units),
        goals=read_only(resolved.goals),
        direction=resolved.direction,
        steps=int(steps),
    )
    started = time.perf_counter()
    walk = _walk(problem, resolved, chosen, chosen.build(resolved_params), until, progress)
    frames = walk.frames[: walk.done + 1]
    return Trajectory(
        points=frames if scaling.is_identity else _displaced(original, frames, scaling.scale),
        stop=walk.stop,
        step_norm=walk.step_norm[: walk.done],
        arrival=walk.arrival,
        target_units=resolved.home,
        codebook=book,
        scaling=scaling,
        policy=chosen.factory.name,
        params=params_to_tree(resolved_params),
        elapsed_s=time.perf_counter() - started,
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Record:
    frames: FloatArray
    step_norm: FloatArray
    arrival: IntArray
    stop: npt.NDArray[np.int8]
    done: int = 0


def _walk(
    problem: SteeringProblem,
    target: ResolvedTarget,
    chosen: Provided,
    policy: Any,
    until: Until,
    progress: Callable[[int, int], None] | None,
) -> _Record:
    """Run the loop; numerical failure and interruption become stop reasons."""
    count, steps = problem.points.shape[0], problem.steps
    record = _Record(
        frames=np.empty((steps + 1, *problem.points.shape)),
        step_norm=np.zeros((steps, count)),
        arrival=np.where(_at_home(problem, target, problem.points), 0, -1),
        stop=np.full(count, StopReason.STEP_LIMIT, dtype=np.int8),
    )
    record.frames[0] = problem.points
    active = np.ones(count, dtype=np.bool_)
    if until == "arrived":
        active &= record.arrival < 0
    try:
        with chosen.calling("begin"):
            steering: Steering = policy.begin(problem)
        while record.done < steps:
            if active.any():
                settled = _one_step(steering, active, chosen, record)
                _note_arrivals(problem, target, record, active)
                active &= ~settled
                if until == "arrived":
                    active &= record.arrival < 0
            else:
                record.frames[record.done + 1] = record.frames[record.done]
            record.done += 1
            if progress is not None:
                progress(record.done, steps)
    except KeyboardInterrupt:
        record.stop[active] = StopReason.INTERRUPTED
        active[:] = False
    _give_reasons(problem, target, record, active)
    return record


def _one_step(
    steering: Steering, active: BoolArray, chosen: Provided, record: _Record
) -> BoolArray:
    """Add one frame; return which points have settled (or diverged)."""
    with chosen.calling("advance"), np.errstate(all="ignore"):
        move = steering.advance(read_only(active.copy()))
    here = record.frames[record.done]
    if not isinstance(move, Move):
        raise chosen.error("advance", f"expected a Move, got {type(move).__name__}")
    points = chosen.checked(move.points, call="advance", name="points", shape=here.shape)
    settled = chosen.checked(move.settled, call="advance", name="settled", shape=active.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        # A point so far away that its distances overflow is as good as infinite.
        finite = np.isfinite(np.einsum("nd,nd->n", points, points, dtype=np.float64))
    moved = active & finite
    there = record.frames[record.done + 1]
    np.copyto(there, here)
    # Only what differs: -0.0 stays -0.0, and an unmoved point is the input bit for bit.
    np.copyto(there, points, where=moved[:, np.newaxis] & (points != here))
    record.step_norm[record.done] = np.sqrt(np.einsum("nd,nd->n", there - here, there - here))
    record.stop[active & ~finite] = StopReason.DIVERGED
    return np.asarray(settled.astype(np.bool_) | ~finite)


def _note_arrivals(
    problem: SteeringProblem, target: ResolvedTarget, record: _Record, active: BoolArray
) -> None:
    waiting = np.flatnonzero(active & (record.arrival < 0))
    if waiting.size:
        there = _at_home(problem, target, record.frames[record.done + 1][waiting])
        record.arrival[waiting[there]] = record.done + 1


def _at_home(problem: SteeringProblem, target: ResolvedTarget, points: FloatArray) -> BoolArray:
    winners = geometry.best_matching_units(points, problem.codebook.prototypes)
    inside = np.isin(winners, target.home)
    return inside if target.direction > 0 else ~inside


def _give_reasons(
    problem: SteeringProblem, target: ResolvedTarget, record: _Record, active: BoolArray
) -> None:
    """REACHED for every point that ended in the target, else why it stopped."""
    kept = np.isin(record.stop, [StopReason.INTERRUPTED, StopReason.DIVERGED])
    home = _at_home(problem, target, record.frames[record.done])
    record.stop[~kept & ~active] = StopReason.STALLED
    record.stop[~kept & home] = StopReason.REACHED


def _displaced(original: FloatArray, frames: FloatArray, scale: FloatArray) -> FloatArray:
    """Return frames in original units; where nothing moved, the input bit for bit."""
    moved = (frames - frames[0]) * scale
    return np.where(moved == 0.0, original, original + moved)
