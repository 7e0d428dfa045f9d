"""Measures of neighbourhoods: hand values, scikit-learn's, definitions spelt out, and laws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.metrics import map_metrics
from musicfw.som.preservation import (
    continuity,
    neighborhood_preservation,
    preservation,
    topographic_product,
    trustworthiness,
)

EPS = np.finfo(np.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=25, deadline=None)
LATTICES = [
    mf.Lattice(rows=3, columns=4),
    mf.Lattice(rows=4, columns=3, topology="hexagonal"),
    mf.Lattice(rows=4, columns=3, topology="hexagonal", toroidal=True),
    mf.Lattice(rows=3, columns=4, cylindrical=True),
]
lattices = st.sampled_from(LATTICES)


def book(W, lattice, **options):
    return mf.Codebook(prototypes=np.asarray(W, dtype=float), lattice=lattice, **options)


# --- topographic product -------------------------------------------------------------------------


@pytest.mark.parametrize("lattice", LATTICES[:2], ids=str)
def test_prototypes_that_lie_as_on_their_lattice_have_a_product_of_nothing(lattice):
    turned = lattice.coordinates() @ np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    # Squares to 25 rounded at 9 decimals: an order of equals may differ, a logarithm hardly.
    assert topographic_product(book(3.0 * turned, lattice)) == pytest.approx(0.0, abs=1e-9)


def test_the_product_of_three_units_is_that_of_paper_and_pencil():
    # Prototypes 0, 3, 1 on a line of units 0, 1, 2.
    # Unit 0: on the lattice 1, 2, by prototypes 2, 1. Q1 Q2 is 3/1 · 1/2, then 1/3 · 2/1.
    # Unit 1: both are at 1 on the lattice, and ordered by prototypes: no difference.
    # Unit 2: on the lattice 1, 0, by prototypes 0, 1: 2/1 · 1/2, then 1/2 · 2/1.
    expected = (np.log(1.5) / 2 + np.log(1.5 * 2 / 3) / 4 + np.log(1.0) * 4) / 6
    found = topographic_product(book([[0.0], [3.0], [1.0]], mf.Lattice(rows=1, columns=3)))
    assert found == pytest.approx(expected, rel=100 * EPS)


def product_by_definition(codebook):
    """Follow the equations of the paper unit by unit."""
    W, M = codebook.prototypes, codebook.units
    by_prototypes = np.linalg.norm(W[:, np.newaxis] - W, axis=2)
    on_lattice = np.sqrt(codebook.lattice.squared_distances().round(9))
    total = 0.0
    for j in range(M):
        others = [i for i in range(M) if i != j]
        A = sorted(others, key=lambda i: (on_lattice[j, i], by_prototypes[j, i]))
        V = sorted(others, key=lambda i: (by_prototypes[j, i], on_lattice[j, i]))
        for k in range(1, M):
            product = 1.0
            for a, v in itertools.islice(zip(A, V, strict=True), k):
                product *= by_prototypes[j, a] / by_prototypes[j, v]
                product *= on_lattice[j, a] / on_lattice[j, v]
            total += np.log(product ** (1 / (2 * k)))
    return total / (M * (M - 1))


@FEW
@given(seed=SEEDS, lattice=lattices)
def test_the_product_is_its_definition(seed, lattice):
    codebook = book(np.random.default_rng(seed).normal(size=(12, 3)), lattice)
    # Ratios of distances that lose eight digits at most to cancellation.
    assert topographic_product(codebook) == pytest.approx(product_by_definition(codebook), abs=1e-7)


@pytest.mark.parametrize(("dimension", "sign"), [(4, -1), (1, 1)])
def test_its_sign_tells_whether_the_lattice_has_too_few_dimensions(dimension, sign):
    rng = np.random.default_rng(0)
    X = np.hstack([rng.random((1500, dimension)), 1e-3 * rng.random((1500, 1))])
    trained = mf.train(X, lattice=mf.Lattice(rows=9, columns=9), mode="batch")
    square = mf.train(rng.random((1500, 2)), lattice=mf.Lattice(rows=9, columns=9), mode="batch")
    assert sign * topographic_product(trained.codebook) > 0.01
    assert abs(topographic_product(square.codebook)) < 0.002


def test_a_single_unit_has_a_product_of_nothing_and_twins_have_none():
    assert topographic_product(book([[1.0]], mf.Lattice(rows=1, columns=1))) == 0.0
    twins = book([[1.0], [2.0], [2.0]], mf.Lattice(rows=1, columns=3))
    assert np.isnan(topographic_product(twins))


@FEW
@given(seed=SEEDS, lattice=lattices)
def test_relevances_are_a_scaling(seed, lattice):
    rng = np.random.default_rng(seed)
    W, X, R = rng.normal(size=(12, 3)), rng.normal(size=(40, 3)), rng.uniform(0.2, 3.0, 3)
    weighted, scaled = book(W, lattice, relevances=R), book(W * np.sqrt(R), lattice)
    by_unit = book(W, lattice, relevances=np.tile(R, (12, 1)))
    for codebook in (weighted, by_unit):
        assert topographic_product(codebook) == pytest.approx(topographic_product(scaled), abs=1e-7)
        np.testing.assert_allclose(
            preservation(codebook, X), preservation(scaled, X * np.sqrt(R)), rtol=100 * EPS
        )


# --- trustworthiness and continuity --------------------------------------------------------------


def scattered(seed, lattice, count=30):
    rng = np.random.default_rng(seed)
    return book(rng.normal(size=(12, 3)), lattice), rng.normal(size=(count, 3))


def test_trustworthiness_and_continuity_are_scikit_learns_where_there_are_no_ties():
    manifold = pytest.importorskip("sklearn.manifold")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(11, 4))
    # From any power of 2 the others are all differently far.
    place = 2 ** np.arange(11)
    W = np.full((place[-1] + 1, 4), 1e3) + rng.normal(size=(place[-1] + 1, 4))
    W[place] = X
    codebook = book(W, mf.Lattice(rows=1, columns=len(W)))
    line = place[:, np.newaxis].astype(float)
    for k in (1, 3, 5):
        expected = manifold.trustworthiness(X, line, n_neighbors=k)
        assert trustworthiness(codebook, X, neighbors=k) == pytest.approx(expected, rel=16 * EPS)
        expected = manifold.trustworthiness(line, X, n_neighbors=k)
        assert continuity(codebook, X, neighbors=k) == pytest.approx(expected, rel=16 * EPS)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_ties_are_what_scikit_learn_finds_on_average_over_their_orders(lattice):
    manifold = pytest.importorskip("sklearn.manifold")
    codebook, X = scattered(1, lattice)
    units = codebook.best_matching_units(X)
    shown = lattice.squared_distances().round(9)[np.ix_(units, units)]
    rng, found = np.random.default_rng(2), []
    for _ in range(300):
        broken = shown + 1e-6 * rng.random(shown.shape)
        np.fill_diagonal(broken, 0.0)
        found.append(manifold.trustworthiness(broken, X, n_neighbors=5, metric="precomputed"))
    error = np.std(found) / np.sqrt(300)
    assert continuity(codebook, X, neighbors=5) == pytest.approx(np.mean(found), abs=5 * error)


def by_definition(data, shown, k, rng):
    """Return the three measures, ties broken at random, as their formulas are written."""
    N = len(data)
    ranks = []
    for distances in (data, shown):
        table = np.empty((N, N), dtype=int)
        for i in range(N):
            others = [j for j in rng.permutation(N) if j != i]
            for rank, j in enumerate(sorted(others, key=lambda j: distances[i, j]), start=1):
                table[i, j] = rank
            table[i, i] = 10 * N
        ranks.append(table)
    r, s = ranks
    inside, outside = (s <= k) & (r > k), (r <= k) & (s > k)
    np.fill_diagonal(inside, False)
    np.fill_diagonal(outside, False)
    norm = 2 / (N * k * (2 * N - 3 * k - 1))
    kept = ((r <= k) & (s <= k)).sum() / (N * k)
    return 1 - norm * (r - k)[inside].sum(), 1 - norm * (s - k)[outside].sum(), kept


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_all_three_are_their_definitions_on_average_over_the_orders_of_ties(lattice):
    codebook, X = scattered(3, lattice, count=24)
    X[5] = X[4]  # a tie in the data
    units = codebook.best_matching_units(X)
    shown = lattice.squared_distances().round(9)[np.ix_(units, units)]
    data = ((X[:, np.newaxis] - X) ** 2).sum(axis=2)
    rng = np.random.default_rng(4)
    found = np.array([by_definition(data, shown, 4, rng) for _ in range(300)])
    error = found.std(axis=0) / np.sqrt(300)
    expected = np.array(preservation(codebook, X, neighbors=4))
    assert (np.abs(found.mean(axis=0) - expected) <= 5 * error + 1e-12).all()


@FEW
@given(seed=SEEDS, lattice=lattices, k=st.integers(1, 9))
def test_neither_the_order_of_the_points_nor_a_motion_of_space_changes_anything(seed, lattice, k):
    codebook, X = scattered(seed, lattice)
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = book(codebook.prototypes @ Q + 1.0, lattice)
    found = preservation(moved, (X @ Q + 1.0)[rng.permutation(30)], neighbors=k)
    np.testing.assert_allclose(preservation(codebook, X, neighbors=k), found, rtol=1e3 * EPS)


def test_a_map_with_a_unit_for_every_point_where_the_point_is_keeps_everything():
    rng = np.random.default_rng(5)
    line = np.sort(rng.random(40))[:, np.newaxis] * 1e-3 + np.arange(40)[:, np.newaxis]
    codebook = book(line, mf.Lattice(rows=1, columns=40))
    # A line keeps the order up to left against right: of k = 1 half the ties are broken wrongly.
    found = preservation(codebook, line, neighbors=2)
    assert found.neighborhood_preservation > 0.9
    assert found.trustworthiness > 0.99
    shuffled = book(line[rng.permutation(40)], mf.Lattice(rows=1, columns=40))
    worse = preservation(shuffled, line, neighbors=2)
    assert all(w < f for w, f in zip(worse, found, strict=True))


def test_points_shown_at_random_are_kept_near_by_chance_only():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(400, 5))
    codebook = book(X[rng.permutation(400)], mf.Lattice(rows=20, columns=20))
    chance = 10 / 399
    # 4000 neighbours, about independent.
    error = np.sqrt(chance / 4000)
    assert neighborhood_preservation(codebook, X) == pytest.approx(chance, abs=5 * error)


def test_blocks_of_rows_change_nothing(monkeypatch):
    codebook, X = scattered(7, LATTICES[1], count=50)
    whole = preservation(codebook, X)
    monkeypatch.setattr("musicfw.som.preservation._BLOCK_ELEMENTS", 7 * 50)
    np.testing.assert_allclose(whole, preservation(codebook, X), rtol=100 * EPS)


# --- refusals and the metrics of a run -----------------------------------------------------------


@pytest.mark.parametrize("measure", [trustworthiness, continuity, neighborhood_preservation])
def test_too_few_points_for_a_neighbourhood_are_refused(measure):
    codebook, X = scattered(8, LATTICES[0])
    with pytest.raises(UsageError, match=r"from 1 to less than half of the 20 points, got 10"):
        measure(codebook, X[:20])
    with pytest.raises(UsageError, match=r"neighbors: expected from 1 .*, got 0"):
        measure(codebook, X, neighbors=0)


@pytest.mark.parametrize("measure", [topographic_product, lambda b: preservation(b, np.eye(3))])
def test_a_codebook_without_a_lattice_is_refused(measure):
    with pytest.raises(UsageError, match="expected a codebook with a lattice, got one without"):
        measure(mf.Codebook(prototypes=np.eye(3)))


def test_a_run_tells_them_by_their_names():
    X = np.random.default_rng(9).normal(size=(200, 4))
    trained = mf.train(X[:150], lattice=LATTICES[1], scaling="standard")
    metrics = map_metrics(trained, X[:150], X[150:])
    seen = trained.scaling.to_map(X[:150])
    expected = preservation(trained.codebook, seen)._asdict()
    expected["topographic_product"] = topographic_product(trained.codebook)
    assert expected == {name: metrics[name] for name in expected}


def test_a_run_leaves_out_what_it_cannot_measure():
    X = np.random.default_rng(10).normal(size=(20, 3))
    trained = mf.train(X, lattice=mf.Lattice(rows=33, columns=32), epochs=1)
    metrics = map_metrics(trained, X, X)
    assert not {"topographic_product", "trustworthiness", "continuity"} & set(metrics)
    twins = mf.train(X, lattice=LATTICES[0], initial=np.zeros((12, 3)), radius_end=1e6, epochs=1)
    assert map_metrics(twins, X, X)["topographic_product"] is None
