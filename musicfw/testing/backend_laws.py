"""Checks of training backends: what they return, what they leave alone, and that they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from musicfw.api import RawMap, TrainingProblem
from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.testing.examples import for_all
from musicfw.testing.factory_laws import without_global_randomness
from musicfw.testing.kit import CheckSkipped, Subject, ViolationError, check
from musicfw.testing.strategies import lattices
from musicfw.testing.tolerances import EPS, RATIO

__all__ = ["clouds"]

_SMALL = st.integers(0, 9)


def clouds(seed: int, *, count: int = 60, dimension: int = 2) -> FloatArray:
    """Return points (count, dimension) in three round clouds, eight deviations apart."""
    rng = np.random.default_rng(seed)
    centres = 8.0 * rng.normal(size=(3, dimension))
    return np.asarray(centres[np.arange(count) % 3] + rng.normal(size=(count, dimension)))


def problem_of(
    points: FloatArray,
    lattice: Lattice,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **rest: Any,
) -> TrainingProblem:
    """Return the problem that the host would pose."""
    rng = np.random.default_rng(seed)
    return TrainingProblem(points=points, lattice=lattice, rng=rng, progress=progress, **rest)


def trained(subject: Subject, problem: TrainingProblem) -> RawMap:
    """Return what a fresh backend makes of a problem, after looking at what it is."""
    raw = subject.build().fit(problem)
    if not isinstance(raw, RawMap):
        raise ViolationError(f"expected fit to return a RawMap, got {type(raw).__name__}")
    found = raw.prototypes
    columns = problem.points.shape[1]
    if raw.embedding is not None and getattr(found, "ndim", 0) == 2:
        columns = found.shape[1]
    shape = (problem.lattice.units, columns)
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype.kind != "f":
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found)
        raise ViolationError(f"expected prototypes (M, D) in floats of shape {shape}, got {got}")
    if not np.isfinite(found).all():
        unit = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise ViolationError(f"expected finite prototypes, got {found[unit].tolist()} of {unit}")
    return raw


def far_off(points: FloatArray, lattice: Lattice) -> FloatArray:
    """Return first prototypes (M, D) of a map that knows nothing: far from all data."""
    rng = np.random.default_rng(lattice.units)
    spread = np.abs(points - points.mean(axis=0)).max()
    away = 2.0 + rng.random((lattice.units, points.shape[1]))
    return np.asarray(points.max(axis=0) + spread * away)


def quantization_error(points: FloatArray, prototypes: FloatArray, raw: RawMap) -> float:
    """Return the mean distance to the best matching unit, with the relevances of a map."""
    book = Codebook(prototypes=prototypes, relevances=raw.relevances)
    return float(np.sqrt(book.squared_distances(points).min(axis=1)).mean())


@check("backend", advice="return RawMap(prototypes=…) with unit row · columns + column in its row")
def prototypes_fit_the_lattice(subject: Subject) -> None:
    """A map has one finite prototype per unit, on any lattice and for any number of features.

    One unit, one row of units, more units than points and one feature are no exceptions. A lattice
    other than a rectangular one with borders may be refused, by a UsageError.
    """

    def law(lattice: Lattice, dimension: int, seed: int) -> None:
        points = clouds(seed, count=12, dimension=dimension)
        try:
            raw = trained(subject, problem_of(points, lattice, seed=seed))
        except UsageError:
            if lattice.topology == "hexagonal" or lattice.borders != "planar":
                return
            raise
        if not isinstance(raw.history, Mapping):
            raise ViolationError(f"expected history as a mapping, got {type(raw.history).__name__}")
        for name, values in raw.history.items():
            column = np.asarray(values)
            if column.ndim != 1 or column.dtype.kind not in "fiub":
                raise ViolationError(
                    f"expected history[{name!r}] as a column of numbers, got shape {column.shape}"
                )

    cases = st.fixed_dictionaries(
        {"lattice": lattices(largest=4), "dimension": st.integers(1, 4), "seed": _SMALL}
    )
    for_all(law, cases, examples=12)


@check("backend", advice="draw every random number from problem.rng, in an order that is fixed")
def same_seed_same_bytes(subject: Subject) -> None:
    """The same data, params and seed give the same prototypes, byte for byte."""

    def law(seed: int) -> None:
        points, lattice = clouds(seed), Lattice(rows=2, columns=3)
        first, again = (
            trained(subject, problem_of(points, lattice, seed=seed)).prototypes for _ in range(2)
        )
        if first.tobytes() != again.tobytes():
            gap = np.abs(first - again).max()
            raise ViolationError(f"expected the same bytes twice, got a difference of {gap:.3g}")

    for_all(law, st.fixed_dictionaries({"seed": _SMALL}), examples=4)


@check("backend", advice="copy before you change: the data belong to the caller")
def data_unchanged(subject: Subject) -> None:
    """Points, first prototypes and weights are left as they were, byte for byte.

    The host hands out read-only arrays; here they can be written to, so that a write is seen.
    """
    lattice, points = Lattice(rows=2, columns=3), clouds(1)
    given = {"points": points, "initial": points[:6].copy()}
    if "weights" in subject.factory.traits:
        given["weights"] = np.linspace(0.5, 2.0, len(points))
    before = {name: array.copy() for name, array in given.items()}
    for names in (["points"], ["points", "initial"], list(given)):
        try:
            trained(subject, _posed(lattice, {name: given[name] for name in names}))
        except UsageError:
            if names[-1] != "weights":  # which a backend may refuse at some of its options
                raise
        for name in names:
            if not np.array_equal(given[name], before[name]):
                row = int(np.argwhere(given[name] != before[name])[0][0])
                raise ViolationError(f"expected problem.{name} unchanged, row {row} was written to")


def _posed(lattice: Lattice, arrays: Mapping[str, Any]) -> TrainingProblem:
    return problem_of(lattice=lattice, **arrays)


@check(
    "backend",
    without="embedding",
    advice="move prototypes towards the points they win; check the sign and the learning rate",
)
def quantization_error_falls(subject: Subject) -> None:
    """Training does not end with a larger quantization error than it began with.

    From first prototypes far from all data; no tolerance, for any training ends far below.
    """

    def law(seed: int, rows: int, columns: int) -> None:
        points, lattice = clouds(seed), Lattice(rows=rows, columns=columns)
        first = far_off(points, lattice)
        raw = trained(subject, problem_of(points, lattice, seed=seed, initial=first))
        start = quantization_error(points, first, raw)
        end = quantization_error(points, raw.prototypes, raw)
        if not end <= start:
            raise ViolationError(
                f"expected a quantization error of at most {start:.4g}, that of the start, got "
                f"{end:.4g}"
            )

    sizes = st.integers(1, 4)
    cases = st.fixed_dictionaries({"seed": _SMALL, "rows": sizes, "columns": sizes})
    for_all(law, cases, examples=5)


@check(
    "backend",
    without="embedding",
    advice="put unit row · columns + column into that row of prototypes; mind who counts columns "
    "first",
)
def neighbours_on_the_lattice_are_neighbours_in_the_data(subject: Subject) -> None:
    """Prototypes of neighbouring units lie near each other, row for row.

    On data that fill a strip of 3 × 9, with first prototypes that lie in order: no two neighbours
    may be farther apart than a third of the map's length (a sixth is what is usual). Units in a
    wrong order, by columns or off by one, are.
    """
    lattice = Lattice(rows=3, columns=9)
    points = np.random.default_rng(5).uniform([0.0, 0.0], [9.0, 3.0], size=(300, 2))
    first = lattice.coordinates() + 0.5
    raw = trained(subject, problem_of(points, lattice, initial=first))
    prototypes = raw.prototypes
    near = np.argwhere(np.triu(lattice.neighbours()))
    apart = np.linalg.norm(prototypes[near[:, 0]] - prototypes[near[:, 1]], axis=1)
    length = np.linalg.norm(np.ptp(prototypes, axis=0))
    worst = int(apart.argmax())
    if not apart[worst] <= length / 3:
        one, other = near[worst].tolist()
        raise ViolationError(
            f"expected prototypes of neighbours at most {length / 3:.3g} apart (a third of the "
            f"map), got {apart[worst]:.3g} between the units {one} and {other}"
        )


@check("backend", advice="draw from problem.rng; a library's own seed can be drawn from it, too")
def no_global_randomness_in_training(subject: Subject) -> None:
    """The generators that all share (np.random, random) are neither used nor seeded."""
    problem = problem_of(clouds(2), Lattice(rows=2, columns=2))
    without_global_randomness(lambda: trained(subject, problem))


@check("backend", advice="call problem.progress(done, total) after each part, with done rising")
def progress_is_monotone(subject: Subject) -> None:
    """Progress is reported, never falls, never exceeds its total, and ends there."""

    def law(seed: int) -> None:
        told: list[tuple[int, int]] = []
        problem = problem_of(
            clouds(seed),
            Lattice(rows=2, columns=2),
            progress=lambda done, total: told.append((done, total)),
        )
        trained(subject, problem)
        if not told:
            raise ViolationError("expected a call of progress(done, total), got none")
        for (before, _), (done, total) in zip([(0, 0), *told], told, strict=False):
            if done < before or not 0 <= done <= total:
                raise ViolationError(
                    f"expected progress to rise from {before} towards {total}, got {done}"
                )
        if told[-1][0] != told[-1][1]:
            raise ViolationError(f"expected progress to end at its total, got {told[-1]}")

    for_all(law, st.fixed_dictionaries({"seed": _SMALL}), examples=2)


@check("backend", advice="let KeyboardInterrupt out, or catch it and return interrupted=True")
def interrupts_are_told(subject: Subject) -> None:
    """Ctrl-C either comes out as KeyboardInterrupt or gives a map that says ``interrupted``."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    problem = problem_of(clouds(3), Lattice(rows=2, columns=2), progress=interrupt)
    try:
        raw = trained(subject, problem)
    except KeyboardInterrupt:
        return
    if not raw.interrupted:
        raise ViolationError("expected interrupted=True after a KeyboardInterrupt, got False")


@check(
    "backend",
    needs="weights",
    advice="keep sums and counts, which add up, and divide only at the end; a mean of means does "
    "not merge",
)
def statistics_merge(subject: Subject) -> None:
    """Rows count by their weights: 2 is as good as a copy, 0 as if the row were not there.

    That is what additive statistics are for: merging parts gives one pass over all. Within
    ``C · eps · (N + M) max |x|``: a prototype is a quotient of sums over N rows and M units, added
    up in another order.
    """

    def law(seed: int) -> None:
        rng = np.random.default_rng(seed)
        points, lattice = clouds(seed, count=30), Lattice(rows=2, columns=2)
        weights = rng.integers(0, 4, size=len(points)).astype(np.float64)
        weights[:2] = 1.0, 2.0
        first = points[:4] + 0.25
        counted = trained(
            subject, problem_of(points, lattice, seed=seed, weights=weights, initial=first)
        )
        copies = np.repeat(points, weights.astype(int), axis=0)
        copied = trained(subject, problem_of(copies, lattice, seed=seed, initial=first))
        allowed = RATIO * EPS * (len(copies) + lattice.units) * np.abs(points).max()
        gap = np.abs(counted.prototypes - copied.prototypes).max()
        if not gap <= allowed:
            raise ViolationError(
                f"expected the map of copied rows within {allowed:.3g}, got a difference of "
                f"{gap:.3g}"
            )

    for_all(law, st.fixed_dictionaries({"seed": _SMALL}), examples=4)


class _Kept:
    """A checkpoint in memory: keeps every state, loads one of them."""

    def __init__(self, start: Mapping[str, Any] | None = None) -> None:
        self.start = start
        self.states: list[Mapping[str, Any]] = []

    def load(self) -> Mapping[str, Any] | None:
        return self.start

    def offer(self, state: Callable[[], Mapping[str, Any]]) -> None:
        self.states.append({name: np.array(value) for name, value in state().items()})


@check(
    "backend",
    needs="resumable",
    advice="offer all that later updates depend on, and draw from problem.rng what the updates "
    "before would have drawn",
)
def resumes_where_it_stopped(subject: Subject) -> None:
    """A training that goes on from a checkpoint ends with the same bytes as one that never stopped.

    From the first, the middle and the last state that was offered.
    """
    points, lattice = np.random.default_rng(4).random((200, 2)), Lattice(rows=4, columns=5)
    whole = _Kept()
    expected = trained(subject, problem_of(points, lattice, checkpoint=whole)).prototypes
    if not whole.states:
        raise ViolationError("expected an offer to problem.checkpoint, got none")
    for number in sorted({0, len(whole.states) // 2, len(whole.states) - 1}):
        kept = _Kept(whole.states[number])
        found = trained(subject, problem_of(points, lattice, checkpoint=kept)).prototypes
        if found.tobytes() != expected.tobytes():
            gap = np.abs(found - expected).max()
            raise ViolationError(
                f"expected the same bytes after going on from state {number} of "
                f"{len(whole.states)}, got a difference of {gap:.3g}"
            )


@check(
    "backend",
    needs="float32",
    advice="work in float32 or float64, with the data centred; or drop the trait 'float32'",
)
def float32_data_are_taken(subject: Subject) -> None:
    """Data in float32 train a map as good as the same numbers in float64, to single precision.

    Quantization errors agree within ``√eps₃₂`` of the extent of the data: a mean distance is known
    to the root of the rounding of its square.
    """
    if "embedding" in subject.factory.traits:
        raise CheckSkipped("prototypes of an embedding are not in the space of the data")
    narrow: Any = clouds(6).astype(np.float32)
    wide, lattice = narrow.astype(np.float64), Lattice(rows=2, columns=3)
    errors = []
    for points in (narrow, wide):
        problem = problem_of(points, lattice, initial=wide[:6] + 0.25)
        raw = trained(subject, problem)
        errors.append(quantization_error(wide, raw.prototypes, raw))
    allowed = float(np.sqrt(np.finfo(np.float32).eps) * np.ptp(wide))
    if not abs(errors[0] - errors[1]) <= allowed:
        raise ViolationError(
            f"expected a quantization error of {errors[1]:.6g} within {allowed:.3g}, as in "
            f"float64, got {errors[0]:.6g}"
        )


@check(
    "backend",
    needs="missing",
    advice="compare a row with the prototypes in the features it has, and teach them only those",
)
def gaps_are_not_values(subject: Subject) -> None:
    """Missing values teach nothing: prototypes stay within what is known, gaps or not.

    Every feature's prototypes lie in the range of its known values, widened by that range on
    either side; the data lie a hundred ranges from 0.
    """

    def law(seed: int) -> None:
        points, lattice = clouds(seed, dimension=3), Lattice(rows=2, columns=3)
        points = points + 100.0 * np.ptp(points)
        rng = np.random.default_rng(seed)
        rows = np.arange(0, len(points), 2)
        points[rows, rng.integers(0, 3, size=rows.size)] = np.nan
        raw = trained(subject, problem_of(points, lattice, seed=seed, missing=True))
        low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
        slack = high - low
        outside = (raw.prototypes < low - slack) | (raw.prototypes > high + slack)
        if outside.any():
            unit, feature = (int(i) for i in np.argwhere(outside)[0])
            raise ViolationError(
                f"expected feature {feature} near its known values {low[feature]:.4g} … "
                f"{high[feature]:.4g}, got {raw.prototypes[unit, feature]:.4g} in unit {unit}"
            )

    for_all(law, st.fixed_dictionaries({"seed": _SMALL}), examples=3)


@check(
    "backend",
    needs="embedding",
    advice="return RawMap(embedding=E), E.encode (N, D) -> (N, d) and E.decode (N, d) -> (N, D)",
)
def embedding_fits_the_prototypes(subject: Subject) -> None:
    """Points encode to the space of the prototypes, and prototypes decode to that of the points."""
    points, lattice = clouds(7, dimension=4), Lattice(rows=2, columns=3)
    raw = trained(subject, problem_of(points, lattice))
    if raw.embedding is None:
        raise ViolationError("expected an embedding, as the trait promises, got None")
    codes, decoded = raw.embedding.encode(points), raw.embedding.decode(raw.prototypes)
    for what, found, shape in (
        ("encode", codes, (len(points), raw.prototypes.shape[1])),
        ("decode", decoded, (lattice.units, points.shape[1])),
    ):
        if not isinstance(found, np.ndarray) or found.shape != shape:
            got = getattr(found, "shape", type(found).__name__)
            raise ViolationError(f"expected {what} to return an array {shape}, got {got}")
        if not np.isfinite(found).all():
            raise ViolationError(f"expected {what} to return finite numbers")
    files = raw.embedding.files()
    if not isinstance(files, Mapping) or not all(isinstance(v, bytes) for v in files.values()):
        raise ViolationError("expected files() to return a mapping from names to bytes")
