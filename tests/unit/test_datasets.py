"""The sources that bring their own data, and what all sources have in common."""

from __future__ import annotations

import dataclasses
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pydantic
import pytest
import sklearn.datasets

import musicfw.datasets
from musicfw.datasets import lfw_subset, musicfw_datasets
from musicfw.datasets.sources import existing_path
from musicfw.errors import DataError, UsageError

FACTORIES = {factory.name: factory for factory in musicfw_datasets()}


def load(name, *, seed=0, **params):
    factory = FACTORIES[name]
    return factory.build(factory.params(**params)).load(np.random.default_rng(seed))


# --- every source -------------------------------------------------------------------------------


def test_the_built_in_sources_are_registered_through_the_public_hook():
    expected = {"csv", "digits", "gaussian-mixture", "idx", "lfw", "lfw-subset", "npy", "npz"}
    expected |= {"projected-clusters"}
    assert set(FACTORIES) == expected
    assert hasattr(musicfw.datasets.musicfw_datasets, "musicfw_impl")


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=lambda factory: factory.name)
def test_params_have_defaults_and_help_and_a_schema(factory):
    factory.params()
    assert all(field.metadata["help"].endswith(".") for field in dataclasses.fields(factory.params))
    schema = pydantic.TypeAdapter(factory.params).json_schema()
    assert set(schema["properties"]) == {f.name for f in dataclasses.fields(factory.params)}


@pytest.mark.parametrize("name", ["csv", "npy", "npz"])
def test_a_source_of_a_file_asks_for_its_path(name):
    with pytest.raises(UsageError, match=rf"{name}\.path: expected the file to read, got nothing"):
        load(name)


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path):
    (tmp_path / "iris.csv").touch()
    with pytest.raises(DataError, match=r"iriss\.csv: no such file; did you mean 'iris\.csv'\?"):
        load("csv", path=str(tmp_path / "iriss.csv"))


def test_a_missing_relative_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"^data/x\.csv: no such file \(relative to {tmp_path}\); check csv\.path$"
    with pytest.raises(DataError, match=message):
        load("csv", path="data/x.csv")


def test_a_folder_is_no_file_and_a_file_is_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected a file, got a folder; check npy\.path"):
        load("npy", path=str(tmp_path))
    (tmp_path / "x").touch()
    with pytest.raises(DataError, match=r"expected a folder, got a file; check idx\.folder"):
        load("idx", folder=str(tmp_path / "x"))


def test_a_path_that_the_system_refuses_is_a_mistake_of_the_user():
    with pytest.raises(DataError, match=r"cannot be read \(.*File name too long.*check csv\.path"):
        load("csv", path="x" * 5000)
    with pytest.raises(DataError, match=r"~nobody-here/x: cannot be read \(.*home directory"):
        load("csv", path="~nobody-here/x")


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    (tmp_path / "x").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="no permission to read this file; check its owner"):
        existing_path(str(tmp_path / "x"), option="csv.path", kind="file")


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.eye(2))
    np.testing.assert_array_equal(load("npy", path="~/x.npy").points, np.eye(2))


# --- gaussian-mixture ---------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_mixture():
    one, two, other = (load("gaussian-mixture", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.points, two.points)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert not np.array_equal(one.points, other.points)


@pytest.mark.parametrize(("points", "dimension", "components"), [(1, 1, 1), (10, 3, 4), (5, 2, 9)])
def test_a_mixture_has_the_asked_shape_and_clouds_of_equal_size(points, dimension, components):
    data = load(
        "gaussian-mixture", points=points, dimension=dimension, components=components, seed=3
    )
    assert data.points.shape == (points, dimension)
    sizes = [np.count_nonzero(data.labels == str(k)) for k in range(components)]
    assert sum(sizes) == points
    assert max(sizes) - min(sizes) <= 1


def test_without_spread_every_point_is_the_centre_of_its_cloud():
    data = load("gaussian-mixture", spread=0.0, components=5)
    for label in np.unique(data.labels):
        assert len(np.unique(data.points[data.labels == label], axis=0)) == 1


def test_spread_is_the_deviation_along_every_axis():
    data = load("gaussian-mixture", points=20_000, components=1, spread=3.0, dimension=4)
    # The standard error of a standard deviation is σ / √(2N); 5 of them.
    np.testing.assert_allclose(data.points.std(axis=0), 3.0, rtol=5 / np.sqrt(2 * 20_000))


@pytest.mark.parametrize("dimension", [1, 2, 50])
def test_separation_is_the_root_mean_square_distance_of_centres(dimension):
    count = 2000
    centres = load(
        "gaussian-mixture",
        points=count,
        components=count,
        dimension=dimension,
        separation=6.0,
        spread=0.0,
    ).points
    mean_square = 2 * centres.var(axis=0, ddof=1).sum()
    # A variance has the relative standard error √(2/N), the sum of D of them √(2/(N·D)); 5 of them.
    np.testing.assert_allclose(mean_square, 36.0, rtol=5 * np.sqrt(2 / (count * dimension)))


# --- digits -------------------------------------------------------------------------------------


def test_digits_are_labelled_images_of_8_by_8():
    data = load("digits")
    assert data.points.shape == (1797, 64)
    assert data.image_shape == (8, 8)
    assert sorted(set(data.labels)) == list("0123456789")
    assert data.feature_names[:2] == ("pixel_0_0", "pixel_0_1")
    assert (data.points.min(), data.points.max()) == (0.0, 16.0)


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    message = r"digits: needs scikit-learn, .* pip install 'musicfw\[examples\]'"
    with pytest.raises(UsageError, match=message):
        load("digits")


# --- lfw-subset ---------------------------------------------------------------------------------


def test_lfw_subset_holds_100_faces_and_on_request_100_others():
    faces = load("lfw-subset")
    assert faces.points.shape == (100, 625)
    assert faces.image_shape == (25, 25)
    assert set(faces.labels) == {"face"}
    both = load("lfw-subset", non_faces=True)
    np.testing.assert_array_equal(faces.points, both.points[:100])
    assert (both.labels[:100] == "face").all()
    assert (both.labels[100:] == "other").all()
    assert len(both.points) == 200


def test_lfw_subset_without_scikit_image_names_the_extra(monkeypatch):
    monkeypatch.setattr(lfw_subset, "find_spec", lambda name: None)
    message = r"lfw-subset: needs scikit-image, .* pip install 'musicfw\[examples\]'"
    with pytest.raises(UsageError, match=message):
        load("lfw-subset")


def test_a_scikit_image_without_the_faces_or_with_others_is_refused(tmp_path, monkeypatch):
    package = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(lfw_subset, "find_spec", lambda name: package)
    with pytest.raises(DataError, match=r"expected scikit-image to hold .*--upgrade scikit-image"):
        load("lfw-subset")
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "lfw_subset.npy", np.zeros((2, 5, 5)))
    with pytest.raises(DataError, match=r"shape \(200, 25, 25\), got \(2, 5, 5\)"):
        load("lfw-subset")


# --- lfw ----------------------------------------------------------------------------------------


def test_lfw_without_a_network_says_what_to_do_instead(tmp_path, monkeypatch):
    def no_network(*address, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    before = socket.getdefaulttimeout()
    message = (
        rf"lfw: cannot download the faces \(.*not known.*\); .* into {tmp_path}: connect to the "
        r"network or copy that folder .* or use 'lfw-subset', which needs no network"
    )
    with pytest.raises(DataError, match=message):
        load("lfw")
    assert socket.getdefaulttimeout() == before


def test_lfw_labels_every_face_with_a_name(monkeypatch):
    faces = np.arange(24.0).reshape(3, 4, 2)

    def fetched(*, min_faces_per_person, resize, **options):
        assert (min_faces_per_person, resize) == (2, 0.5)
        return SimpleNamespace(
            data=faces.reshape(3, 8).astype(np.float32),
            images=faces,
            target=np.array([1, 0, 1]),
            target_names=np.array(["Ada", "Grace"]),
        )

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetched)
    data = load("lfw", min_faces_per_person=2, resize=0.5)
    assert data.labels.tolist() == ["Grace", "Ada", "Grace"]
    assert data.image_shape == (4, 2)
    np.testing.assert_array_equal(data.points, faces.reshape(3, 8))


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (
            ValueError("min_faces_per_person=999 is too restrictive"),
            DataError,
            "lfw: expected people with at least 20 images, .* lower min_faces_per_person",
        ),
        (
            ImportError("The Python Imaging Library (PIL) is required"),
            UsageError,
            r"lfw: needs scikit-learn and Pillow, .*PIL.*pip install 'musicfw\[examples\]'",
        ),
        (ValueError("a bug of scikit-learn"), ValueError, "^a bug of scikit-learn$"),
    ],
)
def test_what_else_lfw_can_fail_on_is_told_apart(monkeypatch, raised, expected, message):
    def failing(**options):
        raise raised

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", failing)
    with pytest.raises(expected, match=message):
        load("lfw")
