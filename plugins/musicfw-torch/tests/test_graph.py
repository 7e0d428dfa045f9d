from __future__ import annotations

import numpy as np
import pytest
from musicfw_torch import graph
from musicfw_torch.graph import nearest_neighbours, neighbour_graph
from scipy.sparse import csr_array
from scipy.spatial import cKDTree


def test_neighbours_and_distances_are_those_of_a_tree() -> None:
    points = np.random.default_rng(0).normal(size=(300, 5))
    expected, indices = cKDTree(points).query(points, k=8)

    found, distances = nearest_neighbours(points, neighbours=7, seed=0)

    assert np.array_equal(indices[:, 1:], found)
    assert np.allclose(expected[:, 1:], distances, rtol=1e-4)


def test_cells_find_nearly_all_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).normal(size=(3000, 6))
    exact, _ = nearest_neighbours(points, neighbours=10, seed=0)

    monkeypatch.setattr(graph, "_ALL_PAIRS", 100)
    found, distances = nearest_neighbours(points, neighbours=10, seed=0)

    common = [len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]
    assert np.mean(common) / 10 > 0.95
    assert (np.diff(distances, axis=1) >= 0.0).all()
    assert (found != np.arange(3000)[:, None]).all()


def test_cells_of_copies_still_give_every_point_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All points lie in two cells; those searched may hold fewer points than are wanted.
    monkeypatch.setattr(graph, "_ALL_PAIRS", 10)
    points = np.repeat([[0.0, 0.0], [5.0, 5.0]], [3, 60], axis=0)
    found, _ = nearest_neighbours(points, neighbours=10, seed=0)
    assert all(len(set(row)) == 10 for row in found)


def test_many_features_count_by_their_principal_coordinates() -> None:
    rng = np.random.default_rng(2)
    plane = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 100))
    exact, indices = cKDTree(plane).query(plane, k=6)
    found, distances = nearest_neighbours(plane, neighbours=5, seed=0)
    assert np.mean(indices[:, 1:] == found) > 0.99
    assert np.allclose(exact[:, 1:], distances, rtol=1e-2)


def test_the_graph_is_symmetric_with_weights_up_to_one() -> None:
    points = np.random.default_rng(3).normal(size=(120, 4))
    found = neighbour_graph(points, neighbours=9, seed=0)
    matrix = csr_array((found.weights, found.neighbours, found.starts), shape=(120, 120))
    assert abs(matrix - matrix.T).max() < 1e-12
    assert found.weights.min() > 0.0
    assert found.weights.max() <= 1.0 + 1e-12
    assert (np.diff(found.starts) >= 9).all()


def test_the_weights_of_a_point_sum_to_the_logarithm_of_their_number() -> None:
    points = np.random.default_rng(4).normal(size=(120, 4))
    _, distances = nearest_neighbours(points, neighbours=8, seed=0)
    weights = graph._memberships(distances)
    assert np.allclose(3.0, weights.sum(axis=1), rtol=1e-6)
    assert np.array_equal(np.ones(120), weights[:, 0])


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_points_than_neighbours_have_all_the_others(count: int) -> None:
    found = neighbour_graph(np.arange(2.0 * count).reshape(count, 2), neighbours=15, seed=0)
    assert np.array_equal((count - 1) * np.arange(count + 1), found.starts)


def test_copies_of_points_have_finite_weights() -> None:
    points = np.repeat(np.arange(6.0).reshape(3, 2), 20, axis=0)
    found = neighbour_graph(points, neighbours=5, seed=0)
    assert np.isfinite(found.weights).all()
