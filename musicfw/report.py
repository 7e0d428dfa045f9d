"""A run as a page: ``figures/*.png`` and a ``report.html`` that opens from disk, offline."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from musicfw import plot
from musicfw import report_words as words
from musicfw.arrays import FloatArray
from musicfw.atomic import write_atomic
from musicfw.metrics import relative_errors
from musicfw.report_figures import (
    Figure,
    ReportInputs,
    control_figures,
    evaluation_figures,
    inversion_figures,
    map_figures,
    originals_of,
)
from musicfw.report_words import Table
from musicfw.types import Trajectory

__all__ = ["ReportInputs", "write_report"]

_DPI = 150
_CSS_DPI = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    path: Path
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
    figures: list[Figure]
    table: Table
    advice: list[tuple[str, str]]
    message: str = ""
    verdicts: tuple[str, ...] = ()
    target: str = ""
    points: str = ""
    # Filled as they are drawn.
    pictures: list[_Picture] = field(default_factory=list)


def write_report(
    inputs: ReportInputs, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Path, ...]:
    """Write ``figures/*.png`` and ``report.html`` into the run's directory.

    The page holds its figures and loads nothing else. Each file is written completely or not at
    all, the page last.

    Parameters
    ----------
    inputs : ReportInputs
        The run and what it was made from. ``report: {title: …, figures: false}`` of its spec sets
        the title and leaves the figures out.
    progress : callable, optional
        Called as ``progress(done, total)`` after each file.

    Returns
    -------
    tuple of Path
        The files, ``report.html`` last.

    Raises
    ------
    StoreError
        If the directory cannot be written.
    """
    map_section = _map_section(inputs)
    inversion = _inversion_section(inputs) if inputs.result.inversions else None
    control = [_control_section(inputs, group) for group in _groups(inputs)]
    comparison = _comparison_section(inputs)
    sections = [map_section, *([inversion] if inversion else []), *control]
    sections += [comparison] if comparison else []
    total = 1 + sum(len(section.figures) for section in sections)
    paths: list[Path] = []
    taken: set[str] = set()
    for section in sections:
        for figure in section.figures:
            picture = _picture(figure, inputs.result.directory / "figures", taken)
            section.pictures.append(picture)
            paths.append(write_atomic(picture.path, picture.png))
            if progress is not None:
                progress(len(paths), total)
    page = _template().render(
        title=_title(inputs),
        summary=_summary(inputs),
        warnings=inputs.result.warnings,
        map=map_section,
        inversion=inversion,
        control=control,
        comparison=comparison,
        provenance=Table([], list(words.leaves(inputs.result.provenance))),
        timings=Table(["stage", "seconds"], list(words.leaves(inputs.result.timings_s))),
        spec=yaml.safe_dump(dict(inputs.spec), sort_keys=False, allow_unicode=True),
    )
    paths.append(write_atomic(inputs.result.directory / "report.html", page.encode("utf-8")))
    if progress is not None:
        progress(total, total)
    return tuple(paths)


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


def _picture(figure: Figure, folder: Path, taken: set[str]) -> _Picture:
    png = plot.png_bytes(figure.draw(), dpi=_DPI)
    path = folder / f"{_file_name(figure.name, taken)}.png"
    return _Picture(path=path, png=png, caption=figure.caption, alt=figure.alt)


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
    kind += f"{lattice.borders} " if lattice and lattice.borders != "planar" else ""
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


def _wanted(inputs: ReportInputs, figures: Iterator[Figure]) -> list[Figure]:
    """Return the figures, none if the spec says ``figures: false``."""
    return list(figures) if inputs.spec.get("report", {}).get("figures", True) else []


def _map_section(inputs: ReportInputs) -> _Section:
    metrics = inputs.result.metrics.get("map", {})
    table = Table(["measure", "value"], list(words.leaves(metrics)))
    return _Section(figures=_wanted(inputs, map_figures(inputs)), table=table, advice=[])


def _errors(inputs: ReportInputs) -> dict[str, FloatArray]:
    """Return the relative errors of every inversion whose originals are known."""
    return {
        key: relative_errors(inversion.points, originals_of(inputs, key))
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
        figures=_wanted(inputs, inversion_figures(inputs, errors)),
        table=words.inversion_table(inversions, errors, inputs.result.metrics.get("invert", {})),
        advice=words.status_advice(inversions),
        message=next(iter(inversions.values())).well_posedness.message,
        verdicts=tuple(verdict for verdict in verdicts if verdict),
    )


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
        figures=_wanted(inputs, control_figures(inputs, group)),
        table=words.control_table(group, inputs.result.metrics.get("control", {})),
        advice=words.stop_advice(group),
        target=inputs.targets.get(first, "units " + str(trajectory.target_units.tolist())),
        points=words.counted(trajectory.stop.size, "point"),
    )


def _comparison_section(inputs: ReportInputs) -> _Section | None:
    evaluation = inputs.result.evaluation
    if evaluation is None:
        return None
    pairs = next(iter(next(iter(evaluation.values.values())).values())).size
    return _Section(
        figures=_wanted(inputs, evaluation_figures(evaluation)),
        table=words.evaluation_table(evaluation),
        advice=[],
        points=words.counted(pairs, "pair"),
    )
