"""Loops compiled by numba. Importing this module needs numba and takes a second."""

from __future__ import annotations

import numba
import numpy as np

# Units whose bounds are looked at together.
LANES = 16


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _squared_distance(x, w):  # type: ignore[no-untyped-def]
    total = x.dtype.type(0)
    for i in range(x.size):
        offset = x[i] - w[i]
        total += offset * offset
    return total


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(x, w):  # type: ignore[no-untyped-def]
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * w[i]
    return total


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz", "nnan"})
def _coarse_bounds(x, table, bounds, lowest):  # type: ignore[no-untyped-def]
    """Write ``x @ table`` (of 4 k + 2 terms), and the least of every `LANES` of its numbers."""
    for unit in range(bounds.size):
        bounds[unit] = x[0] * table[0, unit] + x[1] * table[1, unit]
    for k in range(2, x.size, 4):
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        for unit in range(bounds.size):
            bounds[unit] += (
                a * table[k, unit]
                + b * table[k + 1, unit]
                + c * table[k + 2, unit]
                + d * table[k + 3, unit]
            )
    for group in range(lowest.size):
        least = bounds[group * LANES]
        for unit in range(group * LANES + 1, (group + 1) * LANES):
            least = min(least, bounds[unit])
        lowest[group] = least


@numba.njit(cache=True)
def _least(bounds, lowest):  # type: ignore[no-untyped-def]
    """Return the unit of the least bound."""
    group = 0
    for other in range(1, lowest.size):
        if lowest[other] < lowest[group]:
            group = other
    first = group * LANES
    for unit in range(first + 1, (group + 1) * LANES):
        if bounds[unit] < bounds[first]:
            first = unit
    return first


@numba.njit(cache=True)
def _below(limit, bounds, lowest, units):  # type: ignore[no-untyped-def]
    """Write the units whose bound is at most the limit, rising; return how many they are."""
    count = 0
    for group in range(lowest.size):
        if lowest[group] <= limit:
            for unit in range(group * LANES, (group + 1) * LANES):
                units[count] = unit
                count += bounds[unit] <= limit
    return count


@numba.njit(cache=True)
def _centred(point, centre, x):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        x[i] = point[i] - centre[i]


@numba.njit(cache=True)
def _add(x, share, total):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        total[i] += share * x[i]


@numba.njit(cache=True, nogil=True)
def collect(  # type: ignore[no-untyped-def]
    points, centre, rows, reduced, lengths, shares, W, table, fine, sums, counts, squared
):
    """Add some points, about the centre, to the sums and counts of their nearest prototypes.

    ``rows`` names the points; ``squared`` takes their squared distances to those prototypes (of
    equally near ones the lowest). With y the first entries of ``reduced[n]`` and z the others, no
    squared distance is less than ``lengths[n] + y @ table[:, unit]``, nor than that less
    ``z @ fine[unit]``: a unit for which one of them exceeds the least distance so far is not looked
    at. The unit of the least coarse bound comes first. ``table`` has a multiple of `LANES` columns,
    those beyond the last unit infinite. Returns how many distances were computed.
    """
    coarse, computed = table.shape[0], 0
    x = np.empty(W.shape[1], dtype=W.dtype)
    bounds = np.empty(table.shape[1], dtype=W.dtype)
    lowest = np.empty(bounds.size // LANES, dtype=W.dtype)
    units = np.empty(bounds.size + 1, dtype=np.int64)
    for n in range(rows.size):
        _centred(points[rows[n]], centre, x)
        _coarse_bounds(reduced[n, :coarse], table, bounds, lowest)
        best = min(_least(bounds, lowest), W.shape[0] - 1)
        least = _squared_distance(x, W[best])
        first, limit = best, least - lengths[n]
        computed += 1
        z = reduced[n, coarse:]
        for i in range(_below(limit, bounds, lowest, units)):
            unit = units[i]
            if unit != first and bounds[unit] - _dot(z, fine[unit]) <= limit:
                distance = _squared_distance(x, W[unit])
                computed += 1
                if distance < least or (distance == least and unit < best):
                    best, least = unit, distance
                    limit = least - lengths[n]
        _add(x, W.dtype.type(shares[n]), sums[best])
        counts[best] += shares[n]
        squared[n] = least
    return computed
