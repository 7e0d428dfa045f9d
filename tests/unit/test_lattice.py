import numpy as np
import pytest

from musicfw.errors import UsageError
from musicfw.lattice import Lattice

SIZES = [(1, 1), (1, 5), (5, 1), (4, 6), (5, 4), (6, 3)]


def lattices():
    for rows, columns in SIZES:
        for topology in ("rectangular", "hexagonal"):
            for borders in ({}, {"cylindrical": True}, {"toroidal": True}):
                if topology == "hexagonal" and "toroidal" in borders and rows % 2:
                    continue
                yield Lattice(rows=rows, columns=columns, topology=topology, **borders)


@pytest.mark.parametrize("lattice", list(lattices()), ids=str)
def test_distances_are_symmetric_and_zero_exactly_on_the_diagonal(lattice):
    squared = lattice.squared_distances()
    np.testing.assert_array_equal(squared.T, squared)
    np.testing.assert_array_equal(np.eye(lattice.units, dtype=bool), squared == 0.0)


@pytest.mark.parametrize("rows", [5, 6])
@pytest.mark.parametrize("columns", [5, 6])
def test_every_inner_unit_of_a_hexagonal_lattice_has_six_neighbours_at_distance_one(rows, columns):
    lattice = Lattice(rows=rows, columns=columns, topology="hexagonal")
    squared = lattice.squared_distances()
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            nearest = np.sort(squared[lattice.unit(row, column)])[1:8]
            np.testing.assert_allclose(nearest[:6], 1.0, rtol=0, atol=4 * np.finfo(float).eps)
            assert nearest[6] > 2.9


@pytest.mark.parametrize(("topology", "expected"), [("rectangular", 4), ("hexagonal", 6)])
def test_every_unit_of_a_torus_has_all_its_neighbours(topology, expected):
    lattice = Lattice(rows=6, columns=5, topology=topology, toroidal=True)
    np.testing.assert_array_equal(np.full(30, expected), lattice.neighbours().sum(axis=1))


@pytest.mark.parametrize(("topology", "expected"), [("rectangular", 8), ("hexagonal", 6)])
def test_every_unit_of_a_torus_touches_all_around_it(topology, expected):
    lattice = Lattice(rows=6, columns=5, topology=topology, toroidal=True)
    np.testing.assert_array_equal(np.full(30, expected), lattice.touching().sum(axis=1))


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_a_cylinder_has_borders_above_and_below_only(topology):
    lattice = Lattice(rows=5, columns=4, topology=topology, cylindrical=True)
    count = lattice.neighbours().sum(axis=1).reshape(5, 4)
    inside, border = (4, 3) if topology == "rectangular" else (6, 4)
    np.testing.assert_array_equal(np.full((3, 4), inside), count[1:-1])
    np.testing.assert_array_equal(np.full((2, 4), border), count[[0, -1]])


@pytest.mark.parametrize("lattice", list(lattices()), ids=str)
def test_distances_are_the_shortest_to_any_copy_of_a_unit(lattice):
    # The copies of a joined lattice stand one period apart.
    position, (around, over) = lattice.coordinates(), lattice.periods
    copies = [
        position + np.array([i * around if i else 0.0, j * over if j else 0.0])
        for i in ((-1, 0, 1) if np.isfinite(around) else (0,))
        for j in ((-1, 0, 1) if np.isfinite(over) else (0,))
    ]
    offsets = [copy[:, np.newaxis] - position for copy in copies]
    shortest = np.min([(offset**2).sum(axis=2) for offset in offsets], axis=0)
    # Positions are below 12; a square carries two roundings of them.
    np.testing.assert_allclose(lattice.squared_distances(), shortest, rtol=0, atol=1e-13)


def test_the_borders_have_a_name():
    assert Lattice(rows=2, columns=2).borders == "planar"
    assert Lattice(rows=2, columns=2, toroidal=True).borders == "toroidal"
    assert Lattice(rows=2, columns=2, cylindrical=True).borders == "cylindrical"


def test_a_lattice_written_before_there_were_cylinders_is_read():
    text = '{"rows": 2, "columns": 3, "topology": "hexagonal", "toroidal": true}'
    expected = Lattice(rows=2, columns=3, topology="hexagonal", toroidal=True)
    assert expected == Lattice.from_json(text)


def test_odd_rows_of_a_hexagonal_lattice_are_shifted_to_the_right():
    lattice = Lattice(rows=3, columns=2, topology="hexagonal")
    np.testing.assert_array_equal([0, 1, 0.5, 1.5, 0, 1], lattice.coordinates()[:, 0])


def test_units_are_numbered_row_by_row():
    lattice = Lattice(rows=3, columns=4)
    assert lattice.unit(1, 2) == 6
    np.testing.assert_array_equal([2.0, 1.0], lattice.coordinates()[6])


@pytest.mark.parametrize("lattice", list(lattices()), ids=str)
def test_a_lattice_survives_json(lattice):
    assert Lattice.from_json(lattice.to_json()) == lattice


def test_the_diagonal_is_the_greatest_distance():
    assert Lattice(rows=4, columns=5).diagonal == 5.0
    assert Lattice(rows=4, columns=6, toroidal=True).diagonal == pytest.approx(np.sqrt(13))


@pytest.mark.parametrize("rows", [0, -1, 2.0, True, "3", None])
def test_an_impossible_number_of_rows_is_refused(rows):
    with pytest.raises(UsageError, match=r"Lattice\.rows: expected an integer of at least 1, got"):
        Lattice(rows=rows, columns=2)


def test_an_unknown_topology_is_refused():
    with pytest.raises(UsageError, match="expected 'rectangular' or 'hexagonal', got 'triangular'"):
        Lattice(rows=2, columns=2, topology="triangular")


def test_a_hexagonal_torus_needs_an_even_number_of_rows():
    with pytest.raises(UsageError, match=r"even number of rows.*got 5; take 6"):
        Lattice(rows=5, columns=4, topology="hexagonal", toroidal=True)


def test_a_hexagonal_cylinder_may_have_an_odd_number_of_rows():
    lattice = Lattice(rows=5, columns=4, topology="hexagonal", cylindrical=True)
    assert lattice.units == 20


def test_a_torus_is_no_cylinder():
    with pytest.raises(UsageError, match=r"Lattice\.cylindrical: expected false where toroidal"):
        Lattice(rows=4, columns=4, toroidal=True, cylindrical=True)


@pytest.mark.parametrize("name", ["toroidal", "cylindrical"])
def test_borders_that_are_neither_joined_nor_not_are_refused(name):
    with pytest.raises(UsageError, match=rf"Lattice\.{name}: expected true or false, got 'yes'"):
        Lattice(rows=4, columns=4, **{name: "yes"})


@pytest.mark.parametrize("cell", [(-1, 0), (3, 0), (0, 4)])
def test_a_cell_outside_is_refused(cell):
    with pytest.raises(UsageError, match=r"row 0 … 2 and column 0 … 3, got"):
        Lattice(rows=3, columns=4).unit(*cell)


@pytest.mark.parametrize("text", ["not json", '{"rows": 2, "sides": 3}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(UsageError, match=r"expected JSON as Lattice\.to_json writes"):
        Lattice.from_json(text)
