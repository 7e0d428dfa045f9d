import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from musicfw.errors import UsageError
from musicfw.som.clusters import cluster_units, silhouettes


def blobs(count, *, size=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = 20.0 * np.arange(count)[:, np.newaxis] * [1.0, 0.5, 0.0]
    return np.vstack([centre + rng.normal(size=(size, 3)) for centre in centres])


@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_separate_blobs_are_found_and_counted(count):
    np.testing.assert_array_equal(np.repeat(np.arange(count), 8), cluster_units(blobs(count)))


def test_clusters_are_numbered_in_order_of_first_unit():
    prototypes = np.array([[9.0], [0.0], [9.1], [5.0], [0.1]])
    np.testing.assert_array_equal([0, 1, 0, 2, 1], cluster_units(prototypes, clusters=3))


@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 30), data=st.data())
def test_exactly_the_wanted_number_of_clusters_comes_back(seed, units, data):
    wanted = data.draw(st.integers(1, units))
    # Few distinct values: equally high merges, where fcluster gives fewer.
    prototypes = np.random.default_rng(seed).integers(0, 3, (units, 2)).astype(float)
    found = cluster_units(prototypes, clusters=wanted)
    _, first = np.unique(found, return_index=True)
    np.testing.assert_array_equal(np.arange(wanted), np.unique(found))
    np.testing.assert_array_equal(first, np.sort(first))
    assert found.dtype == np.intp


@given(seed=st.integers(0, 2**32 - 1), units=st.integers(3, 40))
def test_the_number_of_clusters_stays_in_its_range(seed, units):
    prototypes = np.random.default_rng(seed).normal(size=(units, 3))
    assert 2 <= cluster_units(prototypes).max() + 1 <= min(2 * np.sqrt(units), 20, units - 1)


@given(seed=st.integers(0, 2**32 - 1), units=st.integers(4, 30))
def test_silhouettes_agree_with_scikit_learn(seed, units):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(units, 3))
    clusters = np.unique(rng.integers(0, 4, units), return_inverse=True)[1]
    if not 2 <= clusters.max() + 1 < units:
        clusters = np.arange(units) % 2
    distances = cdist(prototypes, prototypes)
    np.testing.assert_allclose(
        metrics.silhouette_samples(distances, clusters, metric="precomputed"),
        silhouettes(distances, clusters),
        atol=4 * units * np.finfo(float).eps,
    )


def test_the_best_mean_silhouette_decides_the_number():
    prototypes = np.random.default_rng(3).normal(size=(25, 2))
    distances = cdist(prototypes, prototypes)
    means = [
        silhouettes(distances, cluster_units(prototypes, clusters=count)).mean()
        for count in range(2, 11)
    ]
    assert cluster_units(prototypes).max() + 1 == 2 + int(np.argmax(means))


@pytest.mark.parametrize("units", [1, 2, 9])
def test_identical_prototypes_are_one_cluster(units):
    np.testing.assert_array_equal(np.zeros(units), cluster_units(np.full((units, 3), 2.5)))


def test_a_far_offset_changes_no_cluster():
    np.testing.assert_array_equal(cluster_units(blobs(4)), cluster_units(blobs(4) + 1e6))


@pytest.mark.parametrize("clusters", [0, 9, -1, 2.0, True, "3"])
def test_an_impossible_number_of_clusters_is_refused(clusters):
    with pytest.raises(UsageError, match=r"clusters: expected an integer from 1 to 8 .*got"):
        cluster_units(blobs(1), clusters=clusters)
