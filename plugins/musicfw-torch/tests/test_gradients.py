from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from musicfw_torch import gradients
from musicfw_torch.gradients import compared, oriented_gradients
from musicfw_torch.graph import nearest_neighbours
from musicfw_torch.params import SomrlParams

import musicfw as mf
from musicfw.cluster_scores import clustering_scores
from musicfw.som.clusters import neighbour_graph_clusters

SIZE = (14, 14)  # two pixels to a cell
# A root turns what single precision rounds, 1e-7 of the greatest sum, into 3e-4 of its root.
CLOSE = {"rtol": 0.0, "atol": 1e-3}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, *SIZE))


def shown(images: np.ndarray) -> np.ndarray:
    """Return what images show as (N, directions, cells down, cells across)."""
    rows = oriented_gradients(images.reshape(len(images), -1), image_size=images.shape[1:])
    return rows.reshape(len(images), 8, 7, 7)


@pytest.mark.parametrize(("factor", "offset"), [(1e-6, 0.0), (-255.0, 0.0), (1.0, 300.0)])
def test_neither_contrast_nor_brightness_matters(
    images: np.ndarray, factor: float, offset: float
) -> None:
    assert np.allclose(shown(images), shown(factor * images + offset), **CLOSE)


def test_a_quarter_turn_turns_cells_and_directions(images: np.ndarray) -> None:
    turned = np.rot90(shown(images), axes=(2, 3))
    expected = np.roll(turned, 4, axis=1)  # of 8 in half a turn
    assert np.allclose(expected, shown(np.rot90(images, axes=(1, 2))), **CLOSE)


def test_a_mirror_mirrors_cells_and_directions(images: np.ndarray) -> None:
    mirrored = shown(images)[..., ::-1][:, [0, 7, 6, 5, 4, 3, 2, 1]]
    assert np.allclose(mirrored, shown(images[..., ::-1]), **CLOSE)


def test_a_shift_by_a_cell_moves_everything_by_a_cell() -> None:
    image = np.zeros((1, *SIZE))
    image[0, 4:8, 4:8] = np.random.default_rng(1).random((4, 4))
    moved = np.roll(image, 2, axis=1)
    assert np.allclose(np.roll(shown(image), 1, axis=2), shown(moved), **CLOSE)


def test_an_edge_shows_in_its_cells_and_its_direction_only() -> None:
    image = np.zeros((1, *SIZE))
    image[0, :, 7:] = 1.0  # dark to bright, to the right
    found = shown(image)[0]
    assert found[0, :, 3].min() > 0.1
    assert np.allclose(found[0, :, 2], found[0, :, 4], **CLOSE)
    assert found[1:].max() <= 1e-3  # directions
    assert found[:, :, [0, 1, 5, 6]].max() <= 1e-2  # cells: 1e-4 of the blur, and the root


@pytest.mark.parametrize("size", [(9, 11), (13, 13), (28, 28)])
def test_rows_have_length_one_and_flat_images_none(size: tuple[int, int]) -> None:
    points = np.random.default_rng(4).random((4, size[0] * size[1]))
    points[1:3] = [[0.3], [0.0]]
    lengths = np.linalg.norm(oriented_gradients(points, image_size=size), axis=1)
    assert np.allclose([1.0, 0.0, 0.0, 1.0], lengths, rtol=1e-5)


def test_images_do_not_depend_on_those_beside_them(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = shown(images)
    monkeypatch.setattr(gradients, "_BLOCK", 2)
    assert np.allclose(together, shown(images), **CLOSE)


@pytest.mark.parametrize(("size", "cells"), [((8, 8), 49), ((3, 9), 21), ((1, 5), 5), ((2, 2), 4)])
def test_small_images_have_at_most_a_cell_per_pixel(size: tuple[int, int], cells: int) -> None:
    points = np.random.default_rng(2).random((6, size[0] * size[1]))
    found = oriented_gradients(points, image_size=size)
    assert found.shape == (6, 8 * cells)
    assert np.allclose(1.0, np.linalg.norm(found, axis=1), rtol=1e-5)


def test_neighbours_of_digits_share_their_class_more_often() -> None:
    from sklearn.datasets import load_digits

    points, labels = load_digits(return_X_y=True)
    by_gradients = compared(points, SomrlParams(neighbours_by="gradients", image_size=(8, 8)))
    shares = []
    for rows in (compared(points, SomrlParams()), by_gradients):
        found, _ = nearest_neighbours(rows, neighbours=15, seed=0)
        shares.append(np.mean(labels[found] == labels[:, None]))
    assert shares[1] > shares[0] + 0.005


def test_classes_that_differ_by_edges_alone_are_found(small: dict[str, Any]) -> None:
    # Squares in four places; of the values, contrast and brightness leave almost nothing.
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(4), 40)
    images = np.zeros((160, *SIZE))
    for image, label in zip(images, labels, strict=True):
        down, across = 1 + 6 * (label // 2), 1 + 6 * (label % 2)
        image[down : down + 5, across : across + 5] = rng.uniform(0.2, 2.0)
    points = (images + rng.normal(size=(160, 1, 1))).reshape(160, -1)
    points += rng.normal(size=points.shape) * 0.01

    accuracy = {}
    for by in ("values", "gradients"):
        options = small | {"epochs": 45, "neighbours_by": by, "image_size": SIZE}
        lattice = mf.Lattice(rows=5, columns=4)
        trained = mf.train(points, lattice=lattice, backend="somrl-autoencoder", **options)
        codes = trained.encode(points)
        merged = neighbour_graph_clusters(trained.codebook, codes, clusters=4, neighbours=8)
        found = merged[trained.codebook.best_matching_units(codes)]
        accuracy[by] = clustering_scores(labels, found).accuracy
    assert accuracy["gradients"] > 0.95
    assert accuracy["values"] < 0.6
