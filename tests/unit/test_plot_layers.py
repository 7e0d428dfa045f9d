"""What lies between units, where data lie on the map, and what a training recorded: as drawn."""

import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection, PolyCollection
from matplotlib.figure import Figure

from musicfw import plot
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.plot.borders import lattice_edges
from musicfw.plot.canvas import kind_colours
from musicfw.som.quality import u_matrix

LATTICES = [
    Lattice(rows=4, columns=5),
    Lattice(rows=4, columns=5, topology="hexagonal"),
    Lattice(rows=4, columns=5, toroidal=True),
    Lattice(rows=4, columns=5, topology="hexagonal", toroidal=True),
    Lattice(rows=3, columns=4, topology="hexagonal", cylindrical=True),
    Lattice(rows=3, columns=4, cylindrical=True),
    Lattice(rows=1, columns=6),
    Lattice(rows=6, columns=1),
    Lattice(rows=1, columns=1),
]
SOME = pytest.mark.parametrize("lattice", LATTICES, ids=str)


def a_codebook(lattice, dimension=3, **options):
    W = np.random.default_rng(0).normal(size=(lattice.units, dimension))
    return Codebook(prototypes=W, lattice=lattice, **options)


def placed(lattice, count=200):
    rng = np.random.default_rng(1)
    return rng.integers(lattice.units, size=count), rng.choice(["a", "b", "10", "9"], size=count)


def collections(ax, kind):
    return [c for c in ax.collections if type(c) is kind]


def is_png(drawn):
    return plot.png_bytes(drawn, dpi=40).startswith(b"\x89PNG\r\n")


def area(polygon):
    x, y = polygon.T
    return abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2.0


# --- edges ---------------------------------------------------------------------------------------


@SOME
def test_edges_join_the_neighbours_of_the_lattice_and_no_others(lattice):
    edges = lattice_edges(lattice)
    found = np.zeros((lattice.units, lattice.units), dtype=bool)
    found[edges.first, edges.second] = found[edges.second, edges.first] = True
    np.testing.assert_array_equal(lattice.neighbours(), found)
    lengths = np.linalg.norm(edges.end - edges.start, axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-12)


@SOME
def test_an_edge_over_a_joined_border_stands_at_either_side(lattice):
    edges = lattice_edges(lattice)
    inside = {tuple(p) for p in lattice.coordinates().round(9)}
    ends = [[tuple(p) in inside for p in side.round(9)] for side in (edges.start, edges.end)]
    crossing = np.logical_xor(*ends)
    assert np.logical_or(*ends).all()
    pairs = np.sort(np.column_stack([edges.first, edges.second]), axis=1)
    _, which, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(np.where(crossing, 2, 1), count[which.reshape(-1)])
    assert crossing.any() == (lattice.borders != "planar")


@SOME
def test_cluster_borders_are_the_sides_of_cells_that_differ(lattice):
    clusters = np.random.default_rng(2).integers(3, size=lattice.units)
    ax = plot.cluster_borders(clusters, lattice)
    edges = lattice_edges(lattice)
    expected = int((clusters[edges.first] != clusters[edges.second]).sum())
    corners = {tuple(p) for p in plot.cell_polygons(lattice).reshape(-1, 2).round(6) + 0.0}
    below, above = collections(ax, LineCollection)
    assert len(below.get_segments()) == len(above.get_segments()) == expected
    for segment in above.get_segments():
        assert any(tuple(p) in corners for p in segment.round(6) + 0.0)
    assert is_png(ax)


def test_one_cluster_has_no_border():
    ax = plot.cluster_borders(np.zeros(20, dtype=int), LATTICES[0])
    assert all(not lines.get_segments() for lines in collections(ax, LineCollection))


def test_cluster_borders_are_drawn_over_another_figure():
    below = plot.u_matrix(a_codebook(LATTICES[1]))
    limits = below.get_xlim(), below.get_ylim()
    ax = plot.cluster_borders(np.arange(20) // 5, LATTICES[1], ax=below)
    assert ax is below
    assert (ax.get_xlim(), ax.get_ylim()) == limits


# --- interstitial U-matrix -----------------------------------------------------------------------


@SOME
def test_the_interstitial_u_matrix_shows_units_and_what_lies_between(lattice):
    codebook = a_codebook(lattice)
    ax = plot.interstitial_u_matrix(codebook)
    (cells,) = collections(ax, PolyCollection)
    values = np.asarray(cells.get_array())
    middles = np.array([path.vertices[:-1].mean(axis=0) for path in cells.get_paths()])
    np.testing.assert_allclose(middles[: lattice.units], lattice.coordinates(), atol=1e-12)
    np.testing.assert_array_equal(u_matrix(codebook), values[: lattice.units])
    edges, W = lattice_edges(lattice), codebook.prototypes
    here = slice(lattice.units, lattice.units + edges.first.size)
    np.testing.assert_allclose(middles[here], edges.middle, atol=1e-12)
    expected = np.linalg.norm(W[edges.first] - W[edges.second], axis=1)
    np.testing.assert_allclose(values[here], expected, rtol=1e-12)
    assert is_png(ax)


@SOME
def test_its_cells_lie_side_by_side_without_covering_each_other(lattice):
    (cells,) = collections(plot.interstitial_u_matrix(a_codebook(lattice)), PolyCollection)
    middles = np.array([path.vertices[:-1].mean(axis=0) for path in cells.get_paths()])
    gaps = np.linalg.norm(middles[:, np.newaxis] - middles, axis=2)
    np.fill_diagonal(gaps, np.inf)
    if lattice.units > 1:
        np.testing.assert_allclose(gaps.min(axis=1), 0.5, rtol=1e-12)


def test_between_four_units_is_the_mean_of_both_diagonals():
    W = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    ax = plot.interstitial_u_matrix(Codebook(prototypes=W, lattice=Lattice(rows=2, columns=2)))
    (cells,) = collections(ax, PolyCollection)
    expected = (np.linalg.norm(W[0] - W[3]) + np.linalg.norm(W[1] - W[2])) / 2 / np.sqrt(2)
    assert cells.get_array()[-1] == pytest.approx(expected, rel=1e-12)


def test_relevances_count_between_units():
    R = np.array([4.0, 1.0, 0.25])
    lattice = LATTICES[0]
    plain = a_codebook(lattice)
    weighted = Codebook(prototypes=plain.prototypes, lattice=lattice, relevances=R)
    scaled = Codebook(prototypes=plain.prototypes * np.sqrt(R), lattice=lattice)
    values = [
        collections(plot.interstitial_u_matrix(book), PolyCollection)[0].get_array()
        for book in (weighted, scaled)
    ]
    np.testing.assert_allclose(*values, rtol=1e-12)


# --- pies and dots -------------------------------------------------------------------------------


@SOME
def test_pies_have_areas_in_proportion_to_the_points_of_a_unit_and_label(lattice):
    units, labels = placed(lattice, count=4000)
    ax = plot.class_pies(units, labels, lattice)
    slices = collections(ax, PolyCollection)[1]
    areas = np.array([area(path.vertices[:-1]) for path in slices.get_paths()])
    names, codes = np.unique(labels, return_inverse=True)
    counts = np.unique(units * names.size + codes, return_counts=True)[1]
    # Labels are drawn in another order than sorted here, so compare per figure, not per slice. A
    # polygon of 48 sides and more lacks less than a hundredth of its circle.
    share = np.sort(areas) / np.sort(counts)
    np.testing.assert_allclose(share, share.mean(), rtol=0.02)
    assert is_png(ax)


def test_a_unit_without_points_has_no_pie_and_one_label_a_whole_one():
    ax = plot.class_pies([0, 0, 2], ["x", "x", "y"], Lattice(rows=2, columns=2))
    slices = collections(ax, PolyCollection)[1].get_paths()
    middles = [path.get_extents().get_points().mean(axis=0) for path in slices]
    # A polygon of 50 corners is as wide as its circle to a two-hundredth.
    np.testing.assert_allclose(middles, [[0.0, 0.0], [0.0, 1.0]], atol=0.005)


@SOME
@pytest.mark.parametrize("labelled", [True, False])
def test_every_point_is_a_dot_within_the_cell_of_its_unit(lattice, labelled):
    units, labels = placed(lattice)
    ax = plot.bmu_scatter(units, lattice, labels=labels if labelled else None)
    (dots,) = collections(ax, EllipseCollection)
    offsets = dots.get_offsets()
    assert len(offsets) == 200
    gaps = np.linalg.norm(offsets[:, np.newaxis] - lattice.coordinates(), axis=2)
    found = np.bincount(gaps.argmin(axis=1), minlength=lattice.units)
    np.testing.assert_array_equal(np.bincount(units, minlength=lattice.units), found)
    assert gaps.min(axis=1).max() + 0.5 * dots.get_widths().max() <= 0.65
    assert (ax.get_legend() is not None) == labelled
    assert is_png(ax)


def test_dots_do_not_hide_each_other():
    ax = plot.bmu_scatter(np.zeros(300, dtype=int), Lattice(rows=1, columns=2))
    (dots,) = collections(ax, EllipseCollection)
    offsets = np.asarray(dots.get_offsets())
    gaps = np.linalg.norm(offsets[:, np.newaxis] - offsets, axis=2)
    np.fill_diagonal(gaps, np.inf)
    # They may touch, where the spiral is densest by a tenth.
    assert gaps.min() > 0.9 * dots.get_widths().max()


def test_labels_have_their_colours_in_pies_and_dots_alike_numbers_first():
    units, labels = placed(LATTICES[0])
    for ax in (
        plot.class_pies(units, labels, LATTICES[0]),
        plot.bmu_scatter(units, LATTICES[0], labels=labels),
    ):
        legend = ax.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["9", "10", "a", "b"]
        drawn = {tuple(c) for c in ax.collections[-1].get_facecolor()}
        assert len(drawn) == 4
    assert len(set(kind_colours(4))) == 4


def test_labels_that_look_like_markup_are_shown_as_they_are():
    ax = plot.class_pies([0, 1, 2], ["_hidden", "$5", "漢字"], Lattice(rows=1, columns=3))
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sorted(["_hidden", "$5", "漢字"]) == sorted(names)
    assert is_png(ax)


def test_what_does_not_fit_the_lattice_is_refused():
    with pytest.raises(UsageError, match=r"units: expected numbers 0 … 3 of units .* got 0 … 4"):
        plot.bmu_scatter([0, 4], Lattice(rows=2, columns=2))
    with pytest.raises(UsageError, match=r"labels: expected one per point, shape \(2,\), got"):
        plot.class_pies([0, 1], ["a"], Lattice(rows=2, columns=2))


# --- training ------------------------------------------------------------------------------------

HISTORY = {
    "quantization_error": np.array([4.0, 3.0, 2.5, 2.4]),
    "held_out_quantization_error": np.array([np.nan, 3.2, np.nan, 3.4]),
    "topographic_error": np.array([0.5, 0.2, 0.1, 0.1]),
    "change": np.array([1.0, 0.3, 0.1, 0.0]),
    "radius": np.array([3.0, 2.0, 1.5, 1.0]),
}


def test_held_out_errors_are_drawn_where_they_were_measured_and_the_best_is_marked():
    ax = plot.training_curve(HISTORY)
    _, held_out, star = ax.lines
    np.testing.assert_array_equal([[2, 3.2], [4, 3.4]], held_out.get_xydata())
    np.testing.assert_array_equal([[2, 3.2]], star.get_xydata())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["training points", "held out", "radius"]


def test_all_that_was_recorded_is_drawn_in_two_panels():
    figure = plot.training_curves(HISTORY)
    assert isinstance(figure, Figure)
    above, radius, below, change = figure.axes
    np.testing.assert_array_equal(HISTORY["radius"], radius.lines[0].get_ydata())
    np.testing.assert_array_equal(HISTORY["topographic_error"], below.lines[0].get_ydata())
    np.testing.assert_array_equal(HISTORY["change"], change.lines[0].get_ydata())
    assert above.get_xlabel() == below.get_xlabel() == "update"
    assert is_png(figure)


@pytest.mark.parametrize("names", [["quantization_error"], ["quantization_error", "radius"], []])
def test_what_was_not_recorded_is_left_out(names):
    figure = plot.training_curves({name: HISTORY[name] for name in names})
    assert len(figure.axes) == 1 + ("radius" in names)
    assert is_png(figure)
