"""Figures of trajectories. Those of one figure share their points and their target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from musicfw.arrays import FloatArray, IntArray
from musicfw.lattice import Lattice
from musicfw.measures import frames_at_fractions
from musicfw.plot.canvas import (
    INK,
    TARGET,
    cell_polygons,
    colour_limits,
    describe,
    draw_cells,
    kind_colours,
    lattice_extent,
    mosaic,
    new_axes,
    new_figure,
    plain_legend,
    set_labels,
    set_title,
    shortened,
    tidy,
    with_gaps,
    write_in_cells,
)
from musicfw.plot.inversion import evenly
from musicfw.plot.maps import lattice_of, neighbour_distances
from musicfw.status import StopReason
from musicfw.types import Trajectory

FRACTIONS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_STOP_WORDS = {reason: reason.name.lower().replace("_", " ") for reason in StopReason}


def path_strips(
    trajectories: Mapping[str, Trajectory],
    *,
    image_shape: tuple[int, int],
    target: str = "target",
    labels: npt.ArrayLike | None = None,
    at_most: int = 4,
    ax: Axes | None = None,
) -> Axes:
    """Draw frames at equal fractions of each path's length: one row per point and policy.

    Parameters
    ----------
    trajectories : mapping of str to Trajectory
        By the name to show; same points, same target.
    image_shape : tuple of int
        (height, width) of a frame.
    target : str
        Name of the target.
    labels : array_like of str, shape (N,), optional
        Label of each start.
    at_most : int
        Greatest number of points, evenly chosen.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    height, width = image_shape
    count = next(iter(trajectories.values())).points.shape[1]
    chosen, gap = evenly(count, at_most), max(1, width // 12)
    heading = max(2, height // 2)
    frames, tops, rows, headings = [], [], [], []
    top = heading
    for n in chosen:
        start = f"point {n}" if labels is None else f"point {n}: label {np.asarray(labels)[n]}"
        headings.append((f"{start} → {target}", top))
        for name, trajectory in trajectories.items():
            frames.append(frames_at_fractions(trajectory.points[:, n], FRACTIONS))
            tops.append(top)
            rows.append((shortened(name, 24), _ending(trajectory, n)))
            top += height + gap
        top += heading
    images = np.concatenate(frames).reshape(-1, height, width)
    lefts = np.arange(len(FRACTIONS)) * (width + gap)
    canvas = mosaic(images, tops=np.repeat(tops, len(FRACTIONS)), lefts=np.tile(lefts, len(frames)))
    scale = 6.0 / canvas.shape[1]
    ax = new_axes(ax, size=(9.2, min(14.0, canvas.shape[0] * scale + 0.8)))
    limits = colour_limits(images[:: len(FRACTIONS)])
    ax.imshow(canvas, cmap=with_gaps("gray"), **limits)  # type: ignore[arg-type]
    _strip_texts(ax, rows, headings, tops=np.asarray(tops), lefts=lefts, image_shape=image_shape)
    return ax


def _ending(trajectory: Trajectory, point: int) -> str:
    """Return how a path ended, in a word or two."""
    arrival = int(trajectory.arrival[point])
    reason = StopReason(int(trajectory.stop[point]))
    if reason is StopReason.REACHED and arrival >= 0:
        return f"arrived at step {arrival}"
    return _STOP_WORDS[reason]


def _strip_texts(
    ax: Axes,
    rows: Sequence[tuple[str, str]],
    headings: Sequence[tuple[str, int]],
    *,
    tops: IntArray,
    lefts: IntArray,
    image_shape: tuple[int, int],
) -> None:
    height, width = image_shape
    middle = tops + (height - 1) / 2.0
    ax.set_xticks(lefts + (width - 1) / 2.0, [f"{100 * f:g} %" for f in FRACTIONS], fontsize=8)
    ax.set_yticks(middle, [name for name, _ in rows], fontsize=9, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    right = lefts[-1] + width
    for y, (_, ending) in zip(middle, rows, strict=True):
        ax.annotate(
            ending,
            (right, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    for text, top in headings:
        ax.annotate(
            text,
            (0, top - 0.5),
            (0, 4),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            annotation_clip=False,
            parse_math=False,
        )
    ax.set_xlabel("share of the path's length", fontsize=9)


def paths_on_map(
    trajectories: Mapping[str, Trajectory],
    *,
    at_most: int = 8,
    figure: Figure | None = None,
) -> Figure:
    """Draw the best matching units along each path over the U-matrix, one panel per trajectory.

    On a torus a path that crosses a border leaves on one side and comes in on the other.

    Parameters
    ----------
    trajectories : mapping of str to Trajectory
        By the name to show; same points, same target.
    at_most : int
        Greatest number of paths, evenly chosen.
    figure : Figure, optional
        Where to draw; a new one by default.
    """
    lattice = lattice_of(next(iter(trajectories.values())).codebook)
    width, height = lattice_extent(lattice)
    columns = min(2 if width < 2.0 * height else 1, len(trajectories))
    rows = -(-len(trajectories) // columns)
    panel = 4.6 if columns > 1 else 6.5
    tall = max(0.5, min(panel, panel * height / width)) + 0.45
    figure = new_figure(figure, size=(panel * columns, tall * rows + 0.7))
    for place, (name, trajectory) in enumerate(trajectories.items()):
        ax = figure.add_subplot(rows, columns, place + 1)
        _map_behind(ax, trajectory, lattice)
        shown = evenly(trajectory.points.shape[1], at_most)
        for order, n in enumerate(shown):
            _draw_walk(ax, trajectory, lattice, point=n, order=order, of=len(shown))
        set_labels(ax, "", "")
        set_title(ax, shortened(name, 30))
    figure.suptitle(
        f"Paths over the map (○ start, ★ end, outlined cells: target)\n{describe(lattice)}",
        fontsize=10,
    )
    return figure


def _map_behind(ax: Axes, trajectory: Trajectory, lattice: Lattice) -> None:
    codebook = trajectory.codebook
    heights = neighbour_distances(codebook)
    limits = (heights.min(), 2.5 * max(1e-12, heights.max()))
    draw_cells(ax, lattice, array=heights, cmap="Greys", clim=limits, edgecolors="#e9e9e9")
    chosen = trajectory.target_units
    outline = PolyCollection(
        list(cell_polygons(lattice)[chosen]), facecolors=TARGET, edgecolors=INK, linewidths=0.8
    )
    ax.add_collection(outline)
    if codebook.labels is not None:
        inks = np.full(lattice.units, "#8a8a8a")
        inks[chosen] = INK
        write_in_cells(ax, lattice, [str(x) for x in codebook.labels], colours=list(inks))


def _draw_walk(
    ax: Axes, trajectory: Trajectory, lattice: Lattice, *, point: int, order: int, of: int
) -> None:
    frames = trajectory.in_map()[:, point]
    units = trajectory.codebook.best_matching_units(frames)
    visited = units[np.concatenate([[True], units[1:] != units[:-1]])]
    # Paths through the same units stand side by side, inside the cell.
    angle = 2.0 * np.pi * order / of
    aside = 0.18 * np.array([np.cos(angle), np.sin(angle)]) * (of > 1)
    segments = walk_segments(visited, lattice) + aside
    colour = kind_colours(of)[order]
    ax.add_collection(
        LineCollection(list(segments), colors=colour, linewidths=1.6, alpha=0.9, clip_on=True)
    )
    ends = lattice.coordinates()[visited[[0, -1]]] + aside
    ax.plot(*ends[0], "o", markersize=6, markerfacecolor="white", color=colour)
    ax.plot(*ends[1], "*", markersize=9, color=colour, markeredgecolor=INK, markeredgewidth=0.5)


def walk_segments(units: IntArray, lattice: Lattice) -> FloatArray:
    """Return the line segments of a walk over the lattice, shape (segments, 2, 2).

    On a torus or cylinder each step goes the short way round; one that crosses a border is drawn
    twice, from either side, for the axes to clip.
    """
    position = lattice.coordinates()[units]
    start, end = position[:-1], position[1:]
    period = np.array(lattice.periods)
    turns = np.round((end - start) / period)
    short = (end - start) - np.where(np.isfinite(period), period, 0.0) * turns
    forward = np.stack([start, start + short], axis=1)
    backward = np.stack([end - short, end], axis=1)
    crosses = np.abs(start + short - end).max(axis=1) > 1e-9
    return np.concatenate([forward, backward[crosses]])


def target_distances(trajectories: Mapping[str, Trajectory], *, ax: Axes | None = None) -> Axes:
    """Draw the distance to the nearest target unit over the steps, median and range per policy.

    Parameters
    ----------
    trajectories : mapping of str to Trajectory
        By the name to show; same points, same target.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    ax = new_axes(ax, size=(6.5, 3.6))
    entries = {}
    styles = ("-", "--", "-.", ":")
    colours = kind_colours(len(trajectories))
    for order, (name, trajectory) in enumerate(trajectories.items()):
        distance = _nearest_target_distances(trajectory)
        steps = np.arange(distance.shape[0])
        low, middle, high = np.quantile(distance, (0.1, 0.5, 0.9), axis=1)
        marker = "o" if steps.size == 1 else ""
        style = styles[order % len(styles)]
        (line,) = ax.plot(steps, middle, color=colours[order], linestyle=style, marker=marker)
        entries[shortened(name, 30)] = line
        if distance.shape[1] > 1:
            ax.fill_between(steps, low, high, color=colours[order], alpha=0.18, linewidth=0)
    ax.set_ylim(bottom=0.0)
    tidy(ax)
    set_labels(ax, "step", "distance to the nearest target unit")
    plain_legend(ax, entries, loc="best")
    several = next(iter(trajectories.values())).points.shape[1] > 1
    set_title(ax, "Approach: median and the middle 80 % of points" if several else "Approach")
    return ax


def _nearest_target_distances(trajectory: Trajectory) -> FloatArray:
    """Return the distance of every frame to its nearest target unit, shape (T+1, N)."""
    codebook, units = trajectory.codebook, trajectory.target_units
    distances = np.empty((trajectory.points.shape[0], trajectory.points.shape[1]))
    in_map = trajectory.in_map()
    # Path by path: all frames to all units of the target at once can be gigabytes.
    for n in range(distances.shape[1]):
        frames = in_map[:, n]
        distances[:, n] = np.sqrt(codebook.squared_distances(frames, units).min(axis=1))
    return distances


def feature_changes(
    trajectories: Mapping[str, Trajectory],
    *,
    feature_names: Sequence[str] | None = None,
    at_most: int = 12,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much each feature changed from start to end: median and range per policy.

    Parameters
    ----------
    trajectories : mapping of str to Trajectory
        By the name to show; same points, same target.
    feature_names : sequence of str, optional
        Names of the D features.
    at_most : int
        Only so many features: those of largest median change by any policy, in the map's units.
    ax : Axes, optional
        Where to draw; a new figure by default.
    """
    changes = [_change(trajectory) for trajectory in trajectories.values()]
    largest = np.max([np.abs(np.median(change, axis=0)) for change in changes], axis=0)
    chosen = np.argsort(-largest, kind="stable")[:at_most]
    height = 0.15 * len(changes) + 0.1
    ax = new_axes(ax, size=(7.5, chosen.size * height + 1.4))
    rows = np.arange(chosen.size)
    entries = {}
    pitch = 0.8 / len(changes)
    colours = kind_colours(len(changes))
    for order, (name, change) in enumerate(zip(trajectories, changes, strict=True)):
        y = rows + (order - (len(changes) - 1) / 2.0) * pitch
        low, middle, high = np.quantile(change[:, chosen], (0.1, 0.5, 0.9), axis=0)
        bars = ax.barh(y, middle, height=0.85 * pitch, color=colours[order])
        if change.shape[0] > 1:
            ax.hlines(y, low, high, color=INK, linewidth=0.9)
        entries[shortened(name, 30)] = bars
    ax.axvline(0.0, color=INK, linewidth=0.8)
    tidy(ax)
    names = feature_names or [f"feature {i}" for i in range(largest.size)]
    ax.set_yticks(rows, [shortened(str(names[i]), 28) for i in chosen], parse_math=False)
    ax.set_ylim(chosen.size - 0.4, -0.6)
    several = "\nbar: median; line: the middle 80 % of points" if changes[0].shape[0] > 1 else ""
    set_labels(ax, f"change from start to end, in the map's units{several}", "")
    plain_legend(ax, entries, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    set_title(ax, "Features that changed most")
    return ax


def _change(trajectory: Trajectory) -> FloatArray:
    """Return end − start per point and feature in the map's units, shape (N, D)."""
    start, end = (trajectory.scaling.to_map(trajectory.points[i]) for i in (0, -1))
    return np.asarray(end - start, dtype=np.float64)
