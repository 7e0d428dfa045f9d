"""Routes: compared with a plain search over the graph, unit by unit."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.control.routes import open_routes, routes
from musicfw.geometry import squared_distances

seeds = st.integers(0, 2**32 - 1)
boards = st.sampled_from(
    [
        mf.Lattice(rows=4, columns=5),
        mf.Lattice(rows=4, columns=5, topology="hexagonal"),
        mf.Lattice(rows=4, columns=5, toroidal=True),
        mf.Lattice(rows=4, columns=5, topology="hexagonal", cylindrical=True),
        mf.Lattice(rows=1, columns=9),
        None,
    ]
)


def scene(seed, board, *, target=6):
    rng = np.random.default_rng(seed)
    count = 20 if board is None else board.units
    codebook = mf.Codebook(prototypes=rng.normal(size=(count, 3)), lattice=board)
    starts = rng.normal(size=(5, 3))
    units = rng.choice(count, size=min(target, count - 2), replace=False)
    return codebook, codebook.squared_distances(starts), units


def neighbours_of(codebook):
    """Return a set of neighbours for each unit, from positions or ranks."""
    count = codebook.units
    joined = [set() for _ in range(count)]
    if codebook.lattice is None:
        between = codebook.squared_distances(codebook.prototypes)
        np.fill_diagonal(between, -1.0)
        for i in range(count):
            for j in np.argsort(between[i])[1:9]:
                joined[i].add(int(j))
                joined[int(j)].add(i)
        return joined
    reach = 1.0 if codebook.lattice.topology == "hexagonal" else np.sqrt(2.0)
    far = codebook.lattice.squared_distances()
    for i in range(count):
        joined[i] = {j for j in range(count) if j != i and far[i, j] <= reach**2 + 1e-9}
    return joined


def shortest(codebook, start, goals, allowed=None):
    """Return the length of the shortest way, edges as long as squared prototype distances."""
    joined, W = neighbours_of(codebook), codebook.prototypes
    best, queue = {start: 0.0}, [(0.0, start)]
    while queue:
        length, unit = heapq.heappop(queue)
        if unit in goals:
            return length
        for other in joined[unit]:
            if allowed is not None and other not in allowed:
                continue
            further = length + ((W[unit] - W[other]) ** 2).sum()
            if further < best.get(other, np.inf):
                best[other] = further
                heapq.heappush(queue, (further, other))
    return np.inf


def length_of(codebook, way):
    return (np.diff(codebook.prototypes[np.array(way)], axis=0) ** 2).sum()


@given(seed=seeds, board=boards)
def test_the_way_over_the_lattice_is_the_shortest_to_any_target_unit(seed, board):
    codebook, distances, units = scene(seed, board)
    joined, goals = neighbours_of(codebook), set(units.tolist())
    for row, way in zip(distances, routes(codebook, distances, units, "lattice"), strict=True):
        winner = int(row.argmin())
        assert way[-1] in goals
        if winner in goals:
            assert way.tolist() == [winner]
            continue
        whole = [winner, *way.tolist()]
        assert all(b in joined[a] for a, b in itertools.pairwise(whole))
        assert not goals & set(whole[:-1])
        expected = shortest(codebook, winner, goals)
        assert length_of(codebook, whole) == pytest.approx(expected, rel=1e-12)


def parts_of(joined, inside):
    """Return the connected parts of a set of units."""
    left, parts = set(inside), []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            unit = edge.pop()
            part.add(unit)
            fresh = (joined[unit] & inside) - part
            part |= fresh
            edge += fresh
        left -= part
        parts.append(part)
    return parts


@given(seed=seeds, board=boards)
def test_the_way_to_the_core_stays_in_the_target_and_ends_deepest_in_its_part(seed, board):
    codebook, distances, units = scene(seed, board)
    joined, inside = neighbours_of(codebook), set(units.tolist())
    outside = [unit for unit in range(codebook.units) if unit not in inside]
    depth = codebook.squared_distances(codebook.prototypes)[:, outside].min(axis=1)
    parts = parts_of(joined, inside)
    core_depth = [depth[sorted(part)].max() for part in parts]
    # Islands, whose core is much nearer to the outside than the deepest one, are passed by.
    deep = [p for p, d in zip(parts, core_depth, strict=True) if d >= 0.25 * max(core_depth)]
    open_to = np.array(sorted(set.union(*deep)))
    for row, way in zip(distances, routes(codebook, distances, units, "core"), strict=True):
        nearest = int(open_to[row[open_to].argmin()])
        assert way[0] == nearest
        assert set(way.tolist()) <= inside
        assert all(b in joined[a] for a, b in itertools.pairwise(way))
        (part,) = (part for part in parts if nearest in part)
        assert depth[way[-1]] == depth[sorted(part)].max()
        expected = shortest(codebook, nearest, {int(way[-1])}, allowed=inside)
        assert length_of(codebook, way) == pytest.approx(expected, rel=1e-12)


@given(seed=seeds, board=boards, route=st.sampled_from(["core", "lattice", "direct"]))
def test_a_target_of_the_whole_map_is_the_unit_that_is_nearest_already(seed, board, route):
    codebook, distances, _ = scene(seed, board)
    every = np.arange(codebook.units)
    found = routes(codebook, distances, every, route)
    assert [way.tolist() for way in found] == [[unit] for unit in distances.argmin(axis=1)]


@given(seed=seeds, board=boards)
def test_the_direct_way_is_the_nearest_target_unit(seed, board):
    codebook, distances, units = scene(seed, board)
    found = routes(codebook, distances, units, "direct")
    expected = units[distances[:, units].argmin(axis=1)]
    assert [way.tolist() for way in found] == [[unit] for unit in expected]


def test_a_target_in_two_parts_has_two_cores():
    x = np.array([0.0, 1, 2, 3, 4, 9, 10, 11, 12])
    codebook = mf.Codebook(prototypes=x[:, np.newaxis], lattice=mf.Lattice(rows=1, columns=9))
    units = np.array([0, 1, 2, 7, 8])
    starts = codebook.squared_distances([[2.9], [10.4], [-5.0]])
    found = routes(codebook, starts, units, "core")
    assert [way.tolist() for way in found] == [[2, 1, 0], [7, 8], [0]]


@pytest.mark.parametrize("lattice", [None, mf.Lattice(rows=2, columns=6)])
@pytest.mark.parametrize("route", ["core", "lattice", "direct"])
def test_equal_prototypes_are_neighbours_at_no_distance(lattice, route):
    codebook = mf.Codebook(prototypes=np.ones((12, 2)), lattice=lattice)
    starts = codebook.squared_distances([[0.0, 0.0]])
    (way,) = routes(codebook, starts, np.array([4, 5, 11]), route)
    assert way[-1] in (4, 5, 11)
    path = mf.steer(
        codebook, [[0.0, 0.0]], target=mf.Target.units([4, 5, 11]), route=route, steps=30
    )
    assert np.isfinite(path.points).all()


def test_where_the_graph_falls_apart_the_way_leads_directly_to_the_target():
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(12, 3)), rng.normal(size=(12, 3)) + 100.0
    codebook = mf.Codebook(prototypes=np.concatenate([near, far]))
    units = np.array([20, 21])
    d = codebook.squared_distances(near[:2] + 0.1)
    found = routes(codebook, d, units, "lattice")
    assert [way.tolist() for way in found] == [[unit] for unit in units[d[:, units].argmin(axis=1)]]
    path = mf.steer(codebook, near[:2], target=mf.Target.units(units), route="lattice", steps=200)
    assert path.reached.all()


# --- frozen features -----------------------------------------------------------------------------

# Six units on a line; the second feature is frozen and sets the upper row apart from the lower.
LINE = mf.Codebook(
    prototypes=np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]),
    lattice=mf.Lattice(rows=1, columns=6),
)


def opened(way, units, frozen):
    frozen = np.array([frozen], dtype=float)
    distances = (np.arange(6.0)[np.newaxis] - 0.0) ** 2 + frozen
    (found,) = open_routes((np.array(way),), LINE, distances, np.array(units), frozen=frozen)
    return found.tolist()


def test_without_a_frozen_part_routes_stay_as_they_are():
    assert opened([1, 2, 3, 4], [3, 4], [7.0] * 6) == [1, 2, 3, 4]


def test_a_waypoint_that_the_frozen_part_sets_out_of_reach_is_left_out():
    assert opened([1, 2, 3, 4], [4, 5], [0, 0, 9.0, 0, 0, 0]) == [1, 3, 4]


def test_a_route_ends_where_the_target_wins_with_the_frozen_part_in_place():
    # Whoever stands at unit 3 is nearer to 2 and 4, outside the target.
    assert opened([1, 2, 3], [3, 5], [0, 0, 0, 20.0, 0, 0]) == [1, 2, 5]


def test_a_target_out_of_reach_leaves_the_route_as_it_is():
    assert opened([1, 2, 3], [3], [0, 0, 0, 99.0, 0, 0]) == [1, 2, 3]


@pytest.mark.parametrize("route", ["core", "lattice"])
def test_with_frozen_features_points_arrive_where_the_target_can_win(route):
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(6, 5)) * 3.0
    label = rng.integers(6, size=900)
    points = centres[label] + rng.normal(size=(900, 5))
    trained = mf.train(
        points, lattice=mf.Lattice(rows=9, columns=9), labels=(label % 2).astype(str), seed=1
    )
    book, starts = trained.codebook, points[label % 2 == 0][:60]
    path = mf.steer(trained, starts, target=mf.Target.label("1"), frozen=[0, 3], route=route)
    free = [1, 2, 4]
    between = squared_distances(book.prototypes[:, free], book.prototypes[:, free])
    frozen = squared_distances(starts[:, [0, 3]], book.prototypes[:, [0, 3]])
    standing = between + frozen[:, np.newaxis]  # of each start, at each unit, to every unit
    ours = book.labels == "1"
    won = standing[:, ours][:, :, ours].min(axis=2), standing[:, ours][:, :, ~ours].min(axis=2)
    can_win = (won[0] < 0.8 * won[1]).any(axis=1)
    assert can_win.sum() >= 50
    # Not all: what is preserved on the way may hold a point off by more than the margin.
    assert path.reached[can_win].mean() >= 0.95
