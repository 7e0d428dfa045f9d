"""What the verb *run* returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicfw.types import Inversion, TrainedMap, Trajectory

if TYPE_CHECKING:
    from musicfw.evaluate import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """Everything a run made. What `run` returns.

    Parameters
    ----------
    directory : Path
        The run directory.
    map : TrainedMap
        The trained map.
    inversions, trajectories : mapping of str to Inversion or Trajectory
        By the id of the spec.
    metrics : mapping
        Plain numbers by stage and id; the same spec and seed give the same metrics.
    provenance : mapping
        Versions, plugins, seed, hash of the spec.
    timings_s : mapping of str to float
        Seconds by stage.
    warnings : tuple of str
        What a reader of the result should know, in sentences.
    evaluation : Evaluation, optional
        The comparison of policies, if the spec asks for one; None if loaded from a directory (its
        table is in ``metrics``).
    """

    directory: Path
    map: TrainedMap
    inversions: Mapping[str, Inversion]
    trajectories: Mapping[str, Trajectory]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    timings_s: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    evaluation: Evaluation | None = None
