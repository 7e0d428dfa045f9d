"""Checks of what a training backend promises by its traits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from musicfw.lattice import Lattice
from musicfw.testing.backend_laws import (
    SMALL_SEEDS,
    clouds,
    problem_of,
    quantization_error,
    trained,
)
from musicfw.testing.examples import for_all
from musicfw.testing.kit import CheckSkipped, Subject, ViolationError, check
from musicfw.testing.tolerances import EPS, RATIO

__all__: list[str] = []


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

    for_all(law, st.fixed_dictionaries({"seed": SMALL_SEEDS}), examples=4)


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

    for_all(law, st.fixed_dictionaries({"seed": SMALL_SEEDS}), examples=3)


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
