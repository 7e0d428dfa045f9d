"""Figures of what lies between units: the interstitial U-matrix, and borders of clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.geometry import pair_squared_distances
from musicfw.lattice import Lattice
from musicfw.plot.canvas import (
    EMPTY,
    INK,
    add_colorbar,
    cell_corners,
    colour_limits,
    describe,
    draw_cells,
    lattice_size,
    new_axes,
    set_title,
)
from musicfw.plot.maps import lattice_of
from musicfw.som.quality import u_matrix as mean_neighbour_distances

# Column and row of the neighbours after a unit, of its own kind of row.
_ACROSS = {
    ("rectangular", 0): ((1, 0), (0, 1)),
    ("rectangular", 1): ((1, 0), (0, 1)),
    ("hexagonal", 0): ((1, 0), (-1, 1), (0, 1)),
    ("hexagonal", 1): ((1, 0), (0, 1), (1, 1)),
}
_DIAGONAL = ((1, 1), (-1, 1))


class Edges(NamedTuple):
    """Pairs of units side by side; one over a joined border stands there twice, at either side."""

    first: IntArray
    second: IntArray
    start: FloatArray
    """Position of the first unit, shape (P, 2); outside the lattice for some over a border."""
    end: FloatArray
    """Position of the second unit."""

    @property
    def middle(self) -> FloatArray:
        """Points half way, shape (P, 2)."""
        return (self.start + self.end) / 2.0


def lattice_edges(lattice: Lattice, *, diagonal: bool = False) -> Edges:
    """Return all pairs of neighbours, or of diagonal ones of a rectangular lattice."""
    around, over = np.isfinite(lattice.periods)
    rows = range(-1 if over else 0, lattice.rows + (1 if over else 0))
    columns = range(-1 if around else 0, lattice.columns + (1 if around else 0))
    cells = {(row, column) for row in rows for column in columns}
    inside = {(row, column) for row in range(lattice.rows) for column in range(lattice.columns)}
    found = []
    for row, column in sorted(cells):
        steps = _DIAGONAL if diagonal else _ACROSS[lattice.topology, row % 2]
        for right, down in steps:
            other = row + down, column + right
            if other in cells and not inside.isdisjoint(((row, column), other)):
                found.append((row, column, *other))
    ends = np.array(found, dtype=np.intp).reshape(-1, 2, 2)
    units = (ends[..., 0] % lattice.rows) * lattice.columns + ends[..., 1] % lattice.columns
    shift = 0.5 * (ends[..., 0] % 2) if lattice.topology == "hexagonal" else 0.0
    position = np.stack([ends[..., 1] + shift, ends[..., 0] * lattice.row_height], axis=-1)
    return Edges(units[:, 0], units[:, 1], position[:, 0], position[:, 1])


def interstitial_u_matrix(
    codebook: Codebook, *, ax: Axes | None = None, cmap: str = "viridis"
) -> Axes:
    """Draw the U-matrix with a cell for every unit and for every pair of neighbours between them.

    A cell between two units shows the distance of their prototypes; one between four, on a
    rectangular lattice, the mean of both diagonals, each over √2, which is how far apart its units
    are; a unit's own cell, smaller and marked by a dot, the mean distance to its neighbours
    (A. Ultsch and H. P. Siemon, INNC 1990). Borders that are joined show what lies between at
    either side.

    Parameters
    ----------
    codebook : Codebook
        Prototypes with a lattice.
    ax : Axes, optional
        Where to draw; a new figure by default.
    cmap : str
        Name of the colour map.
    """
    lattice = lattice_of(codebook)
    ax = new_axes(ax, size=lattice_size(lattice))
    edges = lattice_edges(lattice)
    centres = [lattice.coordinates(), edges.middle]
    heights = [mean_neighbour_distances(codebook), _lengths(codebook, edges)]
    if lattice.topology == "rectangular":
        corners, means = _between_four(codebook, lattice)
        centres.append(corners)
        heights.append(means)
    polygons = np.concatenate(centres)[:, np.newaxis, :] + cell_corners(lattice.topology) / 2.0
    values = np.concatenate(heights)
    limits = tuple(colour_limits(values).values())
    cells = draw_cells(ax, lattice, polygons=polygons, array=values, cmap=cmap, clim=limits)
    if lattice.units <= 900:  # else they would hide what they mark
        ax.plot(*lattice.coordinates().T, ".", color="white", markersize=2.5, markeredgewidth=0)
    add_colorbar(ax, cells, label="distance of neighbours")
    set_title(ax, f"U-matrix between units\n{describe(lattice)}")
    return ax


def cluster_borders(
    clusters: npt.ArrayLike, lattice: Lattice, *, ax: Axes | None = None, colour: str = INK
) -> Axes:
    """Draw lines between the cells of different clusters, over another figure of the map.

    Parameters
    ----------
    clusters : array_like of int, shape (M,)
        Cluster of each unit (`musicfw.som.clusters.cluster_units`), or its label.
    lattice : Lattice
        Where the units lie.
    ax : Axes, optional
        The figure to draw over, of the same lattice (`u_matrix`, `hit_map`, `label_map`, …); by
        default empty cells in a new figure.
    colour : str
        Of the lines, which have a white seam to be seen on any ground.
    """
    of_unit = np.asarray(clusters)
    if ax is None:
        ax = new_axes(None, size=lattice_size(lattice))
        draw_cells(ax, lattice, facecolors=EMPTY, edgecolors="white")
        set_title(ax, f"Borders of {np.unique(of_unit).size} clusters\n{describe(lattice)}")
    edges = lattice_edges(lattice)
    parted = of_unit[edges.first] != of_unit[edges.second]
    segments = _shared_sides(edges, lattice)[parted]
    width = max(0.8, min(2.4, 40.0 / max(lattice.rows, lattice.columns)))
    for line_width, line_colour in ((2.0 * width, "white"), (width, colour)):
        lines = LineCollection(list(segments), linewidths=line_width, colors=line_colour)
        lines.set(capstyle="round", zorder=3)
        ax.add_collection(lines, autolim=False)
    return ax


def _shared_sides(edges: Edges, lattice: Lattice) -> FloatArray:
    """Return the side that the cells of each pair share, shape (P, 2, 2)."""
    along = edges.end - edges.start
    across = np.column_stack([-along[:, 1], along[:, 0]])
    half = across * (0.5 if lattice.topology == "rectangular" else 0.5 / np.sqrt(3.0))
    return np.stack([edges.middle - half, edges.middle + half], axis=1)


def _lengths(codebook: Codebook, edges: Edges) -> FloatArray:
    W, R = codebook.prototypes, codebook.relevances
    return np.sqrt(pair_squared_distances(W, R, edges.first, edges.second))


def _between_four(codebook: Codebook, lattice: Lattice) -> tuple[FloatArray, FloatArray]:
    """Return where four cells meet, shape (Q, 2), and the mean of both diagonals there."""
    edges = lattice_edges(lattice, diagonal=True)
    # Twice the middle of a diagonal is a pair of odd numbers: the same for both.
    centres, which = np.unique(edges.middle, axis=0, return_inverse=True)
    which = which.reshape(-1)
    total = np.bincount(which, weights=_lengths(codebook, edges), minlength=len(centres))
    count = np.bincount(which, minlength=len(centres))
    return centres, total / count / np.sqrt(2.0)
