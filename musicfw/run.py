"""The verb *run*: one spec from data to report, in a run directory that is whole or not there."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from musicfw.api import Dataset
from musicfw.arrays import IntArray
from musicfw.atomic import write_atomic
from musicfw.errors import UsageError
from musicfw.invert import invert
from musicfw.metrics import inversion_metrics, map_metrics, trajectory_metrics
from musicfw.params import params_to_tree
from musicfw.plugins import Registry, load_registry
from musicfw.provenance import provenance
from musicfw.rows import described_target, split_rows, start_rows, target_of
from musicfw.run_directory import fresh_directory, is_finished, load_run, partial_directory
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
from musicfw.types import Inversion, RunResult, TrainedMap, Trajectory

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
        Take the finished stages of an interrupted run with the same spec and ``out`` as they are.
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
        If ``out`` exists already, or ``resume`` finds another spec's run there.
    PluginError
        If a plugin fails. Stages finished before are kept in ``OUT.partial`` for ``resume``.

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
    if is_finished(directory, spec, resume):
        return load_run(directory)
    return _Run(spec=spec, registry=registry, directory=directory, progress=progress).go(resume)


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

    def go(self, resume: bool) -> RunResult:
        """Run all stages and give the directory its name."""
        self._notify("musicfw_before_run", spec=self.spec)
        self._warn_of_failed_plugins()
        with self._stage("data"):
            dataset, train_rows, held_out = self._data()
        self._observe("data", dataset)
        starts = {c.id: start_rows(c, dataset, held_out) for c in self.spec.control}
        trained = self._map(dataset, train_rows)
        save_json(self.partial / "state.json", {"spec_sha256": self.spec.sha256()})
        inversions = {
            i.id: self._inversion(i, trained, dataset, held_out) for i in self.spec.invert
        }
        paths = {
            c.id: self._trajectory(c, trained, dataset, held_out, starts[c.id])
            for c in self.spec.control
        }
        result = RunResult(
            directory=self.partial,
            map=trained,
            inversions=inversions,
            trajectories=paths,
            metrics=self._metrics(dataset, train_rows, held_out, trained, inversions, paths),
            provenance=provenance(self.spec, self.registry),
            timings_s=self.timings_s,
            warnings=tuple(self.warnings),
        )
        self._report(result, dataset, train_rows, held_out, starts)
        return self._finish(result)

    # --- stages ----------------------------------------------------------------------------------

    def _data(self) -> tuple[Dataset, IntArray, IntArray]:
        section = self.spec.data
        source = self.registry.find("dataset", section.use)
        built = source.build(section.with_)
        with source.calling("load"):
            dataset = built.load(self._rng("data"))
        if not isinstance(dataset, Dataset):
            raise source.error("load", f"expected a Dataset, got {type(dataset).__name__}")
        count = dataset.points.shape[0]
        train_rows, held_out = split_rows(count, holdout=section.holdout, rng=self._rng("split"))
        return dataset, train_rows, held_out

    def _map(self, dataset: Dataset, rows: IntArray) -> TrainedMap:
        section = self.spec.map

        def make() -> TrainedMap:
            trained = train(
                dataset.points[rows],
                lattice=section.lattice,
                backend=section.use,
                seed=self.spec.seed,
                labels=None if dataset.labels is None else dataset.labels[rows],
                scaling=self.spec.data.scaling,
                clusters=section.clusters,
                feature_names=dataset.feature_names,
                image_shape=dataset.image_shape,
                registry=self.registry,
                progress=self._progress("map"),
                **params_to_tree(section.with_),
            )
            if trained.interrupted:  # what follows is not wanted from half a map
                raise KeyboardInterrupt
            return trained

        return self._resumable("map", self.partial / "map.npz", make, save_map, load_map)

    def _inversion(
        self, section: InvertSpec, trained: TrainedMap, dataset: Dataset, held_out: IntArray
    ) -> Inversion:
        rows = held_out[: section.count]

        def make() -> Inversion:
            distances = trained.squared_distances(dataset.points[rows])
            if section.noise:
                # One seed for all: solvers are compared on the same noise.
                rng = self._rng(f"noise {section.noise}")
                error = 1.0 + section.noise * rng.standard_normal(distances.shape)
                distances = np.maximum(distances * error, 0.0)
            return invert(
                trained,
                distances,
                solver=section.use,
                registry=self.registry,
                **params_to_tree(section.with_),
            )

        def save(path: Path, inversion: Inversion) -> object:
            return save_inversion(path, inversion, rows=rows, originals=dataset.points[rows])

        path = self.partial / "inversions" / f"{section.id}.npz"
        return self._resumable(f"invert.{section.id}", path, make, save, load_inversion)

    def _trajectory(
        self,
        section: ControlSpec,
        trained: TrainedMap,
        dataset: Dataset,
        held_out: IntArray,
        rows: IntArray,
    ) -> Trajectory:
        stage = f"control.{section.id}"

        def make() -> Trajectory:
            return steer(
                trained,
                dataset.points[rows],
                target=target_of(section, trained, dataset, held_out),
                policy=section.use,
                steps=section.steps,
                until=section.until,
                registry=self.registry,
                progress=self._progress(stage),
                **params_to_tree(section.with_),
            )

        def save(path: Path, trajectory: Trajectory) -> object:
            return save_trajectory(path, trajectory, rows=rows)

        def load(path: Path) -> Trajectory:
            return load_trajectory(path, trained)

        path = self.partial / "trajectories" / f"{section.id}.npz"
        return self._resumable(stage, path, make, save, load)

    def _metrics(
        self,
        dataset: Dataset,
        train_rows: IntArray,
        held_out: IntArray,
        trained: TrainedMap,
        inversions: Mapping[str, Inversion],
        paths: Mapping[str, Trajectory],
    ) -> dict[str, Any]:
        sections = {section.id: section for section in self.spec.invert}
        return {
            "map": map_metrics(trained, dataset.points[train_rows], dataset.points[held_out]),
            "invert": {
                name: inversion_metrics(inversion, dataset.points[held_out[: sections[name].count]])
                for name, inversion in inversions.items()
            },
            "control": {name: trajectory_metrics(path) for name, path in paths.items()},
        }

    def _report(
        self,
        result: RunResult,
        dataset: Dataset,
        train_rows: IntArray,
        held_out: IntArray,
        starts: Mapping[str, IntArray],
    ) -> None:
        write_atomic(self.partial / "spec.yaml", self.spec.to_yaml().encode())
        from musicfw.report import ReportInputs, write_report

        with self._stage("report"):
            figures = write_report(
                ReportInputs(
                    result=result,
                    spec=self.spec.resolved(),
                    dataset=dataset,
                    train_rows=train_rows,
                    held_out_rows=held_out,
                    inversion_rows={i.id: held_out[: i.count] for i in self.spec.invert},
                    trajectory_rows=starts,
                    targets={c.id: described_target(c) for c in self.spec.control},
                )
            )
        self._observe("report", figures)

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
        (self.partial / "state.json").unlink(missing_ok=True)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.partial.rename(self.directory)
        final = RunResult(
            directory=self.directory,
            map=result.map,
            inversions=result.inversions,
            trajectories=result.trajectories,
            metrics=result.metrics,
            provenance=result.provenance,
            timings_s=result.timings_s,
            warnings=tuple(self.warnings),
        )
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
        for complaint in self.registry.notify(hook, **arguments):
            if complaint not in self.warnings:
                self.warnings.append(complaint)

    def _warn_of_failed_plugins(self) -> None:
        for record in self.registry.records:
            if record.state == "failed":
                self.warnings.append(
                    f"plugin {record.distribution} {record.version} failed to load: {record.error}"
                )

    def _rng(self, purpose: str) -> np.random.Generator:
        # By name and not by order, so that adding a stage leaves the others' numbers alone.
        return np.random.default_rng([self.spec.seed, zlib.crc32(purpose.encode())])
