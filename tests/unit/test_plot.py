"""Figures: right geometry, right numbers, and something sensible for every odd size."""

import itertools
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from musicfw import plot
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.geometry import affine_rank, rank_tolerance
from musicfw.lattice import Lattice
from musicfw.plot.paths import walk_segments
from musicfw.status import StopReason
from musicfw.types import Trajectory

LATTICES = [
    Lattice(rows=4, columns=5),
    Lattice(rows=4, columns=5, topology="hexagonal"),
    Lattice(rows=4, columns=3, topology="hexagonal", toroidal=True),
    Lattice(rows=3, columns=4, topology="hexagonal", cylindrical=True),
    Lattice(rows=1, columns=7),
    Lattice(rows=7, columns=1),
    Lattice(rows=1, columns=1),
]
IDS = [f"{x.rows}x{x.columns}-{x.topology}-{x.borders}" for x in LATTICES]


def a_codebook(lattice, dimension=6, labels=("a", "b", "")):
    rng = np.random.default_rng(0)
    chosen = None if labels is None else [labels[i % len(labels)] for i in range(lattice.units)]
    return Codebook(
        prototypes=rng.normal(size=(lattice.units, dimension)), lattice=lattice, labels=chosen
    )


def a_trajectory(codebook, *, count=3, steps=5, policy="music", scale=1.0):
    rng = np.random.default_rng(1)
    start = rng.normal(size=(count, codebook.dimension))
    share = np.linspace(0.0, 1.0, steps + 1)[:, np.newaxis, np.newaxis]
    points = start + share * (codebook.prototypes[0] - start)
    return Trajectory(
        points=points * scale,
        stop=np.full(count, StopReason.REACHED),
        step_norm=np.linalg.norm(np.diff(points, axis=0), axis=2),
        arrival=np.full(count, steps),
        target_units=[0],
        codebook=codebook,
        scaling=Scaling(
            offset=np.zeros(codebook.dimension), scale=np.full(codebook.dimension, scale)
        ),
        policy=policy,
        params={},
        elapsed_s=0.0,
    )


def texts_of(drawn):
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def settings():
    # Looking at the backend would choose one.
    return {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}


def is_png(drawn):
    return plot.png_bytes(drawn, dpi=40).startswith(b"\x89PNG\r\n")


# --- lattice geometry ----------------------------------------------------------------------------


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_neighbouring_cells_share_exactly_two_corners(topology):
    lattice = Lattice(rows=4, columns=4, topology=topology)
    polygons, adjacent = plot.cell_polygons(lattice), lattice.neighbours()
    for i, j in itertools.combinations(range(lattice.units), 2):
        gaps = np.linalg.norm(polygons[i][:, np.newaxis] - polygons[j][np.newaxis], axis=2)
        shared = int((gaps < 1e-12).sum())
        assert shared == 2 if adjacent[i, j] else shared < 2


def test_hexagons_are_regular_and_of_width_one():
    corners = plot.cell_polygons(Lattice(rows=1, columns=1, topology="hexagonal"))[0]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, 1.0 / np.sqrt(3.0), rtol=1e-14)
    assert np.ptp(corners[:, 0]) == pytest.approx(1.0, rel=1e-14)


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_cells_cover_the_area_of_the_lattice_once(topology):
    lattice = Lattice(rows=4, columns=5, topology=topology)
    x, y = np.moveaxis(plot.cell_polygons(lattice), 2, 0)
    area = np.abs((x * np.roll(y, 1, axis=1) - y * np.roll(x, 1, axis=1)).sum(axis=1)) / 2.0
    assert area.sum() == pytest.approx(lattice.units * lattice.row_height, rel=1e-12)


def test_the_first_row_is_drawn_on_top_and_with_equal_aspect():
    ax = plot.u_matrix(a_codebook(LATTICES[1]))
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert ax.get_aspect() == 1.0


def test_a_torus_says_so_in_the_title():
    assert "toroidal" in plot.u_matrix(a_codebook(LATTICES[2])).get_title()
    assert "toroidal" not in plot.u_matrix(a_codebook(LATTICES[1])).get_title()


def test_neighbour_distances_equal_their_definition():
    codebook = a_codebook(LATTICES[2])
    W, adjacent = codebook.prototypes, LATTICES[2].neighbours()
    expected = [np.linalg.norm(W[adjacent[i]] - W[i], axis=1).mean() for i in range(codebook.units)]
    np.testing.assert_allclose(plot.neighbour_distances(codebook), expected, rtol=1e-13)


def test_a_codebook_without_a_lattice_is_refused_with_the_next_step():
    with pytest.raises(
        UsageError, match=r"codebook.lattice: expected a lattice .* lattice=Lattice"
    ):
        plot.u_matrix(Codebook(prototypes=np.eye(3)))


# --- every map figure on every lattice -----------------------------------------------------------


@pytest.mark.parametrize("lattice", LATTICES, ids=IDS)
def test_map_figures_are_drawn_on_every_lattice(lattice):
    codebook = a_codebook(lattice, dimension=2)
    hits = np.arange(lattice.units)
    drawn = [
        plot.u_matrix(codebook),
        plot.hit_map(hits, lattice),
        plot.label_map(codebook.labels, lattice),
        plot.prototype_images(codebook.prototypes, lattice, image_shape=(1, 2)),
    ]
    assert all(isinstance(ax, Axes) for ax in drawn)
    planes = plot.component_planes(codebook)
    assert isinstance(planes, Figure)
    assert all(is_png(one) for one in [*drawn, planes])


def test_functions_draw_into_the_axes_and_figures_they_are_given():
    figure = Figure()
    ax = figure.add_subplot()
    codebook = a_codebook(LATTICES[0])
    assert plot.u_matrix(codebook, ax=ax) is ax
    other = Figure()
    assert plot.component_planes(codebook, figure=other) is other


def test_hit_map_writes_the_count_of_every_unit_with_points():
    ax = plot.hit_map([0, 3, 12, 0], Lattice(rows=2, columns=2))
    assert {"3", "12"} <= {text.get_text() for text in ax.texts}
    assert "0" not in {text.get_text() for text in ax.texts}
    assert "points: 15, empty units: 2" in ax.get_title()


def test_label_map_gives_one_colour_per_label_and_its_own_to_empty_units():
    ax = plot.label_map(["a", "b", "a", ""], Lattice(rows=2, columns=2))
    (cells,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    a, b, again, empty = (tuple(colour) for colour in cells.get_facecolor())
    assert a == again
    assert len({a, b, empty}) == 3


def test_labels_are_shown_as_they_are_even_if_they_look_like_mathematics():
    long = "$\\frac{broken"
    ax = plot.label_map([long, "_hidden?", "b", ""], Lattice(rows=2, columns=2))
    assert is_png(ax)
    assert {long, "_hidden?"} <= set(texts_of(ax))


def test_labels_that_do_not_fit_their_cells_go_to_a_legend():
    ax = plot.label_map(["a very long label"] * 225, Lattice(rows=15, columns=15))
    assert ax.get_legend().get_texts()[0].get_text() == "a very long label"
    assert not ax.texts


def test_letters_that_the_font_lacks_do_not_warn():
    assert is_png(plot.label_map(["漢字"] * 4, Lattice(rows=2, columns=2)))


def test_component_planes_choose_the_features_that_vary_most():
    W = np.random.default_rng(0).normal(size=(6, 20)) * np.arange(20)
    figure = plot.component_planes(Codebook(prototypes=W, lattice=Lattice(rows=2, columns=3)))
    largest = sorted(np.argsort(-W.var(axis=0))[:12])
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [f"feature {i}" for i in largest]


def test_hexagonal_prototype_images_are_shifted_by_half_an_image_in_odd_rows():
    lattice = Lattice(rows=2, columns=2, topology="hexagonal")
    W = np.ones((4, 4))
    W[0, 0] = 0.0
    canvas = plot.prototype_images(W, lattice, image_shape=(2, 2)).images[0].get_array().filled(-1)
    first = [int(np.flatnonzero(canvas[row] >= 0)[0]) for row in (0, -1)]
    second = int(np.flatnonzero(canvas[0] >= 0)[2])
    assert (first[1] - first[0]) * 2 == second - first[0]


def test_training_curve_draws_the_error_and_the_radius_on_an_axis_of_its_own():
    history = {"quantization_error": np.array([2.0, 1.0]), "radius": np.array([3.0, 1.0])}
    ax = plot.training_curve(history)
    assert len(ax.figure.axes) == 2
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), history["quantization_error"])
    assert is_png(plot.training_curve({"quantization_error": np.array([1.0])}))


# --- inversion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("image_shape", [None, (2, 1)])
def test_inversion_comparison_is_drawn_for_any_number_of_points(count, image_shape):
    x = np.random.default_rng(0).normal(size=(count, 2))
    back = x.copy()
    back[0] = np.nan
    figure = plot.inversion_comparison(x, back, image_shape=image_shape)
    assert isinstance(figure, Figure)
    assert is_png(figure)
    if image_shape is not None:
        assert "no point" in texts_of(figure)


def test_inversion_comparison_shows_the_features_recovered_worst():
    x = np.random.default_rng(0).normal(size=(9, 30))
    back = x.copy()
    back[:, [4, 17]] += 1.0
    titles = texts_of(plot.inversion_comparison(x, back, at_most=2))
    assert {"feature 4", "feature 17"} <= set(titles)


def test_inversion_error_shows_zero_tiny_large_and_missing_errors():
    errors = {
        "exact": np.array([0.0, 1e-16, 3e-15]),
        "ridge": np.array([0.1, np.nan]),
        "none": np.array([np.nan]),
    }
    ax = plot.inversion_error(errors)
    assert ax.get_xscale() == "log"
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "o"])
    assert drawn.size == 4
    assert (drawn > 0.0).all()
    assert any("1 of exactly zero" in text for text in texts_of(ax))
    assert any("1 without a point" in text for text in texts_of(ax))
    assert is_png(ax)
    assert is_png(plot.inversion_error({"exact": np.zeros(3)}))


@pytest.mark.parametrize("rank", [0, 1, 3, 6])
def test_singular_values_mark_the_affine_rank_and_its_tolerance(rank):
    rng = np.random.default_rng(0)
    W = rng.normal(size=(9, rank)) @ rng.normal(size=(rank, 6)) + 3.0
    offset = W - W.mean(axis=0)
    sigma = np.linalg.svd(offset - offset.mean(axis=0), compute_uv=False)
    assert affine_rank(sigma, W) == np.count_nonzero(sigma > rank_tolerance(sigma, W)) == rank
    ax = plot.singular_values(Codebook(prototypes=W))
    assert is_png(ax)
    if rank:
        assert f"{rank} above: affine rank of 6 features" in texts_of(ax)


# --- paths ---------------------------------------------------------------------------------------


def test_frames_at_zero_and_one_are_the_ends_bit_for_bit():
    path = np.random.default_rng(0).normal(size=(7, 4))
    frames = plot.frames_at_fractions(path, [0.0, 1.0])
    np.testing.assert_array_equal(frames, path[[0, -1]])


def test_frames_lie_at_equal_lengths_along_the_path():
    path = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    frames = plot.frames_at_fractions(path, [0.0, 0.25, 0.5, 0.75, 1.0])
    expected = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 1.0]]
    np.testing.assert_allclose(frames, expected, atol=1e-15)


def test_frames_do_not_depend_on_repeated_or_inserted_points():
    rng = np.random.default_rng(0)
    path, fractions = rng.normal(size=(5, 3)), np.linspace(0.0, 1.0, 11)
    finer = np.repeat(path, 3, axis=0)
    finer = np.insert(finer, 3, (path[0] + path[1]) / 2.0, axis=0)
    np.testing.assert_allclose(
        plot.frames_at_fractions(finer, fractions),
        plot.frames_at_fractions(path, fractions),
        atol=1e-14,
    )


def test_frames_of_a_reversed_path_are_the_frames_reversed():
    path, fractions = np.random.default_rng(0).normal(size=(6, 2)), np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(
        plot.frames_at_fractions(path[::-1], fractions),
        plot.frames_at_fractions(path, fractions)[::-1],
        atol=1e-14,
    )


@pytest.mark.parametrize("length", [1, 4])
def test_frames_of_a_path_of_length_zero_are_its_start(length):
    path = np.tile([1.0, 2.0], (length, 1))
    np.testing.assert_array_equal(
        plot.frames_at_fractions(path, [0.0, 0.3, 1.0]), np.tile([1.0, 2.0], (3, 1))
    )


@pytest.mark.parametrize("lattice", LATTICES, ids=IDS)
def test_path_figures_are_drawn_on_every_lattice_for_one_point_and_for_many(lattice):
    count = 12 if lattice.units > 7 else 1
    codebook = a_codebook(lattice)
    group = {
        "music": a_trajectory(codebook, count=count),
        "straight-line": a_trajectory(codebook, count=count, steps=2, scale=10.0),
    }
    axes = [
        plot.path_strips(group, image_shape=(2, 3), target="label a", labels=["a"] * count),
        plot.target_distances(group),
        plot.feature_changes(group),
    ]
    assert all(isinstance(ax, Axes) for ax in axes)
    walks = plot.paths_on_map(group)
    assert isinstance(walks, Figure)
    assert all(is_png(one) for one in [*axes, walks])


def test_path_figures_are_drawn_for_paths_without_a_step():
    group = {"music": a_trajectory(a_codebook(LATTICES[0]), steps=0)}
    assert is_png(plot.path_strips(group, image_shape=(2, 3)))
    assert is_png(plot.paths_on_map(group))
    assert is_png(plot.target_distances(group))


def test_path_strips_name_policy_start_and_target():
    group = {"music": a_trajectory(a_codebook(LATTICES[0]))}
    ax = plot.path_strips(group, image_shape=(2, 3), target="label 3", labels=["7", "8", "9"])
    texts = texts_of(ax)
    assert {"music", "point 0: label 7 → label 3", "arrived at step 5"} <= set(texts)


@pytest.mark.parametrize("borders", ["toroidal", "cylindrical"])
def test_a_walk_over_a_joined_border_is_not_drawn_across_the_map(borders):
    lattice = Lattice(rows=6, columns=8, topology="hexagonal", **{borders: True})
    units = np.arange(lattice.units)
    for start, end in itertools.product(units[::5], units[::7]):
        segments = walk_segments(np.array([start, end]), lattice)
        lengths = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
        shortest = np.sqrt(lattice.squared_distances()[start, end])
        np.testing.assert_allclose(lengths, shortest, atol=1e-12)
        np.testing.assert_allclose(segments[0, 0], lattice.coordinates()[start])
        np.testing.assert_allclose(segments[-1, 1], lattice.coordinates()[end], atol=1e-12)


def test_target_distances_end_where_the_path_meets_its_target():
    ax = plot.target_distances({"music": a_trajectory(a_codebook(LATTICES[0]))})
    distance = ax.lines[0].get_ydata()
    assert distance[0] > 0.1
    # Distances are roots of squares that carry about eps·|w|² of rounding.
    assert distance[-1] < 1e-6


def test_feature_changes_are_given_in_the_units_of_the_map():
    codebook = a_codebook(LATTICES[0])
    plain, scaled = a_trajectory(codebook), a_trajectory(codebook, scale=100.0)
    widths = [
        [bar.get_width() for bar in plot.feature_changes({"music": one}).patches]
        for one in (plain, scaled)
    ]
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-12)


def test_drawing_changes_no_global_settings_and_does_without_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    before = settings()
    assert is_png(plot.paths_on_map({"music": a_trajectory(a_codebook(LATTICES[1]))}))
    assert is_png(plot.component_planes(a_codebook(LATTICES[1])))
    assert settings() == before
