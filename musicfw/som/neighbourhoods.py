"""Neighbourhoods: how much a unit learns from the points of another, by their lattice distance."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np

from musicfw.arrays import FloatArray, read_only
from musicfw.lattice import Lattice
from musicfw.som.statistics import Neighbourhood

NeighbourhoodName = Literal["gaussian", "cut-gaussian", "bubble", "triangle", "mexican-hat"]

# Weights below this are dropped: a quotient of denormal numbers would be noise.
_LEAST_WEIGHT = 1e-100


def gaussian_neighbourhood(squared_distances: FloatArray, radius: float) -> FloatArray:
    """Return ``exp(−d² / (2 radius²))``, with weights below 1e-100 set to 0.

    Parameters
    ----------
    squared_distances : ndarray
        On the lattice.
    radius : float
        In the same units, positive.
    """
    with np.errstate(under="ignore"):
        weights: FloatArray = np.exp(squared_distances * (-0.5 / radius**2))
    weights[weights < _LEAST_WEIGHT] = 0.0
    return weights


class GaussianNeighbourhood:
    """The gaussian neighbourhood of a lattice, applied along its rows and columns in turn.

    ``exp(−(dx² + dy²)/2r²) = exp(−dx²/2r²) · exp(−dy²/2r²)``: a product of one kernel between
    rows and one between columns, which takes (rows + columns)·M·D operations instead of M²·D. On
    a hexagonal lattice the kernel between columns depends on whether both rows are shifted, so
    even and odd rows are smoothed in turn.

    Parameters
    ----------
    lattice : Lattice
        Where the units lie.
    radius : float
        In distances between nearest units, positive.
    """

    def __init__(self, lattice: Lattice, radius: float) -> None:
        self._shape = (lattice.rows, lattice.columns)
        across, along = _squared_offsets(lattice)
        self._between_rows = gaussian_neighbourhood(across, radius)
        # By the shift of the target row against the source row: none, +1/2, −1/2.
        self._between_columns = [gaussian_neighbourhood(x, radius) for x in along]

    def __matmul__(self, values: FloatArray, /) -> FloatArray:
        """Return ``Σ_j h_ij values_j`` for values (M,) or (M, D)."""
        rows, columns = self._shape
        cells = values.reshape(rows, columns, -1)
        if len(self._between_columns) == 1:
            smoothed = self._between_columns[0] @ cells
            result = self._between_rows @ smoothed.reshape(rows, -1)
        else:
            result = np.empty((rows, cells.size // rows))
            same, right, left = self._between_columns
            smoothed = np.empty_like(cells)
            for parity, shift in ((0, left), (1, right)):
                smoothed[parity::2] = same @ cells[parity::2]
                smoothed[1 - parity :: 2] = shift @ cells[1 - parity :: 2]
                result[parity::2] = self._between_rows[parity::2] @ smoothed.reshape(rows, -1)
        return result.reshape(values.shape)


@lru_cache(maxsize=4)  # the same in every update of a training
def _squared_offsets(lattice: Lattice) -> tuple[FloatArray, tuple[FloatArray, ...]]:
    across, along = lattice.axis_offsets()
    return read_only(across**2), tuple(read_only(x**2) for x in along)


def _cut_gaussian(squared: FloatArray, radius: float) -> FloatArray:
    return np.where(squared <= radius**2, gaussian_neighbourhood(squared, radius), 0.0)


def _bubble(squared: FloatArray, radius: float) -> FloatArray:
    return (squared <= radius**2).astype(np.float64)


def _triangle(squared: FloatArray, radius: float) -> FloatArray:
    return np.maximum(1.0 - np.sqrt(squared) / radius, 0.0)


def _mexican_hat(squared: FloatArray, radius: float) -> FloatArray:
    return (1.0 - squared / (2.0 * radius) ** 2) * gaussian_neighbourhood(squared, radius)


_DENSE: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "cut-gaussian": _cut_gaussian,
    "bubble": _bubble,
    "triangle": _triangle,
    "mexican-hat": _mexican_hat,
}


def neighbourhood(lattice: Lattice, radius: float, *, name: NeighbourhoodName) -> Neighbourhood:
    """Return the weights between all units at a radius r, by their lattice distance d.

    ============  ==================================
    name          weight
    ============  ==================================
    gaussian      exp(−d² / 2r²)
    cut-gaussian  exp(−d² / 2r²) where d ≤ r, else 0
    bubble        1 where d ≤ r, else 0
    triangle      max(1 − d/r, 0)
    mexican-hat   (1 − d² / 4r²) exp(−d² / 2r²)
    ============  ==================================

    The weight of a unit for itself is 1 at any radius. The mexican hat attracts units up to 2r away
    and repels those beyond, hardest at √6 r with −0.025. It is the mean of the gaussian and of
    Marr's hat ``(1 − d²/2r²) exp(−d²/2r²)`` (D. Marr and E. Hildreth, "Theory of edge detection",
    Proc. R. Soc. B 207, 1980). That one sums to 0 over the plane: no more is attracted than
    repelled, and prototypes that learn by it alone run away; here half the gaussian's sum is left.
    Negative weights have no weighted mean, so it is for Kohonen's rule only, not for `update`.
    """
    if name == "gaussian":
        return GaussianNeighbourhood(lattice, radius)
    return _DENSE[name](lattice.squared_distances(), radius)


def neighbourhood_column(
    squared_distances: FloatArray, radius: float, *, name: NeighbourhoodName
) -> FloatArray:
    """Return the weights of `neighbourhood` at given squared lattice distances."""
    return _DENSE.get(name, gaussian_neighbourhood)(squared_distances, radius)
