"""Loops compiled by numba. Importing this module needs numba and takes a second."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import overload

# Units whose bounds are looked at together, a multiple of 5: see `_least_of_groups`.
LANES = 10
# Unsigned, as all that numbers units here: an index that may be negative costs a comparison.
_LANES = np.uint64(LANES)
_LARGEST = np.finfo(np.float32).max
# Terms of a coarse bound, two times seven: see `_coarse_bounds`.
TERMS = 14
# Points about the centre at a time: they stay in the cache.
_ROWS = 64
# Points after which it shows whether bounds are of use; a multiple of `_ROWS`.
_TRIAL_ROWS = 256


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


@numba.njit(cache=True)
def of_units(W, projections, rounding, room, longest):  # type: ignore[no-untyped-def]
    """Return ``table`` and ``fine`` of `collect`, after whether no squared length is too long.

    ``projections`` are those of the prototypes, the coarse ones first; ``rounding`` the worst error
    of a squared length, in eps of W; ``room`` the share by which bounds are lowered; and no squared
    length should exceed ``longest``.
    """
    coarse, slack = TERMS - 2, rounding * np.finfo(W.dtype).eps
    units, more = W.shape[0], projections.shape[1] - coarse
    groups = -(-units // (8 * LANES)) * 8  # whole vectors of them
    # What is made here begins at a multiple of 32 bytes, which a tenth of the time hangs on.
    table = np.zeros((TERMS, LANES * groups), dtype=np.float32)
    table[-1] = np.inf
    fine = np.empty((units, more + 2 if more else 0), dtype=np.float32)
    fits = True
    for unit in range(units):
        column = unit % LANES * groups + unit // LANES
        squared = _dot(W[unit], W[unit])
        fits &= squared <= longest
        rest = squared
        for k in range(coarse):
            table[k, column] = -2 * projections[unit, k]
            rest -= projections[unit, k] ** 2
        table[coarse, column] = -2 * np.sqrt(max(rest, 0.0) + slack * squared)
        table[coarse + 1, column] = squared * (1 - room)
        if more:
            for k in range(more):
                fine[unit, k] = 2 * projections[unit, coarse + k]
                rest -= projections[unit, coarse + k] ** 2
            fine[unit, more] = 2 * np.sqrt(max(rest, 0.0) + slack * squared)
            fine[unit, more + 1] = -table[coarse, column]
    return fits, table, fine


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
    """Write the least bound of every group, a column of ``lanes``; return the unit of the least."""
    t, u, v, w, x = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    for group in range(lowest.size):
        first, second = min(t[group], u[group]), min(v[group], w[group])
        lowest[group] = min(x[group], min(first, second))
    for k in range(5, LANES, 5):
        t, u, v, w, x = lanes[k], lanes[k + 1], lanes[k + 2], lanes[k + 3], lanes[k + 4]
        for group in range(lowest.size):
            first, second = min(t[group], u[group]), min(v[group], w[group])
            lowest[group] = min(min(lowest[group], x[group]), min(first, second))
    a, b, c, d = lowest[0], lowest[1], lowest[2], lowest[3]  # four at a time need not wait
    for group in range(4, lowest.size, 4):
        a, b = min(a, lowest[group]), min(b, lowest[group + 1])
        c, d = min(c, lowest[group + 2]), min(d, lowest[group + 3])
    least, best = min(min(a, b), min(c, d)), 0
    while lowest[best] > least:
        best += 1
    lane = 0
    while lanes[lane, best] > least:
        lane += 1
    return np.uint64(best * LANES + lane)


@numba.njit(cache=True)
def _limit(squared, length):  # type: ignore[no-untyped-def]
    """Return what a bound may be at most; finite, so that no infinite column counts as a unit."""
    return min(np.float32(squared - length), _LARGEST)


@numba.njit(cache=True)
def _below(limit, lanes, lowest, units):  # type: ignore[no-untyped-def]
    """Write the units whose bound is at most the limit; return how many they are."""
    count = np.uint64(0)
    for group in range(lowest.size):
        if lowest[group] <= limit:
            unit = np.uint64(group) * _LANES
            for lane in range(_LANES):
                units[count] = unit + lane
                count += np.uint64(lanes[lane, group] <= limit)
    return count


@numba.njit(cache=True)
def _still_below(limit, lanes, z, fine, units, bounds, count):  # type: ignore[no-untyped-def]
    """Keep the units whose tighter bound is at most the limit, and write these bounds."""
    kept = np.uint64(0)
    for i in range(count):
        unit = units[i]
        bound = lanes[unit % _LANES, unit // _LANES] - _dot(z, fine[unit])
        units[kept] = unit
        bounds[kept] = bound
        kept += np.uint64(bound <= limit)
    return kept


def _about(points: Any, centre: Any, rows: Any, X: Any, places: Any) -> tuple[Any, Any]:
    """Return where some points stand about the centre (None: points do), and in which places."""
    raise NotImplementedError


@overload(_about)
def _compiled_about(points, centre, rows, X, places):  # type: ignore[no-untyped-def]
    if isinstance(centre, numba.types.NoneType):
        return lambda points, centre, rows, X, places: (points, rows)

    def written(points, centre, rows, X, places):  # type: ignore[no-untyped-def]
        for n in range(rows.size):
            point, x = points[rows[n]], X[n]
            for i in range(x.size):
                x[i] = point[i] - centre[i]
        return X, places

    return written


@numba.njit(cache=True)
def _add(x, share, total):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        total[i] += share * x[i]


@numba.njit(cache=True, nogil=True)
def collect(  # type: ignore[no-untyped-def]
    points, centre, rows, reduced, lengths, shares, W, table, fine, sums, counts, squared, most
):
    """Add some points, about the centre, to the sums and counts of their nearest prototypes.

    ``rows`` names the points; ``squared`` takes their squared distances to those prototypes (of
    equally near ones the lowest). With y the first entries of ``reduced[n]`` and z the others, no
    squared distance is less than ``lengths[n] + y @ table[:, c]``, c the column of the unit, nor
    (where ``fine`` has columns) than that less ``z @ fine[unit]``: a unit for which one of them
    exceeds the least distance so far is not looked at. The unit of the least coarse bound comes
    first. The column of a unit is ``unit % LANES · groups + unit // LANES``; others are infinite.
    Returns False, too early, once that is of no use: when more than the share ``most`` of the
    distances of the points so far were computed.
    """
    computed, last = 0, np.uint64(W.shape[0] - 1)
    X, places = np.empty((_ROWS, W.shape[1]), dtype=W.dtype), np.arange(_ROWS)
    coarse = np.empty((_ROWS, table.shape[1]), dtype=np.float32)
    lanes = coarse.reshape(_ROWS, LANES, -1)
    lowest = np.empty((_ROWS, lanes.shape[2]), dtype=np.float32)
    firsts = np.empty(_ROWS, dtype=np.uint64)
    units = np.empty(table.shape[1] + 1, dtype=np.uint64)
    bounds = np.full(units.size, -np.inf, dtype=np.float32)
    for start in range(0, rows.size, _ROWS):
        stop = min(start + _ROWS, rows.size)
        near, order = _about(points, centre, rows[start:stop], X, places)
        # Step by step for many points: one can go on while another waits.
        for i in range(stop - start):
            _coarse_bounds(reduced[start + i], table, coarse[i])
            firsts[i] = min(_least_of_groups(lanes[i], lowest[i]), last)
        for i in range(stop - start):
            squared[start + i] = _squared_distance(near[order[i]], W[firsts[i]])
        for n in range(start, stop):
            x, first = near[order[n - start]], firsts[n - start]
            best, least = first, squared[n]
            limit = _limit(least, lengths[n])
            count = _below(limit, lanes[n - start], lowest[n - start], units)
            if fine.shape[1]:
                z = reduced[n, TERMS:]
                count = _still_below(limit, lanes[n - start], z, fine, units, bounds, count)
            computed += 1
            for i in range(count):
                unit = units[i]
                if bounds[i] <= limit and unit != first:
                    distance = _squared_distance(x, W[unit])
                    computed += 1
                    if distance < least or (distance == least and unit < best):
                        best, least = unit, distance
                        limit = _limit(least, lengths[n])
            _add(x, W.dtype.type(shares[n]), sums[best])
            counts[best] += shares[n]
            squared[n] = least
        if stop >= min(_TRIAL_ROWS, rows.size) and computed > most * stop * W.shape[0]:
            return False
    return True


@numba.njit(cache=True)
def two_nearest(points, centre, rows, reduced, lengths, W, table):  # type: ignore[no-untyped-def]
    """Return the two nearest prototypes of some points, of equally near ones the lowest.

    What is given is as for `collect`, of at least two prototypes.
    """
    found = np.zeros((rows.size, 2), dtype=np.int64)
    one, last = np.uint64(1), np.uint64(W.shape[0] - 1)
    X, places = np.empty((rows.size, W.shape[1]), dtype=W.dtype), np.arange(rows.size)
    near, order = _about(points, centre, rows, X, places)
    coarse = np.empty(table.shape[1], dtype=np.float32)
    lanes = coarse.reshape(LANES, -1)
    lowest = np.empty(lanes.shape[1], dtype=np.float32)
    units = np.empty(coarse.size + 1, dtype=np.uint64)
    for n in range(rows.size):
        x = near[order[n]]
        _coarse_bounds(reduced[n], table, coarse)
        best = min(_least_of_groups(lanes, lowest), last)
        # The nearer of its neighbours in the first direction of the lattice, if it has two.
        second = best - one if best else best + one
        least, less = _squared_distance(x, W[best]), _squared_distance(x, W[second])
        if 0 < best < last:
            distance = _squared_distance(x, W[best + one])
            if distance < less:
                second, less = best + one, distance
        count = _below(_limit(max(least, less), lengths[n]), lanes, lowest, units)
        if less < least or (less == least and second < best):
            best, second, least, less = second, best, less, least
        for i in range(count):
            unit = units[i]
            distance = _squared_distance(x, W[unit])
            if unit != best and (distance < least or (distance == least and unit < best)):
                best, second, least, less = unit, best, distance, least
            elif unit != best and (distance < less or (distance == less and unit < second)):
                second, less = unit, distance
        found[n, 0], found[n, 1] = best, second
    return found
