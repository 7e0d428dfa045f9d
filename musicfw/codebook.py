"""A codebook: the prototypes of a map, all that inversion and control need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw import geometry
from musicfw.arrays import (
    FloatArray,
    IntArray,
    as_matrix,
    as_points,
    as_relevances,
    as_unit_indices,
    frozen,
)
from musicfw.errors import UsageError
from musicfw.lattice import Lattice, prototypes_by_unit, weights_by_cell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codebook:
    """The prototypes of a map: all that inversion and control need.

    Parameters
    ----------
    prototypes : array_like, shape (M, D)
        Prototypes (code vectors) w_i, finite.
    lattice : Lattice, optional
        Where the units lie; None for prototypes without one (from k-means, say).
    labels : array_like of str, shape (M,), optional
        Label of each unit (of most of its data); "" for a unit without data.
    clusters : array_like of int, shape (M,), optional
        Cluster number of each unit.
    relevances : array_like, shape (D,) or (M, D), optional
        How much each feature matters in a distance, R in ``Σ_k R_ik (x_k − w_ik)²``: shared by all
        units or of each unit; not negative, a number above 0 in every row. None is 1 everywhere.
    """

    prototypes: FloatArray
    lattice: Lattice | None = None
    labels: npt.NDArray[np.str_] | None = None
    clusters: IntArray | None = None
    relevances: FloatArray | None = None

    def __post_init__(self) -> None:
        prototypes = frozen(as_matrix(self.prototypes, name="Codebook.prototypes"))
        object.__setattr__(self, "prototypes", prototypes)
        units = prototypes.shape[0]
        if units == 0:
            raise UsageError("Codebook.prototypes: expected at least one prototype, got none")
        if self.lattice is not None and self.lattice.units != units:
            raise UsageError(
                f"Codebook.lattice: expected {units} units, one per prototype, got "
                f"{self.lattice.rows} × {self.lattice.columns} = {self.lattice.units}"
            )
        if self.relevances is not None:
            relevances = as_relevances(
                self.relevances,
                name="Codebook.relevances",
                units=units,
                dimension=prototypes.shape[1],
            )
            object.__setattr__(self, "relevances", frozen(relevances))
        for name, dtype in (("labels", np.str_), ("clusters", np.intp)):
            given = getattr(self, name)
            if given is None:
                continue
            if dtype is np.intp and np.asarray(given).dtype.kind not in "iu":
                raise UsageError(
                    f"Codebook.{name}: expected integers, got {np.asarray(given).dtype}"
                )
            value = frozen(given, dtype)
            if value.shape != (units,):
                raise UsageError(
                    f"Codebook.{name}: expected shape ({units},), one per unit, got {value.shape}"
                )
            object.__setattr__(self, name, value)

    @classmethod
    def from_minisom(cls, som: Any) -> Codebook:
        """Return the codebook of a `minisom.MiniSom`, rectangular or hexagonal."""
        weights = np.asarray(som.get_weights(), dtype=np.float64)
        columns, rows, _ = weights.shape
        lattice = Lattice(rows=rows, columns=columns, topology=som.topology)
        return cls(prototypes=prototypes_by_unit(weights, lattice), lattice=lattice)

    def to_minisom(self, **options: Any) -> Any:
        """Return a `minisom.MiniSom` with these prototypes; needs minisom.

        Parameters
        ----------
        **options
            Those of MiniSom but its size and topology: sigma, learning_rate, random_seed, ….

        Raises
        ------
        UsageError
            Without a lattice with borders all around, and with relevances: MiniSom has neither a
            torus, nor a cylinder, nor those.
        """
        from minisom import MiniSom

        lattice = self.lattice
        if lattice is None or lattice.borders != "planar":
            got = "none" if lattice is None else f"a {lattice.borders} one, which MiniSom has not"
            raise UsageError(f"Codebook.to_minisom: expected a planar lattice, got {got}")
        if self.relevances is not None:
            raise UsageError(
                "Codebook.to_minisom: MiniSom has no relevances, and would find other best "
                "matching units; expected a codebook without"
            )
        som = MiniSom(
            lattice.columns, lattice.rows, self.dimension, topology=lattice.topology, **options
        )
        som._weights = weights_by_cell(self.prototypes, lattice)
        return som

    @property
    def units(self) -> int:
        """Number of prototypes M."""
        return int(self.prototypes.shape[0])

    @property
    def dimension(self) -> int:
        """Number of features D."""
        return int(self.prototypes.shape[1])

    def squared_distances(
        self, points: npt.ArrayLike, units: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Return ``d_i = Σ_k R_ik (x_k − w_ik)²`` of every point to every prototype (or to some).

        Parameters
        ----------
        points : array_like, shape (N, D) or (D,)
            Points in the map's units.
        units : array_like of int, shape (K,), optional
            Only these units, in this order.

        Returns
        -------
        ndarray, shape (N, M) or (N, K)
            Squared distances, never negative; Euclidean ones if the codebook has no relevances.
        """
        matrix = as_points(points, name="points", dimension=self.dimension, sparse=True)
        prototypes, relevances = self.prototypes, self.relevances
        if units is not None:
            some = as_unit_indices(units, name="units", units=self.units)
            prototypes, relevances = prototypes[some], geometry.of_units(relevances, some)
        return geometry.squared_distances(matrix, prototypes, relevances)

    def best_matching_units(self, points: npt.ArrayLike) -> IntArray:
        """Return the number of the nearest prototype of every point, shape (N,)."""
        matrix = as_points(points, name="points", dimension=self.dimension, sparse=True)
        return geometry.best_matching_units(matrix, self.prototypes, self.relevances)
