"""Checks of control policies: that points go where they are sent, stay where they are not, stop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from musicfw.api import Move, PolicyFactory, SteeringProblem
from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.control.targets import Target
from musicfw.errors import UsageError
from musicfw.geometry import squared_distances
from musicfw.lattice import Lattice
from musicfw.status import StopReason
from musicfw.steer import steer
from musicfw.testing.examples import for_all
from musicfw.testing.factory_laws import without_global_randomness
from musicfw.testing.kit import Subject, ViolationError, check
from musicfw.testing.tolerances import recovery_bound
from musicfw.types import Trajectory

__all__ = ["small_map", "starts_on"]

_UNITS = (3, 4)
_STEPS = 25


def small_map(seed: int, *, dimension: int = 3) -> Codebook:
    """Return a map of 3 × 4 units, normally distributed prototypes and full rank."""
    rng = np.random.default_rng(seed)
    rows, columns = _UNITS
    prototypes = rng.normal(size=(rows * columns, dimension))
    return Codebook(prototypes=prototypes, lattice=Lattice(rows=rows, columns=columns))


def starts_on(codebook: Codebook, seed: int, *, count: int = 3) -> FloatArray:
    """Return points (count, D) about a map, none of them a prototype."""
    rng = np.random.default_rng(seed + 1000)
    return np.asarray(1.5 * rng.normal(size=(count, codebook.dimension)))


def problem_of(codebook: Codebook, points: FloatArray, unit: int, **rest: Any) -> SteeringProblem:
    """Return the problem of approaching one unit, as the host would pose it."""
    usual: dict[str, Any] = {
        "goals": np.zeros((len(points), 1)),
        "directions": np.ones(1),
        "weights": np.ones(1),
        "waypoints": np.empty(0, dtype=np.intp),
        "steps": _STEPS,
    }
    units = np.array([unit], dtype=np.intp)
    return SteeringProblem(codebook=codebook, points=points, units=units, **(usual | rest))


def advanced(subject: Subject, problem: SteeringProblem, steps: int) -> list[Move]:
    """Return the moves of a fresh policy, all points active, after looking at what they are."""
    if "reference" in subject.factory.traits and problem.reference is None:
        # Data that are the prototypes themselves: what looks at data finds the map in them.
        problem = dataclasses.replace(problem, reference=problem.codebook.prototypes)
    with np.errstate(all="ignore"):
        steering = subject.build().begin(problem)
        return [_checked(steering.advance(_all(problem)), problem) for _ in range(steps)]


def _all(problem: SteeringProblem) -> Any:
    return np.ones(len(problem.points), dtype=np.bool_)


def _checked(move: Any, problem: SteeringProblem) -> Move:
    if not isinstance(move, Move):
        raise ViolationError(f"expected advance to return a Move, got {type(move).__name__}")
    for name, shape in (("points", problem.points.shape), ("settled", (len(problem.points),))):
        found = getattr(move, name)
        if not isinstance(found, np.ndarray) or found.shape != shape:
            got = getattr(found, "shape", type(found).__name__)
            raise ViolationError(f"expected Move.{name} of shape {shape}, got {got}")
    return dataclasses.replace(move, points=move.points.copy(), settled=move.settled.copy())


def steered(
    subject: Subject, codebook: Codebook, points: FloatArray, target: Target, **rest: Any
) -> Trajectory:
    """Return what the host makes of a walk with the policy."""
    factory = subject.factory
    assert isinstance(factory, PolicyFactory)
    if "reference" in factory.traits:
        rest = {"reference": codebook.prototypes} | rest
    return steer(codebook, points, target=target, policy=factory, **(rest | dict(subject.options)))


def scenes(**more: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """Return seeds, numbers of features and target units."""
    rows, columns = _UNITS
    usual = {
        "seed": st.integers(0, 99),
        "dimension": st.integers(1, 4),
        "unit": st.integers(0, rows * columns - 1),
    }
    return st.fixed_dictionaries(usual | more)


@check("policy", advice="check the sign of δ: −rate · d to approach, +rate · d to move away")
def requested_change_is_honoured(subject: Subject) -> None:
    """A unit that is approached comes nearer, to first order and in the end; away, farther.

    To first order: the first step Δ has ``J Δ ≤ 0`` for J = 2 (x − w)ᵀ, and ≥ 0 to move away. In
    the end: the squared distance has fallen, or risen, strictly. A policy may refuse to move away,
    by a UsageError.
    """

    def law(seed: int, dimension: int, unit: int, away: bool) -> None:
        codebook = small_map(seed, dimension=dimension)
        points = starts_on(codebook, seed)
        target = Target.units([unit], away=away)
        try:
            path = steered(subject, codebook, points, target, steps=_STEPS)
        except UsageError:
            if away:
                return
            raise
        sign = -1.0 if away else 1.0
        offset = points - codebook.prototypes[unit]
        change = 2.0 * np.einsum("nd,nd->n", offset, path.points[1] - path.points[0])
        before = np.einsum("nd,nd->n", offset, offset)
        after = np.square(path.points[-1] - codebook.prototypes[unit]).sum(axis=1)
        rounding = 1e-12 * before
        if not (sign * change <= rounding).all():
            n = int((sign * change).argmax())
            raise ViolationError(
                f"expected a first step that {'raises' if away else 'lowers'} the distance to the "
                f"target, got a change of {change[n]:.3g} for point {n}"
            )
        if not (sign * after < sign * before).all():
            n = int((sign * (after - before)).argmax())
            raise ViolationError(
                f"expected a squared distance to the target {'above' if away else 'below'} "
                f"{before[n]:.4g} in the end, got {after[n]:.4g} for point {n}"
            )

    for away in (False, True):
        for_all(law, scenes(away=st.just(away)), examples=6)


@check("policy", advice="take no step where the wanted change is 0, whatever the damping")
def zero_request_is_identity(subject: Subject) -> None:
    """A point that is where it should be stays there: on its prototype, or by its own activations.

    Within `tolerances.recovery_bound`: the distances that ask for nothing are themselves rounded.
    Activations as a target may be refused, by a UsageError.
    """

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        there = codebook.prototypes[unit : unit + 1]
        _stays(steered(subject, codebook, there, Target.units([unit]), steps=5), "on the target")
        points = starts_on(codebook, seed, count=1)
        own = Target.activations(codebook.squared_distances(points)[0])
        try:
            path = steered(subject, codebook, points, own, steps=5)
        except UsageError:
            return
        _stays(path, "with the activations of the target")

    for_all(law, scenes(), examples=8)


def _stays(path: Trajectory, what: str) -> None:
    start = path.points[0]
    moved = np.linalg.norm(path.points - start, axis=2).max(axis=0)
    allowed = recovery_bound(path.codebook.prototypes, start)
    if not (moved <= allowed).all():
        raise ViolationError(
            f"expected a point {what} to stay within {allowed.max():.3g}, it moved by "
            f"{moved.max():.3g}"
        )


@check("policy", advice="copy before you change: points, goals and codebook belong to the host")
def start_unchanged(subject: Subject) -> None:
    """The arrays of the problem are left as they were, the starts above all, byte for byte.

    The host hands out read-only arrays; here they can be written to, so that a write is seen.
    """

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        problem = problem_of(codebook, starts_on(codebook, seed), unit)
        names = ("points", "units", "goals", "directions", "weights")
        before = {name: getattr(problem, name).copy() for name in names}
        advanced(subject, problem, 3)
        for name in names:
            if not np.array_equal(getattr(problem, name), before[name]):
                raise ViolationError(f"expected problem.{name} unchanged, it was written to")

    for_all(law, scenes(), examples=4)


@check("policy", advice="guard divisions by distances and by spectra that can be 0; damp the step")
def frames_are_finite(subject: Subject) -> None:
    """No walk leaves the finite numbers: far starts, offsets, equal prototypes, starts on one."""

    def law(seed: int, dimension: int, unit: int, spoilt: str) -> None:
        codebook = small_map(seed, dimension=dimension)
        points = starts_on(codebook, seed)
        prototypes = codebook.prototypes.copy()
        if spoilt == "equal prototypes":
            prototypes[:] = prototypes[:1]
        elif spoilt == "pairs of prototypes":
            prototypes[1::2] = prototypes[::2]
        elif spoilt == "far from the origin":
            prototypes, points = prototypes + 1e6, points + 1e6
        elif spoilt == "far starts":
            points = points * 1e4
        elif spoilt == "starts on prototypes":
            points = prototypes[:3].copy()
        book = Codebook(prototypes=prototypes, lattice=codebook.lattice)
        path = steered(subject, book, points, Target.units([unit]), steps=10)
        if (path.stop == StopReason.DIVERGED).any() or not np.isfinite(path.points).all():
            raise ViolationError(f"expected finite frames with {spoilt}, the walk diverged")

    spoilt = ["nothing", "equal prototypes", "pairs of prototypes", "far from the origin"]
    spoilt += ["far starts", "starts on prototypes"]
    for what in spoilt:
        for_all(law, scenes(spoilt=st.just(what)), examples=4)


@check("policy", advice="let steps shrink as the goal nears; report a point as settled at rest")
def walks_stop(subject: Subject) -> None:
    """A point that approaches one unit comes to rest, and a settled point stays where it is.

    Told to take 50 steps, its steps after 400 are below a thousandth of the way it had to go
    (MUSIC nears its goal like 1/t², without end). A settled point moves no more than that either.
    """

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        problem = problem_of(codebook, starts_on(codebook, seed), unit, steps=50)
        way = np.linalg.norm(problem.points - codebook.prototypes[unit], axis=1)
        moves = advanced(subject, problem, 400)
        last = np.linalg.norm(moves[-1].points - moves[-2].points, axis=1)
        if not (last <= 1e-3 * way).all():
            n = int((last / way).argmax())
            raise ViolationError(
                f"expected point {n} at rest after 400 steps, got a step of {last[n]:.3g} on a way "
                f"of {way[n]:.3g}"
            )
        for n in range(len(way)):
            at = next((t for t, move in enumerate(moves) if move.settled[n]), len(moves) - 1)
            later = np.linalg.norm(moves[-1].points[n] - moves[at].points[n])
            if not later <= 1e-3 * way[n]:
                raise ViolationError(
                    f"expected point {n}, settled in step {at + 1}, to stay, got a move of "
                    f"{later:.3g} on a way of {way[n]:.3g}"
                )

    for_all(law, scenes(), examples=3)


@check("policy", advice="treat every point for itself; mind shapes (N, …) that broadcast")
def batch_of_points_equals_loop(subject: Subject) -> None:
    """Points that walk together take the paths that each would take alone.

    Within 1e-9 of the map's extent over five steps: products of matrices round by eps in another
    order, and a step may enlarge that by the condition of its system, some 1e6 when damped.
    """

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        points = starts_on(codebook, seed, count=4)
        target = Target.units([unit])
        together = steered(subject, codebook, points, target, steps=5).points
        for n, point in enumerate(points):
            alone = steered(subject, codebook, point, target, steps=5).points[:, 0]
            gap = np.abs(together[:, n] - alone).max()
            allowed = 1e-9 * (np.ptp(codebook.prototypes) + np.abs(points).max())
            if not gap <= allowed:
                raise ViolationError(
                    f"expected point {n} of a batch on its own path within {allowed:.3g}, got a "
                    f"difference of {gap:.3g}"
                )

    for_all(law, scenes(), examples=5)


@check("policy", advice="return points of shape (0, D) and settled of shape (0,)")
def no_points_walk(subject: Subject) -> None:
    """A batch without points is no error: its frames have the shape (T+1, 0, D)."""
    codebook = small_map(0)
    advanced(subject, problem_of(codebook, np.empty((0, codebook.dimension)), 0), 2)


@check("policy", advice="use a seed among the options for what is random, and default_rng(seed)")
def same_start_same_path(subject: Subject) -> None:
    """The same start, target and options give the same path, bit for bit."""

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        problem = problem_of(codebook, starts_on(codebook, seed), unit)
        first, again = (advanced(subject, problem, 5)[-1].points for _ in range(2))
        if first.tobytes() != again.tobytes():
            gap = np.abs(first - again).max()
            raise ViolationError(f"expected the same bits twice, got a difference of {gap:.3g}")

    for_all(law, scenes(), examples=4)


@check("policy", advice="draw from numpy.random.default_rng(seed) with a seed among the options")
def no_global_randomness_in_steering(subject: Subject) -> None:
    """The generators that all share (np.random, random) are neither used nor seeded."""
    codebook = small_map(1)
    problem = problem_of(codebook, starts_on(codebook, 1), 2)
    without_global_randomness(lambda: advanced(subject, problem, 3))


@check("policy", needs="bounds", advice="clip every frame to problem.lower … problem.upper")
def bounds_are_kept(subject: Subject) -> None:
    """No frame crosses a bound, not by rounding either."""

    def law(seed: int, dimension: int, unit: int) -> None:
        codebook = small_map(seed, dimension=dimension)
        points = np.clip(starts_on(codebook, seed), -0.5, 0.5)
        lower, upper = np.full(dimension, -0.5), np.full(dimension, 0.5)
        problem = problem_of(codebook, points, unit, lower=lower, upper=upper)
        for move in advanced(subject, problem, _STEPS):
            outside = (move.points < lower) | (move.points > upper)
            if outside.any():
                value = move.points[outside][0]
                raise ViolationError(f"expected every frame within -0.5 … 0.5, got {value:.6g}")

    for_all(law, scenes(), examples=8)


@check("policy", needs="cost", advice="use problem.cost as C in the Tikhonov term λ Δᵀ C Δ")
def cost_is_heeded(subject: Subject) -> None:
    """A feature that costs more has no larger a share of the first step than at equal costs.

    In the mean over the points, for each point's other features change their part, too.
    """

    def law(seed: int, unit: int, feature: int) -> None:
        codebook = small_map(seed, dimension=4)
        points = starts_on(codebook, seed, count=16)
        shares = []
        for price in (1.0, 100.0):
            cost = np.ones(4)
            cost[feature] = price
            problem = problem_of(codebook, points, unit, cost=cost / cost.mean())
            step = np.square(advanced(subject, problem, 1)[0].points - points)
            whole = np.maximum(step.sum(axis=1), np.finfo(np.float64).tiny)
            shares.append(float((step[:, feature] / whole).mean()))
        if not shares[1] < shares[0]:
            raise ViolationError(
                f"expected feature {feature} at a hundred times the cost to take less than "
                f"{shares[0]:.3g} of the step, got {shares[1]:.3g}"
            )

    cases = {"seed": st.integers(0, 99), "unit": st.integers(0, 11), "feature": st.integers(0, 3)}
    for_all(law, st.fixed_dictionaries(cases), examples=6)


@check("policy", needs="relevances", advice="measure with codebook.relevances, row i for unit i")
def relevances_are_heeded(subject: Subject) -> None:
    """On a map with relevances by unit, what comes nearer is ``Σ_k R_ik (x_k − w_ik)²``."""

    def law(seed: int, unit: int) -> None:
        plain = small_map(seed)
        rng = np.random.default_rng(seed)
        relevances = rng.uniform(0.1, 4.0, size=plain.prototypes.shape)
        codebook = dataclasses.replace(plain, relevances=relevances)
        points = starts_on(codebook, seed)
        path = steered(subject, codebook, points, Target.units([unit]), steps=_STEPS)
        before, after = (
            squared_distances(x, codebook.prototypes, codebook.relevances)[:, unit]
            for x in (points, path.points[-1])
        )
        if not (after < before).all():
            n = int((after - before).argmax())
            raise ViolationError(
                f"expected a weighted squared distance below {before[n]:.4g}, got {after[n]:.4g}"
            )

    cases = {"seed": st.integers(0, 99), "unit": st.integers(0, 11)}
    for_all(law, st.fixed_dictionaries(cases), examples=6)
