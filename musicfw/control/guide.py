"""Which units attract each point now: along a route, or the nearest of the target."""

from __future__ import annotations

import numpy as np

from musicfw.api import BoolArray, FloatArray, IntArray, SteeringProblem
from musicfw.control.routes import Route, open_routes, routes
from musicfw.geometry import squared_distances, squared_lengths

# A waypoint is passed when its squared distance is within this factor of the smallest: on a route
# of many hops a point need not come to rest at each.
CLOSE = 1.1


class Guide:
    """Leads every point along its own route; on to the next waypoint as soon as one is near.

    Parameters
    ----------
    problem : SteeringProblem
        The walk.
    route : {"core", "lattice", "direct"}
        See `musicfw.control.routes.routes`. A target that is a path is its own route; moving away
        has none.
    selected_units : int
        Without a route: how many of the target's units attract a point, the nearest ones.
    """

    def __init__(self, problem: SteeringProblem, *, route: Route, selected_units: int) -> None:
        self._target = problem.units
        self._selected = min(selected_units, problem.units.size)
        self._routes: tuple[IntArray, ...] | None = None
        count = problem.points.shape[0]
        if problem.waypoints.size:
            self._routes = (problem.waypoints,) * count
        elif route != "direct" and problem.approaches:
            distances = ranked(problem, problem.points)
            self._routes = routes(problem.codebook, distances, problem.units, route)
            if problem.frozen_distances is not None:
                self._routes = open_routes(
                    self._routes,
                    problem.codebook,
                    distances,
                    problem.units,
                    frozen=problem.frozen_distances,
                )
        self._at = np.zeros(count, dtype=np.intp)
        if self._routes is not None:
            self._rest = [_length_after(way, problem) for way in self._routes]

    def select(self, rows: IntArray, distances: FloatArray) -> IntArray:
        """Return the units that attract the points now, shape (n, q).

        Parameters
        ----------
        rows : ndarray of intp, shape (n,)
            Numbers of the points.
        distances : ndarray, shape (n, M)
            Their squared distances to all prototypes.
        """
        if self._routes is None:
            to_target = distances[:, self._target]
            nearest = np.argsort(to_target, axis=1, kind="stable")[:, : self._selected]
            return self._target[nearest]
        to_waypoint = distances[np.arange(rows.size), self._waypoints(rows)]
        there = (to_waypoint <= CLOSE * distances.min(axis=1)) & ~self.on_last(rows)
        self._at[rows[there]] += 1
        return self._waypoints(rows)[:, np.newaxis]

    @property
    def units_at_once(self) -> int:
        """How many units attract a point at once."""
        return self._selected if self._routes is None else 1

    def on_last(self, rows: IntArray) -> BoolArray:
        """Return whether the points are on the way to their last waypoint, shape (n,)."""
        if self._routes is None:
            return np.ones(rows.size, dtype=np.bool_)
        return np.array([self._at[n] == self._routes[n].size - 1 for n in rows])

    def length_after(self, rows: IntArray) -> FloatArray:
        """Return the length of the route after the current waypoint, shape (n,)."""
        if self._routes is None:
            return np.zeros(rows.size)
        return np.array([self._rest[n][self._at[n]] for n in rows])

    def _waypoints(self, rows: IntArray) -> IntArray:
        assert self._routes is not None
        return np.array([self._routes[n][self._at[n]] for n in rows], dtype=np.intp)


def ranked(
    problem: SteeringProblem, points: FloatArray, rows: IntArray | None = None
) -> FloatArray:
    """Return squared distances (n, M) that tell which prototypes are near, frozen part included.

    Without the frozen part that all prototypes share: it tells nothing, and would make every
    prototype look as near as the nearest.
    """
    book = problem.codebook
    distances = squared_distances(points, book.prototypes, book.relevances)
    if problem.frozen_distances is None:
        return distances
    frozen = problem.frozen_distances if rows is None else problem.frozen_distances[rows]
    return np.asarray(distances + (frozen - frozen.min(axis=1, keepdims=True)))


def way_out(problem: SteeringProblem) -> FloatArray:
    """Return how far each point is from the nearest prototype outside the target, shape (N,).

    It is what moving away is measured by: a distance that is to grow by a share of itself would
    grow without end. Where the target is the whole map, the map's extent stands in. A length, like
    those of steps and routes, whatever the relevances.
    """
    prototypes = problem.codebook.prototypes
    least = np.finfo(np.float64).tiny
    if problem.units.size == problem.codebook.units:
        extent = np.square(prototypes - prototypes.mean(axis=0)).sum(axis=1).max()
        return np.full(problem.points.shape[0], np.sqrt(max(extent, least)))
    outside = ranked(problem, problem.points)
    outside[:, problem.units] = np.inf
    if problem.codebook.relevances is None:
        nearest = outside.min(axis=1)
    else:
        nearest = squared_lengths(problem.points - prototypes[outside.argmin(axis=1)])
    return np.asarray(np.sqrt(np.maximum(nearest, least)))


def _length_after(way: IntArray, problem: SteeringProblem) -> FloatArray:
    """Return, for each waypoint, the length of the route after it."""
    hops = np.linalg.norm(np.diff(problem.codebook.prototypes[way], axis=0), axis=1)
    return np.append(np.cumsum(hops[::-1])[::-1], 0.0)
