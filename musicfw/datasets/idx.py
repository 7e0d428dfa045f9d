"""The data source ``idx``: images in the format of MNIST, such as Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from musicfw.api import Dataset, DatasetFactory, param
from musicfw.datasets.sources import existing_path
from musicfw.errors import DataError

__all__ = ["FACTORY", "IdxParams", "IdxSource", "read_idx"]

DEBIAN_FASHION_MNIST = "/usr/share/datasets/fashion-mnist"
_PREFIXES = {"train": ("train",), "test": ("t10k",), "both": ("train", "t10k")}
_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxParams:
    """Params of ``idx``."""

    folder: str = param(
        DEBIAN_FASHION_MNIST,
        help=(
            "Folder with train-images-idx3-ubyte, t10k-labels-idx1-ubyte and so on, or the names "
            "with a dot (train-images.idx3-ubyte), gzipped (.gz) or not. The default is where "
            "Debian's package dataset-fashion-mnist puts Fashion-MNIST."
        ),
        is_path=True,
    )
    split: Literal["train", "test", "both"] = param(
        "train", help="Which files: train-… (train), t10k-… (test), or both, in this order."
    )
    limit: Annotated[int, Ge(1)] | None = param(
        None, help="Keep the first so many images; null for all."
    )
    class_names: tuple[str, ...] = param(
        (), help="Names to use as labels: the first in place of 0, and so on."
    )


@dataclass(frozen=True, slots=True)
class IdxSource:
    """Grey images scaled from the file's 0 … 255 to 0 … 1, labelled by class.

    The format: LeCun, Cortes & Burges, *The MNIST database of handwritten digits*, 1998.
    """

    params: IdxParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the images (N, height · width), ``pixel / 255``; no randomness.

        Raises
        ------
        UsageError
            If no folder is given.
        DataError
            If a file is missing or damaged, images and labels do not match, or a class has no
            name.
        """
        folder = _data_folder(self.params.folder)
        parts = [_read_part(folder, prefix) for prefix in _PREFIXES[self.params.split]]
        shapes = {images.shape[1:] for images, _ in parts}
        if len(shapes) > 1:
            raise DataError(f"{folder}: train and t10k images differ in size: {sorted(shapes)}")
        images = np.concatenate([images for images, _ in parts])[: self.params.limit]
        numbers = np.concatenate([numbers for _, numbers in parts])[: self.params.limit]
        return Dataset(
            points=images.reshape(len(images), -1) / 255.0,
            labels=_class_labels(numbers, self.params.class_names),
            image_shape=images.shape[1:],
            description=f"{len(images)} images of 0 … 1 from {folder} ({self.params.split})",
        )


def read_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, gzipped or not (told by its content).

    The file is: two zero bytes, the type (8 is unsigned byte), the number of dimensions, one
    big-endian 32-bit size per dimension, and the data in C order.

    Parameters
    ----------
    path : Path
        The file.
    dimensions : int
        Required number of dimensions: 3 for images, 1 for labels.

    Raises
    ------
    DataError
        For a damaged gzip stream, another magic number, and fewer or more bytes than announced.
    """
    content = _decompressed(path)
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise DataError(
            f"{path}: expected an IDX file of unsigned bytes with {dimensions} "
            f"dimension{'s' if dimensions > 1 else ''}, which starts with {magic.hex(' ')}, got "
            f"{content[:4].hex(' ') or 'an empty file'}"
        )
    header_size = 4 + 4 * dimensions
    if len(content) < header_size:
        raise DataError(
            f"{path}: cut short: expected a header of {header_size} bytes, got {len(content)}; "
            f"fetch the file again"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header_size])
    expected, got = math.prod(shape), len(content) - header_size
    if got != expected:
        fault = "cut short" if got < expected else "trailing bytes"
        raise DataError(
            f"{path}: {fault}: the header announces {' × '.join(map(str, shape))} = {expected} "
            f"bytes of data, got {got}; fetch the file again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def _decompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as err:
        raise DataError(f"{path}: cannot be read ({err}); fetch the file again") from err


def _data_folder(folder: str) -> Path:
    if folder == DEBIAN_FASHION_MNIST and not Path(folder).exists():
        raise DataError(
            f"{folder}: no such folder; apt install dataset-fashion-mnist (Debian, Ubuntu), or set "
            f"idx.folder to a folder with the files of MNIST or Fashion-MNIST"
        )
    return existing_path(folder, option="idx.folder", kind="folder")


def _read_part(folder: Path, prefix: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    images_path = _found(folder, f"{prefix}-images", "idx3-ubyte")
    labels_path = _found(folder, f"{prefix}-labels", "idx1-ubyte")
    images = read_idx(images_path, dimensions=3)
    labels = read_idx(labels_path, dimensions=1)
    if images.size == 0:
        raise DataError(f"{images_path}: expected at least one image, got shape {images.shape}")
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: expected {len(images)} labels, one per image of {images_path.name}, "
            f"got {len(labels)}"
        )
    return images, labels


def _found(folder: Path, stem: str, ending: str) -> Path:
    names = [f"{stem}{joint}{ending}{suffix}" for suffix in ("", ".gz") for joint in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder}: expected a file {names[0]} (or {', '.join(names[1:])}), and there is none; "
        f"check idx.folder and idx.split"
    )


def _class_labels(
    numbers: npt.NDArray[np.uint8], class_names: tuple[str, ...]
) -> npt.NDArray[np.str_]:
    if not class_names:
        return numbers.astype(np.str_)
    classes = int(numbers.max()) + 1
    if classes > len(class_names):
        raise DataError(
            f"idx.class_names: expected at least {classes} names (the labels reach {classes - 1}), "
            f"got {len(class_names)}"
        )
    return np.array(class_names, dtype=np.str_)[numbers]


FACTORY = DatasetFactory(
    name="idx",
    params=IdxParams,
    build=IdxSource,
    summary="Images in the format of MNIST; by default Fashion-MNIST from Debian's package.",
)
