"""Routes: the units that a point is led through, one after the other, on its way to a target.

Two prototypes are neighbours if their units touch on the lattice; a codebook without a lattice uses
the graph of the nearest prototypes. The length of an edge is the squared distance of its two
prototypes (the U-matrix graph with ridges made costly): many short hops are preferred to one over a
ridge.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from musicfw.api import BoolArray, Codebook, FloatArray, IntArray
from musicfw.geometry import prototype_squared_distances, squared_distances

Route = Literal["direct", "lattice", "core"]

# Neighbours of a prototype in a codebook without a lattice: as many as a square lattice gives.
_NEAREST = 8
# A part of the target is an island if its squared depth is below this share of the deepest part's.
_ISLAND = 0.25
_NO_UNIT = -9999  # what scipy's dijkstra writes where there is no predecessor


def routes(
    codebook: Codebook, distances: FloatArray, units: IntArray, route: Route
) -> tuple[IntArray, ...]:
    """Return the waypoints of every point; the last one is where it is to end.

    Parameters
    ----------
    codebook : Codebook
        The map.
    distances : ndarray, shape (N, M)
        Squared distances of the starting points to all prototypes.
    units : ndarray of intp, shape (K,)
        Units of the target.
    route : {"direct", "lattice", "core"}
        direct: the target unit whose prototype is nearest. lattice: the shortest path over the
        lattice from the point's best matching unit to the target. core: straight to the nearest
        target unit, then over the target's own units to its core, the unit whose prototype is
        farthest from every prototype outside the target (islands of the target are passed by).
    """
    nearest = units[distances[:, units].argmin(axis=1)]
    if route == "direct" or units.size == codebook.units:
        return tuple(np.array([unit]) for unit in nearest)
    between = prototype_squared_distances(codebook.prototypes, codebook.relevances)
    graph = _graph(codebook, between)
    if route == "lattice":
        onward = _onward(graph, units)
        ways = [_follow(onward, unit) for unit in distances.argmin(axis=1)]
        # Without a lattice the graph may fall apart: where no way leads, the point goes directly.
        ends = [
            way if way[-1] in units else [goal] for way, goal in zip(ways, nearest, strict=True)
        ]
        return tuple(np.array(way[1:] or way) for way in ends)
    inside = np.isin(np.arange(codebook.units), units)
    part, cores = _parts(np.where(inside[:, np.newaxis] & inside, graph, 0.0), between, inside)
    onward = _onward(np.where(part[:, np.newaxis] == part, graph, 0.0), cores)
    open_to = units[np.isin(part[units], part[cores])]
    entries = open_to[distances[:, open_to].argmin(axis=1)]
    return tuple(np.array(_follow(onward, unit)) for unit in entries)


def open_routes(
    ways: tuple[IntArray, ...],
    codebook: Codebook,
    distances: FloatArray,
    units: IntArray,
    *,
    frozen: FloatArray,
) -> tuple[IntArray, ...]:
    """Return routes without waypoints that frozen features keep a point from ever coming near.

    A point that stands at a prototype in all features that may change still is away from it by the
    frozen ones, maybe farther than from another prototype. A route ends where the point, standing
    at the prototype, is nearer to the target than to the outside by a margin; it is left as it is
    if there is no such unit, for then nothing is known to be better. Of the waypoints before, those
    stay that are the best matching unit of a point that stands at them.

    Parameters
    ----------
    ways, codebook, distances, units
        What `routes` returned and was given; the codebook in the features that may change.
    frozen : ndarray, shape (N, M)
        The part of every squared distance that cannot change.
    """
    between = squared_distances(codebook.prototypes, codebook.prototypes, codebook.relevances)
    inside = np.isin(np.arange(codebook.units), units)
    opened = []
    for n, way in enumerate(ways):
        seen = frozen[n] - frozen[n].min()
        there = between[units] + seen
        margin = there[:, ~inside].min(axis=1) - there[:, inside].min(axis=1)
        if margin.max() <= 0.0:
            opened.append(way)
            continue
        # Not the nearest that would just do: what is preserved on the way holds a point off.
        ends = units[margin >= _ISLAND * margin.max()]
        end = way[-1] if way[-1] in ends else ends[distances[n, ends].argmin()]
        passed = way[(between[way] + seen).argmin(axis=1) == way]
        before = passed[passed != end]
        if end != way[-1]:
            before = before[~inside[before]]
        opened.append(np.append(before, end))
    return tuple(opened)


def _graph(codebook: Codebook, between: FloatArray) -> FloatArray:
    """Return edge lengths between neighbouring prototypes, 0 where there is no edge."""
    if codebook.lattice is not None:
        joined = codebook.lattice.touching()
    else:
        rank = between.argsort(axis=1, kind="stable").argsort(axis=1)
        joined = rank <= _NEAREST
        joined |= joined.T
        np.fill_diagonal(joined, False)
    # Equal prototypes are neighbours at no distance, which a zero would not say.
    least = np.finfo(np.float64).tiny
    return np.where(joined, np.maximum(between, least), 0.0)


def _onward(graph: FloatArray, goals: IntArray) -> IntArray:
    """Return the next unit on the shortest way from each unit to the nearest goal, shape (M,)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    _, onward, _ = dijkstra(
        csr_array(graph), directed=False, indices=goals, min_only=True, return_predecessors=True
    )
    return np.asarray(onward, dtype=np.intp)


def _parts(graph: FloatArray, between: FloatArray, inside: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the connected part of each unit, shape (M,), and the cores of those worth entering.

    A part whose core lies much nearer to the outside than the deepest one is an island at a border,
    a unit or two that look like their neighbours: being there is hardly being in the target.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    depth = np.where(inside, between[:, ~inside].min(axis=1), -1.0)
    _, labels = connected_components(csr_array(graph), directed=False)
    part = np.asarray(labels, dtype=np.intp)
    best: dict[int, int] = {}
    for unit in np.flatnonzero(inside):
        holder = best.setdefault(int(part[unit]), int(unit))
        if depth[unit] > depth[holder]:
            best[int(part[unit])] = int(unit)
    cores = np.array(sorted(best.values()), dtype=np.intp)
    return part, cores[depth[cores] >= _ISLAND * depth[cores].max()]


def _follow(onward: IntArray, unit: int) -> list[int]:
    way = [int(unit)]
    while onward[way[-1]] != _NO_UNIT:
        way.append(int(onward[way[-1]]))
    return way
