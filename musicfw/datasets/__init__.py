"""Data sources, registered through the same hook as anybody else's."""

from __future__ import annotations

from musicfw.api import DatasetFactory, hookimpl
from musicfw.datasets import (
    csv_files,
    digits,
    gaussian_mixture,
    idx,
    lfw,
    lfw_subset,
    numpy_files,
    projected_clusters,
)

__all__ = ["musicfw_datasets"]


@hookimpl
def musicfw_datasets() -> list[DatasetFactory]:
    """Return the built-in data sources."""
    return [
        csv_files.FACTORY,
        digits.FACTORY,
        gaussian_mixture.FACTORY,
        idx.FACTORY,
        lfw.FACTORY,
        lfw_subset.FACTORY,
        numpy_files.NPY_FACTORY,
        numpy_files.NPZ_FACTORY,
        projected_clusters.FACTORY,
    ]
