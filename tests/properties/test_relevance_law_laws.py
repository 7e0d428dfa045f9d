"""Laws of relevance learning: minimisers of the energy, sums, symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicfw.geometry import squared_distances
from musicfw.lattice import Lattice
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.relevance_descent import Units, assigned, with_means
from musicfw.som.relevance_laws import (
    entropy_law,
    logistic_law,
    relevances,
    scaled_relevances,
    shrunk,
    volume_law,
)

LAWS = ("entropy", "logistic", "volume")
EPS = np.finfo(float).eps


@st.composite
def dispersions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    units, dimension = draw(st.integers(1, 6)), draw(st.integers(2, 8))
    v = rng.exponential(size=(units, dimension)) ** 2
    if draw(st.booleans()):
        v[rng.integers(units), rng.integers(dimension)] = 0.0
    return v


@given(dispersions(), st.sampled_from(LAWS), st.floats(0.0, 1.0), st.floats(0.01, 100.0))
def test_rows_sum_to_the_dimension_and_no_entry_is_below_the_floor(v, law, floor, temperature):
    R = relevances(v, law=law, temperature=temperature, floor=floor)
    np.testing.assert_allclose(R.sum(axis=1), v.shape[1], rtol=50 * EPS)
    assert R.min() >= floor


@given(dispersions(), st.sampled_from(LAWS))
def test_narrower_features_are_more_relevant(v, law):
    R = relevances(v, law=law, temperature=0.3, floor=0.001)
    for row, r in zip(v, R, strict=True):
        assert (np.diff(r[np.argsort(row, kind="stable")]) <= 1e-12 * r.max()).all()


@given(dispersions(), st.sampled_from(LAWS), st.integers(-20, 20))
def test_the_scale_of_the_data_does_not_matter(v, law, power):
    scaled = relevances(2.0**power * v, law=law, temperature=0.3, floor=0.01)
    np.testing.assert_allclose(
        relevances(v, law=law, temperature=0.3, floor=0.01), scaled, rtol=1e-12
    )


@given(dispersions(), st.sampled_from(LAWS), st.randoms(use_true_random=False))
def test_permuted_features_have_permuted_relevances(v, law, random):
    order = random.sample(range(v.shape[1]), v.shape[1])
    R = relevances(v, law=law, temperature=0.3, floor=0.01)
    np.testing.assert_allclose(
        R[:, order], relevances(v[:, order], law=law, temperature=0.3, floor=0.01), rtol=1e-11
    )


@given(dispersions(), st.integers(0, 2**32 - 1))
def test_the_entropy_law_is_the_least_energy_of_its_kind(v, seed):
    temperature = 0.4
    height = temperature * v.mean(axis=1, keepdims=True)

    def energy(r):
        return (r * v + height * r * np.log(np.maximum(r, 1e-300))).sum(axis=1)

    best = entropy_law(v, temperature=temperature)
    other = np.random.default_rng(seed).dirichlet(np.ones(v.shape[1]), v.shape[0]) * v.shape[1]
    for share in (1.0, 0.1, 0.001):
        mixed = best + share * (other - best)
        assert (energy(best) <= energy(mixed) + 1e-12 * np.abs(energy(mixed))).all()


@given(dispersions(), st.integers(0, 2**32 - 1))
def test_the_logistic_law_is_the_least_energy_of_its_kind(v, seed):
    slope, mean = 0.4, v.mean(axis=1, keepdims=True)
    height = slope * (v.max(axis=1, keepdims=True) - v.min(axis=1, keepdims=True))

    def energy(r):
        inside = np.clip(r, 1e-300, 1.0 - 1e-16)
        free = inside * np.log(inside) + (1.0 - inside) * np.log1p(-inside)
        return (r * v - mean * r + height * free).sum(axis=1)

    best = logistic_law(v, slope=slope)
    other = np.random.default_rng(seed).random(v.shape)
    for share in (1.0, 0.1):
        mixed = best + share * (other - best)
        scale = np.abs(v).sum(axis=1)
        assert (energy(best) <= energy(mixed) + 1e-12 * scale).all()


@given(st.integers(0, 2**32 - 1))
def test_the_volume_law_is_the_least_energy_of_its_kind(seed):
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.1, 1.0, (3, 5))
    best = volume_law(v)
    np.testing.assert_allclose(np.prod(best, axis=1), 1.0, rtol=1e-12)
    logarithms = rng.normal(size=v.shape)
    other = best * np.exp(logarithms - logarithms.mean(axis=1, keepdims=True))
    assert ((best * v).sum(axis=1) <= (other * v).sum(axis=1) * (1 + 1e-12)).all()


def test_the_logistic_law_calls_half_of_the_features_relevant_whatever_the_truth():
    # Why it is not the default: of 20 features 2 are narrow, and the other 18 differ by chance.
    v = np.random.default_rng(0).normal(1.0, 0.02, (1, 20))
    v[0, :2] = 0.01
    logistic = relevances(v, law="logistic", temperature=0.1, floor=0.001)
    entropy = relevances(v, law="entropy", temperature=0.2, floor=0.001)
    assert entropy[0, :2].sum() > 0.95 * 20
    assert logistic[0, :2].sum() < 0.8 * 20


def test_an_infinite_temperature_makes_all_features_alike():
    v = np.random.default_rng(0).random((3, 4))
    for law in ("entropy", "logistic"):
        R = relevances(v, law=law, temperature=np.inf, floor=0.0)
        np.testing.assert_array_equal(np.ones((3, 4)), R)


@pytest.mark.parametrize("law", LAWS)
def test_units_that_nothing_disperses_about_have_relevances_alike(law):
    R = relevances(np.zeros((2, 3)), law=law, temperature=0.2, floor=0.1)
    np.testing.assert_array_equal(np.ones((2, 3)), R)


def test_the_floor_keeps_a_law_the_minimiser_of_what_is_free():
    raw = np.array([[3.0, 1.0, 0.0]])
    np.testing.assert_allclose(
        [[0.1 + 0.9 * 2.25, 0.1 + 0.9 * 0.75, 0.1]], scaled_relevances(raw, floor=0.1)
    )
    np.testing.assert_array_equal(np.ones((1, 3)), scaled_relevances(raw, floor=1.0))


def test_shrinking_counts_the_pooled_dispersion_as_so_many_points():
    v, counts = np.array([[1.0], [3.0], [9.0]]), np.array([1.0, 3.0, 0.0])
    pooled = (1.0 * 1.0 + 3.0 * 3.0) / 4.0
    expected = [[(1.0 + 2 * pooled) / 3.0], [(9.0 + 2 * pooled) / 5.0], [pooled]]
    np.testing.assert_allclose(expected, shrunk(v, counts, strength=2.0))
    np.testing.assert_allclose([[1.0], [3.0], [pooled]], shrunk(v, counts, strength=0.0))


# --- the descent ---------------------------------------------------------------------------------


def random_units(seed, *, units=6, dimension=4, count=200):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, dimension))
    R = scaled_relevances(rng.random((units, dimension)), floor=0.05)
    return points, Units(prototypes=rng.normal(size=(units, dimension)), relevances=R)


def energy(points, units, found, weights, temperature, mean):
    """The energy with the winners, the neighbourhood and the mean dispersions held fixed."""
    d = squared_distances(points[found.kept], units.prototypes, units.relevances)
    h = weights[found.winners[found.kept]]
    R = units.relevances
    omega = temperature * mean * (R * np.log(R)).sum(axis=1)
    return float((h * d).sum() + h.sum(axis=0) @ omega)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.6, 0.9, 1.0]), st.booleans())
def test_each_step_of_the_descent_does_not_raise_the_energy(seed, field, joined):
    points, units = random_units(seed)
    lattice = Lattice(rows=2, columns=3)
    nearby = neighbourhood(lattice, 0.8, name="gaussian") if joined else None
    weights = np.eye(6) if nearby is None else nearby @ np.eye(6)
    found = assigned(points, units, receptive_field=field)
    moved, v, counts = with_means(points, units, found, nearby)
    mean = np.where(counts > 0.0, v.mean(axis=1), 0.0)
    facts = (weights, 0.4, mean)
    before = energy(points, units, found, *facts)
    between = energy(points, moved, found, *facts)
    learnt = Units(prototypes=moved.prototypes, relevances=entropy_law(v, temperature=0.4))
    after = energy(points, learnt, found, *facts)
    tolerance = 1e-10 * abs(before)
    assert between <= before + tolerance
    assert after <= between + tolerance
    # And new winners, with everything else fixed and no neighbourhood.
    if not joined:
        again = assigned(points, learnt, receptive_field=1.0)
        distances = squared_distances(points, learnt.prototypes, learnt.relevances)
        old = np.take_along_axis(distances, found.winners[:, np.newaxis], axis=1)[:, 0]
        assert (again.squared_distances <= old).all()


@given(st.integers(0, 2**32 - 1))
def test_means_and_dispersions_are_those_of_the_points_won(seed):
    points, units = random_units(seed)
    found = assigned(points, units, receptive_field=0.9)
    moved, v, counts = with_means(points, units, found, None)
    for unit in range(6):
        mine = points[found.kept[found.winners[found.kept] == unit]]
        assert counts[unit] == len(mine)
        if len(mine):
            np.testing.assert_allclose(mine.mean(axis=0), moved.prototypes[unit], atol=1e-12)
            np.testing.assert_allclose(mine.var(axis=0), v[unit], atol=1e-12)
        else:
            np.testing.assert_array_equal(units.prototypes[unit], moved.prototypes[unit])
            assert not v[unit].any()


def test_relevances_change_who_wins():
    # The fault of earlier code: one factor per unit for all features cancels out of the winners.
    points, units = random_units(0, units=10, dimension=8, count=2000)
    alike = Units(prototypes=units.prototypes, relevances=None)
    sharp = Units(
        prototypes=units.prototypes, relevances=scaled_relevances(units.relevances**4, floor=0.01)
    )
    plain = assigned(points, alike, receptive_field=1.0).winners
    weighted = assigned(points, sharp, receptive_field=1.0).winners
    assert 0.3 < (plain != weighted).mean() < 0.9


def test_winners_are_found_in_blocks(monkeypatch):
    points, units = random_units(3)
    whole = assigned(points, units, receptive_field=0.9)
    monkeypatch.setattr("musicfw.som.relevance_descent._BLOCK_ELEMENTS", 50)
    parts = assigned(points, units, receptive_field=0.9)
    np.testing.assert_array_equal(whole.winners, parts.winners)
    np.testing.assert_allclose(whole.squared_distances, parts.squared_distances, rtol=1e-12)
