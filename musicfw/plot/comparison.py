"""Figures of a comparison of policies: measures along the paths, with their intervals."""

from __future__ import annotations

from matplotlib.figure import Figure

from musicfw.evaluate import Evaluation
from musicfw.plot.canvas import kind_colours, new_figure, set_labels, set_title, tidy

_PANEL = (3.1, 2.7)
_MARKERS = "osD^v<>P"
_WORDS = {
    "target_probability": "probability of the target class",
    "top_confidence": "confidence in any class",
    "sharpness": "sharpness of the image",
    "distance_to_data": "distance to real data",
    "distance_to_map": "distance to the map",
}


def evaluation_curves(evaluation: Evaluation, *, figure: Figure | None = None) -> Figure:
    """Draw every measure along the paths: mean and interval at each fraction of the length.

    Parameters
    ----------
    evaluation : Evaluation
        The comparison.
    figure : matplotlib.figure.Figure, optional
        Where to draw.

    Returns
    -------
    Figure
        One panel per measure, one line per policy.
    """
    families = list(dict.fromkeys(m.split(" at ")[0] for m in evaluation.measures if " at " in m))
    columns = min(3, max(1, len(families)))
    rows = -(-len(families) // columns)
    figure = new_figure(figure, size=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False)
    colours = kind_colours(len(evaluation.values))
    for ax, family in zip(axes.flat, families, strict=False):
        for number, policy in enumerate(evaluation.values):
            found = [
                evaluation.interval(policy, f"{family} at {share:.0%}")
                for share in evaluation.fractions
            ]
            shares = [100.0 * share for share in evaluation.fractions]
            ax.fill_between(
                shares,
                [i.low for i in found],
                [i.high for i in found],
                color=colours[number],
                alpha=0.2,
                linewidth=0,
            )
            ax.plot(
                shares,
                [i.mean for i in found],
                color=colours[number],
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=4,
                label=policy,
            )
        set_title(ax, _WORDS.get(family, family.replace("_", " ")))
        set_labels(ax, "% of the path's length", "")
        tidy(ax)
    for ax in axes.flat[len(families) :]:
        ax.set_axis_off()
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure
