"""Figures of two-dimensional data: the density, the map in it, and paths over both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.plot.canvas import kind_colours, new_figure, set_labels, set_title
from musicfw.types import Trajectory

_CELLS = 40


def paths_in_plane(
    trajectories: Mapping[str, Trajectory],
    data: FloatArray,
    *,
    feature_names: tuple[str, ...] | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw paths over the density of two-dimensional data and the map's lattice.

    Parameters
    ----------
    trajectories : mapping of str to Trajectory
        By policy; they share points and target.
    data : ndarray, shape (N, 2)
        In original units.
    feature_names : tuple of str, optional
        Names of the two axes.
    figure : matplotlib.figure.Figure, optional
        Where to draw.

    Returns
    -------
    Figure
        One panel per policy.

    Raises
    ------
    UsageError
        For data of another dimension than 2.
    """
    if data.shape[1] != 2:
        raise UsageError(f"data: expected 2 features to draw in the plane, got {data.shape[1]}")
    count = len(trajectories)
    figure = new_figure(figure, size=(4.2 * count, 4.2))
    axes = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
    names = feature_names or ("feature 0", "feature 1")
    for ax, (name, path) in zip(axes, trajectories.items(), strict=True):
        ax.hexbin(data[:, 0], data[:, 1], gridsize=_CELLS, bins="log", cmap="Greys", mincnt=1)
        _draw_lattice(ax, path)
        for n, colour in enumerate(kind_colours(path.points.shape[1])):
            ax.plot(path.points[:, n, 0], path.points[:, n, 1], color=colour, linewidth=1.8)
            ax.plot(*path.points[0, n], marker="o", color=colour, markerfacecolor="white")
            ax.plot(*path.points[-1, n], marker="*", color=colour, markersize=9)
        set_title(ax, name)
        set_labels(ax, names[0], names[1])
        ax.label_outer()
        ax.set_aspect("equal", adjustable="box")
    return figure


def _draw_lattice(ax: Axes, path: Trajectory) -> None:
    """Draw the prototypes, neighbours joined, those of the target marked."""
    prototypes = path.scaling.to_original(path.codebook.prototypes)
    if path.codebook.lattice is not None:
        first, second = np.nonzero(np.triu(path.codebook.lattice.neighbours()))
        segments = np.stack([prototypes[first], prototypes[second]], axis=1)
        ax.add_collection(LineCollection(list(segments), colors="#7fb2d9", linewidths=0.5))
    ax.scatter(prototypes[:, 0], prototypes[:, 1], s=5, color="#3b7cb0")
    target = prototypes[path.target_units]
    ax.scatter(target[:, 0], target[:, 1], s=14, color="#ffb000", edgecolors="#222222", zorder=2)
