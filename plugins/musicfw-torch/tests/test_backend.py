from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from musicfw_torch import SOMRL_AUTOENCODER, SomrlParams
from musicfw_torch.embedding import AutoencoderEmbedding

import musicfw as mf
from musicfw.errors import StoreError, UsageError
from musicfw.som.clusters import count_weighted_ward
from musicfw.som.quality import topographic_error
from musicfw.store import load_map, save_map

LATTICE = mf.Lattice(rows=5, columns=4)
BACKEND = "somrl-autoencoder"


def fitted(points: np.ndarray, **params: Any) -> mf.TrainedMap:
    return mf.train(points, lattice=LATTICE, backend=BACKEND, **params)


def same(one: mf.TrainedMap, other: mf.TrainedMap) -> bool:
    files, others = one.embedding.files(), other.embedding.files()
    return (
        np.array_equal(one.codebook.prototypes, other.codebook.prototypes)
        and np.array_equal(one.codebook.relevances, other.codebook.relevances)
        and dict(files) == dict(others)
    )


def test_it_is_found_by_its_entry_point_without_importing_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, musicfw; found = musicfw.load_registry().find('backend', 'somrl-autoencoder');"
        "assert 'torch' not in sys.modules; print(found.factory.summary)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == SOMRL_AUTOENCODER.summary


def test_the_map_lies_in_the_codes(trained: mf.TrainedMap, blobs: Any) -> None:
    codes = trained.encode(blobs[0])
    assert codes.shape == (160, 4)
    assert trained.codebook.prototypes.shape == trained.codebook.relevances.shape == (20, 4)
    assert trained.decode(codes).shape == (160, 12)
    assert np.allclose(4.0, trained.codebook.relevances.sum(axis=1), rtol=1e-5)
    assert trained.codebook.relevances.min() >= 0.05 * (1 - 1e-5)


def test_groups_in_the_data_become_clusters_of_units(trained: mf.TrainedMap, blobs: Any) -> None:
    points, labels = blobs
    codes = trained.encode(points)
    units = trained.codebook.best_matching_units(codes)
    clusters = count_weighted_ward(trained.codebook, codes, clusters=4)[units]
    together = clusters[:, None] == clusters
    assert np.array_equal(labels[:, None] == labels, together)
    assert topographic_error(trained.codebook, codes) < 0.5


def test_decoded_codes_are_near_the_data(blobs: Any, small: dict[str, Any]) -> None:
    points, _ = blobs
    trained = fitted(
        points, **small | {"reconstruction_weight": 1.0, "epochs": 60, "learning_rate": 0.01}
    )
    error = np.mean((trained.decode(trained.encode(points)) - points) ** 2)
    assert error < 0.25 * points.var(axis=0).mean()  # about the groups' means it is 1.0


def test_noise_on_the_codes_makes_the_decoder_smooth_beside_the_data(
    blobs: Any, small: dict[str, Any]
) -> None:
    points, _ = blobs
    lattice = mf.Lattice(rows=5, columns=4)
    beside = 0.5 * np.random.default_rng(0).normal(size=(len(points), small["code_dimension"]))
    moved = {}
    for noise in (0.0, 1.0):
        options = {**small, "epochs": 40, "code_noise": noise}
        trained = mf.train(points, lattice=lattice, backend="somrl-autoencoder", **options)
        codes = trained.encode(points)
        moved[noise] = np.linalg.norm(trained.decode(codes + beside) - trained.decode(codes))
    assert moved[1.0] < 0.8 * moved[0.0]


def test_the_same_seed_gives_the_same_bytes_whatever_the_global_generator(
    trained: mf.TrainedMap, blobs: Any, small: dict[str, Any]
) -> None:
    before = torch.random.get_rng_state()
    torch.manual_seed(12345)
    again = fitted(blobs[0], **small)
    torch.random.set_rng_state(before)
    assert same(trained, again)
    assert not same(trained, fitted(blobs[0], seed=1, **small))


def test_training_leaves_the_global_generator_alone(blobs: Any, small: dict[str, Any]) -> None:
    before = torch.random.get_rng_state()
    fitted(blobs[0], **small)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_unit_of_the_data_does_not_matter(
    scale: float, trained: mf.TrainedMap, blobs: Any, small: dict[str, Any]
) -> None:
    other = fitted(scale * blobs[0] + 7.0 * scale, **small | {"dtype": "float64"})
    one = fitted(blobs[0], **small | {"dtype": "float64"})
    assert np.allclose(one.codebook.prototypes, other.codebook.prototypes, atol=1e-3)


class Interrupt:
    """Progress that the user ends after some epochs."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, done: int, total: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [2, 6])
@pytest.mark.parametrize("prototypes", ["moving-average", "gradient"])
def test_a_training_goes_on_to_the_same_bytes(
    tmp_path: Path, blobs: Any, small: dict[str, Any], after: int, prototypes: str
) -> None:
    options = small | {"prototypes": prototypes}
    whole = fitted(blobs[0], **options)
    kept = {"checkpoint": tmp_path / "state", "checkpoint_every_s": 0.0}

    partial = fitted(blobs[0], progress=Interrupt(after), **kept, **options)
    resumed = fitted(blobs[0], **kept, **options)

    assert partial.interrupted
    assert partial.history["loss"].shape == (after,)
    assert not same(whole, partial)
    assert not resumed.interrupted
    assert same(whole, resumed)
    assert np.array_equal(whole.history["loss"], resumed.history["loss"])


def test_an_interrupt_before_the_first_epoch_is_raised(
    blobs: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from musicfw_torch.training import Trainer

    def stopped(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_update", stopped)
    with pytest.raises(KeyboardInterrupt):
        fitted(blobs[0], **small)


def test_the_history_has_the_terms_of_every_epoch(trained: mf.TrainedMap) -> None:
    history = trained.history
    assert {name: values.shape for name, values in history.items()} == dict.fromkeys(
        ("loss", "reconstruction", "neighbours", "map", "radius"), (12,)
    )
    assert np.isnan(history["map"][:3]).all()  # the warm-up
    assert np.isfinite(history["map"][3:]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert (np.diff(history["radius"][3:]) < 0.0).all()


def test_a_training_stops_when_the_loss_no_longer_falls(blobs: Any, small: dict[str, Any]) -> None:
    options = small | {"epochs": 60, "learning_rate": 1e-9, "prototypes": "gradient"}
    options |= {"prototype_learning_rate": 1e-9}
    trained = fitted(blobs[0], patience=3, **options)
    assert 18 < trained.history["loss"].size < 60
    assert fitted(blobs[0], **options | {"epochs": 25}).history["loss"].size == 25


def test_files_bring_the_same_embedding_back(trained: mf.TrainedMap, blobs: Any) -> None:
    files = trained.embedding.files()
    back = AutoencoderEmbedding.from_files(files)
    codes = trained.encode(blobs[0])
    assert np.array_equal(codes, back.encode(blobs[0]))
    assert np.array_equal(trained.decode(codes), back.decode(codes))
    assert json.loads(files["config.json"])["architecture"]["features"] == 12
    assert b"pickle" not in files["weights.safetensors"]


def test_a_stored_map_comes_back(trained: mf.TrainedMap, blobs: Any, tmp_path: Path) -> None:
    save_map(tmp_path / "map.npz", trained)
    back = load_map(tmp_path / "map.npz")
    assert same(trained, back)
    assert np.array_equal(trained.encode(blobs[0]), back.encode(blobs[0]))


def test_no_rows_have_no_codes(trained: mf.TrainedMap) -> None:
    assert trained.embedding.encode(np.zeros((0, 12))).shape == (0, 4)


@pytest.mark.parametrize("broken", ["config.json", "weights.safetensors"])
def test_damaged_files_are_refused(trained: mf.TrainedMap, broken: str) -> None:
    files = dict(trained.embedding.files()) | {broken: b"{}"}
    with pytest.raises(StoreError, match=r"expected weights\.safetensors and config\.json"):
        AutoencoderEmbedding.from_files(files)


def test_files_of_a_newer_format_are_refused(trained: mf.TrainedMap) -> None:
    config = json.loads(trained.embedding.files()["config.json"]) | {"format": 2}
    files = dict(trained.embedding.files()) | {"config.json": json.dumps(config).encode()}
    with pytest.raises(StoreError, match="expected format 1, got 2"):
        AutoencoderEmbedding.from_files(files)


def test_inversion_comes_back_to_the_code(trained: mf.TrainedMap, blobs: Any) -> None:
    # 20 units are more than 2 d = 8: the lifted system has one solution.
    codes = trained.encode(blobs[0][:10])
    distances = trained.codebook.squared_distances(codes)
    inverted = mf.invert(trained.codebook, distances)
    assert np.linalg.norm(inverted.points - codes) <= 1e-9 * np.linalg.norm(codes)


@pytest.mark.parametrize(
    "options",
    [
        {"law": "logistic", "temperature": 0.1},
        {"law": "volume"},
        {"law": "none"},
        {"winner": "heskes"},
        {"prototypes": "gradient"},
        {"dtype": "float64"},
        {"neighbour_weight": 0.0},
        {"neighbours_by": "gradients", "image_size": (3, 4)},
        {"reconstruction_weight": 0.0},
        {"warm_up": 0.0},
        {"final_epochs": 0},
        {"repulsion": 0.0, "map_weight": 1.0},
        {"batch_size": 1, "epochs": 1},
        {"code_dimension": 1},
    ],
    ids=str,
)
def test_every_option_gives_a_finite_map(
    options: dict[str, Any], blobs: Any, small: dict[str, Any]
) -> None:
    trained = fitted(blobs[0], **small | options)
    assert np.isfinite(trained.codebook.prototypes).all()
    assert np.isfinite(trained.codebook.relevances).all()


@pytest.mark.parametrize(
    "points",
    [
        np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0]]),
        np.arange(21.0).reshape(7, 3) ** 2,
        np.repeat(np.eye(3), 30, axis=0),
    ],
    ids=["two rows and a constant feature", "fewer rows than units", "copies of three rows"],
)
def test_scarce_and_degenerate_data_give_a_finite_map(
    points: np.ndarray, small: dict[str, Any]
) -> None:
    trained = fitted(points, **small)
    assert np.isfinite(trained.codebook.prototypes).all()
    assert np.isfinite(trained.encode(points)).all()


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_convolutions_train_and_come_back(size: tuple[int, int], small: dict[str, Any]) -> None:
    points = np.random.default_rng(0).random((40, size[0] * size[1]))
    options = small | {"encoder": "convolutional", "image_size": size, "hidden": (4, 8)}
    trained = fitted(points, **options)
    back = AutoencoderEmbedding.from_files(trained.embedding.files())
    assert np.array_equal(trained.encode(points), back.encode(points))
    assert trained.decode(trained.encode(points)).shape == points.shape


def test_relevances_of_one_give_the_bytes_of_no_law(blobs: Any, small: dict[str, Any]) -> None:
    none = fitted(blobs[0], **small | {"law": "none"})
    endless = fitted(blobs[0], **small | {"temperature": 1e30})
    assert same(none, endless)


def test_the_default_number_of_epochs_falls_with_the_data() -> None:
    params = SomrlParams()
    assert [params.epochs_for(n) for n in (100, 1797, 10_000, 70_000)] == [150, 150, 29, 15]
    assert SomrlParams(epochs=3).epochs_for(70_000) == 3


def test_first_prototypes_are_refused(blobs: Any, small: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="initial: expected none with the backend 'somrl-auto"):
        fitted(blobs[0], initial=np.zeros((20, 12)), **small)


def test_a_growing_radius_is_refused(blobs: Any) -> None:
    with pytest.raises(UsageError, match="radius_start: expected at least radius_end = 2"):
        fitted(blobs[0], radius_start=1.0, radius_end=2.0)


def test_no_hidden_layer_is_refused(blobs: Any) -> None:
    with pytest.raises(UsageError, match="hidden: expected at least one hidden layer"):
        fitted(blobs[0], hidden=())


def test_convolutions_without_an_image_are_refused(blobs: Any) -> None:
    with pytest.raises(UsageError, match="image_size: a convolutional encoder needs"):
        fitted(blobs[0], encoder="convolutional")


def test_gradients_without_an_image_are_refused(blobs: Any) -> None:
    with pytest.raises(UsageError, match="image_size: gradients need the height and width"):
        fitted(blobs[0], neighbours_by="gradients")


@pytest.mark.parametrize("encoder", ["dense", "convolutional"])
def test_an_image_of_another_size_is_refused(blobs: Any, encoder: str) -> None:
    with pytest.raises(UsageError, match="image_size: expected a height and width whose product"):
        fitted(blobs[0], encoder=encoder, image_size=(5, 5))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(blobs: Any) -> None:
    with pytest.raises(UsageError, match="device: expected one that PyTorch finds here"):
        fitted(blobs[0], device="cuda")


def test_a_loss_that_leaves_the_numbers_is_reported(blobs: Any, small: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="learning_rate: the loss is no longer finite in epoch"):
        fitted(blobs[0], **small | {"learning_rate": 1e30})


def test_steering_gives_decoded_frames_and_their_codes(trained: mf.TrainedMap, blobs: Any) -> None:
    points, labels = blobs
    path = mf.steer(trained, points[labels == 0][:3], target=mf.Target.label("2"), steps=30)
    assert path.points.shape[1:] == (3, 12)
    assert path.codes.shape[1:] == (3, 4)
    assert np.allclose(path.points[-1], trained.decode(path.codes[-1]))
    assert path.reached.all()
