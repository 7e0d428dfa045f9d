"""Where a run's numbers come from: versions, plugins, seed and the hash of the spec."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from musicfw.plugins import Registry

if TYPE_CHECKING:
    from musicfw.spec import RunSpec

_LIBRARIES = ("musicfw", "numpy", "scipy", "minisom", "pluggy", "pydantic", "matplotlib")


def provenance(spec: RunSpec, registry: Registry) -> dict[str, Any]:
    """Return the provenance of a run, as plain values."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": spec.seed,
        "spec_sha256": spec.sha256(),
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
