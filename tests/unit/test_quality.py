import tracemalloc

import numpy as np
import pytest

from musicfw.codebook import Codebook
from musicfw.errors import DataError, UsageError
from musicfw.lattice import Lattice
from musicfw.som import quality

LINE = Codebook(
    prototypes=np.array([[0.0], [10.0], [20.0], [30.0]]), lattice=Lattice(rows=1, columns=4)
)
BARE = Codebook(prototypes=np.array([[0.0], [1.0]]))


def test_the_quantization_error_is_the_mean_distance_to_the_best_unit():
    assert quality.quantization_error(LINE, [[1.0], [8.0], [33.0]]) == 2.0


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_points_on_prototypes_have_no_quantization_error_at_all(offset):
    points = np.random.default_rng(0).normal(size=(40, 7)) + offset
    assert quality.quantization_error(Codebook(prototypes=points), points) == 0.0


def test_the_topographic_error_counts_points_whose_two_best_units_do_not_touch():
    folded = Codebook(
        prototypes=np.array([[0.0], [10.0], [1.0], [30.0]]), lattice=Lattice(rows=1, columns=4)
    )
    # 0.4: units 0 and 2, apart; 11: 1 and 2, touching; 6: 1 and 2; 40: 3 and 1, apart.
    assert quality.topographic_error(folded, [[0.4], [11.0], [6.0], [40.0]]) == 0.5


def test_units_touch_across_the_border_of_a_torus_only():
    prototypes = np.array([[0.0], [10.0], [20.0], [1.0]])
    open_line = Codebook(prototypes=prototypes, lattice=Lattice(rows=1, columns=4))
    ring = Codebook(prototypes=prototypes, lattice=Lattice(rows=1, columns=4, toroidal=True))
    assert quality.topographic_error(open_line, [[0.2]]) == 1.0
    assert quality.topographic_error(ring, [[0.2]]) == 0.0


def test_diagonal_units_touch_on_a_rectangular_lattice():
    prototypes = np.array([[0.0], [10.0], [20.0], [1.0]])
    codebook = Codebook(prototypes=prototypes, lattice=Lattice(rows=2, columns=2))
    assert quality.topographic_error(codebook, [[0.2]]) == 0.0


def test_a_map_of_one_unit_has_no_topographic_error():
    codebook = Codebook(prototypes=np.zeros((1, 2)), lattice=Lattice(rows=1, columns=1))
    assert quality.topographic_error(codebook, [[1.0, 2.0]]) == 0.0


def test_the_u_matrix_is_the_mean_distance_to_the_nearest_lattice_neighbours():
    square = Codebook(
        prototypes=np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]]),
        lattice=Lattice(rows=2, columns=2),
    )
    np.testing.assert_array_equal([3.5, 3.5, 3.5, 3.5], quality.u_matrix(square))


def test_the_u_matrix_of_a_unit_without_neighbours_is_zero():
    codebook = Codebook(prototypes=np.ones((1, 2)), lattice=Lattice(rows=1, columns=1))
    np.testing.assert_array_equal([0.0], quality.u_matrix(codebook))


@pytest.mark.parametrize(
    "measure",
    [quality.u_matrix, lambda codebook: quality.topographic_error(codebook, [[0.0]])],
    ids=["u_matrix", "topographic_error"],
)
def test_measures_on_the_lattice_refuse_a_codebook_without_one(measure):
    with pytest.raises(UsageError, match=r"expected a codebook with a lattice, got one without"):
        measure(BARE)


def test_hits_are_counted_and_dead_units_found():
    points = [[1.0], [-1.0], [21.0]]
    np.testing.assert_array_equal([2, 0, 1, 0], quality.hit_counts(LINE, points))
    np.testing.assert_array_equal([1, 3], quality.dead_units(LINE, points))


def test_a_unit_is_labelled_by_most_of_its_points_and_ties_go_to_the_first_in_order():
    points = [[0.0], [1.0], [2.0], [9.0], [11.0], [30.0]]
    labels = ["b", "b", "a", "z", "c", "long name"]
    found = quality.majority_labels(LINE, points, labels)
    assert found.tolist() == ["b", "c", "", "long name"]


def test_labels_that_are_numbers_become_text():
    assert quality.majority_labels(LINE, [[0.0], [10.0]], [7, 3]).tolist() == ["7", "3", "", ""]


def test_one_label_per_point_is_needed():
    with pytest.raises(UsageError, match=r"labels: expected shape \(2,\), one per point, got"):
        quality.majority_labels(LINE, [[0.0], [10.0]], ["a"])


def test_measures_refuse_no_points():
    with pytest.raises(UsageError, match="points: expected at least one point, got none"):
        quality.quantization_error(LINE, np.empty((0, 1)))


def test_measures_refuse_points_of_another_dimension():
    with pytest.raises(DataError, match="points: expected 1 columns, got 2"):
        quality.quantization_error(LINE, [[0.0, 1.0]])


def test_measures_of_many_points_need_little_memory():
    rng = np.random.default_rng(1)
    points = rng.random((150_000, 2))
    codebook = Codebook(prototypes=rng.random((100, 2)), lattice=Lattice(rows=10, columns=10))
    tracemalloc.start()
    quality.quantization_error(codebook, points)
    quality.topographic_error(codebook, points)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All distances at once would be 120 MB; a block is 8 MB, with a few of them at a time.
    assert peak < 40e6
