"""Where borders are joined no unit is special: as an exact law, and as measured on trained maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.som.initialization import overview, principal_plane
from musicfw.som.quality import hit_counts, u_matrix

EPS = np.finfo(np.float64).eps
TOPOLOGIES = ("rectangular", "hexagonal")
JOINED = ("toroidal", "cylindrical")


def a_lattice(borders, *, topology="rectangular", rows=6, columns=7):
    joined = {} if borders == "planar" else {borders: True}
    return mf.Lattice(rows=rows, columns=columns, topology=topology, **joined)


def rolled(lattice, shift):
    """Return the units in the order of a lattice moved by (rows, columns)."""
    number = np.arange(lattice.units).reshape(lattice.rows, lattice.columns)
    return np.roll(number, shift, axis=(0, 1)).ravel()


def moved_apart(borders, topology, shift, *, seed, mode="batch"):
    """Return how far moving the first prototypes over the lattice fails to move the map alike."""
    lattice = a_lattice(borders, topology=topology)
    rng = np.random.default_rng(seed)
    X, first = rng.normal(size=(150, 3)), rng.normal(size=(lattice.units, 3))
    order = rolled(lattice, shift)
    options = {"lattice": lattice, "mode": mode, "epochs": 5, "seed": 0}
    whole = mf.train(X, initial=first, **options).codebook.prototypes
    again = mf.train(X, initial=first[order], **options).codebook.prototypes
    # A quotient of sums over N points and M units, each rounded in another order.
    rounding = 4 * (150 + lattice.units) * EPS * np.abs(X).max()
    return np.abs(whole[order] - again).max() / rounding


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    topology=st.sampled_from(TOPOLOGIES),
    rows=st.integers(0, 2),
    columns=st.integers(0, 6),
    mode=st.sampled_from(["batch", "online"]),
)
def test_a_torus_that_begins_moved_ends_moved(seed, topology, rows, columns, mode):
    # Online updates follow one another, so rounding grows with the 750 of them.
    most = 1 if mode == "batch" else 750
    assert moved_apart("toroidal", topology, (2 * rows, columns), seed=seed, mode=mode) <= most


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_cylinder_may_be_turned_but_not_tilted(topology):
    assert moved_apart("cylindrical", topology, (0, 3), seed=0) <= 1
    assert moved_apart("cylindrical", topology, (2, 0), seed=0) > 1e6


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_planar_map_can_not_be_moved(topology):
    assert moved_apart("planar", topology, (0, 3), seed=0) > 1e6


# --- measured ------------------------------------------------------------------------------------

MAPS = 12


def border_over_inside(borders, topology, *, initialization="pca", surface="torus"):
    """Return, per map, the border columns' mean U-matrix and hits over those inside, (MAPS, 2)."""
    lattice = a_lattice(borders, topology=topology, rows=8, columns=12)
    column = np.arange(lattice.units) % lattice.columns
    border = (column == 0) | (column == lattice.columns - 1)
    found = []
    for seed in range(MAPS):
        angle = np.random.default_rng(seed).random((1500, 2)) * 2 * np.pi
        around = 1.5 * np.column_stack([np.cos(angle[:, 0]), np.sin(angle[:, 0])])
        across = [np.cos(angle[:, 1]), np.sin(angle[:, 1])] if surface == "torus" else [angle[:, 1]]
        X = np.column_stack([around, *across])
        options = {"mode": "batch", "epochs": 20, "initialization": initialization}
        book = mf.train(X, lattice=lattice, seed=seed, **options).codebook
        measured = (u_matrix(book), hit_counts(book, X))
        found.append([m[border].mean() / m[~border].mean() for m in measured])
    return np.array(found)


def in_standard_errors(ratios):
    """Return how far the mean ratios lie from 1 (no border effect), and their standard errors."""
    error = ratios.std(axis=0, ddof=1) / np.sqrt(MAPS)
    return (ratios.mean(axis=0) - 1.0) / error, error


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(
    ("borders", "initialization", "surface"),
    [
        ("toroidal", "pca", "torus"),
        ("toroidal", "sample", "torus"),
        ("cylindrical", "pca", "cylinder"),
    ],
)
def test_units_at_a_joined_border_are_like_those_inside(borders, initialization, surface, topology):
    ratios = border_over_inside(borders, topology, initialization=initialization, surface=surface)
    distance, error = in_standard_errors(ratios)
    # Without an effect 4 standard errors (Student's t, 11 degrees) are passed once in 500 times.
    assert (np.abs(distance) < 4.0).all(), ratios.mean(axis=0)
    # And half the effect of a planar border (-0.16 and +0.7) would be seen.
    assert (4.0 * error < [0.08, 0.35]).all()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_units_at_the_border_of_a_planar_map_are_not(topology):
    # Drawn to the inside they lie closer together, and collect the points beyond the border.
    distance, _ = in_standard_errors(border_over_inside("planar", topology))
    assert distance[0] < -8.0
    assert distance[1] > 8.0


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("borders", JOINED)
def test_first_prototypes_have_no_seam_where_borders_are_joined(borders, topology):
    lattice = a_lattice(borders, topology=topology, rows=4, columns=8)
    X = np.random.default_rng(0).normal(size=(300, 5)) * [5, 4, 3, 2, 1]
    seen = overview(X, rng=np.random.default_rng(0))
    first = principal_plane(seen, lattice).reshape(4, 8, 5)
    inside = np.linalg.norm(first[:, 1] - first[:, 0], axis=1)
    seam = np.linalg.norm(first[:, 0] - first[:, -1], axis=1)
    # cos and sin are mirrored about the first column: even rows alike, odd ones the next pair.
    alike = inside if topology == "rectangular" else [inside[0], seam[1], inside[2], seam[3]]
    np.testing.assert_allclose(alike, seam, rtol=1e-13)
    assert (seam <= np.linalg.norm(np.diff(first, axis=1), axis=2).max(axis=1) + 1e-12).all()


def test_data_with_too_few_components_for_a_torus_begin_as_a_plane():
    X = np.random.default_rng(0).normal(size=(300, 2))
    torus, plane = (a_lattice(borders, rows=4, columns=8) for borders in ("toroidal", "planar"))
    seen = overview(X, rng=np.random.default_rng(0))
    expected, found = (principal_plane(seen, lattice) for lattice in (plane, torus))
    np.testing.assert_array_equal(expected, found)
