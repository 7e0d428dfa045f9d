"""Figures of inversion: what came back, how far it is from what went in, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from musicfw import geometry
from musicfw.arrays import FloatArray
from musicfw.axes import axes_of
from musicfw.codebook import Codebook
from musicfw.lifted import lifted_system
from musicfw.metrics import relative_errors
from musicfw.plot.canvas import (
    INK,
    KINDS,
    colour_limits,
    kind_colours,
    mosaic,
    new_axes,
    new_figure,
    plain_legend,
    set_labels,
    set_title,
    shortened,
    tidy,
    with_gaps,
)

_EPS = float(np.finfo(np.float64).eps)
_DOTS = 500


def inversion_comparison(
    originals: FloatArray,
    recovered: FloatArray,
    *,
    image_shape: tuple[int, int] | None = None,
    feature_names: Sequence[str] | None = None,
    at_most: int = 10,
    figure: Figure | None = None,
) -> Figure:
    """Draw originals beside what was recovered from their distances.

    Images: a row of originals, a row of inversions and a row of absolute differences with the
    relative error of each. Other data: one panel per feature, recovered over original value.

    Parameters
    ----------
    originals, recovered : ndarray, shape (N, D)
        In the same units; NaN rows of ``recovered`` are points that were not recovered.
    image_shape : tuple of int, optional
        (height, width) if the points are images.
    feature_names : sequence of str, optional
        Names of the D features.
    at_most : int
        Greatest number of images (evenly chosen) or of features (those recovered worst, compared
        with their spread).
    figure : Figure, optional
        Where to draw; a new one by default.
    """
    if image_shape is None:
        return _feature_panels(originals, recovered, feature_names, at_most, figure)
    rows = evenly(originals.shape[0], at_most)
    return _image_rows(originals[rows], recovered[rows], image_shape, figure)


def evenly(count: int, at_most: int) -> list[int]:
    """Return up to ``at_most`` of ``0 … count-1``, evenly spread and with both ends."""
    if count == 0:
        return []
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, at_most)).round())]


def _image_rows(
    originals: FloatArray,
    recovered: FloatArray,
    image_shape: tuple[int, int],
    figure: Figure | None,
) -> Figure:
    height, width = image_shape
    count, pitch = originals.shape[0], width + max(1, width // 12)
    lefts = pitch * np.arange(count)
    rows = (
        ("original", originals, "gray"),
        ("recovered", recovered, "gray"),
        ("|difference|", np.abs(recovered - originals), "magma"),
    )
    cell = min(1.0, 8.0 / count)
    row_height = cell * height / width + 0.05
    figure = new_figure(figure, size=(max(5.0, cell * count + 2.2), 3 * row_height + 0.8))
    axes = [figure.add_subplot(3, 1, place + 1) for place in range(3)]
    for ax, (name, values, cmap) in zip(axes, rows, strict=True):
        images = values.reshape(-1, height, width)
        limits = colour_limits(images if cmap == "magma" else originals)
        canvas = mosaic(images, tops=np.zeros(count), lefts=lefts)
        drawn = ax.imshow(canvas, cmap=with_gaps(cmap), **limits)  # type: ignore[arg-type]
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    errors = relative_errors(recovered, originals)
    texts = ["no point" if np.isnan(error) else f"{error:.2g}" for error in errors]
    axes[2].set_xticks(lefts + (width - 1) / 2.0, texts, fontsize=8)
    axes[2].tick_params(length=0)
    axes[2].set_xlabel("relative error", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.03, aspect=40)
    bar.set_label("|difference|", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def _feature_panels(
    originals: FloatArray,
    recovered: FloatArray,
    feature_names: Sequence[str] | None,
    at_most: int,
    figure: Figure | None,
) -> Figure:
    spread = originals.std(axis=0)
    worst = np.nan_to_num(np.abs(recovered - originals)).max(axis=0) / np.where(
        spread > 0, spread, 1.0
    )
    chosen = np.sort(np.argsort(-worst, kind="stable")[:at_most])
    dots = evenly(originals.shape[0], _DOTS)
    columns = min(4, chosen.size)
    rows = -(-chosen.size // columns)
    figure = new_figure(figure, size=(max(3.6, 2.5 * columns), 2.4 * rows + 0.6))
    for place, feature in enumerate(chosen):
        ax = figure.add_subplot(rows, columns, place + 1)
        x, y = originals[dots, feature], recovered[dots, feature]
        low, high = _limits(x, y)
        ax.plot([low, high], [low, high], color="#999999", linewidth=0.8, zorder=1)
        ax.scatter(x, y, s=12, color=KINDS[0], alpha=0.7, linewidths=0, zorder=2)
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        tidy(ax)
        ax.tick_params(labelsize=7)
        ax.ticklabel_format(useOffset=False)
        ax.locator_params(nbins=3)
        name = str(feature_names[feature]) if feature_names is not None else f"feature {feature}"
        set_title(ax, shortened(name, 24))
    of = "" if chosen.size == spread.size else f" ({chosen.size} worst of {spread.size} features)"
    figure.supxlabel("original value", fontsize=9)
    figure.supylabel("recovered value", fontsize=9)
    figure.suptitle(f"Recovered over original value{of}", fontsize=10)
    return figure


def _limits(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return limits around all values, wide enough that rounding does not fill the panel."""
    both = np.concatenate([x, y[np.isfinite(y)]])
    low, high = float(both.min()), float(both.max())
    span, size = high - low, max(abs(low), abs(high))
    margin = 0.05 * span if span > 1e-6 * size else 0.1 * size or 1.0
    return low - margin, high + margin


def inversion_error(
    errors: Mapping[str, FloatArray], *, mark: float = 1e-8, ax: Axes | None = None
) -> Axes:
    """Draw the distribution of the relative error per solver, on a log axis.

    Each solver is a row in which the points rise from the smallest to the largest error; the line
    across it is the median. Errors of exactly zero, which a log axis cannot show, stand at its left
    border.

    Parameters
    ----------
    errors : mapping of str to ndarray, shape (N,)
        Relative errors by solver; NaN where there is no point.
    mark : float
        Drawn as a vertical line: the error that counts as exact.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    ax = new_axes(ax, size=(7.0, 1.3 + 0.55 * len(errors)))
    finite = np.concatenate([values[np.isfinite(values)] for values in errors.values()])
    positive = finite[finite > 0.0]
    least = float(positive.min()) if positive.size else _EPS
    zero = 10.0 ** np.floor(np.log10(max(least, 1e-300)) - 1.0)
    names = []
    for row, (name, values) in enumerate(errors.items()):
        shown = np.sort(np.maximum(values[np.isfinite(values)], zero))
        dots = evenly(shown.size, _DOTS)
        rank = (np.array(dots) + 0.5) / max(1, shown.size) - 0.5
        colour = kind_colours(len(errors))[row]
        ax.plot(shown[dots], row - 0.7 * rank, "o", markersize=3.5, color=colour, clip_on=False)
        if shown.size:
            ax.plot([np.median(shown)] * 2, [row - 0.4, row + 0.4], color=INK, linewidth=1.2)
        lost = values.size - shown.size
        names.append(shortened(name, 24) + (f"\n({lost} without a point)" if lost else ""))
    ax.set_xscale("log")
    top = max(float(finite.max()) if finite.size else 1.0, mark) * 3.0
    ax.set_xlim(zero if positive.size < finite.size else zero * 3.0, top)
    ax.set_ylim(len(errors) - 0.45, -0.55)
    ax.set_yticks(range(len(errors)), names, parse_math=False)
    ax.axvline(mark, color=INK, linestyle=":", linewidth=1.0)
    tidy(ax)
    exact = int(np.count_nonzero(finite == 0.0))
    note = f"; {exact} of exactly zero at the left border" if exact else ""
    short = f"{mark:g}".replace("e-0", "e-")
    set_labels(ax, f"relative error (dotted: {short}{note})", "")
    set_title(ax, "Error of the recovered points: each dot is a point, the bar is the median")
    return ax


def singular_values(codebook: Codebook, *, ax: Axes | None = None) -> Axes:
    """Draw the singular values of the centred prototypes with the affine rank and the tolerance.

    Where relevances differ by unit, those of the lifted system (`musicfw.lifted`).

    Parameters
    ----------
    codebook : Codebook
        The prototypes.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    axes = axes_of(codebook).codebook
    if axes.relevances is None:
        W = axes.prototypes
        offset = W - W.mean(axis=0)
        sigma = np.linalg.svd(offset - offset.mean(axis=0), compute_uv=False)
        rank, tolerance = geometry.affine_rank(sigma, W), geometry.rank_tolerance(sigma, W)
        title = "Singular values of the centred prototypes"
    else:
        system = lifted_system(axes.prototypes, axes.relevances)
        sigma = np.linalg.svd(system.matrix, compute_uv=False)
        rank, tolerance = system.affine_rank, system.tolerance
        title = "Singular values of the prototypes with their relevances"
    # All prototypes equal and zero: any positive number serves as the end of a log axis.
    tolerance = tolerance or _EPS
    ax = new_axes(ax, size=(6.5, 3.4))
    floor = tolerance / 100.0
    kept = np.arange(1, sigma.size + 1) <= rank
    position = np.arange(1, sigma.size + 1)
    entries = {}
    for mask, colour, name in (
        (kept, KINDS[0], f"{rank} above: affine rank of {axes.dimension} features"),
        (~kept, KINDS[6], f"{int((~kept).sum())} below: rounding only"),
    ):
        if mask.any():
            shown = np.maximum(sigma[mask], floor)
            entries[name] = ax.plot(
                position[mask], shown, "o-", markersize=3, linewidth=0.8, color=colour
            )[0]
    entries["tolerance"] = ax.axhline(tolerance, color=INK, linestyle=":", linewidth=1.0)
    ax.set_yscale("log")
    ax.set_xlim(0, sigma.size + 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    set_labels(ax, "number", "singular value")
    plain_legend(ax, entries, loc="best")
    set_title(ax, title)
    return ax
