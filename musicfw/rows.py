"""Which rows of the data a run trains on, holds out, inverts and moves, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from musicfw.arrays import IntArray
from musicfw.control.targets import Target, TargetKind
from musicfw.errors import DataError, UsageError, one_of
from musicfw.types import Dataset, TrainedMap

if TYPE_CHECKING:
    from musicfw.spec import ControlSpec


def split_rows(
    count: int, *, holdout: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return the rows to train on, in order, and the held-out rows, shuffled.

    Without a holdout both are all rows, and results on "held-out" rows are on training rows.
    """
    order = rng.permutation(count).astype(np.intp)
    # Who asks for a holdout gets one: else results on training rows would pass for held-out ones.
    held = max(1, round(holdout * count)) if holdout else 0
    if count - held < 2:
        raise DataError(
            f"data: {count} rows with holdout {holdout:g} leave {count - held} to train on, "
            f"expected at least 2; lower data.holdout or use more data"
        )
    if held == 0:
        return np.sort(order), np.sort(order)
    return np.sort(order[held:]), order[:held]


def start_rows(section: ControlSpec, dataset: Dataset, held_out: IntArray) -> IntArray:
    """Return which rows of the data a control section moves."""
    start = section.start
    where = f"control {section.id!r}, start"
    if start.rows is not None:
        return held_out[_held_out_numbers(start.rows, held_out, f"{where}.rows")]
    rows = held_out
    if start.label is not None:
        if dataset.labels is None:
            raise UsageError(f"{where}.label: the data have no labels; use start.rows or count")
        rows = held_out[dataset.labels[held_out] == start.label]
        if rows.size == 0:
            known = sorted(set(dataset.labels[held_out].tolist()))
            raise UsageError(
                f"{where}.label: expected the label of a held-out row ({one_of(known)}), got "
                f"{start.label!r}"
            )
    return rows[: start.count]


def _held_out_numbers(numbers: Sequence[int], held_out: IntArray, where: str) -> list[int]:
    for number in numbers:
        if not 0 <= number < held_out.size:
            raise UsageError(
                f"{where}: expected numbers of held-out rows, 0 … {held_out.size - 1}, got {number}"
            )
    return list(numbers)


def described_target(section: ControlSpec) -> str:
    """Return the target in words."""
    target = section.target
    if target.sample is not None:
        away = "away from " if target.away else ""
        return f"{away}the activations of held-out row {target.sample}"
    return str(_plain_target(section))


def target_of(
    section: ControlSpec, trained: TrainedMap, dataset: Dataset, held_out: IntArray
) -> Target:
    """Return the target of a control section."""
    target = section.target
    if target.sample is None:
        return _plain_target(section)
    where = f"control {section.id!r}, target.sample"
    row = held_out[_held_out_numbers([target.sample], held_out, where)[0]]
    return Target.activations(trained.squared_distances(dataset.points[row])[0], away=target.away)


def _plain_target(section: ControlSpec) -> Target:
    target = section.target
    if target.cell is not None:
        return Target.cell(*target.cell, away=target.away)
    kind = cast(TargetKind, target.kind)
    return Target(kind=kind, value=getattr(target, kind), away=target.away)
