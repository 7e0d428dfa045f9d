"""Figures of relevances: how much each feature matters to the units of a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.plot.canvas import (
    figure_of,
    mosaic_size,
    new_axes,
    set_labels,
    set_title,
    shortened,
    unit_mosaic,
    with_gaps,
)

# So many rows or columns can be named legibly.
_NAMED = 40


def relevance_map(
    codebook: Codebook, *, feature_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the relevances of all units as a heat map, one row per unit and a column per feature.

    Relevances are shown relative to the mean of their row: 1 is as much as any feature, the darkest
    is the most of all. Units without a place on a lattice stand in the order of their labels. What
    all units share is one row.

    Parameters
    ----------
    codebook : Codebook
        With relevances.
    feature_names : sequence of str, optional
        Names of the D features.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Raises
    ------
    UsageError
        If the codebook has no relevances.
    """
    R = _relevances(codebook)
    order = np.arange(R.shape[0])
    if codebook.lattice is None and codebook.labels is not None and R.shape[0] > 1:
        order = np.argsort(codebook.labels, kind="stable")
    rows, columns = R.shape
    width = min(9.0, max(4.5, 0.25 * columns + 2.5))
    ax = new_axes(ax, size=(width, min(8.0, max(2.6, 0.24 * rows + 1.3))))
    drawn = ax.imshow(R[order], cmap="magma_r", vmin=0.0, aspect="auto", interpolation="nearest")
    bar = figure_of(ax).colorbar(drawn, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label("relevance", fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)
    named = _name_rows(ax, codebook, order)
    _name_columns(ax, feature_names, columns)
    ax.tick_params(length=0, labelsize=8)
    ax.spines[:].set_visible(False)
    set_labels(ax, "feature", named)
    set_title(ax, "Relevances (the mean of a row is 1)")
    return ax


def relevance_images(
    codebook: Codebook, *, image_shape: tuple[int, int], ax: Axes | None = None
) -> Axes:
    """Draw the relevances of every unit as a small image at its place, darker for more relevant.

    Each image has its own scale, from 0 to the greatest relevance of the unit.

    Parameters
    ----------
    codebook : Codebook
        With relevances of each unit; without a lattice the images stand in rows.
    image_shape : tuple of int
        (height, width), ``height · width = D``.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Raises
    ------
    UsageError
        If the codebook has no relevances.
    """
    R = _relevances(codebook)
    own = R / R.max(axis=1, keepdims=True)
    lattice = codebook.lattice if R.shape[0] == codebook.units else None
    canvas = unit_mosaic(own.reshape(-1, *image_shape), lattice)
    ax = new_axes(ax, size=mosaic_size(canvas))
    ax.imshow(canvas, cmap=with_gaps("magma_r"), vmin=0.0, vmax=1.0)
    ax.set_axis_off()
    set_title(ax, "Relevances of each unit, darker for more")
    return ax


def _relevances(codebook: Codebook) -> FloatArray:
    """Return the relevances by unit, or one row of what all share, each row of mean 1."""
    if codebook.relevances is None:
        raise UsageError(
            "codebook.relevances: expected relevances to draw, got None; train with the backend "
            "'relevance', or with feature_weights"
        )
    R = np.atleast_2d(codebook.relevances)
    return np.asarray(R / R.mean(axis=1, keepdims=True))


def _name_rows(ax: Axes, codebook: Codebook, order: IntArray) -> str:
    """Name the rows, and return what the names are."""
    if order.size == 1 and codebook.units > 1:
        ax.set_yticks([0], ["all units"])
        return ""
    if order.size > _NAMED or codebook.labels is None:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return "unit"
    names = [f"{i} ({shortened(str(codebook.labels[i]) or 'no points', 16)})" for i in order]
    for tick in ax.set_yticks(range(order.size), names):
        tick.label1.set_parse_math(False)
    return "unit (label)"


def _name_columns(ax: Axes, names: Sequence[str] | None, columns: int) -> None:
    if names is None or columns > _NAMED:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return
    ax.set_xticks(range(columns), [shortened(str(name), 18) for name in names])
    for text in ax.get_xticklabels():
        text.set(rotation=60, ha="right", rotation_mode="anchor")
        text.set_parse_math(False)
