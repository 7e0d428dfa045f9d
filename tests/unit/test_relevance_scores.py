import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.relevance_scores import (
    cluster_relevances,
    disentanglement,
    relevance_auc,
    relevant_features,
    subspace_ce,
)

TRUTH = np.array([[True, True, False, False], [False, True, True, False]])
COMPONENTS = np.array([0, 0, 0, 1, 1, -1])
CLUSTERS = np.array([1, 1, 1, 0, 0, 0])
GOOD = np.array([[0.1, 0.9, 0.8, 0.2], [0.7, 0.9, 0.1, 0.2]])


def judged(relevances, clusters=CLUSTERS, truth=TRUTH, components=COMPONENTS):
    return relevance_auc(relevances, truth, components=components, clusters=clusters)


def test_relevances_in_the_right_order_have_area_one_and_in_reverse_none():
    assert judged(GOOD) == 1.0
    assert judged(-GOOD) == 0.0
    assert judged(np.ones((2, 4))) == 0.5


def test_the_area_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    R = rng.integers(0, 4, (2, 4)).astype(float)
    expected = [metrics.roc_auc_score(TRUTH[0], R[1]), metrics.roc_auc_score(TRUTH[1], R[0])]
    assert np.mean(expected) == pytest.approx(judged(R))


def test_a_component_without_irrelevant_features_does_not_count():
    everything = TRUTH | [[True], [False]]
    assert judged(GOOD, truth=everything) == 1.0
    with pytest.raises(UsageError, match="a component with relevant features and others"):
        judged(GOOD, truth=np.ones((2, 4), dtype=bool))


def test_the_largest_gap_parts_the_features():
    found = relevant_features([[0.1, 0.2, 0.9, 1.0], [0.0, 1.0, 1.1, 1.3], [2.0, 2.0, 2.0, 2.0]])
    assert found.tolist() == [
        [False, False, True, True],
        [False, True, True, True],
        [True, True, True, True],
    ]
    assert relevant_features([[3.0]]).all()


def test_the_true_subspaces_agree_wholly_whatever_the_numbers_of_the_clusters():
    ce = subspace_ce(TRUTH[::-1], TRUTH, components=COMPONENTS, clusters=CLUSTERS)
    assert ce == 1.0


def test_the_agreement_counts_pairs_of_point_and_feature():
    # Cluster 1 (three points of component 0) has one of two features, and one too many.
    cut = np.array([[False, True, True, False], [True, False, True, False]])
    agreed, union = 3 * 1 + 2 * 2, 3 * 3 + 2 * 2
    ce = subspace_ce(cut, TRUTH, components=COMPONENTS, clusters=CLUSTERS)
    assert agreed / union == ce


def test_no_features_on_either_side_agree():
    none = np.zeros((2, 4), dtype=bool)
    assert subspace_ce(none, none, components=COMPONENTS, clusters=CLUSTERS) == 1.0
    assert subspace_ce(none, TRUTH, components=COMPONENTS, clusters=CLUSTERS) == 0.0


@given(st.integers(0, 2**32 - 1))
def test_full_spaces_agree_as_far_as_the_points_do(seed):
    from musicfw.cluster_scores import clustering_accuracy

    rng = np.random.default_rng(seed)
    components, clusters = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    full = np.ones((3, 5), dtype=bool)
    ce = subspace_ce(full, full, components=components, clusters=clusters)
    assert clustering_accuracy(components, clusters) == pytest.approx(ce)


def test_units_are_pooled_by_their_points():
    R = np.array([[1.0, 3.0], [3.0, 1.0], [2.0, 2.0], [0.0, 4.0]])
    pooled = cluster_relevances(R, unit_clusters=[0, 0, 1, 1], counts=[1, 3, 0, 0])
    np.testing.assert_allclose([[2.5, 1.5], [1.0, 3.0]], pooled)


def test_one_feature_per_cluster_is_complete_and_disentangled():
    scores = disentanglement(3.0 * np.eye(3))
    assert (scores.completeness, scores.disentanglement) == (1.0, 1.0)
    assert (scores.effective_dimension, scores.overlap) == (1.0, 0.0)
    assert scores.neighbour_overlap is None


def test_equal_relevances_are_neither():
    scores = disentanglement(np.ones((6, 4)), lattice=Lattice(rows=2, columns=3))
    assert scores.completeness == pytest.approx(0.0, abs=1e-12)
    assert scores.disentanglement == pytest.approx(0.0, abs=1e-12)
    assert scores.effective_dimension == pytest.approx(4.0)
    assert scores.overlap == pytest.approx(1.0)
    assert scores.neighbour_overlap == pytest.approx(1.0)


def test_a_shared_feature_is_complete_but_not_disentangled():
    scores = disentanglement([[1.0, 0.0], [1.0, 0.0]])
    assert scores.completeness == 1.0
    assert scores.disentanglement == pytest.approx(0.0, abs=1e-12)


def test_a_single_cluster_or_feature_has_nothing_to_divide():
    assert disentanglement([[1.0, 2.0]]).disentanglement == 1.0
    assert disentanglement([[1.0], [2.0]]).completeness == 1.0


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100.0))
def test_permutation_and_scale_change_no_score(seed, scale):
    rng = np.random.default_rng(seed)
    R = rng.random((4, 6)) + 0.01
    expected = disentanglement(R)
    moved = disentanglement(scale * R[np.ix_(rng.permutation(4), rng.permutation(6))])
    for name in ("completeness", "disentanglement", "effective_dimension", "overlap"):
        assert getattr(expected, name) == pytest.approx(getattr(moved, name), abs=1e-12)


def test_what_cannot_be_relevances_is_refused():
    with pytest.raises(UsageError, match="relevances: expected numbers of at least 0"):
        disentanglement([[1.0, -1.0]])
    with pytest.raises(UsageError, match="above 0 in every row"):
        disentanglement([[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(UsageError, match=r"lattice: expected 2 units, .* got 6"):
        disentanglement(np.ones((2, 2)), lattice=Lattice(rows=2, columns=3))


def test_truth_and_assignments_are_checked():
    with pytest.raises(UsageError, match="relevant: expected a bool array"):
        judged(GOOD, truth=TRUTH.astype(float))
    with pytest.raises(UsageError, match="relevances: expected 4 features"):
        judged(GOOD[:, :3])
    with pytest.raises(UsageError, match=r"clusters: expected one per component, shape \(6,\)"):
        judged(GOOD, clusters=CLUSTERS[:-1])
    with pytest.raises(UsageError, match="clusters: expected integers below 2"):
        judged(GOOD, clusters=CLUSTERS + 1)
    with pytest.raises(UsageError, match="components: expected integers below 2"):
        judged(GOOD, components=COMPONENTS.astype(float))
    with pytest.raises(UsageError, match="clusters: expected integers of at least 0, got -1"):
        judged(GOOD, clusters=np.array([1, -1, 1, 0, 0, 0]))
    with pytest.raises(UsageError, match="at least one point that is no noise"):
        judged(GOOD, components=np.full(6, -1))
