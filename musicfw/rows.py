"""Which rows of the data a run trains on, holds out, inverts and moves, and where to."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from musicfw.arrays import FloatArray, IntArray
from musicfw.control.constraints import resolve_constraints
from musicfw.control.targets import Target, TargetKind
from musicfw.dataset import Dataset
from musicfw.errors import DataError, UsageError, did_you_mean, one_of
from musicfw.plugins import Registry
from musicfw.types import TrainedMap

if TYPE_CHECKING:
    from musicfw.spec import ControlSpec, RunSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunData:
    """The data of a run and which rows of them it uses for what.

    Parameters
    ----------
    dataset : Dataset
        The data in original units.
    train_rows, held_out : ndarray of intp
        Rows to train on, and rows kept out of training.
    starts : mapping of str to ndarray of intp
        Rows that each control section moves, by id.
    """

    dataset: Dataset
    train_rows: IntArray
    held_out: IntArray
    starts: Mapping[str, IntArray]

    @property
    def held_out_points(self) -> FloatArray:
        """Points kept out of training, shape (H, D)."""
        return np.asarray(self.dataset.points[self.held_out])


def load_data(spec: RunSpec, registry: Registry) -> RunData:
    """Return the data of a run, after checking all that a spec asks of them.

    Raises
    ------
    DataError, UsageError
        For data that cannot be used, and rows or labels that they do not have.
    PluginError
        If the data source fails.
    """
    source = registry.find("dataset", spec.data.use)
    built = source.build(spec.data.with_)
    with source.calling("load"):
        dataset = built.load(generator(spec, "data"))
    if not isinstance(dataset, Dataset):
        raise source.error("load", f"expected a Dataset, got {type(dataset).__name__}")
    train_rows, held_out = split_rows(
        dataset.points.shape[0], holdout=spec.data.holdout, rng=generator(spec, "split")
    )
    for section in spec.control:
        _check_target(section, dataset, held_out)
    starts = {section.id: start_rows(section, dataset, held_out) for section in spec.control}
    for section in spec.control:
        _check_constraints(section, dataset, starts[section.id])
    return RunData(dataset=dataset, train_rows=train_rows, held_out=held_out, starts=starts)


def _check_constraints(section: ControlSpec, dataset: Dataset, rows: IntArray) -> None:
    """Refuse constraints that do not fit the data, before a map is trained for them."""
    try:
        resolve_constraints(
            frozen=section.frozen,
            lower=section.lower,
            upper=section.upper,
            cost=section.cost,
            names=dataset.feature_names,
            starts=dataset.points[rows],
        )
    except UsageError as err:
        raise UsageError(f"control {section.id!r}: {err}") from err


def after_training(data: RunData, trained: TrainedMap) -> tuple[RunData, list[str]]:
    """Return the data, gaps filled, for what follows the training, and what a reader must know."""
    told = []
    if trained.embedding is not None:
        told.append(
            f"The map lies in the codes of {trained.embedding.name!r}. Recovered points, frames "
            f"and the originals beside them are decoded from codes; how much of the data a code "
            f"does not hold is the map's reconstruction_error."
        )
    gaps = np.isnan(data.dataset.points)
    if not gaps.any():
        return data, told
    told.append(
        f"{int(gaps.sum())} values are missing, in {int(gaps.any(axis=1).sum())} of {len(gaps)} "
        f"rows. The map was trained on the known ones; inversion, steering, measures and figures "
        f"have them filled from each row's best matching unit."
    )
    filled = replace(data.dataset, points=trained.impute(data.dataset.points))
    return replace(data, dataset=filled), told


def generator(spec: RunSpec, purpose: str) -> np.random.Generator:
    """Return the generator of a purpose."""
    # By name and not by order, so that adding a stage leaves the others' numbers alone.
    return np.random.default_rng([spec.seed, zlib.crc32(purpose.encode())])


def _check_target(section: ControlSpec, dataset: Dataset, held_out: IntArray) -> None:
    """Refuse a target that the data do not have, before a map is trained for it."""
    target, where = section.target, f"control {section.id!r}, target"
    if target.sample is not None:
        _held_out_numbers([target.sample], held_out, f"{where}.sample")
    if target.label is None:
        return
    if dataset.labels is None:
        raise UsageError(f"{where}.label: the data have no labels; use target.units or cluster")
    known = sorted(set(dataset.labels.tolist()))
    if target.label not in known:
        hint = did_you_mean(target.label, known)
        raise UsageError(
            f"{where}.label: expected a label of the data ({one_of(known)}), got {target.label!r}"
            + (f"; {hint}" if hint else "")
        )


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


def target_of(section: ControlSpec, trained: TrainedMap, data: RunData) -> Target:
    """Return the target of a control section."""
    target = section.target
    if target.sample is None:
        return _plain_target(section)
    point = data.dataset.points[data.held_out[target.sample]]
    return Target.activations(trained.squared_distances(point)[0], away=target.away)


def _plain_target(section: ControlSpec) -> Target:
    target = section.target
    if target.cell is not None:
        return Target.cell(*target.cell, away=target.away)
    kind = cast(TargetKind, target.kind)
    return Target(kind=kind, value=getattr(target, kind), away=target.away)
