"""Targets: where points are steered to, and which units of a map that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, as_activations, as_unit_indices, is_whole
from musicfw.codebook import Codebook
from musicfw.errors import UsageError, did_you_mean, one_of
from musicfw.som.clusters import cluster_units

TargetKind = Literal["units", "cell", "label", "cluster", "activations", "path", "several"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Where to steer to. Made by the class methods, not directly.

    Parameters
    ----------
    kind : {"units", "cell", "label", "cluster", "activations", "path", "several"}
        What ``value`` is.
    value : object
        Unit numbers, (row, column), a label, a cluster number, squared distances (M,), unit
        numbers in order, or pairs of a target and its weight.
    away : bool
        Whether to move away from it instead.
    """

    kind: TargetKind
    value: Any
    away: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            hint = "; use Target.units([3, 4]), Target.label('3') and so on"
            raise UsageError(
                f"Target.kind: expected {one_of(get_args(TargetKind))}, got {self.kind!r}{hint}"
            )

    @classmethod
    def units(cls, ids: npt.ArrayLike, *, away: bool = False) -> Target:
        """Return the target "these units": their squared distances are to fall."""
        return cls(kind="units", value=ids, away=away)

    @classmethod
    def cell(cls, row: int, column: int, *, away: bool = False) -> Target:
        """Return the target "the unit in this row and column of the lattice"."""
        return cls(kind="cell", value=(row, column), away=away)

    @classmethod
    def label(cls, name: object, *, away: bool = False) -> Target:
        """Return the target "the units most of whose data carry this label"."""
        return cls(kind="label", value=str(name), away=away)

    @classmethod
    def cluster(cls, number: int, *, away: bool = False) -> Target:
        """Return the target "the units of this cluster of prototypes" (counted from 0)."""
        return cls(kind="cluster", value=number, away=away)

    @classmethod
    def activations(cls, squared_distances: npt.ArrayLike, *, away: bool = False) -> Target:
        """Return the target "these squared distances to all M prototypes"."""
        return cls(kind="activations", value=squared_distances, away=away)

    @classmethod
    def path(cls, ids: npt.ArrayLike) -> Target:
        """Return the target "these units, one after the other": waypoints; the last is the end."""
        return cls(kind="path", value=ids)

    @classmethod
    def several(cls, *weighted: tuple[Target, float]) -> Target:
        """Return several targets at once, each with its weight; some may be ``away``.

        A point has arrived when its best matching unit belongs to one of those to approach (if
        any) and to none of those to leave.
        """
        return cls(kind="several", value=weighted)

    def __str__(self) -> str:
        return ("away from " if self.away else "") + str(_DESCRIBE[self.kind](self.value))


_DESCRIBE: Mapping[str, Any] = {
    "units": lambda ids: f"units {np.atleast_1d(ids).tolist()}",
    "cell": lambda cell: f"cell ({cell[0]}, {cell[1]})",
    "label": lambda name: f"label {name}",
    "cluster": lambda number: f"cluster {number}",
    "activations": lambda _: "the activations of a sample",
    "path": lambda ids: f"the path over units {np.atleast_1d(ids).tolist()}",
    "several": lambda weighted: " and ".join(f"{w:g} × {target}" for target, w in weighted),
}


def parse_target(text: str) -> Target:
    """Return the target in a command line's words: ``units:3,4``, ``cell:2,5``, ``label:3``, ….

    A leading ``away:`` turns it round.

    Raises
    ------
    UsageError
        If the text is none of these.
    """
    away = text.startswith("away:")
    kind, _, value = text.removeprefix("away:").partition(":")
    if kind == "label" and value:
        return Target.label(value, away=away)
    try:
        numbers = [int(number) for number in value.split(",")]
    except ValueError:
        numbers = []
    if kind == "units" and numbers:
        return Target.units(numbers, away=away)
    if kind == "cell" and len(numbers) == 2:
        return Target.cell(*numbers, away=away)
    if kind == "cluster" and len(numbers) == 1:
        return Target.cluster(numbers[0], away=away)
    raise UsageError(
        f"target: expected units:3,4 or cell:ROW,COLUMN or label:NAME or cluster:NUMBER, with an "
        f"optional leading away:, got {text!r}"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResolvedTarget:
    """A target as units of one codebook.

    Parameters
    ----------
    units : ndarray of intp, shape (K,)
        The selected units.
    goals : ndarray, shape (K,)
        Squared distances wanted in the end.
    directions, weights : ndarray, shape (K,)
        +1 to approach or −1 to move away, and how much each unit counts.
    waypoints : ndarray of intp
        Units to pass in order; empty unless the target is a path.
    home, shunned : ndarray of intp
        A point has arrived when its best matching unit is one of ``home`` (if any) and none of
        ``shunned``.
    """

    units: IntArray
    goals: FloatArray
    directions: FloatArray
    weights: FloatArray
    waypoints: IntArray
    home: IntArray
    shunned: IntArray


_NONE: IntArray = np.empty(0, dtype=np.intp)


def resolve_target(target: Target, codebook: Codebook) -> ResolvedTarget:
    """Return which units a target means on a codebook.

    Raises
    ------
    UsageError
        If the codebook has no such unit, label or cluster; the message lists those it has.
    """
    if target.kind == "several":
        return _several(target, codebook)
    waypoints, goals = _NONE, None
    if target.kind == "activations":
        goals = _activations(target.value, codebook)
        units = np.arange(codebook.units, dtype=np.intp)
        home = np.array([int(goals.argmin())], dtype=np.intp)
    elif target.kind == "path":
        waypoints = _waypoints(target.value, codebook)
        units = home = waypoints[-1:]
    else:
        units = home = _RESOLVE[target.kind](target.value, codebook)
    return ResolvedTarget(
        units=units,
        goals=np.zeros(units.size) if goals is None else goals,
        directions=np.full(units.size, -1.0 if target.away else 1.0),
        weights=np.ones(units.size),
        waypoints=waypoints,
        home=_NONE if target.away else home,
        shunned=home if target.away else _NONE,
    )


def _several(target: Target, codebook: Codebook) -> ResolvedTarget:
    """Return the targets side by side; a unit may belong to one of them only."""
    if not target.value:
        raise UsageError("Target.several: expected at least one (target, weight), got none")
    parts = []
    for part, weight in target.value:
        if part.kind in ("several", "activations", "path"):
            raise UsageError(
                f"Target.several: expected targets that mean units, got Target.{part.kind}"
            )
        if not (np.isfinite(weight) and weight > 0):
            raise UsageError(f"Target.several: expected positive weights, got {weight!r}")
        parts.append((resolve_target(part, codebook), float(weight)))
    units = np.concatenate([part.units for part, _ in parts])
    twice = np.flatnonzero(np.bincount(units) > 1)
    if twice.size:
        raise UsageError(
            f"Target.several: expected each unit in one target only, got unit {int(twice[0])} in "
            f"several; change the targets or name the units"
        )
    return ResolvedTarget(
        units=units,
        goals=np.zeros(units.size),
        directions=np.concatenate([part.directions for part, _ in parts]),
        weights=np.concatenate([np.full(part.units.size, weight) for part, weight in parts]),
        waypoints=_NONE,
        home=np.concatenate([part.home for part, _ in parts]),
        shunned=np.concatenate([part.shunned for part, _ in parts]),
    )


def _activations(value: Any, codebook: Codebook) -> FloatArray:
    goals = as_activations(value, name="Target.activations", units=codebook.units)
    if goals.shape[0] != 1:
        raise UsageError(
            f"Target.activations: expected one pattern (M,), got {goals.shape[0]} rows; steer to "
            f"one at a time"
        )
    if (goals < 0).any():
        raise UsageError("Target.activations: expected squared distances, got negative ones")
    return np.asarray(goals[0])


def _waypoints(value: Any, codebook: Codebook) -> IntArray:
    way = np.atleast_1d(np.asarray(value))
    for unit in way:
        as_unit_indices([unit], name="Target.path", units=codebook.units)
    if way.size == 0:
        raise UsageError("Target.path: expected at least one unit, got none")
    return way.astype(np.intp)


def _units(value: Any, codebook: Codebook) -> IntArray:
    return as_unit_indices(value, name="Target.units", units=codebook.units)


def _cell(value: Any, codebook: Codebook) -> IntArray:
    if codebook.lattice is None:
        raise UsageError(
            "Target.cell: the codebook has no lattice; use Target.units, or give Codebook a lattice"
        )
    row, column = value
    if not all(is_whole(n) for n in value):
        raise UsageError(f"Target.cell: expected a row and a column (integers), got {value!r}")
    return np.array([codebook.lattice.unit(row, column)], dtype=np.intp)


def _label(value: str, codebook: Codebook) -> IntArray:
    if codebook.labels is None:
        raise UsageError(
            "Target.label: the codebook has no unit labels; train with labels=, or give Codebook "
            "labels (M,)"
        )
    units = np.flatnonzero(codebook.labels == value)
    if units.size == 0 or value == "":
        known = sorted(set(codebook.labels.tolist()) - {""})
        hint = did_you_mean(value, known)
        raise UsageError(
            f"Target.label: no unit's majority label is {value!r}, expected {one_of(known)}"
            + (f"; {hint}" if hint else "")
        )
    return units


def _cluster(value: Any, codebook: Codebook) -> IntArray:
    clusters = codebook.clusters
    if clusters is None:
        clusters = cluster_units(codebook.prototypes, codebook.relevances)
    units = np.flatnonzero(clusters == value)
    if units.size == 0:
        raise UsageError(
            f"Target.cluster: expected a cluster number in 0 … {int(clusters.max())}, got {value!r}"
        )
    return units


_RESOLVE: Mapping[str, Any] = {
    "units": _units,
    "cell": _cell,
    "label": _label,
    "cluster": _cluster,
}
