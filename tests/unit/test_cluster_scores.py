import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicfw.cluster_scores import (
    clustering_accuracy,
    clustering_scores,
    knn_accuracy,
    linear_probe_accuracy,
    matched_clusters,
    purity,
)
from musicfw.errors import UsageError

pytest.importorskip("sklearn", reason="the scores are scikit-learn's")


@st.composite
def partitions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 40))
    return (
        rng.integers(0, draw(st.integers(1, 4)), count),
        rng.integers(0, draw(st.integers(1, 4)), count),
    )


@given(partitions())
def test_the_accuracy_is_the_best_over_all_matchings(pair):
    labels, clusters = pair
    best = max(
        float((np.array(order)[clusters] == labels).mean())
        for order in itertools.permutations(range(4))
    )
    assert best == clustering_accuracy(labels, clusters)


@given(partitions(), st.permutations(range(4)))
def test_the_names_of_clusters_change_no_score(pair, order):
    labels, clusters = pair
    named = np.array([f"cluster {n}" for n in order])[clusters]
    expected, renamed = clustering_scores(labels, clusters), clustering_scores(labels, named)
    for name in ("accuracy", "purity", "clusters"):
        assert getattr(expected, name) == getattr(renamed, name)
    for name in ("normalized_mutual_information", "adjusted_rand_index"):
        assert getattr(expected, name) == pytest.approx(getattr(renamed, name), abs=1e-12)


@given(partitions())
def test_clusters_that_are_the_classes_score_one(pair):
    labels, _ = pair
    scores = clustering_scores(labels, labels)
    assert (scores.accuracy, scores.purity, scores.adjusted_rand_index) == (1.0, 1.0, 1.0)
    assert scores.normalized_mutual_information == pytest.approx(1.0)
    assert scores.clusters == np.unique(labels).size


@given(partitions())
def test_purity_is_at_least_the_accuracy_and_one_if_every_point_is_a_cluster(pair):
    labels, clusters = pair
    assert purity(labels, clusters) >= clustering_accuracy(labels, clusters)
    assert purity(labels, np.arange(labels.size)) == 1.0


def test_random_clusters_have_no_adjusted_rand_index():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 10, (2, 20_000))
    assert abs(clustering_scores(labels, clusters).adjusted_rand_index) < 1e-3


def test_the_matching_names_class_and_cluster():
    classes, clusters = matched_clusters(["b", "b", "a", "a", "a"], [7, 7, 3, 3, 7])
    assert classes.tolist() == ["a", "b"]
    assert clusters.tolist() == [3, 7]


def test_both_classifiers_are_sure_of_blobs_and_guess_at_noise():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c", "d"], 200)
    noise = rng.normal(size=(800, 5))
    blobs = noise + 50.0 * np.unique(labels, return_inverse=True)[1][:, np.newaxis]
    for accuracy in (knn_accuracy, linear_probe_accuracy):
        assert accuracy(blobs, labels, rng=rng) == 1.0
        # Chance is 1/4, with a standard error of sqrt(3/16/800) = 0.015.
        assert accuracy(noise, labels, rng=rng) == pytest.approx(0.25, abs=5 * 0.0153)


def test_folds_come_from_the_generator():
    rng = np.random.default_rng(1)
    points, labels = rng.normal(size=(100, 2)), np.repeat([0, 1], 50)
    again = [knn_accuracy(points, labels, rng=np.random.default_rng(5)) for _ in range(2)]
    assert again[0] == again[1]
    several = {knn_accuracy(points, labels, rng=rng) for _ in range(8)}
    assert len(several) > 1


def test_one_cluster_per_label_is_asked_for():
    with pytest.raises(UsageError, match=r"clusters: expected shape \(2,\), .* got \(3,\)"):
        clustering_scores([0, 1], [0, 1, 2])
    with pytest.raises(UsageError, match=r"labels: expected shape \(2,\), .* got \(2, 1\)"):
        purity([[0], [1]], [0, 1])
    with pytest.raises(UsageError, match="at least one point"):
        clustering_accuracy([], [])
    with pytest.raises(UsageError, match=r"labels: expected shape \(2,\), one for each of points"):
        knn_accuracy([[0.0], [1.0]], [0], rng=np.random.default_rng(0))


def test_a_class_too_small_for_the_folds_is_named():
    labels = ["a"] * 10 + ["rare"] * 3
    with pytest.raises(UsageError, match=r"at least 5 points of every class .* got 3 of 'rare'"):
        knn_accuracy(np.zeros((13, 1)), labels, rng=np.random.default_rng(0))


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        UsageError, match=r"clustering_scores: needs scikit-learn.*musicfw\[sklearn"
    ):
        clustering_scores([0, 1], [0, 1])
    assert clustering_accuracy([0, 1], [1, 0]) == 1.0
