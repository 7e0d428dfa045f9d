"""Laws of distances with relevances: the definition, and what a shared relevance is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw import geometry
from musicfw.control.targets import resolve_target
from musicfw.som import quality
from musicfw.som.clusters import cluster_units

EPS = float(np.finfo(np.float64).eps)
seeds = st.integers(0, 2**32 - 1)
LATTICE = mf.Lattice(rows=3, columns=4)


def drawn(seed, *, offset=0.0, points=9):
    """Return prototypes (12, 5), relevances (12, 5) with zeros and wide ratios, and points."""
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(12, 5)) + offset
    relevances = rng.choice([0.0, 1e-6, 0.5, 1.0, 30.0], size=(12, 5)) * rng.uniform(size=(12, 5))
    relevances[np.arange(12), rng.integers(5, size=12)] += 1.0
    return prototypes, relevances, rng.normal(size=(points, 5)) + offset


def by_definition(points, prototypes, relevances):
    return (relevances * (points[:, np.newaxis] - prototypes) ** 2).sum(axis=2)


def rounding(points, prototypes, relevances, offset):
    """Return how far two products may be from the definition: as large as what cancels."""
    centre = geometry.centre_of(prototypes, relevances)
    U, V = np.abs(points - centre)[:, np.newaxis], np.abs(prototypes - centre)
    size = (np.broadcast_to(relevances, V.shape) * (U + V) ** 2).sum(axis=2)
    shift = (np.broadcast_to(relevances, V.shape) * (U + V)).sum(axis=2) * (np.abs(offset) + 1.0)
    return 8 * EPS * (points.shape[1] + 2) * size + 16 * EPS * shift


@given(seed=seeds, offset=st.sampled_from([0.0, 1.0, 1e3, 1e6]), shared=st.booleans())
def test_distances_equal_their_definition_within_the_rounding_of_centred_data(seed, offset, shared):
    prototypes, relevances, points = drawn(seed, offset=offset)
    relevances = relevances[0] if shared else relevances
    codebook = mf.Codebook(prototypes=prototypes, relevances=relevances)
    expected = by_definition(points, prototypes, relevances)
    found = codebook.squared_distances(points)
    allowed = rounding(points, prototypes, relevances, offset)
    assert (np.abs(found - expected) <= allowed).all()
    assert (found >= 0.0).all()
    some = [7, 0, 3]
    np.testing.assert_allclose(
        expected[:, some], codebook.squared_distances(points, some), rtol=0, atol=allowed.max()
    )


@given(seed=seeds)
def test_the_best_matching_unit_is_the_one_of_the_smallest_weighted_distance(seed):
    prototypes, relevances, points = drawn(seed, points=40)
    codebook = mf.Codebook(prototypes=prototypes, relevances=relevances)
    expected = by_definition(points, prototypes, relevances).argmin(axis=1)
    np.testing.assert_array_equal(expected, codebook.best_matching_units(points))
    nearest = geometry.nearest_squared_distances(points, prototypes, relevances)
    np.testing.assert_allclose(
        by_definition(points, prototypes, relevances).min(axis=1), nearest, rtol=20 * EPS
    )


def test_relevances_change_which_unit_wins():
    prototypes, relevances, points = drawn(1, points=500)
    euclidean = mf.Codebook(prototypes=prototypes).best_matching_units(points)
    weighted = mf.Codebook(prototypes=prototypes, relevances=relevances)
    assert (weighted.best_matching_units(points) != euclidean).mean() > 0.3


@given(seed=seeds)
def test_the_same_relevances_for_every_unit_are_a_shared_relevance(seed):
    prototypes, relevances, points = drawn(seed)
    by_unit = np.tile(relevances[0], (12, 1))
    expected = geometry.squared_distances(points, prototypes, relevances[0])
    found = geometry.squared_distances(points, prototypes, by_unit)
    allowed = rounding(points, prototypes, by_unit, 0.0)
    assert (np.abs(found - expected) <= allowed).all()


MEASURES = {
    "quantization_error": quality.quantization_error,
    "topographic_error": quality.topographic_error,
    "explained_variance": quality.explained_variance,
    "distortion": lambda book, x: quality.distortion(book, x, radius=1.5),
    "kaski_lagus": quality.kaski_lagus,
    "u_matrix": lambda book, x: quality.u_matrix(book),
    "hit_counts": quality.hit_counts,
    "majority_labels": lambda book, x: (
        quality.majority_labels(book, x, np.arange(len(x)) % 3) == "1"
    ),
    "clusters": lambda book, x: cluster_units(book.prototypes, book.relevances),
    "routes to a cluster": lambda book, x: resolve_target(mf.Target.cluster(0), book).units,
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
@pytest.mark.parametrize("by_unit", [False, True], ids=["shared", "by unit"])
def test_a_shared_relevance_measures_as_a_map_with_scaled_axes(measure, by_unit):
    for seed in range(5):
        prototypes, relevances, points = drawn(seed, points=60)
        shared = relevances[0]
        scaled = mf.Codebook(prototypes=prototypes * np.sqrt(shared), lattice=LATTICE)
        weighted = mf.Codebook(
            prototypes=prototypes,
            lattice=LATTICE,
            relevances=np.tile(shared, (12, 1)) if by_unit else shared,
        )
        np.testing.assert_allclose(
            measure(weighted, points), measure(scaled, points * np.sqrt(shared)), rtol=1e-12
        )


def test_measures_by_unit_equal_their_definitions():
    prototypes, relevances, points = drawn(4, points=50)
    codebook = mf.Codebook(prototypes=prototypes, lattice=LATTICE, relevances=relevances)
    distances = by_definition(points, prototypes, relevances)
    best, second = np.argsort(distances, axis=1, kind="stable")[:, :2].T
    error = np.sqrt(distances.min(axis=1)).mean()
    assert quality.quantization_error(codebook, points) == pytest.approx(error, rel=1e-12)
    torn = ~LATTICE.touching()[best, second]
    assert quality.topographic_error(codebook, points) == torn.mean()
    about_mean = (relevances[best] * (points - points.mean(axis=0)) ** 2).sum()
    share = 1.0 - distances.min(axis=1).sum() / about_mean
    assert quality.explained_variance(codebook, points) == pytest.approx(share, rel=1e-12)
    between = 0.5 * (relevances[:, np.newaxis] + relevances)
    between = (between * (prototypes[:, np.newaxis] - prototypes) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        between, geometry.prototype_squared_distances(prototypes, relevances), atol=1e-11
    )
    neighbours = LATTICE.neighbours()
    heights = (np.sqrt(between) * neighbours).sum(axis=1) / neighbours.sum(axis=1)
    np.testing.assert_allclose(heights, quality.u_matrix(codebook), rtol=1e-12)


def test_a_feature_that_is_irrelevant_everywhere_may_hold_anything():
    prototypes, relevances, points = drawn(2)
    relevances = relevances + 0.1
    relevances[:, 3] = 0.0
    elsewhere = prototypes.copy()
    elsewhere[:, 3] = 1e9
    np.testing.assert_array_equal(
        geometry.squared_distances(points, prototypes, relevances),
        geometry.squared_distances(points, elsewhere, relevances),
    )
