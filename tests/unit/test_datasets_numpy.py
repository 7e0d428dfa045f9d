"""``npy`` and ``npz``: what numpy saved comes back, and nothing is ever unpickled."""

from __future__ import annotations

import io
import pickle
import re
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicfw.datasets.numpy_files import NpyParams, NpySource, NpzParams, NpzSource
from musicfw.errors import DataError

RNG = np.random.default_rng(0)

numbers = st.sampled_from([np.float64, np.float32, np.uint8, np.int16, np.bool_, np.dtype(">f4")])
arrays = numbers.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False),
    )
)


def load_npy(path, **params):
    return NpySource(NpyParams(path=str(path), **params)).load(RNG)


def load_npz(path, **params):
    return NpzSource(NpzParams(path=str(path), **params)).load(RNG)


@given(arrays, st.booleans())
def test_points_and_images_come_back_as_they_were_saved(array, compressed):
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", array)
        save = np.savez_compressed if compressed else np.savez
        save(Path(folder) / "x.npz", points=array, labels=np.arange(len(array)))
        alone = load_npy(Path(folder) / "x.npy")
        labelled = load_npz(Path(folder) / "x.npz", labels="labels")
    for data in (alone, labelled):
        np.testing.assert_array_equal(data.points.reshape(array.shape), array)
        assert data.image_shape == (array.shape[1:] if array.ndim == 3 else None)
    assert alone.labels is None
    assert labelled.labels.tolist() == [str(k) for k in range(len(array))]


def test_labels_of_npy_come_from_a_second_file(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2))
    np.save(tmp_path / "y.npy", np.array(["a", "b"]))
    data = load_npy(tmp_path / "x.npy", labels_path=str(tmp_path / "y.npy"))
    assert data.labels.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([3, 1], ["3", "1"]),
        ([3.0, 1.0], ["3", "1"]),
        ([0.5, 1.0], ["0.5", "1.0"]),
        ([True, False], ["True", "False"]),
        (["é", "b"], ["é", "b"]),
        (["é".encode(), b"b"], ["é", "b"]),
    ],
)
def test_labels_become_text_and_whole_numbers_lose_their_point(tmp_path, labels, expected):
    np.savez(tmp_path / "x.npz", points=np.eye(2), y=np.array(labels))
    assert load_npz(tmp_path / "x.npz", labels="y").labels.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(3), "['y']: expected one label per point, shape (2,), got shape (3,)"),
        (np.eye(2), "['y']: expected one label per point, shape (2,), got shape (2, 2)"),
        (np.array([1.0, np.nan]), "['y']: row 1 holds nan, expected a label; remove such rows"),
        (np.array(["a", ""]), "['y']: row 1 holds an empty label, expected a label; remove such"),
        (np.array([1j, 2]), "['y']: expected labels as text or numbers, got complex128"),
        (np.array([b"\xe9", b"a"]), "['y']: expected text in UTF-8, got the bytes b'\\xe9'; save"),
        (np.array([{}, 1], dtype=object), "['y']: holds Python objects (a pickled array), which"),
    ],
)
def test_unusable_labels_are_refused(tmp_path, labels, message):
    np.savez(tmp_path / "x.npz", points=np.eye(2), y=labels)
    with pytest.raises(DataError, match=re.escape(message)):
        load_npz(tmp_path / "x.npz", labels="y")


def test_an_unknown_key_is_answered_with_the_keys_there_are(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.eye(2), target=np.arange(2))
    message = (
        r"expected an array 'points' \(npz\.points\), and the file holds 'data', 'target'; set"
    )
    with pytest.raises(DataError, match=message):
        load_npz(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"\(npz\.labels\).*; did you mean 'target'\?"):
        load_npz(tmp_path / "x.npz", points="data", labels="targets")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(DataError, match="and the file holds no array; set"):
        load_npz(tmp_path / "none.npz")
    np.savez(tmp_path / "many.npz", **{f"a{k}": np.eye(1) for k in range(20)})
    with pytest.raises(DataError, match=r"'a11' … \(20 in all\)"):
        load_npz(tmp_path / "many.npz", points="zzz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "expected points (N, D) or grey images (N, height, width), got an array of"),
        (np.zeros((1, 2, 3, 4)), "got an array of shape (1, 2, 3, 4)"),
        (np.zeros(()), "got an array of shape ()"),
        (np.zeros((0, 3)), "expected at least one point, got an array of shape (0, 3)"),
        (np.zeros((2, 0, 3)), "expected at least one point, got an array of shape (2, 0, 3)"),
        (np.array([[1.0, np.inf]]), "row 0, column 1 holds inf, expected a finite number"),
        (np.array([["1", "red"]]), "row 0, column 1 holds 'red', expected a number"),
        (np.array([[1j]]), "expected real numbers, got complex128"),
        (np.array([[None, 1]], dtype=object), "holds Python objects (a pickled array), which are"),
    ],
)
def test_arrays_that_are_no_points_are_refused_with_file_and_key(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(
        DataError, match=re.escape(f"{tmp_path}/x.npy: ") + ".*" + re.escape(message)
    ):
        load_npy(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", points=array)
    with pytest.raises(DataError, match=re.escape("x.npz['points']: ") + ".*" + re.escape(message)):
        load_npz(tmp_path / "x.npz")


def test_the_other_format_is_recognised_whatever_the_file_is_called(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.eye(2))
    with (tmp_path / "many.npy").open("wb") as file:
        np.savez(file, points=np.eye(2))
    with pytest.raises(DataError, match=r"expected an \.npz file, got an \.npy file; .* 'npy'"):
        load_npz(tmp_path / "one.npz")
    with pytest.raises(DataError, match=r"expected an \.npy file, got an \.npz file; .* 'npz'"):
        load_npy(tmp_path / "many.npy")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    for path, load in ((tmp_path / "x.npy", load_npy), (tmp_path / "x.npz", load_npz)):
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(DataError, match=r"its first bytes are .* \(pickles are never loaded\)"):
            load(path)
    np.save(tmp_path / "o.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="holds Python objects"):
        load_npy(tmp_path / "o.npy")


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(DataError, match=r"x: the file is empty, expected an \.npy file"):
        load_npy(tmp_path / "x")
    with pytest.raises(DataError, match=r"x: the file is empty, expected an \.npz file"):
        load_npz(tmp_path / "x")


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.just(1)
    ),
    st.data(),
)
def test_gaps_come_back_as_they_were_saved_when_they_are_kept(array, data):
    gaps = data.draw(hnp.arrays(bool, array.shape))
    gaps.reshape(len(array), -1)[:, 0] = False  # no row without a known value
    array[gaps] = np.nan
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", array)
        np.savez(Path(folder) / "x.npz", points=array)
        for found in (
            load_npy(Path(folder) / "x.npy", missing="keep"),
            load_npz(Path(folder) / "x.npz", missing="keep"),
        ):
            np.testing.assert_array_equal(array, found.points.reshape(array.shape))
            assert found.missing == "keep"


@pytest.mark.parametrize(
    ("array", "missing", "message"),
    [
        (
            [[0, np.nan]],
            "refuse",
            "x.{0}{1}: row 0, column 1 holds nan.*, or set {0}.missing: keep",
        ),
        ([[0, 1], [np.nan, np.nan]], "keep", "x.{0}{1}: row 1 has no known value"),
        ([[0, np.inf]], "keep", "x.{0}{1}: row 0, column 1 holds inf.* impute those rows$"),
    ],
)
def test_gaps_that_cannot_be_kept_are_refused_with_what_to_do(tmp_path, array, missing, message):
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", points=array)
    for load, ending, key in ((load_npy, "npy", ""), (load_npz, "npz", r"\['points'\]")):
        with pytest.raises(DataError, match=message.format(ending, key)):
            load(tmp_path / f"x.{ending}", missing=missing)


def saved(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


POINTS = np.arange(12.0).reshape(4, 3)
NPY = saved(lambda file: np.save(file, POINTS))
NPZ = saved(lambda file: np.savez_compressed(file, points=POINTS))


@pytest.mark.parametrize(
    ("content", "load"), [(NPY, load_npy), (NPZ, load_npz)], ids=["npy", "npz"]
)
def test_a_file_cut_short_anywhere_is_refused(tmp_path, content, load):
    for length in range(1, len(content)):
        (tmp_path / "x").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"damaged or cut short|first bytes are"):
            load(tmp_path / "x")


@given(st.sampled_from([(NPY, load_npy), (NPZ, load_npz)]), st.data())
def test_damaged_bytes_are_read_as_points_or_refused_as_data(case, data):
    content, load = bytearray(case[0]), case[1]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x").write_bytes(content)
        with suppress(DataError):
            assert np.isfinite(load(Path(folder) / "x").points).all()
