"""What all figures share: axes without pyplot, lattice cells, image mosaics, colours and text.

Colours are chosen to be told apart by colour-blind readers: viridis, cividis and magma for amounts,
the ten of Petroff (arXiv 2107.02270) for kinds. Text is never read as mathematics, so that a label
such as ``$5`` is shown as it is.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from musicfw.arrays import FloatArray
from musicfw.lattice import Lattice, Topology

KINDS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
INK = "#222222"
EMPTY = "#e6e6e6"
TARGET = "#ffe08a"
_SMALLEST_TEXT = 6.0


def new_axes(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return ``ax``, or the axes of a new figure of ``size`` inches."""
    if ax is not None:
        return ax
    return new_figure(None, size=size).add_subplot()


def new_figure(figure: Figure | None, *, size: tuple[float, float]) -> Figure:
    """Return ``figure``, or a new one of ``size`` inches."""
    if figure is not None:
        return figure
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    return Figure(figsize=size, layout=layout)


def png_bytes(drawn: Axes | Figure, *, dpi: int = 150) -> bytes:
    """Return the figure (of some axes) as a PNG file.

    Letters that the font does not have become boxes; that is no reason for a warning each.
    """
    figure = drawn if isinstance(drawn, Figure) else figure_of(drawn)
    buffer = io.BytesIO()
    layout, own_dpi = figure.get_layout_engine(), figure.dpi
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        try:
            if layout is not None:
                # With a layout engine `savefig` would draw everything twice.
                figure.set_dpi(dpi)
                layout.execute(figure)
                figure.set_layout_engine(None)
            figure.savefig(buffer, format="png", dpi=dpi)
        finally:
            figure.set_layout_engine(layout)
            figure.set_dpi(own_dpi)
    return buffer.getvalue()


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that holds the axes."""
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def set_title(ax: Axes, title: str) -> None:
    """Set a title as plain text."""
    ax.set_title(title, fontsize=10, parse_math=False)


def set_labels(ax: Axes, x: str, y: str) -> None:
    """Set the names of both axes as plain text."""
    ax.set_xlabel(x, parse_math=False)
    ax.set_ylabel(y, parse_math=False)


def plain_legend(ax: Axes, entries: Mapping[str, Any], **options: Any) -> None:
    """Add a legend of artists by name, the names as plain text."""
    names = list(entries)
    # A name that begins with "_" would be left out: the names come in afterwards.
    legend = ax.legend(list(entries.values()), ["name"] * len(names), frameon=False, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_fontsize(8)
        text.set_parse_math(False)
        text.set_text(name)


def tidy(ax: Axes) -> None:
    """Remove the upper and the right border and draw a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#e5e5e5", linewidth=0.6)
    ax.set_axisbelow(True)


def shortened(text: str, length: int) -> str:
    """Return ``text``, cut to ``length`` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def kind_colours(count: int) -> list[str]:
    """Return ``count`` colours for kinds: the ten of Petroff, beyond that steps of viridis."""
    if count <= len(KINDS):
        return list(KINDS[:count])
    steps = mpl.colormaps["viridis"](np.linspace(0.0, 1.0, count))
    return [mpl.colors.to_hex(step) for step in steps]


def ink_on(colour: Any) -> str:
    """Return black or white, whichever is easier to read on ``colour``."""
    r, g, b = to_rgb(colour)
    return INK if 0.299 * r + 0.587 * g + 0.114 * b > 0.55 else "white"


# --- lattices ------------------------------------------------------------------------------------


def describe(lattice: Lattice) -> str:
    """Return the size and kind of a lattice in words."""
    joined = {
        "planar": "",
        "cylindrical": ", cylindrical (left and right are joined)",
        "toroidal": ", toroidal (opposite borders are joined)",
    }
    return f"{lattice.rows} × {lattice.columns} {lattice.topology}{joined[lattice.borders]}"


def cell_polygons(lattice: Lattice) -> FloatArray:
    """Return the corners of every unit's cell: squares or hexagons that touch.

    Returns
    -------
    ndarray, shape (M, 4, 2) or (M, 6, 2)
        Around `Lattice.coordinates`; neighbouring cells share two corners.
    """
    return np.asarray(lattice.coordinates()[:, np.newaxis, :] + cell_corners(lattice.topology))


def cell_corners(topology: Topology) -> FloatArray:
    """Return the corners of a cell around its middle, shape (4, 2) or (6, 2)."""
    if topology == "hexagonal":
        angles = np.pi / 6.0 + np.pi / 3.0 * np.arange(6)
        return np.asarray(np.column_stack([np.cos(angles), np.sin(angles)]) / np.sqrt(3.0))
    return np.array([(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)])


def lattice_extent(lattice: Lattice) -> tuple[float, float]:
    """Return the width and height that the cells cover."""
    low, high = cell_polygons(lattice).min(axis=(0, 1)), cell_polygons(lattice).max(axis=(0, 1))
    return float(high[0] - low[0]), float(high[1] - low[1])


def lattice_size(lattice: Lattice) -> tuple[float, float]:
    """Return a figure size in inches for one lattice with a title and a colour bar."""
    width, height = lattice_extent(lattice)
    scale = min(0.6, 6.2 / width, 6.2 / height)
    below = 0.4 if width > 2.5 * height else 0.0  # for the colour bar of `add_colorbar`
    return max(5.0, width * scale + 1.8), max(2.6, height * scale + 1.2) + below


def draw_cells(
    ax: Axes, lattice: Lattice, *, polygons: FloatArray | None = None, **options: Any
) -> PolyCollection:
    """Draw the cells with the first row on top and the true aspect; return the collection.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    lattice : Lattice
        The lattice.
    polygons : ndarray, shape (P, C, 2), optional
        Other cells instead of `cell_polygons`.
    **options
        Of PolyCollection: ``array`` and ``cmap`` for amounts, ``facecolors`` for kinds.
    """
    polygons = cell_polygons(lattice) if polygons is None else polygons
    cells = PolyCollection(list(polygons), linewidths=0.4, **({"edgecolors": "face"} | options))
    ax.add_collection(cells)
    low, high = polygons.min(axis=(0, 1)), polygons.max(axis=(0, 1))
    ax.set_xlim(low[0] - 0.05, high[0] + 0.05)
    ax.set_ylim(high[1] + 0.05, low[1] - 0.05)
    ax.set_aspect("equal")
    _number_cells(ax, lattice)
    return cells


def _number_cells(ax: Axes, lattice: Lattice) -> None:
    columns = np.arange(0, lattice.columns, max(1, -(-lattice.columns // 10)))
    rows = np.arange(0, lattice.rows, max(1, -(-lattice.rows // 10)))
    ax.set_xticks(columns, [str(c) for c in columns])
    ax.set_yticks(rows * lattice.row_height, [str(r) for r in rows])
    ax.tick_params(length=0, labelsize=8)
    ax.spines[:].set_visible(False)
    set_labels(ax, "column", "row")


def add_colorbar(ax: Axes, drawn: Any, *, label: str) -> None:
    """Add a colour bar to a lattice: as high as it and beside it, or below one wide and low."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    width, height = right - left, bottom - top
    wide = width > 2.5 * height
    thick = 0.025 * max(width, height)
    # In shares of the axes, which shrink to the cells' aspect: the bar follows.
    if wide:
        space = 0.1 * width if ax.axison else thick
        bounds = (0.0, -(space + thick) / height, 1.0, thick / height)
    else:
        bounds = (1.0 + 1.5 * thick / width, 0.0, thick / width, 1.0)
    inset = ax.inset_axes(bounds)
    orientation: Literal["horizontal", "vertical"] = "horizontal" if wide else "vertical"
    bar = figure_of(ax).colorbar(drawn, cax=inset, orientation=orientation)
    bar.set_label(label, fontsize=8, parse_math=False)
    inset.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def cell_text_size(ax: Axes, lattice: Lattice, *, characters: int) -> float | None:
    """Return the font size at which so many characters fit a cell, or None if unreadably small."""
    box, inches = ax.get_position(), figure_of(ax).get_size_inches()
    width, height = lattice_extent(lattice)
    cell = 72.0 * min(box.width * inches[0] / width, box.height * inches[1] / height)
    size = float(min(9.0, 0.55 * cell, 0.8 * cell / (0.62 * max(1, characters))))
    return size if size >= _SMALLEST_TEXT else None


def write_in_cells(
    ax: Axes, lattice: Lattice, texts: Sequence[str], *, colours: Sequence[str]
) -> bool:
    """Write a text into every cell if all fit; return whether they do."""
    size = cell_text_size(ax, lattice, characters=max(len(text) for text in texts))
    if size is None:
        return False
    places = zip(lattice.coordinates(), texts, colours, strict=True)
    for (x, y), text, colour in places:
        if text:
            written = ax.text(x, y, text, color=colour, fontsize=size, parse_math=False)
            written.set(ha="center", va="center_baseline")
            # It lies within the axes: measuring hundreds of them would tell the layout nothing.
            written.set_in_layout(False)
    return True


# --- images --------------------------------------------------------------------------------------


def mosaic(images: FloatArray, *, tops: npt.ArrayLike, lefts: npt.ArrayLike) -> FloatArray:
    """Return one canvas with images (K, h, w) at the given pixels, NaN between them."""
    top, left = np.asarray(tops, dtype=np.intp), np.asarray(lefts, dtype=np.intp)
    height, width = images.shape[1:]
    canvas = np.full((int(top.max()) + height, int(left.max()) + width), np.nan)
    for image, y, x in zip(images, top, left, strict=True):
        canvas[y : y + height, x : x + width] = image
    return canvas


def unit_mosaic(images: FloatArray, lattice: Lattice | None) -> FloatArray:
    """Return one canvas with the image (h, w) of each of M units at its place, NaN between them.

    On a hexagonal lattice odd rows are shifted by half an image. Without a lattice the units stand
    in rows, in their order.
    """
    units, _, width = images.shape
    gap = max(1, width // 12)
    gap += (width + gap) % 2  # an even pitch can be halved
    columns = int(np.ceil(np.sqrt(units))) if lattice is None else lattice.columns
    row, column = np.divmod(np.arange(units), columns)
    lefts = column * (width + gap)
    if lattice is not None and lattice.topology == "hexagonal":
        lefts += (row % 2) * (width + gap) // 2
    return mosaic(images, tops=row * (images.shape[1] + gap), lefts=lefts)


def mosaic_size(canvas: FloatArray) -> tuple[float, float]:
    """Return a figure size in inches for a mosaic with a title."""
    scale = min(7.0 / canvas.shape[1], 7.0 / canvas.shape[0], 0.06)
    return max(5.0, canvas.shape[1] * scale), max(1.6, canvas.shape[0] * scale + 0.5)


def with_gaps(name: str, *, colour: str = "white") -> Colormap:
    """Return a colour map that shows NaN in ``colour``."""
    return mpl.colormaps[name].with_extremes(bad=colour)


def colour_limits(images: FloatArray) -> dict[str, float]:
    """Return ``vmin`` and ``vmax`` of the finite values, never equal."""
    finite = images[np.isfinite(images)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {"vmin": low, "vmax": high if high > low else low + 1.0}
