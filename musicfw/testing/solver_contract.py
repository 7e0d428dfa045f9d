"""Checks of solvers: batches, state, memory, copies, threads, and input that is out of line."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.geometry import centred_system
from musicfw.status import Status
from musicfw.testing.examples import for_all
from musicfw.testing.factory_laws import without_global_randomness
from musicfw.testing.kit import Subject, ViolationError, check
from musicfw.testing.solver_scenes import agree, factorised, inverter, scenes, solved, systems
from musicfw.testing.strategies import codebooks
from musicfw.testing.tolerances import recovery_bound, solution_bound

_THREADS = 8
_ROUNDS = 6


@check("solver", advice="solve every column of the right-hand side for itself")
def batch_equals_loop(subject: Subject) -> None:
    """A batch gives what its columns give one by one.

    Within `tolerances.solution_bound`: a product of matrices may add up in another order.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        batch = np.hstack([rhs, 2.0 * rhs[:, ::-1], rhs - 1.0 + 1.0])
        together = solved(factorisation, system, batch)
        alone = np.hstack([solved(factorisation, system, b[:, np.newaxis]) for b in batch.T])
        allowed = solution_bound(system, batch, alone)
        agree(together, alone, allowed, "a batch to equal its columns one by one", axis=0)

    for_all(law, systems(rank="full", max_dim=4), examples=20)


@check("solver", advice="keep in the factorisation what belongs to the system, nothing of a solve")
def factorisation_reusable(subject: Subject) -> None:
    """One factorisation solves many batches: what came before leaves no trace, bit for bit.

    Nor does another factorisation that was made in the meantime.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        first = solved(factorisation, system, rhs).copy()
        solved(factorisation, system, rhs[::-1] * 3.0)
        twice = Codebook(prototypes=codebook.prototypes * 2)
        other, other_factorisation = factorised(subject, twice)
        solved(other_factorisation, other, rhs)
        again = solved(factorisation, system, rhs)
        if not np.array_equal(first, again):
            raise ViolationError(
                f"expected the same bits for the same right-hand side, got {again.tolist()} after "
                f"{first.tolist()}"
            )

    for_all(law, systems(rank="full", max_dim=3), examples=20)


@check("solver", advice="copy before you change: the arrays belong to the caller")
def inputs_unchanged(subject: Subject) -> None:
    """`factorise` and `solve` leave every array they are given as it was, byte for byte.

    The host hands out read-only arrays; here they can be written to, so that a write is seen.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system = centred_system(codebook.prototypes)
        fields = {f.name: getattr(system, f.name) for f in dataclasses.fields(system)}
        given = {name: array.copy() for name, array in fields.items() if array is not None}
        writeable = dataclasses.replace(system, **given)
        mine = rhs.copy()
        with np.errstate(all="ignore"):
            subject.build().factorise(writeable).solve(mine)
        for name, array in given.items():
            if not np.array_equal(array, fields[name]):
                raise ViolationError(f"expected system.{name} unchanged, it was written to")
        if not np.array_equal(mine, rhs):
            raise ViolationError(
                f"expected rhs unchanged, it was written to: {mine.tolist()} instead of "
                f"{rhs.tolist()}"
            )

    for_all(law, systems(rank="full", max_dim=3), examples=15)


@check(
    "solver", advice="do not judge the right-hand side: the host computes residuals and statuses"
)
def bad_input_is_a_status(subject: Subject) -> None:
    """Distances that no point has are told by a status; rows beside them are answered as ever.

    Good rows come back within `tolerances.recovery_bound` (not regularised), and finite.
    """

    def law(codebook: Codebook, points: FloatArray) -> None:
        distances = codebook.squared_distances(points)
        spoilt = np.vstack([distances, distances[:1], distances[:1], distances[:1], distances[:1]])
        good = len(points)
        spoilt[good, 0] = np.nan
        spoilt[good + 1, -1] = np.inf
        spoilt[good + 2, 0] = -1.0 - spoilt[good + 2].max()
        spoilt[good + 3] = 1e3 * (1.0 + spoilt[good + 3][::-1] * np.arange(1.0, codebook.units + 1))
        found = inverter(subject, codebook)(spoilt)
        if (found.status[good : good + 3] != Status.INVALID_INPUT).any():
            raise ViolationError("expected the status INVALID_INPUT for NaN, inf and a negative")
        if not np.isfinite(found.points[good + 3]).all():
            raise ViolationError("expected a finite answer to distances that no point has")
        if not np.isfinite(found.points[:good]).all():
            raise ViolationError("expected finite points for the good rows beside bad ones")
        if "regularised" not in subject.factory.traits:
            allowed = recovery_bound(codebook.prototypes, points)
            agree(found.points[:good], points, allowed, "good rows back beside bad ones")

    for_all(law, scenes(codebooks(rank="full")), examples=15)


@check(
    "solver",
    advice="allow for rank 0 (one prototype, or all the same), for fewer prototypes than features "
    "and for repeated ones: system.singular_values holds the r that count",
)
def degenerate_maps_are_solved(subject: Subject) -> None:
    """No codebook makes a solver raise: one prototype, equal ones, fewer than features, flat ones.

    The answer is finite; for rank 0 it is the centroid.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        found = solved(factorisation, system, rhs)
        if not np.isfinite(found).all():
            raise ViolationError(f"expected a finite answer, got {found.tolist()}")
        if system.affine_rank == 0 and found.any():
            raise ViolationError(f"expected 0 for prototypes that are equal, got {found.tolist()}")

    for_all(law, systems(rank=0, max_dim=3, max_units=4), examples=10)
    for_all(law, systems(rank="deficient", max_dim=4, max_units=4), examples=20)


@check("solver", advice="return an array of shape (D, 0) for a right-hand side of shape (M, 0)")
def empty_batch(subject: Subject) -> None:
    """No points are no error: a right-hand side (M, 0) gives coordinates (D, 0)."""

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        solved(factorisation, system, rhs[:, :0])

    for_all(law, systems(rank="full", max_dim=3), examples=5)


@check("solver", advice="index and multiply arrays as they are; assume nothing of their strides")
def dtype_and_layout(subject: Subject) -> None:
    """Fortran order, strides, read-only memory and float32 distances give the same answer.

    Within `tolerances.solution_bound`: a product of matrices depends on the layout by rounding.
    Distances in float32 are answered as the same numbers in float64, bit for bit.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        rhs = np.hstack([rhs, 2.0 * rhs])
        expected = solved(factorisation, system, np.ascontiguousarray(rhs))
        spaced = np.full((2 * rhs.shape[0], 3 * rhs.shape[1]), np.nan)
        spaced[::2, ::3] = rhs
        locked = np.asfortranarray(rhs)
        locked.flags.writeable = False
        layouts = {
            "in Fortran order": np.asfortranarray(rhs),
            "with strides": spaced[::2, ::3],
            "reversed in memory": np.ascontiguousarray(rhs[::-1, ::-1])[::-1, ::-1],
            "read-only": locked,
        }
        allowed = solution_bound(system, rhs, expected)
        for name, laid in layouts.items():
            found = solved(factorisation, system, laid)
            agree(found, expected, allowed, f"the same answer for an array {name}", axis=0)
        distances = codebook.squared_distances(codebook.prototypes).astype(np.float32)
        invert = inverter(subject, codebook)
        narrow, wide = invert(distances).points, invert(distances.astype(np.float64)).points
        if not np.array_equal(narrow, wide, equal_nan=True):
            raise ViolationError("expected float32 distances answered as the same in float64")

    for_all(law, systems(rank="full", max_dim=3), examples=15)


@check("solver", advice="use no products of many numbers (determinants) and no absolute thresholds")
def finite_at_any_scale(subject: Subject) -> None:
    """Prototypes from 2^-200 to 2^200 in size give finite answers."""
    for power in (0, 30, -30, 200, -200):

        def law(codebook: Codebook, points: FloatArray, power: int = power) -> None:
            factor = 2.0**power
            scaled = Codebook(prototypes=codebook.prototypes * factor)
            system, factorisation = factorised(subject, scaled)
            rhs, _ = system.right_hand_side(scaled.squared_distances(points * factor))
            found = solved(factorisation, system, rhs)
            if not np.isfinite(found).all():
                raise ViolationError(
                    f"expected finite coordinates in units of 2^{power}, got {found.tolist()}"
                )

        for_all(law, scenes(codebooks(rank="full", max_dim=4)), examples=5)


@check("solver", advice="use no random numbers, or a fixed seed; nothing that depends on time")
def deterministic(subject: Subject) -> None:
    """The same system and right-hand side give the same bits, also from a solver built anew."""

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        answers = []
        for _ in range(2):
            system, factorisation = factorised(subject, codebook)
            answers.append(solved(factorisation, system, rhs).copy())
        if not np.array_equal(answers[0], answers[1]):
            raise ViolationError(
                f"expected the same bits twice, got {answers[0].tolist()} and {answers[1].tolist()}"
            )

    for_all(law, systems(rank="full", max_dim=3), examples=15)


@check("solver", advice="draw from numpy.random.default_rng(seed) with a seed of your own")
def no_global_random_state(subject: Subject) -> None:
    """The generators that all share (np.random, random) are neither used nor seeded."""
    codebook, rhs = _scene()

    def work() -> None:
        system, factorisation = factorised(subject, codebook)
        solved(factorisation, system, rhs)

    without_global_randomness(work)


@check("solver", advice="keep arrays and numbers in the factorisation: no lambdas, locks or files")
def factorisation_can_be_copied(subject: Subject) -> None:
    """A factorisation that went through pickle or deepcopy solves to the same bits.

    A pool of processes factorises once and sends the result to its workers.
    """
    codebook, rhs = _scene()
    system, factorisation = factorised(subject, codebook)
    expected = solved(factorisation, system, rhs).copy()
    ways: dict[str, Any] = {
        "pickle": lambda f: pickle.loads(pickle.dumps(f)),
        "copy.deepcopy": copy.deepcopy,
    }
    for name, way in ways.items():
        try:
            duplicate = way(factorisation)
        except Exception as err:
            raise ViolationError(
                f"expected the factorisation ({type(factorisation).__name__}) to go through "
                f"{name}; {type(err).__name__}: {err}"
            ) from err
        if not np.array_equal(solved(duplicate, system, rhs), expected):
            raise ViolationError(f"expected the same bits from a factorisation through {name}")


@check("solver", advice="write into local variables only while solving, never into the object")
def thread_safe(subject: Subject) -> None:
    """Threads that solve with one factorisation at the same time get what each would get alone.

    Eight threads, each with a right-hand side of its own, switched as often as Python can.
    """
    codebook, rhs = _scene()
    system, factorisation = factorised(subject, codebook)
    batches = [rhs * (k + 1.0) for k in range(_THREADS)]
    expected = [solved(factorisation, system, batch).copy() for batch in batches]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in range(_ROUNDS):
                found = pool.map(lambda b: solved(factorisation, system, b).copy(), batches)
                for k, (one, other) in enumerate(zip(found, expected, strict=True)):
                    if not np.array_equal(one, other):
                        raise ViolationError(
                            f"expected thread {k} to get its own answer {other.tolist()}, got "
                            f"{one.tolist()}"
                        )
    finally:
        sys.setswitchinterval(interval)


def _scene() -> tuple[Codebook, FloatArray]:
    """Return a map of 8 units in 3 dimensions with 4 right-hand sides."""
    rng = np.random.default_rng(7)
    codebook = Codebook(prototypes=rng.normal(size=(8, 3)))
    rhs = rng.normal(size=(8, 4))
    return codebook, rhs - rhs.mean(axis=0)
