"""The lattice on which a map's units live: positions, distances and neighbours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np

from musicfw.arrays import BoolArray, FloatArray, IntArray, as_whole
from musicfw.errors import UsageError

Topology = Literal["rectangular", "hexagonal"]

_ROW_HEIGHT = {"rectangular": 1.0, "hexagonal": float(np.sqrt(3.0) / 2.0)}
# Nearest neighbours lie at distance 1; on a rectangular lattice the diagonal ones at sqrt(2).
_TOUCHING = {"rectangular": float(np.sqrt(2.0)), "hexagonal": 1.0}
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """A two-dimensional lattice of units.

    Unit number ``row * columns + column``. On a hexagonal lattice odd rows are shifted by half a
    unit to the right and rows lie sqrt(3)/2 apart, so that all six neighbours are at distance 1.

    Parameters
    ----------
    rows, columns : int
        Size, at least 1 each.
    topology : {"rectangular", "hexagonal"}
        Arrangement of the units.
    toroidal : bool
        Whether opposite borders are joined. A hexagonal torus needs an even number of rows.
    cylindrical : bool
        Whether the left and the right border are joined, but not the upper and the lower one.

    Raises
    ------
    UsageError
        For an impossible size, an unknown topology, or a torus that is to be a cylinder.
    """

    rows: int
    columns: int
    topology: Topology = "rectangular"
    toroidal: bool = False
    cylindrical: bool = False

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            value = as_whole(getattr(self, name), name=f"Lattice.{name}", least=1)
            object.__setattr__(self, name, value)
        if self.topology not in get_args(Topology):
            raise UsageError(
                f"Lattice.topology: expected 'rectangular' or 'hexagonal', got {self.topology!r}"
            )
        for name in ("toroidal", "cylindrical"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                got = getattr(self, name)
                raise UsageError(f"Lattice.{name}: expected true or false, got {got!r}")
            object.__setattr__(self, name, bool(getattr(self, name)))
        if self.toroidal and self.cylindrical:
            raise UsageError(
                "Lattice.cylindrical: expected false where toroidal is true (a torus joins all "
                "borders, a cylinder the left and the right one), got true; keep one of them"
            )
        if self.toroidal and self.topology == "hexagonal" and self.rows % 2:
            raise UsageError(
                f"Lattice.rows: a hexagonal torus needs an even number of rows, or its last row "
                f"does not fit its first, got {self.rows}; take {self.rows + 1}"
            )

    @property
    def units(self) -> int:
        """Number of units M = rows · columns."""
        return self.rows * self.columns

    @property
    def row_height(self) -> float:
        """Distance between neighbouring rows: 1, or sqrt(3)/2 on a hexagonal lattice."""
        return _ROW_HEIGHT[self.topology]

    @property
    def periods(self) -> tuple[float, float]:
        """After what distance along x and y the lattice comes back to itself; inf if it does not.

        A torus has both, a cylinder the one along x.
        """
        around = float(self.columns) if self.toroidal or self.cylindrical else np.inf
        return around, self.rows * self.row_height if self.toroidal else np.inf

    @property
    def borders(self) -> str:
        """``planar``, ``cylindrical`` or ``toroidal``."""
        if self.toroidal:
            return "toroidal"
        return "cylindrical" if self.cylindrical else "planar"

    @property
    def diagonal(self) -> float:
        """Greatest distance between two units."""
        return float(np.sqrt(self.squared_distances().max()))

    def unit(self, row: int, column: int) -> int:
        """Return the unit number at (row, column).

        Raises
        ------
        UsageError
            If the cell is outside the lattice.
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise UsageError(
                f"cell: expected row 0 … {self.rows - 1} and column 0 … {self.columns - 1}, "
                f"got ({row}, {column})"
            )
        return row * self.columns + column

    def coordinates(self) -> FloatArray:
        """Return the positions (x, y) of all units, shape (M, 2), nearest neighbours 1 apart."""
        return self._position(np.arange(self.units))

    def _position(self, units: IntArray) -> FloatArray:
        row, column = np.divmod(units, self.columns)
        x = column.astype(np.float64)
        if self.topology == "hexagonal":
            x += 0.5 * (row % 2)
        return np.column_stack([x, row * self.row_height])

    def squared_distances(self) -> FloatArray:
        """Return squared distances between all units on the lattice, shape (M, M)."""
        position = self.coordinates()
        return self._squared_lengths(position[:, np.newaxis, :] - position[np.newaxis, :, :])

    def _squared_lengths(self, offset: FloatArray) -> FloatArray:
        """Return the squared lengths of offsets (…, 2), the short way round."""
        offset = np.abs(offset)
        offset = np.minimum(offset, np.abs(self.periods - offset))
        return np.asarray(np.einsum("...k,...k->...", offset, offset))

    def axis_offsets(self) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """Return distances along y between rows, and along x between columns.

        The squared distance of two units is the sum of the squares of one of each.

        Returns
        -------
        across : ndarray, shape (rows, rows)
            ``|Δy|`` of every two rows.
        along : tuple of ndarray, shape (columns, columns)
            ``|Δx|`` of every two columns: one entry on a rectangular lattice; three on a hexagonal
            one, of a row against a row shifted alike, of a shifted row against one that is not,
            and of one that is not against a shifted one.
        """
        row, column = np.arange(self.rows), np.arange(self.columns)
        across = np.abs(row[:, np.newaxis] - row) * self.row_height
        shifts = (0.0, 0.5, -0.5) if self.topology == "hexagonal" else (0.0,)
        along = [np.abs(column[:, np.newaxis] - column + shift) for shift in shifts]
        around, over = self.periods
        across = np.minimum(across, np.abs(over - across))
        along = [np.minimum(x, np.abs(around - x)) for x in along]
        return across, tuple(along)

    def neighbours(self) -> BoolArray:
        """Return which units are nearest neighbours (4 or 6 of them inside), shape (M, M)."""
        return self._within(1.0)

    def touching(self) -> BoolArray:
        """Return which units share an edge or a corner (8 or 6 inside), shape (M, M)."""
        return self._within(_TOUCHING[self.topology])

    def touch(self, first: IntArray, second: IntArray) -> BoolArray:
        """Return whether each two units touch, as in `touching`, shape (P,).

        Parameters
        ----------
        first, second : ndarray of int, shape (P,)
            Units, different ones.
        """
        squared = self._squared_lengths(self._position(first) - self._position(second))
        return squared <= _TOUCHING[self.topology] ** 2 + _ROUNDING

    def _within(self, distance: float) -> BoolArray:
        adjacent = self.squared_distances() <= distance**2 + _ROUNDING
        np.fill_diagonal(adjacent, False)
        return adjacent

    def to_json(self) -> str:
        """Return the lattice as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Lattice:
        """Return the lattice that `to_json` wrote."""
        try:
            return cls(**json.loads(text))
        except (TypeError, json.JSONDecodeError) as err:
            raise UsageError(
                f"lattice: expected JSON as Lattice.to_json writes, got {text!r}"
            ) from err


def prototypes_by_unit(weights: FloatArray, lattice: Lattice) -> FloatArray:
    """Return MiniSom's weights (x, y, D) as prototypes (M, D) in the order of the lattice's units.

    x counts our columns and y our rows. On a hexagonal lattice MiniSom shifts every second row to
    the left, beginning with the last: from there backwards it is our lattice, so its rows are
    turned round.
    """
    rows = np.swapaxes(weights, 0, 1)
    if lattice.topology == "hexagonal":
        rows = rows[::-1]
    return np.ascontiguousarray(rows.reshape(lattice.units, -1))


def weights_by_cell(prototypes: FloatArray, lattice: Lattice) -> FloatArray:
    """Return prototypes (M, D) as MiniSom's weights (x, y, D): `prototypes_by_unit` undone."""
    rows = prototypes.reshape(lattice.rows, lattice.columns, -1)
    if lattice.topology == "hexagonal":
        rows = rows[::-1]
    return np.swapaxes(rows, 0, 1).copy()
