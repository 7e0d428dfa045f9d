"""Figures of a trained map: each unit is a cell of the lattice, the first row on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.plot.canvas import (
    EMPTY,
    INK,
    KINDS,
    add_colorbar,
    colour_limits,
    describe,
    draw_cells,
    ink_on,
    kind_colours,
    lattice_extent,
    lattice_size,
    mosaic_size,
    new_axes,
    new_figure,
    plain_legend,
    set_title,
    shortened,
    unit_mosaic,
    with_gaps,
    write_in_cells,
)
from musicfw.som import quality

_LEGEND_ENTRIES = 20


def lattice_of(codebook: Codebook) -> Lattice:
    """Return the codebook's lattice, or say that it has none."""
    if codebook.lattice is None:
        raise UsageError(
            "codebook.lattice: expected a lattice to draw the map on, got None; give one with "
            "Codebook(prototypes=…, lattice=Lattice(rows=…, columns=…))"
        )
    return codebook.lattice


def neighbour_distances(codebook: Codebook) -> FloatArray:
    """Return the mean distance of each prototype to its lattice neighbours', shape (M,)."""
    lattice_of(codebook)
    return quality.u_matrix(codebook)


def u_matrix(codebook: Codebook, *, ax: Axes | None = None, cmap: str = "viridis") -> Axes:
    """Draw the U-matrix: the mean distance of each prototype to its neighbours on the lattice.

    Parameters
    ----------
    codebook : Codebook
        Prototypes with a lattice.
    ax : Axes, optional
        Where to draw; a new figure by default.
    cmap : str
        Name of the colour map.

    Returns
    -------
    Axes
        High values are borders between groups of similar units (Ultsch and Siemon 1990).
    """
    lattice = lattice_of(codebook)
    ax = new_axes(ax, size=lattice_size(lattice))
    heights = neighbour_distances(codebook)
    limits = tuple(colour_limits(heights).values())
    cells = draw_cells(ax, lattice, array=heights, cmap=cmap, clim=limits)
    add_colorbar(ax, cells, label="mean distance to neighbours")
    set_title(ax, f"U-matrix\n{describe(lattice)}")
    return ax


def hit_map(hits: npt.ArrayLike, lattice: Lattice, *, ax: Axes | None = None) -> Axes:
    """Draw how many points each unit is the best match of; units without any are grey.

    Parameters
    ----------
    hits : array_like of int, shape (M,)
        Number of points per unit.
    lattice : Lattice
        Where the units lie.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    counts = np.asarray(hits)
    ax = new_axes(ax, size=lattice_size(lattice))
    shown = np.ma.masked_equal(counts.astype(np.float64), 0.0)
    top = max(1.0, float(counts.max()))
    cmap = with_gaps("cividis", colour=EMPTY)
    cells = draw_cells(ax, lattice, array=shown, cmap=cmap, clim=(0.0, top))
    inks = [ink_on(cmap(count / top)) if count else INK for count in counts]
    write_in_cells(ax, lattice, [str(int(c)) if c else "" for c in counts], colours=inks)
    add_colorbar(ax, cells, label="points")
    total, empty = int(counts.sum()), int(np.count_nonzero(counts == 0))
    set_title(ax, f"Hits (points: {total:,}, empty units: {empty:,})\n{describe(lattice)}")
    return ax


def prototype_images(
    prototypes: FloatArray,
    lattice: Lattice,
    *,
    image_shape: tuple[int, int],
    ax: Axes | None = None,
) -> Axes:
    """Draw every prototype as a small image at its unit's place.

    On a hexagonal lattice odd rows are shifted by half an image.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        In original units.
    lattice : Lattice
        Where the units lie.
    image_shape : tuple of int
        (height, width), ``height · width = D``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    images = prototypes.reshape(-1, *image_shape)
    canvas = unit_mosaic(images, lattice)
    ax = new_axes(ax, size=mosaic_size(canvas))
    ax.imshow(canvas, cmap=with_gaps("gray"), **colour_limits(images))  # type: ignore[arg-type]
    ax.set_axis_off()
    set_title(ax, f"Prototypes\n{describe(lattice)}")
    return ax


def component_planes(
    codebook: Codebook,
    *,
    scaling: Scaling | None = None,
    feature_names: Sequence[str] | None = None,
    at_most: int = 12,
    figure: Figure | None = None,
) -> Figure:
    """Draw one map per feature, coloured by the prototypes' values.

    Parameters
    ----------
    codebook : Codebook
        Prototypes with a lattice.
    scaling : Scaling, optional
        Turns the map's units into those that are shown.
    feature_names : sequence of str, optional
        Names of the D features.
    at_most : int
        Only so many features: those that vary most between prototypes, in the map's units.
    figure : Figure, optional
        Where to draw; a new one by default.
    """
    lattice, W = lattice_of(codebook), codebook.prototypes
    chosen = np.sort(np.argsort(-W.var(axis=0), kind="stable")[:at_most])
    values = W if scaling is None else scaling.to_original(W)
    columns = min(3 if chosen.size <= 9 else 4, chosen.size)
    rows = -(-chosen.size // columns)
    width, height = lattice_extent(lattice)
    panel = 8.5 / max(columns, 2)
    tall = min(2.0, max(0.4, panel * 0.75 * height / width)) + 0.5
    figure = new_figure(figure, size=(panel * columns, tall * rows + 0.5))
    for place, feature in enumerate(chosen):
        ax = figure.add_subplot(rows, columns, place + 1)
        cells = draw_cells(ax, lattice, array=values[:, feature], cmap="viridis")
        ax.set_axis_off()
        add_colorbar(ax, cells, label="")
        name = feature_names[feature] if feature_names is not None else f"feature {feature}"
        set_title(ax, shortened(str(name), 26))
    of = "" if chosen.size == W.shape[1] else f" ({chosen.size} of {W.shape[1]} features)"
    figure.suptitle(f"Component planes{of}, {describe(lattice)}", fontsize=10)
    return figure


def label_map(labels: npt.ArrayLike, lattice: Lattice, *, ax: Axes | None = None) -> Axes:
    """Draw the label of each unit: a colour per label, and the label where it fits.

    Parameters
    ----------
    labels : array_like of str, shape (M,)
        Label of most of a unit's points; "" for a unit without points.
    lattice : Lattice
        Where the units lie.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    texts = [str(label) for label in np.asarray(labels)]
    names = sorted({text for text in texts if text}, key=numbers_first)
    colour_of = dict(zip(names, kind_colours(len(names)), strict=True)) | {"": EMPTY}
    colours = [colour_of[text] for text in texts]
    ax = new_axes(ax, size=lattice_size(lattice))
    draw_cells(ax, lattice, facecolors=colours, edgecolors="white")
    fits = write_in_cells(ax, lattice, texts, colours=[ink_on(colour) for colour in colours])
    if not fits or len(names) > len(KINDS):
        label_legend(ax, {name: colour_of[name] for name in names}, empty="" in texts)
    set_title(ax, f"Label of most points in each unit\n{describe(lattice)}")
    return ax


def numbers_first(text: str) -> tuple[bool, float, str]:
    """Return what to sort labels by: numbers by their value, then texts."""
    try:
        return (False, float(text), text)
    except ValueError:
        return (True, 0.0, text)


def label_legend(ax: Axes, colours: Mapping[str, str], *, empty: bool) -> None:
    """Add a legend of colours by label beside the map, at most twenty of them."""
    shown = list(colours.items())[:_LEGEND_ENTRIES]
    entries = {shortened(name, 24): Patch(color=colour) for name, colour in shown}
    if empty:
        entries["(no points)"] = Patch(color=EMPTY)
    if len(colours) > _LEGEND_ENTRIES:
        entries[f"… {len(colours) - _LEGEND_ENTRIES} more"] = Patch(visible=False)
    plain_legend(ax, entries, loc="center left", bbox_to_anchor=(1.02, 0.5))
