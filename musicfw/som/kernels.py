"""Loops compiled by numba. Importing this module needs numba and takes a second."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _squared_distance(x, w):  # type: ignore[no-untyped-def]
    total = x.dtype.type(0)
    for i in range(x.size):
        offset = x[i] - w[i]
        total += offset * offset
    return total


@numba.njit(cache=True, parallel=True)
def nearest(points, bounds, prototypes, winners, squared):  # type: ignore[no-untyped-def]
    """Write each point's nearest prototype, of equals the lowest, and its squared distance.

    ``bounds`` (n, M) are lower bounds of the squared distances: a unit whose bound exceeds the
    least distance so far is not looked at. The unit of least bound comes first. Returns how many
    distances were computed.
    """
    computed = np.zeros(points.shape[0], dtype=np.int64)
    for n in numba.prange(points.shape[0]):
        x, bound = points[n], bounds[n]
        first = bound.argmin()
        best, least = first, _squared_distance(x, prototypes[first])
        count = 1
        for unit in range(bound.size):
            if bound[unit] <= least and unit != first:
                distance = _squared_distance(x, prototypes[unit])
                count += 1
                if distance < least or (distance == least and unit < best):
                    best, least = unit, distance
        winners[n], squared[n], computed[n] = best, least, count
    return computed.sum()
