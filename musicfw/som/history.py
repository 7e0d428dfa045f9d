"""What is recorded along a training: one number of each kind per update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray
from musicfw.lattice import Lattice

_UNITS_COMPARED = 64
# Whose topographic errors are told at once, which costs little more than one of them.
_UPDATES_LOOKED_AT = 16


class History:
    """The record of a training; NaN stands for what was not measured.

    Parameters
    ----------
    radius : ndarray, shape (updates,)
        Of every update, known beforehand; if more of them come, as in a stream, they have the last.
    lattice : Lattice
        On which the two nearest units of a point should touch.
    held_out : bool
        Whether ``held_out_quantization_error`` is measured.
    """

    def __init__(self, radius: FloatArray, lattice: Lattice, *, held_out: bool = False) -> None:
        names = ["quantization_error", "topographic_error", "change"]
        names += ["held_out_quantization_error"] * held_out
        self._values = {name: np.full(radius.size, np.nan) for name in names}
        self._radius, self._lattice = radius, lattice
        self._best_two: dict[int, IntArray] = {}

    def note(self, update: int, **measured: float) -> None:
        """Record what was measured after an update, counted from 0."""
        self._make_room(update + 1)
        for name, value in measured.items():
            self._values[name][update] = value

    def _make_room(self, updates: int) -> None:
        if updates > self._values["change"].size:  # doubled: few copies however many come
            room = np.full(updates, np.nan)
            self._values = {name: np.append(v, room) for name, v in self._values.items()}

    def note_errors(self, update: int, error: float, best_two: IntArray) -> None:
        """Record the quantization error after an update, and the topographic error.

        Parameters
        ----------
        update : int
            Its number.
        error : float
            The quantization error.
        best_two : ndarray of intp, shape (n, 2)
            The two nearest units of some points.
        """
        self.note(update, quantization_error=error)
        self._best_two[update] = best_two
        if len(self._best_two) == _UPDATES_LOOKED_AT:
            self._note_topographic_errors()

    def _note_topographic_errors(self) -> None:
        if not self._best_two:
            return
        apart = ~self._lattice.touch(*np.concatenate(list(self._best_two.values())).T)
        sizes = np.array([best_two.shape[0] for best_two in self._best_two.values()])
        shares = np.add.reduceat(apart, np.cumsum(sizes) - sizes, dtype=np.float64) / sizes
        self._values["topographic_error"][list(self._best_two)] = shares
        self._best_two.clear()

    def note_change(self, update: int, before: FloatArray, after: FloatArray) -> None:
        """Record ``√(mean ||w_i' − w_i||²)``: how far an update moved the prototypes.

        Of at most 64 of them, spread evenly: all would take a fortieth of the default training.
        """
        some = slice(None, None, -(-len(after) // _UNITS_COMPARED))
        moved = after[some] - before[some]
        self.note(update, change=float(np.sqrt(np.vdot(moved, moved) / len(moved))))

    def until(self, updates: int) -> dict[str, FloatArray]:
        """Return copies of the first entries."""
        self._note_topographic_errors()
        known = {name: values[:updates].copy() for name, values in self._values.items()}
        steps = np.minimum(np.arange(updates), self._radius.size - 1)
        return {**known, "radius": self._radius[steps]}

    def restore(self, known: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `until` returned in an earlier process."""
        self._make_room(known["change"].size)
        for name, values in self._values.items():
            values[: known[name].size] = known[name]
