"""Where a run's numbers come from: versions, plugins, seed, and the hashes of spec and data."""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from musicfw.dataset import Dataset
from musicfw.discovery import installed_version
from musicfw.plugins import Registry

if TYPE_CHECKING:
    from musicfw.spec import RunSpec

_LIBRARIES = ("musicfw", "numpy", "scipy", "minisom", "pluggy", "pydantic", "matplotlib")


def identity(spec: RunSpec, registry: Registry, dataset: Dataset) -> dict[str, Any]:
    """Return what must be the same for a run to be resumed, as plain values.

    Returns
    -------
    dict
        ``spec_sha256`` and ``data_sha256`` (points, labels and weights), and ``plugins_used``: the
        versions of musicfw and of the distributions whose factories the spec names.
    """
    named = [("dataset", spec.data.use), ("backend", spec.map.use)]
    named += [("solver", section.use) for section in spec.invert]
    named += [("policy", section.use) for section in spec.control]
    if spec.evaluate is not None:
        walks = {section.id for section in spec.control}
        named += [("policy", name) for name in spec.evaluate.policies if name not in walks]
    used = {"musicfw": installed_version("musicfw")}
    for kind, name in named:
        record = registry.find(kind, name).record
        used[record.distribution] = record.version
    return {
        "spec_sha256": spec.sha256(),
        "data_sha256": _data_sha256(dataset),
        "plugins_used": used,
    }


def provenance(spec: RunSpec, registry: Registry, dataset: Dataset) -> dict[str, Any]:
    """Return the provenance of a run, as plain values."""
    versions = {name: installed_version(name) for name in _LIBRARIES}
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": spec.seed,
        **identity(spec, registry, dataset),
        "versions": {"python": platform.python_version(), **versions},
        "platform": platform.platform(),
        "plugins": [
            {
                "distribution": record.distribution,
                "version": record.version,
                "entry_point": record.entry_point,
                "state": record.state,
            }
            for record in registry.records
        ],
    }


def _data_sha256(dataset: Dataset) -> str:
    shape = list(dataset.points.shape)
    labels = None if dataset.labels is None else dataset.labels.tolist()
    digest = hashlib.sha256(json.dumps([shape, labels]).encode())
    digest.update(dataset.points.astype("<f8", copy=False).data)
    if dataset.weights is not None:
        digest.update(dataset.weights.astype("<f8", copy=False).data)
    return digest.hexdigest()
