"""Loops compiled by numba. Importing this module needs numba and takes a second."""

from __future__ import annotations

import numba
import numpy as np

# Units whose bounds are looked at together; one more than a multiple of 4, see `_least_of_groups`.
LANES = 13
# Terms of a coarse bound, a multiple of 2: see `_coarse_bounds`.
TERMS = 14
# Points about the centre at a time: they stay in the cache.
_ROWS = 64


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


@numba.njit(cache=True, fastmath={"contract"})
def _coarse_bounds(x, table, bounds):  # type: ignore[no-untyped-def]
    """Write ``x @ table``, of `TERMS` terms: seven at a time stay in registers."""
    for k in range(0, 14, 7):
        a, b, c, d, e, f, g = x[k], x[k + 1], x[k + 2], x[k + 3], x[k + 4], x[k + 5], x[k + 6]
        t, u, v, w = table[k], table[k + 1], table[k + 2], table[k + 3]
        r, s, q = table[k + 4], table[k + 5], table[k + 6]
        if k == 0:
            for i in range(bounds.size):
                bounds[i] = (
                    a * t[i] + b * u[i] + c * v[i] + d * w[i] + e * r[i] + f * s[i] + g * q[i]
                )
        else:
            for i in range(bounds.size):
                bounds[i] += (
                    a * t[i] + b * u[i] + c * v[i] + d * w[i] + e * r[i] + f * s[i] + g * q[i]
                )


@numba.njit(cache=True)
def _least_of_groups(lanes, lowest):  # type: ignore[no-untyped-def]
    """Write the least bound of every group, a column of ``lanes``; return its unit."""
    for group in range(lowest.size):
        lowest[group] = lanes[0, group]
    for lane in range(1, LANES, 4):
        for group in range(lowest.size):
            first = min(lanes[lane, group], lanes[lane + 1, group])
            second = min(lanes[lane + 2, group], lanes[lane + 3, group])
            lowest[group] = min(lowest[group], min(first, second))
    least, best = lowest[0], 0
    for group in range(1, lowest.size):
        least = min(least, lowest[group])
    while lowest[best] > least:
        best += 1
    lane = 0
    while lanes[lane, best] > least:
        lane += 1
    return best * LANES + lane


@numba.njit(cache=True)
def _below(limit, lanes, lowest, units):  # type: ignore[no-untyped-def]
    """Write the units whose bound is at most the limit; return how many they are."""
    count = 0
    for group in range(lowest.size):
        if lowest[group] <= limit:
            unit = group * LANES
            for lane in range(LANES):
                units[count] = unit + lane
                count += lanes[lane, group] <= limit
    return count


@numba.njit(cache=True)
def _still_below(limit, lanes, z, fine, units, bounds, count):  # type: ignore[no-untyped-def]
    """Keep the units whose tighter bound is at most the limit, and write these bounds."""
    kept = 0
    for i in range(count):
        unit = units[i]
        bound = lanes[unit % LANES, unit // LANES] - _dot(z, fine[unit])
        units[kept] = unit
        bounds[kept] = bound
        kept += bound <= limit
    return kept


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
    squared distance is less than ``lengths[n] + y @ table[:, c]``, c the column of the unit, nor
    (where ``fine`` has columns) than that less ``z @ fine[unit]``: a unit for which one of them
    exceeds the least distance so far is not looked at. The unit of the least coarse bound comes
    first. The column of a unit is
    ``unit % LANES · groups + unit // LANES``; others are infinite. Returns how many distances were
    computed.
    """
    computed, most = 0, W.shape[0] - 1
    # Copies made here begin at a multiple of 32 bytes, which a tenth of the time hangs on.
    table = table.copy()
    X = np.empty((_ROWS, W.shape[1]), dtype=W.dtype)
    coarse = np.empty(table.shape[1], dtype=np.float32)
    lanes = coarse.reshape(LANES, -1)
    lowest = np.empty(lanes.shape[1], dtype=np.float32)
    units = np.empty(coarse.size + 1, dtype=np.int64)
    bounds = np.full(units.size, -np.inf, dtype=np.float32)
    for start in range(0, rows.size, _ROWS):
        stop = min(start + _ROWS, rows.size)
        for n in range(start, stop):
            _centred(points[rows[n]], centre, X[n - start])
        for n in range(start, stop):
            x = X[n - start]
            _coarse_bounds(reduced[n], table, coarse)
            first = min(_least_of_groups(lanes, lowest), most)
            best, least = first, _squared_distance(x, W[first])
            limit = np.float32(least - lengths[n])
            count = _below(limit, lanes, lowest, units)
            if fine.shape[1]:
                z = reduced[n, TERMS:]
                count = _still_below(limit, lanes, z, fine, units, bounds, count)
            computed += 1
            for i in range(count):
                unit = units[i]
                if bounds[i] <= limit and unit != first:
                    distance = _squared_distance(x, W[unit])
                    computed += 1
                    if distance < least or (distance == least and unit < best):
                        best, least = unit, distance
                        limit = np.float32(least - lengths[n])
            _add(x, W.dtype.type(shares[n]), sums[best])
            counts[best] += shares[n]
            squared[n] = least
    return computed
