import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.som.clusters import (
    cluster_units,
    count_weighted_ward,
    neighbour_graph,
    neighbour_graph_clusters,
    silhouettes,
    winner_graph,
    winner_graph_clusters,
)


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


DATA_METHODS = (count_weighted_ward, winner_graph_clusters, neighbour_graph_clusters)


def test_weighted_ward_with_a_unit_per_point_is_ward_of_the_points():
    points = np.random.default_rng(4).normal(size=(30, 3))
    for clusters in (1, 2, 5, 30):
        np.testing.assert_array_equal(
            cluster_units(points, clusters=clusters),
            count_weighted_ward(Codebook(prototypes=points), points, clusters=clusters),
        )


def test_weighted_ward_counts_every_copy_of_a_point():
    # Two merges cost the least; with 100 copies of the last point, joining it would cost more.
    points = np.array([[0.0], [1.0], [2.1]])
    book = Codebook(prototypes=points)
    assert count_weighted_ward(book, points, clusters=2).tolist() == [0, 0, 1]
    copies = np.repeat(points, [100, 100, 1], axis=0)
    assert count_weighted_ward(book, copies, clusters=2).tolist() == [0, 1, 1]


def test_weighted_ward_heeds_shared_relevances_and_compares_single_ones_as_euclidean():
    points = np.array([[0.0, 0.0], [1.0, 3.0], [5.0, 0.0]])
    expected = {None: [0, 0, 1], (1.0, 0.0): [0, 0, 1], (0.0, 1.0): [0, 1, 0]}
    for relevances, clusters in expected.items():
        book = Codebook(prototypes=points, relevances=relevances)
        assert count_weighted_ward(book, points, clusters=2).tolist() == clusters
    high = points * [1.0, 10.0]
    for relevances, clusters in {None: [0, 1, 0], (1.0, 0.01): [0, 0, 1]}.items():
        book = Codebook(prototypes=high, relevances=relevances)
        assert count_weighted_ward(book, high, clusters=2).tolist() == clusters
        assert cluster_units(high, book.relevances, clusters=2).tolist() == clusters
    single = Codebook(prototypes=points, relevances=np.tile([0.1, 1.9], (3, 1)))
    assert count_weighted_ward(single, points, clusters=2).tolist() == [0, 0, 1]


def test_points_belong_to_their_units_by_the_relevances():
    # By both features alike both points would be the first unit's.
    points, units = [[8.0, 0.0], [0.0, 8.0]], [[0.0, 0.0], [9.0, 9.0]]
    book = Codebook(prototypes=units, relevances=[[1.0, 0.0], [1.0, 0.0]])
    assert count_weighted_ward(book, points, clusters=2).tolist() == [0, 1]
    with pytest.raises(UsageError, match="from 1 to 1"):
        count_weighted_ward(Codebook(prototypes=units), points, clusters=2)


@pytest.mark.parametrize("method", DATA_METHODS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_separate_blobs_are_the_clusters_of_their_units(method, count):
    points = blobs(count, size=40, seed=1)
    prototypes = points[::10]
    found = method(Codebook(prototypes=prototypes), points, clusters=count)
    np.testing.assert_array_equal(np.repeat(np.arange(count), 4), found)
    assert found.dtype == np.intp


@pytest.mark.parametrize("method", DATA_METHODS)
def test_a_unit_without_points_joins_the_nearest_unit_that_has_some(method):
    points = blobs(2, size=40, seed=1)
    far = points[:1] - 90.0
    book = Codebook(prototypes=np.vstack([points[::10], far]))
    np.testing.assert_array_equal([0] * 4 + [1] * 4 + [0], method(book, points, clusters=2))


@pytest.mark.parametrize("method", DATA_METHODS)
def test_more_clusters_than_units_with_points_are_refused(method):
    points = blobs(2)
    book = Codebook(prototypes=np.vstack([points[::4], points[:1] + 500.0]))
    with pytest.raises(UsageError, match=r"from 1 to 4 \(the number of units with points\), got 5"):
        method(book, points, clusters=5)


def test_a_chain_is_one_cluster_for_the_graph_and_is_cut_by_ward():
    # A long band, and a blob off its middle that lies nearer to it than its ends do to each other.
    rng = np.random.default_rng(0)
    band = np.column_stack([rng.uniform(0.0, 40.0, 2000), rng.normal(0.0, 0.2, 2000)])
    blob = np.array([20.0, 6.0]) + rng.normal(0.0, 0.2, (400, 2))
    units = np.vstack([np.column_stack([np.arange(0.5, 40.0), np.zeros(40)]), blob[:4]])
    points, book = np.vstack([band, blob]), Codebook(prototypes=units)
    whole = np.repeat([0, 1], [40, 4])
    np.testing.assert_array_equal(whole, winner_graph_clusters(book, points, clusters=2))
    np.testing.assert_array_equal(whole, neighbour_graph_clusters(book, points, clusters=2))
    assert (count_weighted_ward(book, points, clusters=2) != whole).any()


def test_the_graph_counts_first_and_second_winners():
    book = Codebook(prototypes=[[0.0], [1.0], [5.0]])
    graph = winner_graph(book, [[0.4], [0.3], [4.0]])
    # Pairs {0, 1} twice and {1, 2} once: visits 2, 3, 1.
    expected = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    visits = np.array([2.0, 3.0, 1.0])
    np.testing.assert_allclose(expected / np.sqrt(np.outer(visits, visits)), graph)
    assert not winner_graph(Codebook(prototypes=[[0.0]]), [[1.0]]).any()
    assert winner_graph_clusters(Codebook(prototypes=[[0.0]]), [[1.0]], clusters=1).tolist() == [0]


def test_the_winners_of_many_points_are_found_in_blocks(monkeypatch):
    points = np.random.default_rng(2).normal(size=(50, 3))
    book = Codebook(prototypes=points[:7])
    whole = winner_graph(book, points)
    monkeypatch.setattr("musicfw.som.clusters._BLOCK_ELEMENTS", 21)
    np.testing.assert_array_equal(whole, winner_graph(book, points))


def neighbours_by_hand(book, points, k):
    joined = np.zeros((book.units, book.units))
    units = book.best_matching_units(points)
    for number, row in enumerate(cdist(points, points)):
        row[number] = np.inf
        for other in np.argsort(row)[:k]:
            joined[units[number], units[other]] += 1
            joined[units[other], units[number]] += 1
    return joined


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from([3, 15, 16, 40]))
def test_the_neighbour_graph_counts_pairs_of_neighbours(seed, k, dimension):
    points = np.random.default_rng(seed).normal(size=(30, dimension))
    book = Codebook(prototypes=points[:6])
    found = neighbour_graph(book, points, neighbours=k)
    np.testing.assert_array_equal(neighbours_by_hand(book, points, k), found)


@pytest.mark.parametrize("dimension", [1, 20])
def test_a_point_is_no_neighbour_of_itself_though_it_have_copies(dimension):
    points = np.repeat([[0.0] * dimension, [9.0] * dimension], 30, axis=0)
    book = Codebook(prototypes=points[[0, 30]])
    found = neighbour_graph(book, points, neighbours=4)
    np.testing.assert_array_equal(2 * 4 * 30 * np.eye(2), found)
    assert not neighbour_graph(book, points[:1]).any()


def test_neighbours_are_the_same_in_blocks(monkeypatch):
    points = np.random.default_rng(0).normal(size=(50, 20))
    book = Codebook(prototypes=points[:9])
    whole = neighbour_graph(book, points)
    monkeypatch.setattr("musicfw.som.clusters._BLOCK_ELEMENTS", 50)  # eight rows
    np.testing.assert_array_equal(whole, neighbour_graph(book, points))


def test_neighbours_heed_relevances_that_all_units_share():
    points = np.array([[0.0, 0.0], [1.0, 9.0], [2.0, 0.0]])
    book = Codebook(prototypes=points, relevances=[1.0, 0.0])
    found = neighbour_graph(book, points[[0, 1]], neighbours=1)
    np.testing.assert_array_equal([[0, 2, 0], [2, 0, 0], [0, 0, 0]], found)
    assert neighbour_graph(book, points, neighbours=1)[0, 1] > 0
    # The first point's nearest is the third; by the relevances it is the second.
    high = np.array([[0.0, 0.0], [1.0, 30.0], [5.0, 0.0]])
    for relevances, joined in {
        None: [[0, 1, 2], [1, 0, 0], [2, 0, 0]],
        (1.0, 0.001): [[0, 2, 0], [2, 0, 1], [0, 1, 0]],
    }.items():
        book = Codebook(prototypes=high, relevances=relevances)
        np.testing.assert_array_equal(joined, neighbour_graph(book, high, neighbours=1))


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_clusters_by_neighbours_follow_units_and_turned_points(seed, clusters):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(80, 3))
    book = Codebook(prototypes=points[:8])
    found = neighbour_graph_clusters(book, points, clusters=clusters)
    assert np.unique(found).size == clusters
    order, turn = rng.permutation(8), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    other = Codebook(prototypes=3.0 * points[order] @ turn + 5.0)
    turned = neighbour_graph_clusters(other, 3.0 * points @ turn + 5.0, clusters=clusters)
    same = found[order][:, np.newaxis] == found[order]
    np.testing.assert_array_equal(same, turned[:, np.newaxis] == turned)


@pytest.mark.parametrize("neighbours", [0, -1, 2.0, True])
def test_an_impossible_number_of_neighbours_is_refused(neighbours):
    book = Codebook(prototypes=[[0.0], [1.0]])
    with pytest.raises(UsageError, match=r"neighbours: expected an integer of at least 1, got"):
        neighbour_graph(book, [[0.0], [1.0]], neighbours=neighbours)
