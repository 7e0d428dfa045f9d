"""The verb *steer*: move points through a map."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from musicfw.api import PolicyFactory, SteeringProblem
from musicfw.arrays import FloatArray, as_points, as_whole, read_only
from musicfw.axes import Axes, axes_of
from musicfw.codebook import Codebook
from musicfw.control.constraints import (
    Constraints,
    Feature,
    PerFeature,
    resolve_constraints,
    to_map_units,
)
from musicfw.control.targets import ResolvedTarget, Target, resolve_target
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.geometry import squared_distances
from musicfw.invert import as_map
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.plugins import Provided, Registry, provided
from musicfw.types import TrainedMap, Trajectory
from musicfw.walk import Rules, Until, walk


def steer(
    codebook: Codebook | TrainedMap,
    x: npt.ArrayLike,
    *,
    target: Target,
    policy: str | PolicyFactory = "music",
    steps: int = 100,
    until: Until = "settled",
    frozen: Sequence[Feature] = (),
    lower: PerFeature | None = None,
    upper: PerFeature | None = None,
    cost: PerFeature | None = None,
    off_manifold: float | None = None,
    reference: npt.ArrayLike | None = None,
    registry: Registry | None = None,
    progress: Callable[[int, int], None] | None = None,
    **params: Any,
) -> Trajectory:
    """Return the paths of points that are steered towards (or away from) a target.

    Parameters
    ----------
    codebook : Codebook or TrainedMap
        The map; its relevances, shared or by unit, count in every distance. Given a TrainedMap,
        points are in original units; given a Codebook, in the map's.
    x : array_like or DataFrame, shape (D,) or (N, D)
        Where the points start; never changed. The columns of a frame are taken by the names of a
        TrainedMap's features.
    target : Target
        ``Target.units([3, 4])``, ``.cell(row, column)``, ``.label(name)``, ``.cluster(number)``,
        ``.activations(d)``, ``.path([...])`` or ``.several((target, weight), …)``.
    policy : str or PolicyFactory
        Name of a registered policy.
    steps : int
        Number of steps T.
    until : {"settled", "arrived"}
        Whether a point goes on until its policy settles, or stops in the first frame whose best
        matching unit belongs to the target (the smallest change that gets it there).
    frozen : sequence of int or str
        Features that may not change, by number or name: they change by exactly 0.
    lower, upper : float, mapping or array_like (D,), optional
        Bounds that are never crossed, in the units of ``x``: for all features, for some by number
        or name, or for each. The points must start within them.
    cost : float, mapping or array_like (D,), optional
        Price of changing each feature (only ratios matter): the Tikhonov term becomes λ Δᵀ C Δ.
    off_manifold : float, optional
        Stop a point (LEFT_MANIFOLD) before it is farther from every prototype than this multiple of
        the training data's 99 % quantile. Needs a TrainedMap.
    reference : array_like, shape (R, D), optional
        Data that a policy may look at (``kmeans-line`` finds its centres there), in the units of
        ``x``.
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
        For a wrong shape, an unknown target, policy or feature, or wrong params.
    PluginError
        If the policy fails or returns something of the wrong shape.
    """
    trained = as_map(codebook)
    book, scaling, names = trained.codebook, trained.scaling, trained.feature_names
    _check_call(target, steps, until)
    chosen = provided("policy", policy, registry)
    resolved_params = params_from_keywords(chosen.factory, params)
    original = as_points(x, name="x", dimension=trained.dimension, column_names=names)
    resolved = resolve_target(target, book)
    limits = resolve_constraints(
        frozen=frozen, lower=lower, upper=upper, cost=cost, names=names, starts=original
    )
    axes = axes_of(book)
    if trained.embedding is None:
        axes = axes.only(limits.free)
    _check_limits(chosen, limits, trained, axes)
    starts = trained.encode(original)
    rules = Rules(
        target=resolved,
        until=until,
        reach=_reach(trained, off_manifold),
        progress=progress or (lambda done, total: None),
    )
    started = time.perf_counter()
    data = None
    if reference is not None:
        matrix = as_points(
            reference, name="reference", dimension=trained.dimension, column_names=names
        )
        data = trained.encode(matrix)
    problem = _problem(book, axes, starts, resolved, limits, scaling, int(steps), data)
    seen = walk(problem, rules, chosen, chosen.build(resolved_params))
    frames = seen.frames[: seen.done + 1]
    if trained.embedding is None:
        points, codes = _in_full(original, frames, axes, limits, scaling), None
    else:
        codes = _in_full(starts, frames, axes, limits, Scaling.identity(book.dimension))
        points = _decoded(trained, codes)
    return Trajectory(
        points=points,
        codes=codes,
        stop=seen.stop,
        step_norm=seen.step_norm[: seen.done],
        arrival=seen.arrival,
        target_units=resolved.home if resolved.home.size else resolved.shunned,
        codebook=book,
        scaling=scaling,
        policy=chosen.factory.name,
        params=params_to_tree(resolved_params),
        elapsed_s=time.perf_counter() - started,
        feature_names=names,
    )


def _check_call(target: Target, steps: int, until: Until) -> None:
    if not isinstance(target, Target):
        raise UsageError(
            f"target: expected a Target, such as Target.units([3, 4]), got {type(target).__name__}"
        )
    as_whole(steps, name="steps", least=1)
    if until not in get_args(Until):
        raise UsageError(f"until: expected 'settled' or 'arrived', got {until!r}")


def _check_limits(chosen: Provided, limits: Constraints, trained: TrainedMap, axes: Axes) -> None:
    if axes.codebook.relevances is not None and "relevances" not in chosen.factory.traits:
        raise UsageError(
            f"codebook: the policy {chosen.factory.name!r} does not heed relevances that differ by "
            f"unit; use 'music', or a codebook with shared ones"
        )
    limited = (limits.lower, limits.upper, limits.cost)
    if trained.embedding is not None and not (
        limits.free.all() and all(each is None for each in limited)
    ):
        raise UsageError(
            f"frozen, lower, upper, cost: the map lies in the codes of {trained.embedding.name!r}, "
            f"where single features cannot be held; leave them out, or train a map on the features"
        )
    for trait, given in (("bounds", limits.lower), ("cost", limits.cost)):
        if given is not None and trait not in chosen.factory.traits:
            raise UsageError(
                f"{'lower, upper' if trait == 'bounds' else trait}: the policy "
                f"{chosen.factory.name!r} does not heed them; leave them out, or use 'music'"
            )


def _reach(trained: TrainedMap, off_manifold: float | None) -> float:
    """Return the greatest distance to the map that a point may have."""
    if off_manifold is None:
        return float("inf")
    if not off_manifold > 0:
        raise UsageError(f"off_manifold: expected a number greater than 0, got {off_manifold!r}")
    quantiles = trained.distance_quantiles
    if quantiles is None:
        raise UsageError(
            "off_manifold: needs a map that knows its training data; give the TrainedMap that "
            "train returned, or leave it out"
        )
    return off_manifold * float(quantiles[99])


def _problem(
    book: Codebook,
    axes: Axes,
    starts: FloatArray,
    target: ResolvedTarget,
    limits: Constraints,
    scaling: Scaling,
    steps: int,
    reference: FloatArray | None,
) -> SteeringProblem:
    """Return the problem along the axes that can change; distances of the others are constants."""
    goals = np.broadcast_to(target.goals, (starts.shape[0], target.goals.size)).copy()
    frozen_distances = None
    fixed = ~limits.free
    if fixed.any():
        relevances = None if book.relevances is None else book.relevances[..., fixed]
        frozen_distances = squared_distances(
            starts[:, fixed], book.prototypes[:, fixed], relevances
        )
        goals = np.maximum(goals - (goals > 0.0) * frozen_distances[:, target.units], 0.0)
    low, high = to_map_units(limits.lower, scaling), to_map_units(limits.upper, scaling)
    return SteeringProblem(
        codebook=axes.codebook,
        points=read_only(np.ascontiguousarray(axes.along(starts))),
        units=read_only(target.units),
        goals=read_only(goals),
        directions=read_only(target.directions),
        weights=read_only(target.weights),
        waypoints=read_only(target.waypoints),
        steps=steps,
        frozen_distances=None if frozen_distances is None else read_only(frozen_distances),
        lower=None if low is None else axes.along(low),
        upper=None if high is None else axes.along(high),
        cost=None if limits.cost is None else limits.cost[axes.features],
        reference=None if reference is None else read_only(axes.along(reference)),
    )


def _decoded(trained: TrainedMap, frames: FloatArray) -> FloatArray:
    """Return frames of codes (T+1, N, d) as points (T+1, N, D) in original units."""
    flat = trained.decode(frames.reshape(-1, frames.shape[2]))
    return flat.reshape(*frames.shape[:2], trained.dimension)


def _in_full(
    original: FloatArray, frames: FloatArray, axes: Axes, limits: Constraints, scaling: Scaling
) -> FloatArray:
    """Return frames of all features in original units; what did not move is the input's bits."""
    if axes.are_features and scaling.is_identity:
        return frames
    features = axes.features
    moved = (frames - frames[0]) * (scaling.scale[features] / axes.scale)
    start = original[:, features]
    there = start + moved
    if limits.lower is not None and limits.upper is not None:
        # Rounding of the change of units may not cross a bound either.
        there = np.clip(there, limits.lower[features], limits.upper[features])
    there = np.where(moved == 0.0, start, there)
    full = np.repeat(original[np.newaxis], frames.shape[0], axis=0)
    full[:, :, features] = there
    return full
