"""``idx``: the files of MNIST and Fashion-MNIST, gzipped or not."""

from __future__ import annotations

import gzip
import re
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicfw.datasets import idx
from musicfw.datasets.idx import DEBIAN_FASHION_MNIST, IdxParams, IdxSource, read_idx
from musicfw.errors import DataError, UsageError

RNG = np.random.default_rng(0)
IMAGES = np.array([[[0, 255], [51, 102]], [[1, 2], [3, 4]], [[5, 6], [7, 8]]], dtype=np.uint8)
LABELS = np.array([3, 0, 1], dtype=np.uint8)


def encoded(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write(folder, *, prefix="train", images=IMAGES, labels=LABELS, joint="-", gz=False):
    for name, array in ((f"{prefix}-images", images), (f"{prefix}-labels", labels)):
        path = Path(folder) / f"{name}{joint}idx{array.ndim}-ubyte{'.gz' if gz else ''}"
        path.write_bytes(gzip.compress(encoded(array)) if gz else encoded(array))


def load(folder, **params):
    return IdxSource(IdxParams(folder=str(folder), **params)).load(RNG)


byte_images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))


@given(byte_images, st.sampled_from("-."), st.booleans())
def test_images_and_labels_come_back_scaled_to_one(images, joint, gz):
    labels = np.arange(len(images), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, images=images, labels=labels, joint=joint, gz=gz)
        data = load(folder)
    np.testing.assert_array_equal(data.points, images.reshape(len(images), -1) / 255)
    assert data.image_shape == images.shape[1:]
    assert data.labels.tolist() == [str(label) for label in labels]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))
def test_an_idx_file_gives_back_its_array(array):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(encoded(array))
        np.testing.assert_array_equal(read_idx(path, dimensions=array.ndim), array)


def test_both_splits_are_train_followed_by_test(tmp_path):
    write(tmp_path)
    write(tmp_path, prefix="t10k", images=IMAGES[::-1], labels=LABELS[::-1], gz=True)
    both = load(tmp_path, split="both")
    parts = [load(tmp_path, split=split) for split in ("train", "test")]
    np.testing.assert_array_equal(both.points, np.concatenate([part.points for part in parts]))
    assert both.labels.tolist() == ["3", "0", "1", "1", "0", "3"]
    np.testing.assert_array_equal(load(tmp_path, split="both", limit=4).points, both.points[:4])


def test_a_limit_keeps_the_first_images(tmp_path):
    write(tmp_path)
    assert load(tmp_path, limit=2).labels.tolist() == ["3", "0"]
    assert load(tmp_path, limit=99).labels.tolist() == ["3", "0", "1"]


def test_class_names_replace_the_numbers(tmp_path):
    write(tmp_path)
    assert load(tmp_path, class_names=("a", "b", "c", "d")).labels.tolist() == ["d", "a", "b"]
    message = r"idx\.class_names: expected at least 4 names \(the labels reach 3\), got 2"
    with pytest.raises(DataError, match=message):
        load(tmp_path, class_names=("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "which starts with 00 00 08 03, got an empty file"),
        (encoded(LABELS), "expected an IDX file of unsigned bytes with 3 dimensions, which starts"),
        (b"\x00\x00\x0d\x03" + bytes(12), "with 00 00 08 03, got 00 00 0d 03"),
        (b"PNG..", "which starts with 00 00 08 03, got 50 4e 47 2e"),
        (encoded(IMAGES)[:10], "cut short: expected a header of 16 bytes, got 10; fetch the file"),
        (encoded(IMAGES)[:-1], "cut short: the header announces 3 × 2 × 2 = 12 bytes of data, got"),
        (encoded(IMAGES) + b"x", "trailing bytes: the header announces 3 × 2 × 2 = 12 bytes of"),
        (gzip.compress(encoded(IMAGES))[:-9], "cannot be read (Compressed file ended before"),
        (gzip.compress(encoded(IMAGES))[:-8] + bytes(8), "cannot be read (CRC check failed"),
        (gzip.compress(b"")[:10] + b"\xff" * 20, "cannot be read (Error -3 while decompressing"),
        (encoded(IMAGES[:0]), "expected at least one image, got shape (0, 2, 2)"),
        (encoded(IMAGES[:2]), "expected 2 labels, one per image of train-images-idx3-ubyte, got 3"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, content, message):
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=rf"{tmp_path}/train-.*" + re.escape(message)):
        load(tmp_path)


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_images_or_refused_as_data(content, gz):
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        content = bytes([0, 0, 8, 3]) + content
        path = Path(folder) / "train-images-idx3-ubyte"
        path.write_bytes(gzip.compress(content)[: len(content)] if gz else content)
        with suppress(DataError):
            assert np.isfinite(load(folder).points).all()


def test_train_and_test_images_of_different_size_are_refused(tmp_path):
    write(tmp_path)
    write(tmp_path, prefix="t10k", images=IMAGES[:, :1])
    with pytest.raises(DataError, match=r"differ in size: \[\(1, 2\), \(2, 2\)\]"):
        load(tmp_path, split="both")


def test_a_folder_without_the_files_says_which_were_looked_for(tmp_path):
    message = (
        r"expected a file t10k-images-idx3-ubyte \(or t10k-images\.idx3-ubyte, "
        r"t10k-images-idx3-ubyte\.gz, t10k-images\.idx3-ubyte\.gz\), and there is none; check "
        r"idx\.folder and idx\.split"
    )
    with pytest.raises(DataError, match=message):
        load(tmp_path, split="test")


def test_a_missing_folder_is_told_with_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"idx\.folder: expected the folder to read, got nothing"):
        load("")
    with pytest.raises(DataError, match=r"nowhere: no such folder; check idx\.folder"):
        load(tmp_path / "nowhere")
    monkeypatch.setattr(idx, "DEBIAN_FASHION_MNIST", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="no such folder; apt install dataset-fashion-mnist"):
        load(tmp_path / "absent")


@pytest.mark.skipif(
    not Path(DEBIAN_FASHION_MNIST).is_dir(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)
def test_fashion_mnist_of_debian_has_ten_classes_of_equal_size():
    data = IdxSource(IdxParams(split="test")).load(RNG)
    assert data.points.shape == (10_000, 784)
    assert data.image_shape == (28, 28)
    assert (data.points.min(), data.points.max()) == (0.0, 1.0)
    names, sizes = np.unique(data.labels, return_counts=True)
    assert names.tolist() == list("0123456789")
    assert set(sizes) == {1000}
