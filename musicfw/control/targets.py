"""Targets: where points are steered to, and which units of a map that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, as_activations, as_unit_indices
from musicfw.errors import UsageError, did_you_mean, one_of
from musicfw.som.clusters import cluster_units
from musicfw.types import Codebook

TargetKind = Literal["units", "cell", "label", "cluster", "activations"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Where to steer to. Made by `units`, `cell`, `label`, `cluster` or `activations`.

    Parameters
    ----------
    kind : {"units", "cell", "label", "cluster", "activations"}
        What ``value`` is.
    value : object
        Unit numbers, (row, column), a label, a cluster number or squared distances (M,).
    away : bool
        Whether to move away from it instead.
    """

    kind: TargetKind
    value: Any
    away: bool = False

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

    def __str__(self) -> str:
        return ("away from " if self.away else "") + str(_DESCRIBE[self.kind](self.value))


_DESCRIBE: Mapping[str, Any] = {
    "units": lambda ids: f"units {np.atleast_1d(ids).tolist()}",
    "cell": lambda cell: f"cell ({cell[0]}, {cell[1]})",
    "label": lambda name: f"label {name}",
    "cluster": lambda number: f"cluster {number}",
    "activations": lambda _: "the activations of a sample",
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
    home : ndarray of intp
        A point has arrived when its best matching unit is one of these (or, moving away, when it
        is none of them).
    direction : float
        +1 to approach, −1 to move away.
    """

    units: IntArray
    goals: FloatArray
    home: IntArray
    direction: float


def resolve_target(target: Target, codebook: Codebook) -> ResolvedTarget:
    """Return which units a target means on a codebook.

    Raises
    ------
    UsageError
        If the codebook has no such unit, label or cluster; the message lists those it has.
    """
    direction = -1.0 if target.away else 1.0
    if target.kind == "activations":
        patterns = as_activations(target.value, name="Target.activations", units=codebook.units)
        if patterns.shape[0] != 1:
            raise UsageError(
                f"Target.activations: expected one pattern (M,), got {patterns.shape[0]} rows; "
                f"steer to one at a time"
            )
        goals = patterns[0]
        if (goals < 0).any():
            raise UsageError("Target.activations: expected squared distances, got negative ones")
        home = np.array([int(goals.argmin())], dtype=np.intp)
        everything = np.arange(codebook.units, dtype=np.intp)
        return ResolvedTarget(units=everything, goals=goals, home=home, direction=direction)
    units = _RESOLVE[target.kind](target.value, codebook)
    goals = np.zeros(units.size)
    return ResolvedTarget(units=units, goals=goals, home=units, direction=direction)


def _units(value: Any, codebook: Codebook) -> IntArray:
    return as_unit_indices(value, name="Target.units", units=codebook.units)


def _cell(value: Any, codebook: Codebook) -> IntArray:
    if codebook.lattice is None:
        raise UsageError(
            "Target.cell: the codebook has no lattice; use Target.units, or give Codebook a lattice"
        )
    row, column = value
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in value):
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
        clusters = cluster_units(codebook.prototypes, clusters=None)
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
