"""Maps in a learned space: a backend with an embedding, through every verb and the storage."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

import musicfw as mf
from musicfw.api import BackendFactory, EmbeddingFactory, NoParams, RawMap, hookimpl
from musicfw.metrics import reconstruction_error
from musicfw.store import load_trajectory, save_trajectory

LATTICE = mf.Lattice(rows=4, columns=4)


@dataclass(frozen=True)
class Rotation:
    """An orthogonal change of basis that keeps the first d coordinates."""

    basis: np.ndarray  # (D, d), orthonormal columns
    name: str = "rotation"

    def encode(self, points):
        return points @ self.basis

    def decode(self, codes):
        return codes @ self.basis.T

    def files(self):
        stream = io.BytesIO()
        np.save(stream, self.basis)
        return {"basis.npy": stream.getvalue(), "config.json": json.dumps({}).encode()}

    @classmethod
    def load(cls, files):
        return cls(basis=np.load(io.BytesIO(files["basis.npy"])))


def plugin(*, codes=2, wrong=None, name="rotation", traits=("embedding",)):
    """Return a plugin whose backend trains `native` on rotated data."""

    class Backend:
        def fit(self, problem):
            made = np.linalg.qr(problem.rng.normal(size=(problem.points.shape[1], codes)))[0]
            embedding = Rotation(basis=made, name=name)
            if wrong is not None:
                embedding = wrong(embedding)
            rows = problem.rng.choice(len(problem.points), problem.lattice.units, replace=False)
            return RawMap(prototypes=problem.points[rows] @ made, embedding=embedding)

    return SimpleNamespace(
        __name__="musicfw-rotation",
        musicfw_backends=hookimpl(
            lambda: [
                BackendFactory(
                    name="rotated",
                    params=NoParams,
                    build=lambda _: Backend(),
                    summary="Random rows, rotated.",
                    traits=frozenset(traits),
                )
            ]
        ),
        musicfw_embeddings=hookimpl(
            lambda: [
                EmbeddingFactory(name="rotation", build=Rotation.load, summary="A change of basis.")
            ]
        ),
    )


@pytest.fixture(scope="module")
def registry():
    return mf.Registry.from_modules(plugin(codes=3))


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(1).normal(size=(60, 3)) * 5.0 + 2.0


@pytest.fixture(scope="module")
def trained(registry, points):
    labels = np.where(points[:, 0] > 2.0, "high", "low")
    return mf.train(
        points, lattice=LATTICE, backend="rotated", labels=labels, scaling="standard",
        registry=registry, seed=3,
    )  # fmt: skip


def test_an_orthogonal_embedding_gives_the_euclidean_map(trained, points):
    decoded = trained.embedding.decode(trained.codebook.prototypes)
    plain = replace(trained, codebook=replace(trained.codebook, prototypes=decoded), embedding=None)
    expected = plain.squared_distances(points)
    np.testing.assert_allclose(trained.squared_distances(points), expected, rtol=1e-10, atol=1e-12)
    there = mf.steer(plain, points[:5], target=mf.Target.units([3]), steps=20)
    path = mf.steer(trained, points[:5], target=mf.Target.units([3]), steps=20)
    np.testing.assert_allclose(path.points, there.points, atol=1e-8)
    np.testing.assert_array_equal(path.stop, there.stop)


def test_inversion_returns_what_the_codes_hold(trained, points):
    found = mf.invert(trained, trained.squared_distances(points))
    np.testing.assert_allclose(found.points, trained.reconstruct(points), rtol=1e-9)
    np.testing.assert_allclose(found.points, points, rtol=1e-9)  # three codes hold all


def test_frames_are_decoded_codes_and_the_first_code_is_the_input(trained, points):
    path = mf.steer(trained, points[:4], target=mf.Target.label("high"), steps=8)
    np.testing.assert_array_equal(path.codes[0], trained.encode(points[:4]))
    flat = trained.decode(path.codes.reshape(-1, 3))
    np.testing.assert_array_equal(path.points.reshape(-1, 3), flat)
    expected = trained.codebook.squared_distances(path.codes[-1])
    np.testing.assert_array_equal(path.squared_distances()[-1], expected)
    nearest = np.sqrt(expected.min(axis=1))
    np.testing.assert_allclose(path.distance_to_map()[-1], nearest, rtol=1e-12)


@pytest.mark.parametrize("kind", ["shared", "by unit"])
def test_relevances_are_those_of_the_codes(trained, points, kind):
    relevances = np.random.default_rng(5).uniform(0.1, 2.0, size=(16, 3))
    if kind == "shared":
        relevances = relevances[0]
    weighted = replace(trained, codebook=replace(trained.codebook, relevances=relevances))
    codes = trained.encode(points)
    expected = weighted.codebook.squared_distances(codes)
    np.testing.assert_array_equal(weighted.squared_distances(points), expected)
    found = mf.invert(weighted, expected)
    np.testing.assert_allclose(found.points, points, rtol=1e-9)
    path = mf.steer(weighted, points[:5], target=mf.Target.units([3]), steps=20)
    on_codes = mf.steer(weighted.codebook, codes[:5], target=mf.Target.units([3]), steps=20)
    np.testing.assert_array_equal(path.codes, on_codes.points)
    np.testing.assert_array_equal(path.stop, on_codes.stop)
    flat = trained.decode(path.codes.reshape(-1, 3))
    np.testing.assert_array_equal(path.points.reshape(-1, 3), flat)


def test_a_code_that_matters_to_no_unit_stays_as_it_is(trained, points):
    shared = replace(trained.codebook, relevances=np.array([1.0, 0.0, 2.0]))
    weighted = replace(trained, codebook=shared)
    path = mf.steer(weighted, points[:5], target=mf.Target.units([3]), steps=20)
    assert path.codes.shape == (21, 5, 3)
    np.testing.assert_array_equal(path.codes[-1][:, 1], path.codes[0][:, 1])
    assert (path.codes[-1][:, 0] != path.codes[0][:, 0]).all()
    found = mf.invert(weighted, weighted.squared_distances(points))
    assert (found.status == mf.Status.AMBIGUOUS).all()


def test_map_and_trajectory_come_back_from_their_files(trained, points, registry, tmp_path):
    mf.save_map(tmp_path / "map.npz", trained)
    again = mf.load_map(tmp_path / "map.npz", registry=registry)
    np.testing.assert_array_equal(again.encode(points), trained.encode(points))
    np.testing.assert_array_equal(
        again.squared_distances(points), trained.squared_distances(points)
    )
    path = mf.steer(trained, points[:2], target=mf.Target.units([0]), steps=3)
    save_trajectory(tmp_path / "path.npz", path)
    loaded = load_trajectory(tmp_path / "path.npz", again)
    np.testing.assert_array_equal(loaded.codes, path.codes)


def test_a_map_whose_embedding_is_not_installed_says_so(trained, tmp_path):
    mf.save_map(tmp_path / "map.npz", trained)
    with pytest.raises(
        mf.UsageError, match=r"map\.npz: the map lies in the codes of 'rotation'.*install that"
    ):
        mf.load_map(tmp_path / "map.npz")


def test_an_embedding_that_no_plugin_provides_is_refused_at_once(points):
    registry = mf.Registry.from_modules(plugin(name="rotatoin"))
    with pytest.raises(mf.UsageError, match=r"'rotatoin'.*did you mean 'rotation'"):
        mf.train(points, lattice=LATTICE, backend="rotated", registry=registry)


def test_a_backend_without_the_trait_may_not_return_an_embedding(points):
    registry = mf.Registry.from_modules(plugin(traits=()))
    with pytest.raises(mf.PluginError, match="needs the trait 'embedding'"):
        mf.train(points, lattice=LATTICE, backend="rotated", registry=registry)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda points: points[:, :1], r"failed in encode: expected codes of shape \(60, 2\)"),
        (lambda points: points[:, :2] * np.nan, "row 0 of its codes is not finite"),
        (lambda points: 1 / 0, "failed in encode: ZeroDivisionError"),
    ],
)
def test_a_broken_encoder_is_named(points, encode, message):
    wrong = lambda made: SimpleNamespace(  # noqa: E731
        name="rotation", encode=encode, decode=made.decode, files=made.files
    )
    registry = mf.Registry.from_modules(plugin(wrong=wrong))
    with pytest.raises(mf.PluginError, match=message) as caught:
        mf.train(points, lattice=LATTICE, backend="rotated", registry=registry)
    assert "embedding 'rotation' of plugin musicfw-rotation" in str(caught.value)


def test_files_of_an_embedding_are_bytes(points, tmp_path):
    wrong = lambda made: SimpleNamespace(  # noqa: E731
        name="rotation", encode=made.encode, decode=made.decode, files=lambda: {"a.json": "text"}
    )
    registry = mf.Registry.from_modules(plugin(wrong=wrong))
    trained = mf.train(points, lattice=LATTICE, backend="rotated", registry=registry)
    with pytest.raises(mf.PluginError, match=r"expected 'a\.json' as bytes, got str"):
        mf.save_map(tmp_path / "map.npz", trained)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [{"frozen": [0]}, {"lower": -99.0}, {"cost": [1.0, 2.0, 1.0]}])
def test_single_features_cannot_be_held_in_codes(trained, points, limit):
    with pytest.raises(mf.UsageError, match="single features cannot be held"):
        mf.steer(trained, points[:1], target=mf.Target.units([0]), **limit)


SPEC = """
data:
  use: gaussian-mixture
  with: {dimension: 5, points: 200}
  holdout: 0.2
  scaling: standard
map: {use: rotated, lattice: {rows: 4, columns: 4}}
invert:
  - {id: exact, use: exact, count: 10}
control:
  - {id: walk, use: music, target: {units: [2]}, start: {count: 3}, steps: 10}
"""


def test_a_run_in_codes_is_whole_and_can_be_loaded(registry, tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    result = mf.run(tmp_path / "spec.yaml", out=tmp_path / "out", registry=registry)
    metrics = result.metrics["invert"]["exact"]
    assert metrics["max_relative_error"] < 1e-8  # against what the codes hold
    assert result.trajectories["walk"].codes.shape[2] == 3
    (warning,) = result.warnings
    assert warning.startswith("The map lies in the codes of 'rotation'.")
    # Three of five orthonormal coordinates: what is lost is what the other two vary by.
    lost = result.metrics["map"]["held_out_reconstruction_error"]
    assert 0.0 < lost < 1.0


def test_the_reconstruction_error_is_the_share_of_variance_outside_the_codes(points):
    registry = mf.Registry.from_modules(plugin(codes=2))
    trained = mf.train(points, lattice=LATTICE, backend="rotated", registry=registry)
    outside = np.linalg.svd(trained.embedding.inner.basis, full_matrices=True)[0][:, 2]
    expected = np.square(points @ outside).sum() / np.square(points - points.mean(axis=0)).sum()
    assert reconstruction_error(trained, points) == pytest.approx(expected, rel=1e-12)


def test_a_run_in_codes_can_be_taken_up(registry, tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    result = mf.run(tmp_path / "spec.yaml", out=tmp_path / "out", registry=registry)
    assert (tmp_path / "out" / "report.html").stat().st_size > 0
    again = mf.run(tmp_path / "spec.yaml", out=tmp_path / "out", registry=registry, resume=True)
    np.testing.assert_array_equal(
        again.trajectories["walk"].codes, result.trajectories["walk"].codes
    )
