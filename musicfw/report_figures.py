"""The figures of a report: which there are, what they show and how to read them.

They are planned first and drawn later, one by one, so that whoever waits can be told how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from musicfw import plot
from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.dataset import Dataset, Scaling
from musicfw.evaluate import Evaluation
from musicfw.lattice import Lattice
from musicfw.run_result import RunResult
from musicfw.types import Trajectory

_HOW_TO_READ = {
    "u_matrix": "Each cell is a unit, bright where its prototype differs from its neighbours': "
    "bright ridges are borders between groups, dark plains are groups; lines, if there are any, "
    "part the clusters that the map was divided into.",
    "interstitial_u_matrix": "Between the units (white dots) each cell shows how far apart two "
    "neighbours are: a bright line is a border that runs between units.",
    "hit_map": "The number in a cell is how many training points have this unit as their best "
    "match; grey cells have none.",
    "label_map": "Each cell carries the label that most of its training points have: labels that "
    "form connected areas are well separated by the map.",
    "class_pies": "Each pie shows the labels of a unit's training points, its area how many there "
    "are: pies of one colour in a connected area are a label that the map separates well.",
    "prototype_images": "Each image is what its unit stands for: neighbours should look alike.",
    "component_planes": "Each panel shows one feature of the prototypes in the units of the data, "
    "over the same cells: features whose panels look alike vary together.",
    "relevance_map": "Each row is a unit, dark in the features in which its points agree with each "
    "other: rows that are dark in different places lie in different subspaces.",
    "relevance_images": "Each image is a unit, dark in the pixels in which its points agree with "
    "each other (also because all data do, at a border): what counts when it measures distances.",
    "training_curves": "The quantization error (mean distance to the best matching unit) should "
    "level out by the end, while the neighbourhood's radius shrinks; the topographic error (of 64 "
    "points, so it jumps) and the way that prototypes move in an update should come near 0.",
    "singular_values": "As many dimensions can be recovered as there are singular values above the "
    "dotted tolerance; the further they fall, the more noise in the distances is amplified.",
    "inversion_error": "Further left is better: dots left of the dotted line came back exactly for "
    "every practical purpose.",
    "comparison_image": "Each column is one point: original, what its distances gave back, and the "
    "absolute difference on its own scale (look at the colour bar's numbers before the colours).",
    "comparison_feature": "Each dot is one point: on the grey line the recovered value equals the "
    "original.",
    "path_strips": "Each row is one path from its start (left) to its end (right), at equal shares "
    "of its length; rows of one block share the start and the target.",
    "feature_changes": "Each bar is the median change of a feature between start and end of the "
    "paths: the features that had to move to get to the target.",
    "paths_on_map": "Each line joins the best matching units that a path passes through, from its "
    "circle to its star; darker cells are borders of the U-matrix.",
    "paths_in_plane": "Each line is one path, from its circle to its star, over the density of the "
    "data (grey) and the map's lattice (blue; the target's units are yellow).",
    "evaluation_curves": "Each line is the mean of a measure along the paths of one policy, the "
    "shade its 95 % interval: towards real data means high probability, high confidence and "
    "sharpness, and small distances.",
    "target_distances": "The faster and lower a line falls, the more directly the policy gets to "
    "the target; the shade holds the middle 80 % of the points.",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInputs:
    """What a report is made from.

    Parameters
    ----------
    result : RunResult
        The run; the report goes into its directory.
    spec : mapping
        The resolved spec as a plain tree.
    dataset : Dataset
        The data in original units.
    train_rows, held_out_rows : ndarray of intp
        Rows of ``dataset.points`` that the map was trained on, and that were held out.
    inversion_rows : mapping of str to ndarray of intp
        Rows of ``dataset.points`` whose distances were inverted, by id; an id without them is
        reported without errors.
    trajectory_rows : mapping of str to ndarray of intp
        Rows of ``dataset.points`` that were steered, by id.
    targets : mapping of str to str
        What each trajectory was steered to, in words (``label 3``), by id.
    """

    result: RunResult
    spec: Mapping[str, Any]
    dataset: Dataset
    train_rows: IntArray
    held_out_rows: IntArray
    inversion_rows: Mapping[str, IntArray]
    trajectory_rows: Mapping[str, IntArray]
    targets: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that is to be drawn.

    Parameters
    ----------
    kind : str
        What it shows.
    name : str
        Name of its file, before it is made one that every file system takes.
    alt : str
        What it shows, for those who do not see it.
    draw : callable
        ``draw()`` returns the axes or the figure of matplotlib.
    """

    kind: str
    name: str
    alt: str
    draw: Callable[[], Any]

    @property
    def caption(self) -> str:
        """How to read it, in one sentence."""
        return _HOW_TO_READ[self.kind]


def _figure(kind: str, draw: Callable[[], Any], *, alt: str, name: str | None = None) -> Figure:
    return Figure(kind=kind, name=name or kind, alt=alt, draw=draw)


def map_figures(inputs: ReportInputs) -> Iterator[Figure]:
    """Yield the figures of the map."""
    trained, dataset = inputs.result.map, inputs.dataset
    book, lattice = trained.codebook, trained.codebook.lattice
    image_shape = trained.image_shape or dataset.image_shape
    if lattice is not None:
        units = trained.best_matching_units(dataset.points[inputs.train_rows])
        hits = np.bincount(units, minlength=book.units)
        draw: Callable[[], Any] = partial(_u_matrix, book, lattice)
        yield _figure("u_matrix", draw, alt="U-matrix of the map")
        draw = partial(plot.interstitial_u_matrix, book)
        yield _figure("interstitial_u_matrix", draw, alt="Distances between neighbouring units")
        draw = partial(plot.hit_map, hits, lattice)
        yield _figure("hit_map", draw, alt="Number of points in each unit")
        if book.labels is not None:
            draw = partial(plot.label_map, book.labels, lattice)
            yield _figure("label_map", draw, alt="Label of each unit")
        if dataset.labels is not None:
            draw = partial(plot.class_pies, units, dataset.labels[inputs.train_rows], lattice)
            yield _figure("class_pies", draw, alt="Shares of the labels in each unit")
        if image_shape is not None:
            prototypes = trained.decode(book.prototypes)
            draw = partial(plot.prototype_images, prototypes, lattice, image_shape=image_shape)
            yield _figure("prototype_images", draw, alt="Prototypes as images on the lattice")
        else:
            names = feature_names(inputs)
            planes, scaling = book, trained.scaling
            if trained.embedding is not None:  # drawn in the features, not in the codes
                planes = Codebook(prototypes=trained.decode(book.prototypes), lattice=lattice)
                scaling = Scaling.identity(trained.dimension)
            draw = partial(plot.component_planes, planes, scaling=scaling, feature_names=names)
            yield _figure("component_planes", draw, alt="Values of features over the map")
    if book.relevances is not None:
        yield _relevance_figure(inputs, image_shape)
    if "quantization_error" in trained.history:
        draw = partial(plot.training_curves, trained.history)
        yield _figure("training_curves", draw, alt="Errors, radius and change by update")


def _u_matrix(book: Codebook, lattice: Lattice) -> Any:
    ax = plot.u_matrix(book)
    return ax if book.clusters is None else plot.cluster_borders(book.clusters, lattice, ax=ax)


def _relevance_figure(inputs: ReportInputs, image_shape: tuple[int, int] | None) -> Figure:
    book = inputs.result.map.codebook
    assert book.relevances is not None
    alt = "Relevance of each feature to each unit"
    # Of a map in the space of an embedding the features are no pixels, and have no names.
    in_data = book.dimension == inputs.dataset.points.shape[1]
    if image_shape is not None and in_data:
        draw = partial(plot.relevance_images, book, image_shape=image_shape)
        return _figure("relevance_images", draw, alt=alt)
    names = feature_names(inputs) if in_data else None
    draw = partial(plot.relevance_map, book, feature_names=names)
    return _figure("relevance_map", draw, alt=alt)


def feature_names(inputs: ReportInputs) -> tuple[str, ...] | None:
    """Return the names of the features, None if there are none."""
    return inputs.dataset.feature_names or inputs.result.map.feature_names


def inversion_figures(inputs: ReportInputs, errors: Mapping[str, FloatArray]) -> Iterator[Figure]:
    """Yield the figures of the inversions, given their relative errors by id."""
    trained = inputs.result.map
    if errors:
        draw: Callable[[], Any] = partial(plot.inversion_error, errors)
        yield _figure("inversion_error", draw, alt="Distribution of the error by solver")
    draw = partial(plot.singular_values, trained.codebook)
    yield _figure("singular_values", draw, alt="Singular values of the centred prototypes")
    image_shape = trained.image_shape or inputs.dataset.image_shape
    kind = "comparison_feature" if image_shape is None else "comparison_image"
    for key in errors:
        alt = f"Originals and what “{key}” recovered"
        yield _figure(kind, partial(_comparison, inputs, key), alt=alt, name=f"inversion_{key}")


def originals_of(inputs: ReportInputs, key: str) -> FloatArray:
    """Return what an inversion should recover: the points, as far as the map's space holds them."""
    return inputs.result.map.reconstruct(inputs.dataset.points[inputs.inversion_rows[key]])


def _comparison(inputs: ReportInputs, key: str) -> Any:
    compared = plot.inversion_comparison(
        originals_of(inputs, key),
        inputs.result.inversions[key].points,
        image_shape=inputs.result.map.image_shape or inputs.dataset.image_shape,
        feature_names=feature_names(inputs),
    )
    compared.suptitle(f"Recovered by “{key}”", fontsize=10, parse_math=False)
    return compared


def control_figures(inputs: ReportInputs, group: Mapping[str, Trajectory]) -> Iterator[Figure]:
    """Yield the figures of walks with the same start and target."""
    trained, dataset, first = inputs.result.map, inputs.dataset, next(iter(group))
    policies = [trajectory.policy for trajectory in group.values()]
    unique = len(set(policies)) == len(policies)
    shown = {t.policy if unique else key: t for key, t in group.items()}
    image_shape = trained.image_shape or dataset.image_shape
    target, rows = inputs.targets.get(first, "the target"), inputs.trajectory_rows.get(first)
    draw: Callable[[], Any]
    if image_shape is not None:
        labels = None if dataset.labels is None or rows is None else dataset.labels[rows]
        draw = partial(
            plot.path_strips, shown, image_shape=image_shape, target=target, labels=labels
        )
        alt = f"Frames along paths to {target}"
        yield _figure("path_strips", draw, alt=alt, name=f"path_strips_{first}")
    else:
        draw = partial(plot.feature_changes, shown, feature_names=feature_names(inputs))
        alt = f"Features that changed on the way to {target}"
        yield _figure("feature_changes", draw, alt=alt, name=f"feature_changes_{first}")
    if dataset.points.shape[1] == 2 and trained.embedding is None:
        names = feature_names(inputs)
        draw = partial(plot.paths_in_plane, shown, dataset.points, feature_names=names)
        alt = f"Paths to {target} over the density of the data"
        yield _figure("paths_in_plane", draw, alt=alt, name=f"paths_in_plane_{first}")
    if trained.codebook.lattice is not None:
        alt = f"Paths over the map to {target}"
        draw = partial(plot.paths_on_map, shown)
        yield _figure("paths_on_map", draw, alt=alt, name=f"paths_on_map_{first}")
    alt = f"Distance to {target} by step"
    draw = partial(plot.target_distances, shown)
    yield _figure("target_distances", draw, alt=alt, name=f"target_distances_{first}")


def evaluation_figures(evaluation: Evaluation) -> Iterator[Figure]:
    """Yield the figures of a comparison of policies."""
    draw = partial(plot.evaluation_curves, evaluation)
    yield _figure("evaluation_curves", draw, alt="Measures along the paths of each policy")
