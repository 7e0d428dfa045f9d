"""A run as a page: ``figures/*.png`` and a ``report.html`` that opens from disk, offline."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from musicfw import plot
from musicfw import report_words as words
from musicfw.arrays import FloatArray, IntArray
from musicfw.atomic import write_atomic
from musicfw.metrics import relative_errors
from musicfw.report_words import Table
from musicfw.types import Dataset, RunResult, Trajectory

_DPI = 150
_CSS_DPI = 96
_HOW_TO_READ = {
    "u_matrix": "Each cell is a unit, bright where its prototype differs from its neighbours': "
    "bright ridges are borders between groups, dark plains are groups.",
    "hit_map": "The number in a cell is how many training points have this unit as their best "
    "match; grey cells have none.",
    "label_map": "Each cell carries the label that most of its training points have: labels that "
    "form connected areas are well separated by the map.",
    "prototype_images": "Each image is what its unit stands for: neighbours should look alike.",
    "component_planes": "Each panel shows one feature of the prototypes in the units of the data, "
    "over the same cells: features whose panels look alike vary together.",
    "training_curve": "The quantization error (mean distance to the best matching unit) should "
    "level out by the end, while the neighbourhood's radius shrinks.",
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
class _Picture:
    name: str
    png: bytes
    caption: str
    alt: str

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode("ascii")

    @property
    def width(self) -> int:
        """Width on the page in CSS pixels, from the PNG's header."""
        return round(int.from_bytes(self.png[16:20], "big") * _CSS_DPI / _DPI)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    pictures: list[_Picture]
    table: Table
    advice: list[tuple[str, str]]
    message: str = ""
    verdicts: tuple[str, ...] = ()
    target: str = ""
    points: str = ""


def write_report(inputs: ReportInputs) -> tuple[Path, ...]:
    """Write ``figures/*.png`` and ``report.html`` into the run's directory.

    The page holds its figures and loads nothing else. Each file is written completely or not at
    all, the page last.

    Parameters
    ----------
    inputs : ReportInputs
        The run and what it was made from.

    Returns
    -------
    tuple of Path
        The files, ``report.html`` last.

    Raises
    ------
    StoreError
        If the directory cannot be written.
    """
    directory = inputs.result.directory
    map_section = _map_section(inputs)
    inversion = _inversion_section(inputs) if inputs.result.inversions else None
    control = [_control_section(inputs, group) for group in _groups(inputs)]
    sections = [map_section, *([inversion] if inversion else []), *control]
    page = _template().render(
        title=_title(inputs),
        summary=_summary(inputs),
        warnings=inputs.result.warnings,
        map=map_section,
        inversion=inversion,
        control=control,
        provenance=Table([], list(words.leaves(inputs.result.provenance))),
        timings=Table(["stage", "seconds"], list(words.leaves(inputs.result.timings_s))),
        spec=yaml.safe_dump(dict(inputs.spec), sort_keys=False, allow_unicode=True),
    )
    paths = []
    taken: set[str] = set()
    for section in sections:
        for picture in section.pictures:
            path = directory / "figures" / f"{_file_name(picture.name, taken)}.png"
            paths.append(write_atomic(path, picture.png))
    return (*paths, write_atomic(directory / "report.html", page.encode("utf-8")))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("musicfw", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _file_name(name: str, taken: set[str]) -> str:
    """Return a name that every file system takes, not used before."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "figure"
    candidate, number = plain, 2
    # Lower case: some file systems do not tell "A" from "a".
    while candidate.lower() in taken:
        candidate, number = f"{plain}-{number}", number + 1
    taken.add(candidate.lower())
    return candidate


def _picture(kind: str, drawn: Any, *, alt: str, name: str | None = None) -> _Picture:
    png = plot.png_bytes(drawn, dpi=_DPI)
    return _Picture(name=name or kind, png=png, caption=_HOW_TO_READ[kind], alt=alt)


def _title(inputs: ReportInputs) -> str:
    title = inputs.spec.get("report", {}).get("title")
    source = inputs.spec.get("data", {}).get("use")
    return str(title or source or inputs.result.directory.resolve().name)


# --- summary -------------------------------------------------------------------------------------


def _summary(inputs: ReportInputs) -> str:
    return " ".join(
        [_map_sentence(inputs), *_inversion_sentence(inputs), *_control_sentences(inputs)]
    )


def _map_sentence(inputs: ReportInputs) -> str:
    trained, dataset = inputs.result.map, inputs.dataset
    lattice = trained.codebook.lattice
    kind = f"{lattice.rows} × {lattice.columns} {lattice.topology} " if lattice else ""
    kind += "toroidal " if lattice is not None and lattice.toroidal else ""
    count, dimension = dataset.points.shape
    held = inputs.held_out_rows.size
    text = (
        f"A {kind}map of {words.counted(trained.codebook.units, 'unit')} was trained by "
        f"“{trained.backend}” on {inputs.train_rows.size:,} of {words.counted(count, 'point')} "
        f"with {words.counted(dimension, 'feature')}"
    )
    text += f"; {held:,} were held out." if held else "."
    if dataset.description:
        text += f" Data: {dataset.description.strip().rstrip('.')}."
    error = inputs.result.metrics.get("map", {}).get("quantization_error")
    if isinstance(error, int | float):
        text += f" A point lies {words.number(error)} from its best matching unit on average."
    return text


def _inversion_sentence(inputs: ReportInputs) -> Iterator[str]:
    errors = _errors(inputs)
    medians = {
        key: float(np.nanmedian(values))
        for key, values in errors.items()
        if np.isfinite(values).any()
    }
    if medians:
        best = min(medians, key=lambda key: medians[key])
        points = words.counted(errors[best].size, "point")
        yield (
            f"From their distances to the prototypes alone, “{best}” recovered {points} with a "
            f"median relative error of {words.number(medians[best])}."
        )


def _control_sentences(inputs: ReportInputs) -> Iterator[str]:
    for group in _groups(inputs):
        target = inputs.targets.get(next(iter(group)), "the target")
        arrived = [
            f"{words.share(int(path.reached.sum()), path.stop.size)} by “{key}”"
            for key, path in group.items()
        ]
        yield f"Points that arrived at their target, {target}: {words.joined(arrived)}."


# --- sections ------------------------------------------------------------------------------------


def _drawn(inputs: ReportInputs, pictures: Iterator[_Picture]) -> list[_Picture]:
    """Return the pictures, or none (and nothing is drawn) if the spec says ``figures: false``."""
    return list(pictures) if inputs.spec.get("report", {}).get("figures", True) else []


def _map_section(inputs: ReportInputs) -> _Section:
    metrics = inputs.result.metrics.get("map", {})
    table = Table(["measure", "value"], list(words.leaves(metrics)))
    return _Section(pictures=_drawn(inputs, _map_pictures(inputs)), table=table, advice=[])


def _map_pictures(inputs: ReportInputs) -> Iterator[_Picture]:
    trained, dataset = inputs.result.map, inputs.dataset
    codebook, lattice = trained.codebook, trained.codebook.lattice
    image_shape = trained.image_shape or dataset.image_shape
    if lattice is not None:
        units = trained.best_matching_units(dataset.points[inputs.train_rows])
        hits = np.bincount(units, minlength=codebook.units)
        yield _picture("u_matrix", plot.u_matrix(codebook), alt="U-matrix of the map")
        yield _picture("hit_map", plot.hit_map(hits, lattice), alt="Number of points in each unit")
        if codebook.labels is not None:
            drawn = plot.label_map(codebook.labels, lattice)
            yield _picture("label_map", drawn, alt="Label of each unit")
        if image_shape is not None:
            prototypes = trained.scaling.to_original(codebook.prototypes)
            drawn = plot.prototype_images(prototypes, lattice, image_shape=image_shape)
            yield _picture("prototype_images", drawn, alt="Prototypes as images on the lattice")
        else:
            planes = plot.component_planes(
                codebook, scaling=trained.scaling, feature_names=_feature_names(inputs)
            )
            yield _picture("component_planes", planes, alt="Values of features over the map")
    if "quantization_error" in trained.history:
        drawn = plot.training_curve(trained.history)
        yield _picture("training_curve", drawn, alt="Quantization error and radius by epoch")


def _feature_names(inputs: ReportInputs) -> tuple[str, ...] | None:
    return inputs.dataset.feature_names or inputs.result.map.feature_names


def _errors(inputs: ReportInputs) -> dict[str, FloatArray]:
    """Return the relative errors of every inversion whose originals are known."""
    return {
        key: relative_errors(inversion.points, inputs.dataset.points[inputs.inversion_rows[key]])
        for key, inversion in inputs.result.inversions.items()
        if key in inputs.inversion_rows and inversion.status.size
    }


def _inversion_section(inputs: ReportInputs) -> _Section:
    inversions, errors = inputs.result.inversions, _errors(inputs)
    noise = {item["id"]: item.get("noise") for item in inputs.spec.get("invert", ())}
    verdicts = (
        words.exactness(key, inversion, errors.get(key), noise=noise.get(key))
        for key, inversion in inversions.items()
    )
    return _Section(
        pictures=_drawn(inputs, _inversion_pictures(inputs, errors)),
        table=words.inversion_table(inversions, errors, inputs.result.metrics.get("invert", {})),
        advice=words.status_advice(inversions),
        message=next(iter(inversions.values())).well_posedness.message,
        verdicts=tuple(verdict for verdict in verdicts if verdict),
    )


def _inversion_pictures(
    inputs: ReportInputs, errors: Mapping[str, FloatArray]
) -> Iterator[_Picture]:
    trained, dataset = inputs.result.map, inputs.dataset
    if errors:
        drawn = plot.inversion_error(errors)
        yield _picture("inversion_error", drawn, alt="Distribution of the error by solver")
    drawn = plot.singular_values(trained.codebook)
    yield _picture("singular_values", drawn, alt="Singular values of the centred prototypes")
    image_shape = trained.image_shape or dataset.image_shape
    kind = "comparison_feature" if image_shape is None else "comparison_image"
    for key in errors:
        compared = plot.inversion_comparison(
            dataset.points[inputs.inversion_rows[key]],
            inputs.result.inversions[key].points,
            image_shape=image_shape,
            feature_names=_feature_names(inputs),
        )
        compared.suptitle(f"Recovered by “{key}”", fontsize=10, parse_math=False)
        alt = f"Originals and what “{key}” recovered"
        yield _picture(kind, compared, alt=alt, name=f"inversion_{key}")


def _groups(inputs: ReportInputs) -> list[dict[str, Trajectory]]:
    """Return the trajectories, those with the same rows and target together."""
    groups: dict[Any, dict[str, Trajectory]] = {}
    for key, trajectory in inputs.result.trajectories.items():
        rows = inputs.trajectory_rows.get(key)
        same = (
            key if rows is None else rows.tobytes(),
            inputs.targets.get(key),
            trajectory.target_units.tobytes(),
        )
        groups.setdefault(same, {})[key] = trajectory
    return list(groups.values())


def _control_section(inputs: ReportInputs, group: Mapping[str, Trajectory]) -> _Section:
    first, trajectory = next(iter(group.items()))
    return _Section(
        pictures=_drawn(inputs, _control_pictures(inputs, group)),
        table=words.control_table(group, inputs.result.metrics.get("control", {})),
        advice=words.stop_advice(group),
        target=inputs.targets.get(first, "units " + str(trajectory.target_units.tolist())),
        points=words.counted(trajectory.stop.size, "point"),
    )


def _control_pictures(inputs: ReportInputs, group: Mapping[str, Trajectory]) -> Iterator[_Picture]:
    dataset, first = inputs.dataset, next(iter(group))
    policies = [trajectory.policy for trajectory in group.values()]
    unique = len(set(policies)) == len(policies)
    shown = {t.policy if unique else key: t for key, t in group.items()}
    image_shape = inputs.result.map.image_shape or dataset.image_shape
    target, rows = inputs.targets.get(first, "the target"), inputs.trajectory_rows.get(first)
    if image_shape is not None:
        labels = None if dataset.labels is None or rows is None else dataset.labels[rows]
        drawn = plot.path_strips(shown, image_shape=image_shape, target=target, labels=labels)
        alt = f"Frames along paths to {target}"
        yield _picture("path_strips", drawn, alt=alt, name=f"path_strips_{first}")
    else:
        drawn = plot.feature_changes(shown, feature_names=_feature_names(inputs))
        alt = f"Features that changed on the way to {target}"
        yield _picture("feature_changes", drawn, alt=alt, name=f"feature_changes_{first}")
    if inputs.result.map.codebook.lattice is not None:
        walks = plot.paths_on_map(shown)
        alt = f"Paths over the map to {target}"
        yield _picture("paths_on_map", walks, alt=alt, name=f"paths_on_map_{first}")
    drawn = plot.target_distances(shown)
    alt = f"Distance to {target} by step"
    yield _picture("target_distances", drawn, alt=alt, name=f"target_distances_{first}")
