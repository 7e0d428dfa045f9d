import numpy as np
import pytest

import musicfw as mf
from musicfw.datasets.projected_clusters import (
    ProjectedClustersParams,
    ProjectedClustersSource,
    draw,
)
from musicfw.errors import UsageError

COLUMNS = [
    (5, "dense", 3, 4),
    (10, "dense", 5, 8),
    (20, "dense", 10, 16),
    (20, "sparse", 4, 8),
    (50, "sparse", 5, 10),
    (100, "sparse", 5, 12),
]


@pytest.mark.parametrize(("dimension", "regime", "least", "most"), COLUMNS)
def test_every_cluster_is_narrow_in_its_features_and_uniform_in_the_others(
    dimension, regime, least, most
):
    drawn = draw(np.random.default_rng(0), dimension=dimension, regime=regime, points=4000)
    sizes = drawn.relevant.sum(axis=1)
    assert least <= sizes.min() <= sizes.max() <= most
    widest = {"dense": 0.018, "sparse": 0.03}[regime]
    for component, relevant in enumerate(drawn.relevant):
        spread = drawn.points[drawn.components == component].std(axis=0)
        assert spread[relevant].max() < 1.3 * widest
        # 1/sqrt(12), of some 360 points.
        np.testing.assert_allclose(spread[~relevant], 0.2887, rtol=0.2)


def test_noise_and_sizes_are_as_asked():
    drawn = draw(np.random.default_rng(1), points=1000, noise=0.25, clusters=5)
    assert np.count_nonzero(drawn.components == -1) == 250
    sizes = np.bincount(drawn.components[drawn.components >= 0])
    assert sizes.size == 5
    assert sizes.max() <= 2 * sizes.min() + 2
    noise = drawn.points[drawn.components == -1]
    assert 0.0 <= noise.min() < noise.max() <= 1.0
    assert set(drawn.labels) == {"0", "1", "2", "3", "4", "noise"}
    np.testing.assert_array_equal(drawn.components == -1, drawn.labels == "noise")


def test_the_source_draws_the_points_of_which_the_truth_is_known():
    params = ProjectedClustersParams(dimension=30, regime="sparse", points=200, clusters=4)
    loaded = ProjectedClustersSource(params).load(np.random.default_rng(7))
    drawn = draw(np.random.default_rng(7), dimension=30, regime="sparse", points=200, clusters=4)
    np.testing.assert_array_equal(drawn.points, loaded.points)
    np.testing.assert_array_equal(drawn.labels, loaded.labels)
    other = draw(np.random.default_rng(8), dimension=30, points=200, clusters=4)
    assert (drawn.points != other.points).any()


def test_it_is_registered():
    assert "projected-clusters" in mf.Registry.from_modules().names("dataset")


def test_a_space_too_small_for_the_regime_is_refused():
    with pytest.raises(UsageError, match=r"50% to 80% can be relevant \(dense\), got 1"):
        draw(np.random.default_rng(0), dimension=1)
    with pytest.raises(UsageError, match=r"20% to 40% can be relevant \(sparse\), got 2"):
        draw(np.random.default_rng(0), dimension=2, regime="sparse")


def test_too_few_points_are_refused():
    with pytest.raises(UsageError, match="at least two in each of 10 clusters beside 2 of noise"):
        draw(np.random.default_rng(0), points=20)
