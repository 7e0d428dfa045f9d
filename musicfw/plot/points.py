"""Figures of where data lie on a map: a pie per unit, or a dot per point."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PolyCollection

from musicfw.arrays import FloatArray, IntArray
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.plot.canvas import (
    describe,
    draw_cells,
    kind_colours,
    lattice_size,
    new_axes,
    set_title,
)
from musicfw.plot.maps import label_legend, numbers_first

_PALE, _SEAM = "#f2f2f2", "#d8d8d8"
_LARGEST_RADIUS, _SMALLEST_RADIUS = 0.44, 0.1
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def class_pies(
    units: npt.ArrayLike, labels: npt.ArrayLike, lattice: Lattice, *, ax: Axes | None = None
) -> Axes:
    """Draw a pie per unit: how its points are divided among the labels.

    A pie's area tells how many points there are, down to a smallest one that can be seen.

    Parameters
    ----------
    units : array_like of int, shape (N,)
        Best matching unit of each point.
    labels : array_like, shape (N,)
        Its label.
    lattice : Lattice
        Where the units lie.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    bmu, names, codes = _labelled(units, labels, lattice)
    shape = lattice.units, len(names)
    counts = np.bincount(bmu * shape[1] + codes, minlength=shape[0] * shape[1]).reshape(shape)
    hits = counts.sum(axis=1)
    radii = np.maximum(_LARGEST_RADIUS * np.sqrt(hits / max(1, hits.max())), _SMALLEST_RADIUS)
    ax = new_axes(ax, size=lattice_size(lattice))
    draw_cells(ax, lattice, facecolors=_PALE, edgecolors=_SEAM)
    colours = kind_colours(len(names))
    slices, fills = [], []
    for unit in np.flatnonzero(hits):
        ends = np.concatenate([[0.0], np.cumsum(counts[unit]) / hits[unit]])
        for code in np.flatnonzero(counts[unit]):
            slices.append(
                lattice.coordinates()[unit] + radii[unit] * _slice(ends[code], ends[code + 1])
            )
            fills.append(colours[code])
    ax.add_collection(
        PolyCollection(slices, facecolors=fills, edgecolors="white", linewidths=0.2), autolim=False
    )
    _legend(ax, names, colours)
    set_title(ax, f"Labels of the points in each unit\n{describe(lattice)}")
    return ax


def bmu_scatter(
    units: npt.ArrayLike,
    lattice: Lattice,
    *,
    labels: npt.ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw every point as a dot in the cell of its best matching unit.

    The dots of a cell lie on a spiral from its middle, equally dense in all cells, so that they
    hide nothing of each other and cover the more of a cell the more there are; those of one label
    side by side. Where a point lies within its cell means nothing.

    Parameters
    ----------
    units : array_like of int, shape (N,)
        Best matching unit of each point.
    lattice : Lattice
        Where the units lie.
    labels : array_like, shape (N,), optional
        Label of each point, shown by colour.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    kinds = np.zeros(np.shape(units)) if labels is None else labels
    bmu, names, codes = _labelled(units, kinds, lattice)
    order = np.lexsort((codes, bmu))
    bmu, codes = bmu[order], codes[order]
    hits = np.bincount(bmu, minlength=lattice.units)
    place = np.arange(bmu.size) - np.repeat(np.cumsum(hits) - hits, hits)
    most = max(1, int(hits.max()))
    distance = _LARGEST_RADIUS * np.sqrt((place + 0.5) / most)
    angle = place * _GOLDEN_ANGLE
    spiral = distance[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    ax = new_axes(ax, size=lattice_size(lattice))
    draw_cells(ax, lattice, facecolors=_PALE, edgecolors=_SEAM)
    colours = kind_colours(len(names))
    # On such a spiral neighbours are 1.7 / √most of the largest radius apart.
    width = np.full(bmu.size, min(0.3, 1.5 * _LARGEST_RADIUS / np.sqrt(most)))
    dots = EllipseCollection(
        width,
        width,
        np.zeros(bmu.size),
        units="xy",
        offsets=lattice.coordinates()[bmu] + spiral,
        offset_transform=ax.transData,
        facecolors=[colours[code] for code in codes],
        edgecolors="none",
    )
    ax.add_collection(dots, autolim=False)
    if labels is not None:
        _legend(ax, names, colours)
    set_title(ax, f"Points in the cells of their units ({bmu.size:,})\n{describe(lattice)}")
    return ax


def _labelled(
    units: npt.ArrayLike, labels: npt.ArrayLike, lattice: Lattice
) -> tuple[IntArray, list[str], IntArray]:
    """Return units, the names of the labels in order, and the number of each point's label."""
    bmu, texts = np.asarray(units), np.asarray(labels).astype(np.str_)
    if bmu.ndim != 1 or texts.shape != bmu.shape:
        raise UsageError(
            f"labels: expected one per point, shape {bmu.shape}, got shape {texts.shape}"
        )
    if bmu.size and not 0 <= int(bmu.min()) <= int(bmu.max()) < lattice.units:
        raise UsageError(
            f"units: expected numbers 0 … {lattice.units - 1} of units of the lattice, got "
            f"{int(bmu.min())} … {int(bmu.max())}"
        )
    names = sorted(set(texts.tolist()), key=numbers_first)
    number = {name: code for code, name in enumerate(names)}
    return bmu, names, np.array([number[text] for text in texts.tolist()], dtype=np.intp)


def _slice(begin: float, end: float) -> FloatArray:
    """Return a slice of the unit circle between two shares of a turn, clockwise from the top."""
    angle = 2.0 * np.pi * np.linspace(begin, end, max(3, int(48 * (end - begin)) + 2))
    arc = np.column_stack([np.sin(angle), -np.cos(angle)])
    return arc if end - begin == 1.0 else np.concatenate([[[0.0, 0.0]], arc])


def _legend(ax: Any, names: list[str], colours: list[str]) -> None:
    label_legend(ax, dict(zip(names, colours, strict=True)), empty=False)
