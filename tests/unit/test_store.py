"""What is stored comes back bit for bit; what is no such file is refused with its name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import musicfw as mf
from musicfw import store

RNG = np.random.default_rng(1)
LATTICE = mf.Lattice(rows=2, columns=3, topology="hexagonal", toroidal=True)
FULL = mf.TrainedMap(
    codebook=mf.Codebook(
        prototypes=RNG.normal(size=(6, 4)),
        lattice=LATTICE,
        labels=["a", "ß", "", "a", "日本", "b"],
        clusters=[0, 1, 0, 1, 1, 1],
    ),
    scaling=mf.Scaling(offset=[1.0, 2, 3, 4], scale=[0.1, 1, 10, 100]),
    backend="native",
    params={"epochs": 3, "radius_start": None},
    seed=11,
    history={"quantization_error": [3.0, 2.0], "radius": [1.0, 0.5]},
    feature_names=("a", "b", "ç", "d"),
    image_shape=(2, 2),
)
BARE = mf.TrainedMap(
    codebook=mf.Codebook(prototypes=RNG.normal(size=(3, 2))),
    scaling=mf.Scaling.identity(2),
    backend="",
    params={},
    seed=0,
)


WEIGHTED = replace(FULL, codebook=replace(FULL.codebook, relevances=RNG.uniform(size=(6, 4))))


def same(first, second):
    if first is None or second is None:
        return first is second
    return first.dtype == second.dtype and first.tobytes() == second.tobytes()


@pytest.mark.parametrize("trained", [FULL, BARE, WEIGHTED])
def test_a_map_comes_back_as_it_was(tmp_path, trained):
    path = tmp_path / "deep" / "map.npz"
    assert mf.save_map(path, trained) == path
    for back in (mf.load_map(path), mf.load_map(str(path)), mf.load_map(path.parent)):
        for name in ("prototypes", "labels", "clusters", "relevances"):
            assert same(getattr(trained.codebook, name), getattr(back.codebook, name)), name
        assert back.codebook.lattice == trained.codebook.lattice
        assert same(trained.scaling.offset, back.scaling.offset)
        assert same(trained.scaling.scale, back.scaling.scale)
        for name in ("backend", "params", "seed", "feature_names", "image_shape"):
            assert getattr(trained, name) == getattr(back, name), name
        assert {n: v.tolist() for n, v in back.history.items()} == {
            n: v.tolist() for n, v in trained.history.items()
        }


def test_a_map_file_holds_prototypes_and_the_lattice_as_json_text(tmp_path):
    mf.save_map(tmp_path / "map.npz", FULL)
    with np.load(tmp_path / "map.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(FULL.codebook.prototypes, archive["prototypes"])
        assert json.loads(str(archive["lattice"])) == {
            "rows": 2,
            "columns": 3,
            "topology": "hexagonal",
            "toroidal": True,
            "cylindrical": False,
        }


def test_prototypes_alone_are_a_map_without_a_lattice(tmp_path):
    np.savez(tmp_path / "w.npz", prototypes=np.eye(3))
    back = mf.load_map(tmp_path / "w.npz")
    np.testing.assert_array_equal(np.eye(3), back.codebook.prototypes)
    assert back.codebook.lattice is None
    assert back.scaling.is_identity


@pytest.mark.parametrize("units", [3, 6])
def test_an_inversion_comes_back_as_it_was(tmp_path, units):
    codebook = mf.Codebook(prototypes=RNG.normal(size=(units, 4)))
    distances = codebook.squared_distances(RNG.normal(size=(5, 4)))
    distances[2, 0] = np.nan
    inverted = mf.invert(codebook, distances, solver="ridge", alpha=0.5)
    store.save_inversion(tmp_path / "i.npz", inverted, rows=np.arange(5))
    back = store.load_inversion(tmp_path / "i.npz")
    for name in ("points", "status", "residual", "hidden_radius"):
        assert same(getattr(inverted, name), getattr(back, name)), name
    assert back.well_posedness == inverted.well_posedness
    assert (back.solver, back.params) == ("ridge", inverted.params)
    assert np.isnan(back.elapsed_s)
    arrays = store.load_arrays(tmp_path / "i.npz", needs=("rows",))
    assert arrays["rows"].tolist() == [0, 1, 2, 3, 4]


def test_an_inversion_without_any_rank_comes_back_too(tmp_path):
    inverted = mf.invert(mf.Codebook(prototypes=[[1.0, 2.0]]), [[4.0]])
    store.save_inversion(tmp_path / "i.npz", inverted)
    assert store.load_inversion(tmp_path / "i.npz").well_posedness == inverted.well_posedness


def test_a_trajectory_comes_back_as_it_was(tmp_path):
    path = mf.steer(FULL, RNG.normal(size=(3, 4)), target=mf.Target.units([2, 5]), steps=4)
    store.save_trajectory(tmp_path / "t.npz", path)
    back = store.load_trajectory(tmp_path / "t.npz", FULL)
    for name in ("points", "stop", "step_norm", "arrival", "target_units"):
        assert same(getattr(path, name), getattr(back, name)), name
        assert not getattr(back, name).flags.writeable, name
    assert (back.policy, back.params) == ("music", path.params)
    np.testing.assert_array_equal(path.squared_distances(), back.squared_distances())


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("one", "two"):
        mf.save_map(tmp_path / f"{name}.npz", FULL)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_an_array_comes_back_as_it_was(tmp_path):
    array = np.asfortranarray(RNG.normal(size=(3, 2)))
    store.save_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(array, store.load_array(tmp_path / "a.npy"))


def test_json_comes_back_as_it_was(tmp_path):
    tree = {"a": [1, 2.5, None, "ß"], "b": {}}
    store.save_json(tmp_path / "t.json", tree)
    assert store.load_json(tmp_path / "t.json") == tree
    assert "ß" in (tmp_path / "t.json").read_text(encoding="utf-8")


# --- refusals ------------------------------------------------------------------------------------


def with_objects(path):
    np.savez(path, prototypes=np.array([[1.0, None]], dtype=object))


def npy(path):
    with path.open("wb") as file:
        np.save(file, np.eye(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file, expected one that musicfw wrote"),
        (lambda path: path.write_bytes(b""), "expected an .npz file without pickled objects: "),
        (lambda path: path.write_text("a,b\n1,2\n"), "expected an .npz file without pickled"),
        (lambda path: path.write_bytes(b"PK\x03\x04no"), "expected an .npz file without pickled"),
        (with_objects, "expected an .npz file without pickled objects: Object arrays"),
        (npy, "expected an archive (.npz), got one array (.npy)"),
        (
            lambda path: np.savez(path, points=np.eye(2), other=1),
            "expected the arrays prototypes; prototypes missing, the file holds other, points",
        ),
        (
            lambda path: np.savez(path, prototypes=np.array([[np.nan]])),
            "cannot be used: Codebook.prototypes: row 0, column 0 holds nan",
        ),
        (
            lambda path: np.savez(path, prototypes=np.eye(2), lattice="{"),
            "cannot be used: lattice: expected JSON as Lattice.to_json writes",
        ),
        (
            lambda path: np.savez(path, prototypes=np.eye(2), labels=["a"]),
            "cannot be used: Codebook.labels: expected shape (2,), one per unit, got (1,)",
        ),
        (lambda path: np.savez(path, prototypes=np.eye(2), story="{"), "cannot be used: JSON"),
        (lambda path: np.savez(path, prototypes=np.eye(2), story="[]"), "cannot be used: Attr"),
    ],
)
def test_what_is_no_map_is_refused_with_its_path(tmp_path, make, message):
    path = tmp_path / "map.npz"
    make(path)
    with pytest.raises(mf.StoreError, match=f"^{re.escape(str(path))}: {re.escape(message)}"):
        mf.load_map(path)


def test_a_folder_without_a_map_is_refused(tmp_path):
    with pytest.raises(mf.StoreError, match=r"map\.npz: no such file, expected one that musicfw"):
        mf.load_map(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file, expected an array as .npy"),
        (lambda path: path.write_bytes(b""), "expected an .npy file without pickled objects"),
        (lambda path: path.write_text("1 2"), "expected an .npy file without pickled objects"),
        (lambda path: path.write_bytes(b"PK\x03\x04no"), "expected an .npy file without pickled"),
        (lambda path: path.mkdir(), "expected an .npy file without pickled objects"),
        (
            lambda path: np.save(path, np.array([None]), allow_pickle=True),
            "expected an .npy file without pickled objects: Object arrays",
        ),
    ],
)
def test_what_is_no_array_is_refused_with_its_path(tmp_path, make, message):
    path = tmp_path / "a.npy"
    make(path)
    with pytest.raises(mf.StoreError, match=f"^{re.escape(str(path))}: {re.escape(message)}"):
        store.load_array(path)


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    with pytest.raises(mf.StoreError, match=r"expected one array \(\.npy\), got an archive"):
        store.load_array(tmp_path / "a.npz")


def test_a_cut_file_is_refused(tmp_path):
    path = mf.save_map(tmp_path / "map.npz", FULL)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(mf.StoreError, match=r"expected an \.npz file"):
            mf.load_map(path)


def test_flipped_bytes_are_noticed(tmp_path):
    path = mf.save_map(tmp_path / "map.npz", FULL)
    whole = bytearray(path.read_bytes())
    start = whole.find(FULL.codebook.prototypes.tobytes())
    whole[start + 5] ^= 0xFF
    path.write_bytes(bytes(whole))
    with pytest.raises(mf.StoreError, match="Bad CRC-32"):
        mf.load_map(path)


def test_objects_are_never_written(tmp_path):
    for name, save in (
        ("a.npz", lambda p: store.save_arrays(p, {"x": [None, 1]})),
        ("a.npy", lambda p: store.save_array(p, [None, 1])),
    ):
        with pytest.raises(mf.StoreError, match="holds Python objects, expected numbers or text"):
            save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file, expected one that musicfw wrote"),
        ("{", "expected a JSON file: "),
        ("[1]", "expected a JSON object, got list"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, text, message):
    path = tmp_path / "result.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(mf.StoreError, match=re.escape(f"{path}: {message}")):
        store.load_json(path)


@pytest.mark.parametrize(
    ("load", "names"),
    [
        (store.load_inversion, "points, status, residual, hidden_radius, facts"),
        (
            lambda path: store.load_trajectory(path, FULL),
            "points, stop, step_norm, arrival, target_units, facts",
        ),
    ],
)
def test_a_result_with_missing_arrays_or_garbled_facts_is_refused(tmp_path, load, names):
    path = tmp_path / "r.npz"
    np.savez(path, points=np.eye(2))
    with pytest.raises(mf.StoreError, match=rf"expected the arrays {names}; .* missing"):
        load(path)
    np.savez(
        path, **{name: np.zeros(2) for name in names.split(", ") if name != "facts"}, facts="{}"
    )
    with pytest.raises(mf.StoreError, match=re.escape(f"{path}: cannot be used: KeyError")):
        load(path)


def test_json_holds_null_for_what_json_does_not_have(tmp_path):
    path = store.save_json(tmp_path / "a.json", {"a": [float("nan"), 1.5], "b": float("inf")})
    assert store.load_json(path) == {"a": [None, 1.5], "b": None}
    assert "NaN" not in path.read_text(encoding="utf-8")
