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
from musicfw.testing.kit import Subject, ViolationError, check
from musicfw.testing.strategies import lattices

__all__ = ["clouds"]

SMALL_SEEDS = st.integers(0, 9)


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
        {"lattice": lattices(largest=4), "dimension": st.integers(1, 4), "seed": SMALL_SEEDS}
    )
    for_all(law, cases, examples=12)


@check("backend", advice="return RawMap(distances=…) as they are in the end, or leave them out")
def distances_are_to_the_prototypes(subject: Subject) -> None:
    """The distances that a map comes with, if it does, are those of points to its prototypes.

    Of all points, or each of some point: within 1e-3 of the extent of the data, √ of the rounding
    of squares in float32.
    """

    def law(seed: int) -> None:
        points, lattice = clouds(seed), Lattice(rows=2, columns=3)
        raw = trained(subject, problem_of(points, lattice, seed=seed))
        if raw.distances is None or raw.embedding is not None:
            return
        book = Codebook(prototypes=raw.prototypes, relevances=raw.relevances)
        expected = np.sort(np.sqrt(book.squared_distances(points).min(axis=1)))
        found = np.sort(raw.distances)
        if found.size == expected.size:
            gap = np.abs(found - expected).max()
        else:
            gap = np.abs(found[:, np.newaxis] - expected).min(axis=1).max(initial=0.0)
        if not gap <= 1e-3 * np.ptp(points):
            raise ViolationError(f"expected distances to the prototypes, got one {gap:.3g} off")

    for_all(law, st.fixed_dictionaries({"seed": SMALL_SEEDS}), examples=4)


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

    for_all(law, st.fixed_dictionaries({"seed": SMALL_SEEDS}), examples=4)


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
            if names == ["points"]:
                raise
            continue  # first prototypes and weights may be refused
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
    cases = st.fixed_dictionaries({"seed": SMALL_SEEDS, "rows": sizes, "columns": sizes})
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

    for_all(law, st.fixed_dictionaries({"seed": SMALL_SEEDS}), examples=2)


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
