"""The data sources ``npy`` and ``npz``: arrays from files written by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from musicfw.api import Dataset, DatasetFactory, param
from musicfw.arrays import as_matrix, refuse_unknown_rows
from musicfw.dataset import as_weights
from musicfw.datasets.sources import as_labels, existing_path, listed
from musicfw.errors import DataError, did_you_mean
from musicfw.missing import MissingValues

__all__ = ["NPY_FACTORY", "NPZ_FACTORY", "NpyParams", "NpySource", "NpzParams", "NpzSource"]

_NPY_MAGIC = b"\x93NUMPY"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_WEIGHTS_HELP = "as how many points each counts in the training"
_Named = tuple[str, npt.NDArray[Any]]  # what it is called in messages, and the array
_MISSING_HELP = (
    "What NaN in the points is: an error, or a missing value (the backend native trains on the "
    "known ones)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NpyParams:
    """Params of ``npy``."""

    path: str = param(
        "", help="The .npy file: points (N, D), or grey images (N, height, width).", is_path=True
    )
    labels_path: str = param(
        "", help="A second .npy file with one label per point (N,).", is_path=True
    )
    weights_path: str = param(
        "", help=f"A further .npy file of numbers (N,): {_WEIGHTS_HELP}.", is_path=True
    )
    missing: MissingValues = param("refuse", help=_MISSING_HELP)


@dataclass(frozen=True, slots=True)
class NpySource:
    """Points, and labels if wanted, from one .npy file each. Pickled objects are never loaded."""

    params: NpyParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the points; images (N, H, W) are flattened to (N, H · W); no randomness.

        Raises
        ------
        UsageError
            If no path is given.
        DataError
            If a file cannot be read, or holds no such array.
        """
        asked = self.params
        path = existing_path(asked.path, option="npy.path", kind="file")
        return _dataset(
            "npy",
            asked.missing,
            points=(str(path), _read_npy(path)),
            labels=_beside(asked.labels_path, "labels_path"),
            weights=_beside(asked.weights_path, "weights_path"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NpzParams:
    """Params of ``npz``."""

    path: str = param("", help="The .npz file.", is_path=True)
    points: str = param(
        "points", help="Key of the points (N, D), or of grey images (N, height, width)."
    )
    labels: str | None = param(None, help="Key of the labels (N,); null for none.")
    weights: str | None = param(None, help=f"Key of numbers (N,): {_WEIGHTS_HELP}; null for none.")
    missing: MissingValues = param("refuse", help=_MISSING_HELP)


@dataclass(frozen=True, slots=True)
class NpzSource:
    """Points, and labels if wanted, from the arrays of an .npz file. Nothing is unpickled."""

    params: NpzParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the points; images (N, H, W) are flattened to (N, H · W); no randomness.

        Raises
        ------
        UsageError
            If no path is given.
        DataError
            If the file cannot be read, has no such key, or holds no such array.
        """
        asked = self.params
        path = existing_path(asked.path, option="npz.path", kind="file")
        _expect_format(path, "npz")
        with path.open("rb") as file, _load(file, path) as archive:
            points = _member(archive, asked.points, path, "points")
            labels, weights = (
                None if key is None else _member(archive, key, path, option)
                for option, key in (("labels", asked.labels), ("weights", asked.weights))
            )
        return _dataset("npz", asked.missing, points=points, labels=labels, weights=weights)


def _beside(given: str, option: str) -> _Named | None:
    """Return the array of a file that was given beside the points, or None."""
    if not given:
        return None
    path = existing_path(given, option=f"npy.{option}", kind="file")
    return str(path), _read_npy(path)


def _member(archive: Mapping[str, npt.NDArray[Any]], key: str, path: Path, option: str) -> _Named:
    keys = list(archive)
    if key not in keys:
        near = did_you_mean(key, keys)
        hint = f"; {near}" if near else f"; set npz.{option} to one of them"
        raise DataError(
            f"{path}: expected an array {key!r} (npz.{option}), and the file holds "
            f"{listed(keys) or 'no array'}{hint}"
        )
    name = f"{path}[{key!r}]"
    try:
        return name, np.asarray(archive[key])
    except Exception as err:
        raise _unreadable(name, err) from err


def _read_npy(path: Path) -> npt.NDArray[Any]:
    _expect_format(path, "npy")
    with path.open("rb") as file:
        return np.asarray(_load(file, path))


def _load(file: BinaryIO, path: Path) -> Any:
    # A damaged file makes numpy, zipfile and ast raise nearly anything: all of it says the same.
    try:
        return np.load(file, allow_pickle=False)
    except Exception as err:
        raise _unreadable(path, err) from err


def _expect_format(path: Path, wanted: str) -> None:
    """Refuse a file of another format by its first bytes; numpy takes such files for pickles."""
    with path.open("rb") as file:
        start = file.read(len(_NPY_MAGIC))
    found = "npy" if start == _NPY_MAGIC else "npz" if start.startswith(_ZIP_MAGICS) else None
    if found == wanted:
        return
    if not start:
        raise DataError(f"{path}: the file is empty, expected an .{wanted} file")
    if found is not None:
        raise DataError(
            f"{path}: expected an .{wanted} file, got an .{found} file; use the data source "
            f"{found!r}"
        )
    save = "numpy.save" if wanted == "npy" else "numpy.savez"
    raise DataError(
        f"{path}: expected an .{wanted} file, and its first bytes are {start!r}; write it with "
        f"{save} (pickles are never loaded)"
    )


def _unreadable(name: object, err: Exception) -> DataError:
    if "allow_pickle" in str(err):
        return DataError(
            f"{name}: holds Python objects (a pickled array), which are never loaded; expected "
            f"numbers: convert with array.astype(float), labels with array.astype(str)"
        )
    return DataError(f"{name}: the file is damaged or cut short ({err}); write it again")


def _dataset(
    source: str,
    missing: MissingValues,
    *,
    points: _Named,
    labels: _Named | None,
    weights: _Named | None,
) -> Dataset:
    name, array = points
    if array.ndim not in (2, 3):
        raise DataError(
            f"{name}: expected points (N, D) or grey images (N, height, width), got an array of "
            f"shape {array.shape}"
        )
    if array.size == 0:
        raise DataError(f"{name}: expected at least one point, got an array of shape {array.shape}")
    image_shape = (array.shape[1], array.shape[2]) if array.ndim == 3 else None
    matrix = as_matrix(
        array.reshape(array.shape[0], -1),
        name=name,
        missing=missing == "keep",
        gap_advice=f"remove or impute those rows, or set {source}.missing: keep",
    )
    refuse_unknown_rows(matrix, name=name)
    rows = len(matrix)
    return Dataset(
        points=matrix,
        labels=None if labels is None else as_labels(labels[1], name=labels[0], rows=rows),
        image_shape=image_shape,
        description=f"{name}: {rows} points of {matrix.shape[1]} features",
        missing=missing,
        weights=None if weights is None else as_weights(weights[1], name=weights[0], rows=rows),
    )


NPY_FACTORY = DatasetFactory(
    name="npy",
    params=NpyParams,
    build=NpySource,
    summary="Points or grey images from an .npy file.",
)

NPZ_FACTORY = DatasetFactory(
    name="npz",
    params=NpzParams,
    build=NpzSource,
    summary="Points or grey images, and labels, from an .npz file.",
)
