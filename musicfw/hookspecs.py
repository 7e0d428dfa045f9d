"""The hooks. The first five collect factories, the others observe a run and return nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

from musicfw.api import (
    BackendFactory,
    DatasetFactory,
    EmbeddingFactory,
    PolicyFactory,
    SolverFactory,
)

if TYPE_CHECKING:
    from musicfw.run_result import RunResult

hookspec = pluggy.HookspecMarker("musicfw")


@hookspec
def musicfw_backends() -> Iterable[BackendFactory]:  # type: ignore[empty-body]
    """Return factories of training backends."""


@hookspec
def musicfw_solvers() -> Iterable[SolverFactory]:  # type: ignore[empty-body]
    """Return factories of inversion solvers."""


@hookspec
def musicfw_policies() -> Iterable[PolicyFactory]:  # type: ignore[empty-body]
    """Return factories of control policies."""


@hookspec
def musicfw_datasets() -> Iterable[DatasetFactory]:  # type: ignore[empty-body]
    """Return factories of data sources."""


@hookspec
def musicfw_embeddings() -> Iterable[EmbeddingFactory]:  # type: ignore[empty-body]
    """Return factories of embeddings, each the reader of what a backend's embedding stored."""


@hookspec
def musicfw_before_run(spec: Any) -> None:
    """A run is about to start; ``spec`` is the validated RunSpec."""


@hookspec
def musicfw_after_stage(stage: str, value: Any, elapsed_s: float) -> None:
    """A stage (``data``, ``map``, ``invert.ID``, ``control.ID``, ``report``) made ``value``."""


@hookspec
def musicfw_progress(stage: str, done: int, total: int) -> None:
    """A stage has done ``done`` of ``total`` units of its work."""


@hookspec
def musicfw_after_run(result: RunResult) -> None:
    """A run is complete and its directory is written."""
