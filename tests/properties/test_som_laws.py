"""Laws of the training backends, the lattice and the quality measures."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfw.api import TrainingProblem
from musicfw.codebook import Codebook
from musicfw.lattice import Lattice
from musicfw.som import MINISOM, NATIVE, quality
from musicfw.som.neighbourhoods import gaussian_neighbourhood
from musicfw.som.statistics import statistics, update
from musicfw.testing import lattices

EPS = np.finfo(np.float64).eps
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=30, deadline=None)


def fit(points, lattice, *, factory=NATIVE, seed=0, **params):
    problem = TrainingProblem(
        points=points,
        lattice=lattice,
        rng=np.random.default_rng(seed),
        progress=lambda done, total: None,
    )
    return factory.build(factory.params(**params)).fit(problem)


def scattered(seed, count=80, dimension=3):
    return np.random.default_rng(seed).normal(size=(count, dimension))


def rounding(points, lattice):
    """How far prototypes may differ for equal best matching units.

    A prototype is a quotient of weighted sums over N points and M units, computed anew from the
    best matching units in every epoch: errors do not pile up. 4: numerator, denominator, twice.
    """
    return 4 * (points.shape[0] + lattice.units) * EPS * np.abs(points).max()


# --- lattice -------------------------------------------------------------------------------------


@FEW
@given(lattice=lattices(), rows=st.integers(0, 6), columns=st.integers(0, 6))
def test_shifting_a_torus_changes_no_distance(lattice, rows, columns):
    even = lattice.rows + lattice.rows % 2
    torus = Lattice(rows=even, columns=lattice.columns, topology=lattice.topology, toroidal=True)
    step = 2 * rows if torus.topology == "hexagonal" else rows
    number = np.arange(torus.units).reshape(torus.rows, torus.columns)
    shifted = np.roll(number, (step, columns), axis=(0, 1)).ravel()
    squared = torus.squared_distances()
    np.testing.assert_allclose(
        squared, squared[np.ix_(shifted, shifted)], rtol=0, atol=16 * EPS * (squared.max() + 1)
    )


@FEW
@given(lattice=lattices())
def test_lattice_neighbours_are_mutual_and_touch(lattice):
    neighbours, touching = lattice.neighbours(), lattice.touching()
    np.testing.assert_array_equal(neighbours, neighbours.T)
    np.testing.assert_array_equal(touching, touching.T)
    assert not (neighbours & ~touching).any()


# --- statistics and update -----------------------------------------------------------------------


@FEW
@given(seed=SEEDS, cuts=st.lists(st.integers(1, 99), unique=True, max_size=6))
def test_statistics_of_parts_add_up_to_those_of_the_whole(seed, cuts):
    rng = np.random.default_rng(seed)
    # Integers: every product and sum is exact, ties included.
    points = rng.integers(-50, 50, (100, 3)).astype(float)
    prototypes = rng.integers(-50, 50, (12, 3)).astype(float)
    whole = statistics(points, prototypes)
    first, *rest = (statistics(part, prototypes) for part in np.split(points, sorted(cuts)))
    merged = sum(rest, start=first)
    np.testing.assert_array_equal(whole.sums, merged.sums)
    np.testing.assert_array_equal(whole.counts, merged.counts)
    assert merged.rows == whole.rows == whole.counts.sum() == 100
    assert merged.error_sum == pytest.approx(whole.error_sum, rel=100 * EPS)


@FEW
@given(seed=SEEDS)
def test_statistics_agree_with_a_naive_loop(seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-9, 9, (40, 2)).astype(float)
    prototypes = rng.integers(-9, 9, (7, 2)).astype(float)
    sums, counts, error = np.zeros((7, 2)), np.zeros(7), 0.0
    for x in points:
        squared = [float((x - w) @ (x - w)) for w in prototypes]
        winner = squared.index(min(squared))
        sums[winner] += x
        counts[winner] += 1
        error += min(squared) ** 0.5
    found = statistics(points, prototypes)
    np.testing.assert_array_equal(sums, found.sums)
    np.testing.assert_array_equal(counts, found.counts)
    assert found.error_sum == pytest.approx(error, rel=40 * EPS)


@FEW
@given(seed=SEEDS, lattice=lattices(), radius=st.floats(0.3, 5.0))
def test_an_update_agrees_with_a_naive_loop(seed, lattice, radius):
    rng = np.random.default_rng(seed)
    points, prototypes = scattered(seed), rng.normal(size=(lattice.units, 3))
    H = gaussian_neighbourhood(lattice.squared_distances(), radius)
    winners = Codebook(prototypes=prototypes).best_matching_units(points)
    expected = np.array(
        [
            np.average(points, axis=0, weights=H[i, winners] + 1e-300)
            if H[i, winners].any()
            else prototypes[i]
            for i in range(lattice.units)
        ]
    )
    found = update(statistics(points, prototypes), H, prototypes)
    np.testing.assert_allclose(expected, found, rtol=0, atol=rounding(points, lattice))


# --- native training -----------------------------------------------------------------------------


@FEW
@given(
    seed=SEEDS,
    lattice=lattices(),
    chunk_size=st.integers(1, 90),
    mode=st.sampled_from(["batch", "progressive"]),
)
def test_the_chunk_size_does_not_matter_but_in_mode_minibatch(seed, lattice, chunk_size, mode):
    points = scattered(seed)
    whole = fit(points, lattice, mode=mode, epochs=5)
    parts = fit(points, lattice, mode=mode, epochs=5, chunk_size=chunk_size)
    np.testing.assert_allclose(
        whole.prototypes, parts.prototypes, rtol=0, atol=rounding(points, lattice)
    )


@FEW
@given(seed=SEEDS, lattice=lattices())
def test_permuting_the_rows_changes_nothing_beyond_rounding(seed, lattice):
    points = scattered(seed)
    order = np.random.default_rng(seed).permutation(points.shape[0])
    np.testing.assert_allclose(
        fit(points, lattice, epochs=5).prototypes,
        fit(points[order], lattice, epochs=5).prototypes,
        rtol=0,
        atol=rounding(points, lattice),
    )


@FEW
@given(
    seed=SEEDS,
    lattice=lattices(),
    length=st.sampled_from([0.0, 1.0, 1e6]),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_training_follows_a_translation(seed, lattice, length, dtype):
    # 64 multiples of 2^-12: their mean is exact, near 1e6 too, so that the centred data are equal.
    points = np.round(scattered(seed, count=64) * 4096) / 4096
    offset = length * np.array([1.0, -0.5, 0.25])
    expected = fit(points, lattice, epochs=5, dtype=dtype, initialization="sample").prototypes
    found = fit(points + offset, lattice, epochs=5, dtype=dtype, initialization="sample").prototypes
    # What is left is the rounding of the sums that bring the centre back.
    np.testing.assert_allclose(
        expected + offset, found, rtol=0, atol=2 * EPS * (length + np.abs(points).max())
    )


@FEW
@given(seed=SEEDS, lattice=lattices())
def test_training_follows_a_rotation(seed, lattice):
    points = scattered(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned = fit(points @ rotation, lattice, epochs=5, initialization="sample").prototypes
    np.testing.assert_allclose(
        fit(points, lattice, epochs=5, initialization="sample").prototypes @ rotation,
        turned,
        rtol=0,
        atol=3 * rounding(points, lattice),
    )


@FEW
@given(
    seed=SEEDS,
    lattice=lattices(),
    power=st.integers(-60, 60),
    initialization=st.sampled_from(["pca", "sample"]),
)
def test_training_follows_a_change_of_units_bit_for_bit(seed, lattice, power, initialization):
    points, factor = scattered(seed), 2.0**power
    expected = fit(points, lattice, epochs=3, initialization=initialization).prototypes * factor
    found = fit(points * factor, lattice, epochs=3, initialization=initialization).prototypes
    np.testing.assert_array_equal(expected, found)


@FEW
@given(seed=SEEDS, lattice=lattices(), initialization=st.sampled_from(["pca", "sample"]))
def test_without_a_neighbourhood_every_epoch_is_a_step_of_k_means(seed, lattice, initialization):
    points = scattered(seed)
    prototypes = [
        fit(
            points,
            lattice,
            epochs=epochs,
            radius_start=0.01,
            radius_end=0.01,
            initialization=initialization,
        ).prototypes
        for epochs in (1, 2, 3)
    ]
    inertia = [
        Codebook(prototypes=W).squared_distances(points).min(axis=1).sum() for W in prototypes
    ]
    for before, after in pairwise(inertia):
        assert after <= before * (1 + 100 * EPS)
    winners = Codebook(prototypes=prototypes[0]).best_matching_units(points)
    for unit in np.unique(winners):
        np.testing.assert_allclose(
            points[winners == unit].mean(axis=0),
            prototypes[1][unit],
            rtol=0,
            atol=rounding(points, lattice),
        )


@FEW
@given(seed=SEEDS, lattice=lattices())
def test_prototypes_stay_within_the_range_of_the_data(seed, lattice):
    points = scattered(seed)
    prototypes = fit(points, lattice, epochs=4).prototypes
    slack = rounding(points, lattice)
    assert (prototypes >= points.min(axis=0) - slack).all()
    assert (prototypes <= points.max(axis=0) + slack).all()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 6), columns=st.integers(2, 6))
def test_the_quantization_error_at_the_end_is_not_above_that_at_the_start(seed, rows, columns):
    points = scattered(seed, count=300)
    lattice = Lattice(rows=rows, columns=columns)
    errors = fit(points, lattice, radius_start=3.0).history["quantization_error"]
    assert errors[-1] <= errors[0]


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, factory=st.sampled_from([NATIVE, MINISOM]))
def test_the_same_seed_gives_the_same_bytes_and_leaves_the_data_alone(seed, factory):
    points = scattered(seed)
    before = points.tobytes()
    points.flags.writeable = False
    lattice = Lattice(rows=3, columns=4, topology="hexagonal")
    first, again, other = (
        fit(points, lattice, factory=factory, seed=s, epochs=2, initialization="sample").prototypes
        for s in (seed, seed, seed + 1)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert points.tobytes() == before


# --- quality -------------------------------------------------------------------------------------


@FEW
@given(seed=SEEDS, lattice=lattices())
def test_the_topographic_error_agrees_with_a_naive_loop(seed, lattice):
    rng = np.random.default_rng(seed)
    # Integers: distances are exact, and so are ties.
    prototypes = rng.integers(-4, 4, (lattice.units, 2)).astype(float) * lattice.units
    points = rng.integers(-20, 20, (30, 2)).astype(float)
    squared_lattice = lattice.squared_distances()
    reach = 2.0 if lattice.topology == "rectangular" else 1.0
    errors = 0
    for x in points:
        order = sorted(range(lattice.units), key=lambda i: (((x - prototypes[i]) ** 2).sum(), i))
        if lattice.units > 1:
            errors += squared_lattice[order[0], order[1]] > reach + 1e-9
    codebook = Codebook(prototypes=prototypes, lattice=lattice)
    assert quality.topographic_error(codebook, points) == errors / 30


@FEW
@given(seed=SEEDS, lattice=lattices())
def test_the_u_matrix_agrees_with_a_naive_loop(seed, lattice):
    prototypes = np.random.default_rng(seed).normal(size=(lattice.units, 3))
    neighbours = lattice.neighbours()
    expected = []
    for unit in range(lattice.units):
        lengths = [
            np.linalg.norm(prototypes[unit] - prototypes[other])
            for other in range(lattice.units)
            if neighbours[unit, other]
        ]
        expected.append(np.mean(lengths) if lengths else 0.0)
    found = quality.u_matrix(Codebook(prototypes=prototypes, lattice=lattice))
    np.testing.assert_allclose(expected, found, rtol=16 * EPS)


@FEW
@given(seed=SEEDS, units=st.integers(1, 9))
def test_majority_labels_agree_with_a_naive_loop(seed, units):
    rng = np.random.default_rng(seed)
    codebook = Codebook(prototypes=rng.normal(size=(units, 2)))
    points = rng.normal(size=(40, 2))
    labels = rng.choice(["ant", "bee", "cat", "dog"], 40)
    winners = codebook.best_matching_units(points)
    expected = []
    for unit in range(units):
        own = sorted(labels[winners == unit])
        expected.append(max(own, key=own.count) if own else "")
    assert quality.majority_labels(codebook, points, labels).tolist() == expected
    assert quality.hit_counts(codebook, points).sum() == 40
