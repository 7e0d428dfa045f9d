"""The verb *run*: one spec from data to report, in a run directory that is whole or not there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from musicfw.atomic import write_atomic
from musicfw.comparison import check_comparison, compare_policies, evaluation_metrics
from musicfw.errors import UsageError
from musicfw.evaluate import Evaluation
from musicfw.invert import invert
from musicfw.metrics import inversion_metrics, map_metrics, trajectory_metrics
from musicfw.params import params_to_tree
from musicfw.plugins import Registry, add_complaints, failures_to_load, load_registry
from musicfw.provenance import identity, provenance
from musicfw.rows import RunData, after_training, described_target, generator, load_data, target_of
from musicfw.run_directory import (
    check_identity,
    claim,
    complete,
    discard_unfinished,
    fresh_directory,
    is_finished,
    load_run,
    partial_directory,
    training_file,
)
from musicfw.run_result import RunResult
from musicfw.status import Status, StopReason
from musicfw.steer import steer
from musicfw.store import (
    load_inversion,
    load_map,
    load_trajectory,
    save_inversion,
    save_json,
    save_map,
    save_trajectory,
)
from musicfw.train import train
from musicfw.types import Inversion, TrainedMap, Trajectory

if TYPE_CHECKING:
    from musicfw.spec import ControlSpec, InvertSpec, RunSpec

Progress = Callable[[str, int, int], None]
Made = TypeVar("Made")


def run(
    spec: str | Path | RunSpec,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Run a spec: train a map, invert, steer, and leave a run directory.

    Parameters
    ----------
    spec : path or RunSpec
        The YAML file, or a spec that was loaded before.
    out : path, optional
        The run directory; by default ``runs/NAME`` with the file's name, numbered if it exists.
    overrides : sequence of str
        ``PATH=VALUE`` settings, validated like the file.
    resume : bool
        Take the finished stages of an interrupted run with the same spec, data and ``out`` as they
        are, and a training as it was last kept (every 30 seconds, and at Ctrl-C). Other versions
        of musicfw or of the plugins used are a warning; in the middle of a training, an error.
    registry : Registry, optional
        Where names are looked up; by default everything installed.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    RunResult

    Raises
    ------
    SpecError
        With every problem of the spec; nothing has been computed or written.
    DataError
        For data that cannot be used; nothing has been written.
    StoreError
        If ``out`` exists already or cannot be written (told before training), or ``resume`` finds a
        run of another spec or on other data there.
    PluginError
        If a plugin fails. What was finished, stages or a part of the training, is kept in
        ``OUT.partial`` for ``resume``.

    Notes
    -----
    Work is done in ``OUT.partial``, which takes the name ``OUT`` when everything is written. The
    same spec and seed give the same numbers: all randomness comes from generators seeded with the
    spec's seed and the name of the stage.
    """
    from musicfw.spec import RunSpec, load_spec

    registry = registry or load_registry()
    if not isinstance(spec, RunSpec):
        name = Path(spec).stem
        spec = load_spec(Path(spec), registry=registry, overrides=overrides)
    elif overrides:
        raise UsageError("overrides: expected none with a loaded RunSpec; give the file instead")
    else:
        name = "run"
    registry = registry.without(spec.plugins.block)
    directory = fresh_directory(Path("runs") / name) if out is None else Path(out)
    run_of = _Run(spec=spec, registry=registry, directory=directory, progress=progress)
    return run_of.again() if is_finished(directory, spec, resume) else run_of.go()


@dataclass(slots=True, kw_only=True, eq=False)
class _Run:
    spec: RunSpec
    registry: Registry
    directory: Path
    progress: Progress | None
    timings_s: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def partial(self) -> Path:
        return partial_directory(self.directory)

    def again(self) -> RunResult:
        """Return the result that is there, if it was made from the same data."""
        made_from = load_data(self.spec, self.registry)
        warnings = check_identity(self.directory, self._identity(made_from))
        result = load_run(self.directory, registry=self.registry)
        return replace(result, warnings=(*result.warnings, *warnings))

    def go(self) -> RunResult:
        """Run all stages and give the directory its name."""
        self._notify("musicfw_before_run", spec=self.spec)
        self.warnings += failures_to_load(self.registry)
        with self._stage("data"):
            data = load_data(self.spec, self.registry)
            if self.spec.evaluate is not None:
                check_comparison(self.spec.evaluate, data.dataset, data.held_out)
        self._observe("data", data.dataset)
        # Before training: who cannot write there should not have to wait to be told.
        try:
            self.warnings += claim(self.partial, self._identity(data))
            trained = self._map(data)
            data, told = after_training(data, trained)
            self.warnings += told
            result = self._stages(trained, data)
            self._report(result, data)
            return self._finish(result)
        except BaseException as err:
            discard_unfinished(self.partial)
            if self.partial.exists():
                err.add_note(f"What was finished is kept in {self.partial}: go on with --resume.")
            raise

    def _stages(self, trained: TrainedMap, data: RunData) -> RunResult:
        inversions = {i.id: self._inversion(i, trained, data) for i in self.spec.invert}
        paths = {c.id: self._trajectory(c, trained, data) for c in self.spec.control}
        evaluation = self._evaluation(trained, data)
        metrics = self._metrics(data, trained, inversions, paths)
        if evaluation is not None:
            metrics["evaluate"] = evaluation_metrics(evaluation)
        return RunResult(
            directory=self.partial,
            map=trained,
            inversions=inversions,
            trajectories=paths,
            metrics=metrics,
            provenance=provenance(self.spec, self.registry, data.dataset),
            timings_s=self.timings_s,
            warnings=tuple(self.warnings),
            evaluation=evaluation,
        )

    def _identity(self, data: RunData) -> dict[str, Any]:
        return identity(self.spec, self.registry, data.dataset)

    # --- stages ----------------------------------------------------------------------------------

    def _map(self, data: RunData) -> TrainedMap:
        section, dataset, rows = self.spec.map, data.dataset, data.train_rows
        traits = self.registry.find("backend", section.use).factory.traits
        checkpoint = training_file(self.partial) if "resumable" in traits else None

        def make() -> TrainedMap:
            trained = train(
                dataset.points[rows],
                lattice=section.lattice,
                backend=section.use,
                seed=self.spec.seed,
                labels=None if dataset.labels is None else dataset.labels[rows],
                weights=None if dataset.weights is None else dataset.weights[rows],
                scaling=self.spec.data.scaling,
                missing=dataset.missing,
                clusters=section.clusters,
                cluster_by=section.cluster_by,
                feature_weights=section.feature_weights,
                feature_names=dataset.feature_names,
                image_shape=dataset.image_shape,
                registry=self.registry,
                progress=self._progress("map"),
                checkpoint=checkpoint,
                **params_to_tree(section.with_),
            )
            if trained.interrupted:  # what follows is not wanted from half a map
                raise KeyboardInterrupt
            return trained

        load = partial(load_map, registry=self.registry)
        return self._resumable("map", self.partial / "map.npz", make, save_map, load)

    def _inversion(self, section: InvertSpec, trained: TrainedMap, data: RunData) -> Inversion:
        rows = data.held_out[: section.count]
        points = data.dataset.points[rows]

        def make() -> Inversion:
            distances = trained.squared_distances(points)
            if section.noise:
                # One seed for all: solvers are compared on the same noise.
                rng = generator(self.spec, f"noise {section.noise}")
                error = 1.0 + section.noise * rng.standard_normal(distances.shape)
                distances = np.maximum(distances * error, 0.0)
            return invert(
                trained,
                distances,
                solver=section.use,
                registry=self.registry,
                tolerance=section.tolerance,
                **params_to_tree(section.with_),
            )

        def save(path: Path, inversion: Inversion) -> object:
            return save_inversion(path, inversion, rows=rows, originals=trained.reconstruct(points))

        path = self.partial / "inversions" / f"{section.id}.npz"
        inversion = self._resumable(f"invert.{section.id}", path, make, save, load_inversion)
        if failed := inversion.counts().get(Status.FAILED, 0):
            owned = self.registry.find("solver", section.use)
            what = f"{failed} of {inversion.status.size} points are not finite"
            self.warnings.append(str(owned.error("solve", what)))
        return inversion

    def _trajectory(self, section: ControlSpec, trained: TrainedMap, data: RunData) -> Trajectory:
        stage, rows = f"control.{section.id}", data.starts[section.id]
        points = data.dataset.points
        looks_at_data = "reference" in self.registry.find("policy", section.use).factory.traits

        def make() -> Trajectory:
            path = steer(
                trained,
                points[rows],
                target=target_of(section, trained, data),
                policy=section.use,
                reference=points[data.train_rows] if looks_at_data else None,
                steps=section.steps,
                until=section.until,
                frozen=section.frozen,
                lower=section.lower,
                upper=section.upper,
                cost=section.cost,
                off_manifold=section.off_manifold,
                registry=self.registry,
                progress=self._progress(stage),
                **params_to_tree(section.with_),
            )
            if (path.stop == StopReason.INTERRUPTED).any():
                # A part of a path is of use to a caller, but is no finished stage.
                raise KeyboardInterrupt
            return path

        def save(path: Path, trajectory: Trajectory) -> object:
            return save_trajectory(path, trajectory, rows=rows)

        def load(path: Path) -> Trajectory:
            return load_trajectory(path, trained)

        path = self.partial / "trajectories" / f"{section.id}.npz"
        return self._resumable(stage, path, make, save, load)

    def _evaluation(self, trained: TrainedMap, data: RunData) -> Evaluation | None:
        section = self.spec.evaluate
        if section is None:
            return None
        with self._stage("evaluate"):
            evaluation = compare_policies(
                section,
                self.spec,
                trained,
                data.dataset,
                train_rows=data.train_rows,
                held_out=data.held_out,
                rng=generator(self.spec, "evaluate"),
                registry=self.registry,
                progress=self._progress("evaluate"),
            )
        self._observe("evaluate", evaluation)
        return evaluation

    def _metrics(
        self,
        data: RunData,
        trained: TrainedMap,
        inversions: Mapping[str, Inversion],
        paths: Mapping[str, Trajectory],
    ) -> dict[str, Any]:
        sections = {section.id: section for section in self.spec.invert}
        held_out = data.held_out_points
        return {
            "map": map_metrics(trained, data.dataset.points[data.train_rows], held_out),
            "invert": {
                name: inversion_metrics(
                    inversion, trained.reconstruct(held_out[: sections[name].count])
                )
                for name, inversion in inversions.items()
            },
            "control": {name: trajectory_metrics(path) for name, path in paths.items()},
        }

    def _report(self, result: RunResult, data: RunData) -> None:
        write_atomic(self.partial / "spec.yaml", self.spec.to_yaml().encode())
        from musicfw.report import ReportInputs, write_report

        inputs = ReportInputs(
            result=result,
            spec=self.spec.resolved(),
            dataset=data.dataset,
            train_rows=data.train_rows,
            held_out_rows=data.held_out,
            inversion_rows={i.id: data.held_out[: i.count] for i in self.spec.invert},
            trajectory_rows=data.starts,
            targets={c.id: described_target(c) for c in self.spec.control},
        )
        with self._stage("report"):
            files = write_report(inputs, progress=self._progress("report"))
        self._observe("report", files)

    def _finish(self, result: RunResult) -> RunResult:
        """Write ``result.json`` last and give the directory its name."""
        facts = {
            "metrics": result.metrics,
            "statuses": {
                "invert": {n: m["statuses"] for n, m in result.metrics["invert"].items()},
                "control": {n: m["stops"] for n, m in result.metrics["control"].items()},
            },
            "provenance": result.provenance,
            "timings_s": result.timings_s,
            "warnings": list(self.warnings),
        }
        save_json(self.partial / "result.json", facts)
        complete(self.partial, self.directory)
        final = replace(result, directory=self.directory, warnings=tuple(self.warnings))
        self._notify("musicfw_after_run", result=final)
        return final

    # --- what every stage needs ------------------------------------------------------------------

    def _resumable(
        self,
        stage: str,
        path: Path,
        make: Callable[[], Made],
        save: Callable[[Path, Made], object],
        load: Callable[[Path], Made],
    ) -> Made:
        """Return what the stage made, from its file if a run that is resumed had finished it."""
        with self._stage(stage):
            if path.exists():
                return load(path)
            made = make()
            save(path, made)
        self._observe(stage, made)
        return made

    @contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timings_s[stage] = time.perf_counter() - started

    def _observe(self, stage: str, value: Any) -> None:
        elapsed_s = self.timings_s[stage]
        self._notify("musicfw_after_stage", stage=stage, value=value, elapsed_s=elapsed_s)

    def _progress(self, stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)
            self._notify("musicfw_progress", stage=stage, done=done, total=total)

        return report

    def _notify(self, hook: str, **arguments: Any) -> None:
        add_complaints(self.warnings, self.registry.notify(hook, **arguments))
