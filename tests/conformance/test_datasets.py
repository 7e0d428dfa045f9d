"""The built-in data sources keep every law; those that read files, on files that are there.

``lfw`` is not among them: it would download 200 MB.
"""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from musicfw.datasets import (
    csv_files,
    digits,
    gaussian_mixture,
    idx,
    lfw_subset,
    numpy_files,
    projected_clusters,
)
from musicfw.testing import check_dataset, parametrize_dataset


@parametrize_dataset(gaussian_mixture.FACTORY)
def test_gaussian_mixture_keeps_the_laws(check):
    check()


@parametrize_dataset(projected_clusters.FACTORY)
def test_projected_clusters_keeps_the_laws(check):
    check()


@parametrize_dataset(digits.FACTORY)
def test_digits_keeps_the_laws(check):
    check()


@parametrize_dataset(lfw_subset.FACTORY)
def test_lfw_subset_keeps_the_laws(check):
    check()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small files of every kind that a source reads, as its options."""
    folder = tmp_path_factory.mktemp("files")
    points = np.random.default_rng(0).normal(size=(12, 4))
    np.save(folder / "points.npy", points)
    np.savez(folder / "points.npz", points=points, labels=np.arange(12) % 3)
    np.savetxt(folder / "points.csv", points, delimiter=",", header="a,b,c,d", comments="")
    images = np.random.default_rng(1).integers(0, 256, size=(12, 3, 3), dtype=np.uint8)
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, *images.shape)
    packed = gzip.compress(header + images.tobytes())
    (folder / "train-images-idx3-ubyte.gz").write_bytes(packed)
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 12) + bytes(i % 3 for i in range(12))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (csv_files.FACTORY, {"path": "points.csv"}),
        (numpy_files.NPY_FACTORY, {"path": "points.npy"}),
        (numpy_files.NPZ_FACTORY, {"path": "points.npz"}),
        (idx.FACTORY, {"folder": "."}),
    ],
    ids=["csv", "npy", "npz", "idx"],
)
def test_a_source_of_files_keeps_the_laws(files, factory, options):
    given = {name: str(files / file) for name, file in options.items()}
    records = check_dataset(factory, options=given)
    assert [r.message for r in records if r.status != "passed"] == []
