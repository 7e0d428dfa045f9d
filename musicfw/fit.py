"""The host's side of a backend's call: what it returns is checked, and its state may be kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from musicfw.api import RawMap, TrainingProblem
from musicfw.arrays import as_relevances
from musicfw.checkpoint import FileCheckpoint, fingerprint
from musicfw.discovery import installed_version
from musicfw.errors import UsageError
from musicfw.params import params_to_tree
from musicfw.plugins import Provided
from musicfw.sparse import arrays_of

__all__ = ["fit", "fit_kept", "relevant_versions"]


def fit(chosen: Provided, params: Any, problem: TrainingProblem) -> RawMap:
    """Return the backend's map of a problem.

    Raises
    ------
    PluginError
        If the backend fails, or returns something of the wrong type or shape, or not finite.
    """
    backend = chosen.build(params)
    with chosen.calling("fit"):
        raw = backend.fit(problem)
    if not isinstance(raw, RawMap):
        raise chosen.error("fit", f"expected a RawMap, got {type(raw).__name__}")
    _check(raw, chosen, problem)
    return raw


def _check(raw: RawMap, chosen: Provided, problem: TrainingProblem) -> None:
    dimension = problem.points.shape[1]
    if raw.embedding is not None:
        if "embedding" not in chosen.factory.traits:
            raise chosen.error("fit", "an embedding needs the trait 'embedding', which it lacks")
        dimension = np.shape(raw.prototypes)[-1]
    units = problem.lattice.units
    if not raw.placed:
        units = min(units, max(1, np.shape(raw.prototypes)[0] if np.ndim(raw.prototypes) else 0))
    shape = (units, dimension)
    chosen.checked(raw.prototypes, call="fit", name="prototypes (M, D)", shape=shape)
    if not np.isfinite(raw.prototypes).all():
        unit = int(np.flatnonzero(~np.isfinite(raw.prototypes).all(axis=1))[0])
        raise chosen.error("fit", f"the prototype of unit {unit} is not finite")
    if raw.relevances is not None:
        try:
            as_relevances(raw.relevances, name="relevances", units=shape[0], dimension=shape[1])
        except UsageError as err:
            raise chosen.error("fit", str(err)) from err
    if raw.distances is not None:
        distances = np.asarray(raw.distances)
        name = "distances, at most one per point"
        known = min(distances.size, problem.points.shape[0])
        chosen.checked(distances, call="fit", name=name, shape=(known,))
        if not (distances >= 0.0).all() or not np.isfinite(distances).all():
            raise chosen.error("fit", "expected finite distances of at least 0")
    if not isinstance(raw.history, Mapping):
        got = type(raw.history).__name__
        raise chosen.error("fit", f"expected history as a mapping of arrays, got {got}")
    for name, values in raw.history.items():
        column = np.asarray(values)
        chosen.checked(column, call="fit", name=f"history[{name!r}]", shape=(column.size,))


def fit_kept(
    chosen: Provided,
    params: Any,
    problem: TrainingProblem,
    facts: dict[str, Any],
    *,
    path: str | os.PathLike[str],
    every_s: float,
) -> RawMap:
    """Do `fit` with a checkpoint, which lasts as long as there is something left to do."""
    if "resumable" not in chosen.factory.traits:
        raise UsageError(
            f"checkpoint: the backend {chosen.factory.name!r} cannot go on from one; leave it out, "
            f"or use the backend 'native'"
        )
    facts |= {"backend": chosen.factory.name, "params": params_to_tree(params)}
    facts["lattice"] = problem.lattice.to_json()
    points = arrays_of(problem.points)
    same = fingerprint(*points, problem.initial, problem.weights, **facts)
    versions = relevant_versions() | {chosen.record.distribution: chosen.record.version}
    kept = FileCheckpoint(path, fingerprint=same, versions=versions, every_s=every_s)
    raw = fit(chosen, params, replace(problem, checkpoint=kept))
    kept.keep() if raw.interrupted else kept.remove()
    return raw


def relevant_versions() -> dict[str, str]:
    """Return the versions that the numbers of every training depend on."""
    # Later numpy may draw other permutations.
    return {name: installed_version(name) for name in ("musicfw", "numpy")}
