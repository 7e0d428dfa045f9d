"""Figures of a training: what its history recorded, by update."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from musicfw.arrays import FloatArray
from musicfw.plot.canvas import (
    KINDS,
    new_axes,
    new_figure,
    plain_legend,
    set_labels,
    set_title,
    tidy,
)

_MARKED = 30  # so many points at most are marked one by one


def training_curve(history: Mapping[str, FloatArray], *, ax: Axes | None = None) -> Axes:
    """Draw the quantization error over the updates, with the radius on an axis of its own.

    Parameters
    ----------
    history : mapping of str to ndarray, shape (updates,)
        `TrainedMap.history`; ``quantization_error``, ``held_out_quantization_error`` and ``radius``
        are drawn if present. A star marks the least held-out error: the map that is returned.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    ax = _axes_by_update(ax, "quantization error")
    entries: dict[str, Line2D] = {}
    if "quantization_error" in history:
        entries["training points"] = _curve(ax, history["quantization_error"], colour=KINDS[0])
    held_out = history.get("held_out_quantization_error")
    if held_out is not None:
        entries["held out"] = _curve(ax, held_out, colour=KINDS[4], style="-.")
        best = int(np.nanargmin(held_out))
        ax.plot(best + 1, held_out[best], "*", color=KINDS[4], markersize=10)
    if "radius" in history:
        entries["radius"] = _on_the_right(ax, history["radius"], name="radius")
    plain_legend(ax, entries, loc="best")
    set_title(ax, "Training")
    return ax


def training_curves(history: Mapping[str, FloatArray], *, figure: Figure | None = None) -> Figure:
    """Draw all that was recorded: `training_curve` above, topographic error and change below.

    Parameters
    ----------
    history : mapping of str to ndarray, shape (updates,)
        `TrainedMap.history`; what is not in it is left out.
    figure : Figure, optional
        Where to draw; a new one by default.
    """
    more = "topographic_error" in history
    figure = new_figure(figure, size=(6.0, 5.8 if more else 3.4))
    ax = training_curve(history, ax=figure.add_subplot(2 if more else 1, 1, 1))
    if more:
        below = _axes_by_update(figure.add_subplot(2, 1, 2, sharex=ax), "topographic error")
        errors = history["topographic_error"]
        entries = {"topographic error": _curve(below, errors, colour=KINDS[0])}
        below.set_ylim(0.0, max(0.1, 1.05 * float(errors.max())))  # a share of 64: it jumps
        if "change" in history:
            entries["change"] = _on_the_right(below, history["change"], name="change")
        plain_legend(below, entries, loc="best")
        set_title(below, "Order, and how far prototypes moved")
    return figure


def _axes_by_update(ax: Axes | None, name: str) -> Axes:
    ax = new_axes(ax, size=(6.0, 3.4))
    tidy(ax)
    set_labels(ax, "update", name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _on_the_right(ax: Axes, values: FloatArray, *, name: str) -> Line2D:
    twin = ax.twinx()
    twin.spines["top"].set_visible(False)
    twin.set_ylabel(name, color=KINDS[2])
    line = _curve(twin, values, colour=KINDS[2], style="--")
    twin.set_ylim(bottom=0.0)
    return line


def _curve(ax: Axes, values: FloatArray, *, colour: str, style: str = "-") -> Line2D:
    known = np.flatnonzero(np.isfinite(values))
    marker = "o" if known.size <= _MARKED else ""
    (line,) = ax.plot(
        known + 1, values[known], color=colour, linestyle=style, marker=marker, markersize=3.5
    )
    return line
