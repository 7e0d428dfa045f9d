"""First prototypes of a map: a plane through the principal components, or rows of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from musicfw.arrays import FloatArray, IntArray
from musicfw.lattice import Lattice
from musicfw.missing import known_and_filled
from musicfw.som.statistics import WorkArray
from musicfw.sparse import dense, is_sparse

InitializationName = Literal["pca", "sample", "k-means++"]

# Beyond this many rows the components are taken from a random subset: they are a start, known to
# about 1/sqrt(2·1024) = 2.2 %, and their cost no longer grows with the data.
_ROWS_FOR_COMPONENTS = 1024
# … of sparse data fewer, if they have many features: 64 MB of float64 at most.
_DENSE_ELEMENTS = 1 << 23
# As many rows or features have exact principal axes.
_EXACT_UP_TO = 256
# More of them are not asked for.
_MOST_AXES = 64


def representative_rows(
    points: WorkArray, *, rng: np.random.Generator, least: int = 0
) -> FloatArray:
    """Return all rows, or 1024 of them drawn without repeats, in their order, as float64.

    What is taken from them (a centre, principal components) is a start only. ``least`` asks for
    more of them.
    """
    rows = points[_representative(points, rng=rng, least=least)]
    return dense(rows).astype(np.float64, copy=False)


def _representative(
    points: WorkArray, *, rng: np.random.Generator, least: int = 0
) -> slice | IntArray:
    count, wanted = points.shape[0], _ROWS_FOR_COMPONENTS
    if is_sparse(points):  # which become dense
        wanted = max(2, min(wanted, _DENSE_ELEMENTS // points.shape[1]))
    wanted = max(wanted, least)
    if count <= wanted:
        return slice(None)
    return np.sort(rng.choice(count, wanted, replace=False))


def suggested_lattice(points: WorkArray, *, rng: np.random.Generator) -> Lattice:
    """Return a rectangular lattice of a size that suits the data.

    About ``5 √N`` units, with sides in the ratio of the two leading standard deviations: what
    the SOM Toolbox does (J. Vesanto et al., "SOM Toolbox for Matlab 5", 2000). Data on a line
    get a single row.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Data.
    rng : numpy.random.Generator
        Draws the rows that the ratio is taken from, if there are many.
    """
    deviations = np.linalg.norm(principal_components(overview(points, rng=rng)), axis=1)
    units = round(5.0 * math.sqrt(points.shape[0]))
    if deviations.size == 1 or deviations[0] >= units * deviations[1]:
        return Lattice(rows=1, columns=units)
    rows = max(1, round(math.sqrt(units * float(deviations[1] / deviations[0]))))
    return Lattice(rows=rows, columns=max(1, round(units / rows)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """Where the data lie and how they spread, from some of them: enough for a start.

    Parameters
    ----------
    centre : ndarray, shape (D,)
        Their mean.
    spread : ndarray, shape (n, D)
        Their offsets from it, times the roots of their relative weights.
    """

    centre: FloatArray
    spread: FloatArray

    @cached_property
    def scale(self) -> float:
        """Largest magnitude of the offsets; 1 if they are all 0."""
        return float(max(self.spread.max(), -self.spread.min())) or 1.0

    @property
    def is_small(self) -> bool:
        """Whether `exact_axes` take little time."""
        rows, dimension = self.spread.shape
        return bool(rows <= _EXACT_UP_TO or dimension <= _EXACT_UP_TO)

    @cached_property
    def exact_axes(self) -> tuple[FloatArray, FloatArray]:
        """Squared singular values of ``spread / scale``, falling, and right directions.

        By the smaller Gram matrix; at most 64 directions (k, D), of length 1 if n ≥ D.
        """
        X = self.spread / self.scale
        wide = X.shape[1] > X.shape[0]
        values, vectors = np.linalg.eigh(X @ X.T if wide else X.T @ X)
        leading = vectors[:, ::-1][:, :_MOST_AXES].T
        return values[::-1][:_MOST_AXES], leading @ X if wide else leading


def overview(
    points: WorkArray, *, rng: np.random.Generator, weights: FloatArray | None = None
) -> Overview:
    """Return the overview of `representative_rows`, each counted by its weight."""
    chosen = _representative(points, rng=rng)
    rows = dense(points[chosen]).astype(np.float64, copy=False)
    total = 0.0 if weights is None else float(weights[chosen].sum())
    if weights is None or total == 0.0:
        centre = rows.mean(axis=0)
        if np.isnan(centre).any():
            return _known_overview(points, rows, np.full(rows.shape[0], 1.0 / rows.shape[0]))
        return Overview(centre=centre, spread=rows - centre)
    share = weights[chosen] / total
    centre = share @ rows
    if np.isnan(centre).any():
        return _known_overview(points, rows, share)
    spread = (rows - centre) * np.sqrt(share * share.size)[:, np.newaxis]
    return Overview(centre=centre, spread=spread)


def _known_overview(points: WorkArray, rows: FloatArray, share: FloatArray) -> Overview:
    """Return the overview of rows with gaps: means of what is known, no spread where nothing is."""
    known, filled = known_and_filled(rows)
    total = share @ known
    seen = total > 0.0
    centre = (share @ filled) / np.where(seen, total, 1.0)
    if not seen.all():  # in these rows; the host has seen to it that some row knows
        unseen = np.flatnonzero(~seen)
        centre[unseen] = np.nanmean(points[:, unseen], axis=0, dtype=np.float64)
    spread = np.where(known, rows - centre, 0.0) * np.sqrt(share * share.size)[:, np.newaxis]
    return Overview(centre=centre, spread=spread)


def first_prototypes(
    points: WorkArray,
    seen: Overview,
    lattice: Lattice,
    *,
    name: InitializationName,
    rng: np.random.Generator,
) -> FloatArray:
    """Return first prototypes about the centre of the overview, shape (M, D).

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Data.
    seen : Overview
        Of them.
    lattice : Lattice
        Where the units lie.
    name : {"pca", "sample", "k-means++"}
        `principal_plane`, `sampled_rows` or `distant_rows`.
    rng : numpy.random.Generator
        Source of randomness.
    """
    if name == "pca":
        return principal_plane(seen, lattice)
    choose = sampled_rows if name == "sample" else distant_rows
    rows = choose(points, lattice.units, rng=rng) - seen.centre
    return np.where(np.isnan(rows), 0.0, rows)  # a gap is filled with the centre


def principal_plane(seen: Overview, lattice: Lattice) -> FloatArray:
    """Return prototypes on the plane of the first two principal components, shape (M, D).

    ``w_i = p_i σ₁ z₁ + q_i σ₂ z₂`` with the unit's lattice position (p, q) scaled to [−1, 1], the
    lattice's longer side along z₁, and σ the standard deviations. A component's sign is such that
    its entry of largest magnitude is positive. A side of one unit has p = 0.

    Where borders are joined a plane would be torn: there the position goes round a circle, cos and
    sin of 2π times the share of the period, so a cylinder takes three components and a torus four,
    the wider extents first. Data with fewer get the plane.

    Source: Kohonen (2013), section 4.3 ("linear initialization").

    Parameters
    ----------
    seen : Overview
        Of the data.
    lattice : Lattice
        Where the units lie.
    """
    position = _position(lattice, lattice.periods)
    components = principal_components(seen, count=position.shape[1])
    if position.shape[1] > np.count_nonzero(components.any(axis=1)):
        position = _position(lattice, (np.inf, np.inf))
    components = components[: position.shape[1]]
    return position[:, : components.shape[0]] @ components


def principal_components(seen: Overview, *, count: int = 2) -> FloatArray:
    """Return the leading principal directions times their standard deviations, shape (k, D).

    k is ``count`` (at most 8), or less if there are fewer rows or features. A component whose
    variance is below rounding (data on a line) is 0. Exact to rounding up to 256 rows or features;
    beyond, by subspace iteration, which is enough for a start.
    """
    rows, dimension = seen.spread.shape
    values, directions = seen.exact_axes if seen.is_small else _iterated(seen.spread / seen.scale)
    count = min(count, dimension, rows)
    values, directions = values[:count], directions[:count]
    significant = values > max(rows, dimension) * np.finfo(np.float64).eps * values[0]
    deviations = np.sqrt(np.where(significant, values, 0.0) / rows)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.where(lengths > 0.0, lengths, 1.0)
    largest = np.abs(directions).argmax(axis=1)
    signs = np.where(directions[np.arange(count), largest] < 0.0, -1.0, 1.0)
    return np.asarray(directions * (signs * deviations * seen.scale)[:, np.newaxis])


def _iterated(X: WorkArray, count: int = 8) -> tuple[FloatArray, FloatArray]:
    """Return what `Overview.exact_axes` are, approximately: subspace iteration from some rows."""
    rows = X[np.linspace(0, X.shape[0] - 1, count).astype(np.intp)]
    basis = np.linalg.qr(rows.T)[0]
    for _ in range(4):
        basis = np.linalg.qr(X.T @ (X @ basis))[0]
    image = X @ basis
    values, vectors = np.linalg.eigh(image.T @ image)
    return values[::-1], (basis @ vectors[:, ::-1]).T


def leading_directions(seen: Overview, count: int) -> FloatArray:
    """Return orthonormal directions that hold nearly as much variance as any, shape (count, D).

    Where they are not exact, they are found in float32, which is enough to choose them by;
    orthonormal in float64.
    """
    if seen.is_small:
        directions = seen.exact_axes[1][:count]
        if directions.shape[1] <= seen.spread.shape[0]:
            return directions
    else:
        directions = _iterated((seen.spread / seen.scale).astype(np.float32), count)[1]
    return np.asarray(np.linalg.qr(directions.T.astype(np.float64))[0].T)


def sampled_rows(points: WorkArray, units: int, *, rng: np.random.Generator) -> FloatArray:
    """Return ``units`` rows of the data, shape (M, D): distinct ones as long as there are enough.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Data.
    units : int
        M. With fewer rows than that, rows are drawn with replacement.
    rng : numpy.random.Generator
        Source of randomness.
    """
    count = points.shape[0]
    rows = points[rng.choice(count, units, replace=count < units)]
    return dense(rows).astype(np.float64, copy=False)


def distant_rows(
    points: WorkArray, units: int, *, rng: np.random.Generator, candidates: int = 1
) -> FloatArray:
    """Return ``units`` rows of the data, each drawn in proportion to its distance² to the nearest.

    Source: D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
    2007. The rows come from `representative_rows` (at least four per unit), in no order of the
    lattice. Where no row is left that differs from those drawn, rows are drawn again. Gaps are
    filled with the mean of the feature.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Data.
    units : int
        M.
    rng : numpy.random.Generator
        Source of randomness.
    candidates : int
        How many are drawn for each row after the first; the one that leaves the least sum of
        squared distances is taken (the greedy variant), so that outliers are seldom chosen.
    """
    rows = representative_rows(points, rng=rng, least=4 * units)
    if np.isnan(rows).any():
        known, filled = known_and_filled(rows)
        rows = np.where(known, rows, filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    nearest = np.full(rows.shape[0], np.inf)
    chosen = np.empty(units, dtype=np.intp)
    for unit in range(units):
        total = nearest.sum()
        shares = nearest / total if 0.0 < total < np.inf else None
        drawn = rng.choice(rows.shape[0], candidates if unit else 1, p=shares)
        offsets = (rows - rows[row] for row in drawn)
        nearer = [np.minimum(nearest, np.einsum("nd,nd->n", each, each)) for each in offsets]
        best = int(np.argmin([each.sum() for each in nearer]))
        chosen[unit], nearest = drawn[best], nearer[best]
    return rows[chosen]


def _position(lattice: Lattice, periods: tuple[float, float]) -> FloatArray:
    """Return lattice positions in [−1, 1], the widest extent in column 0, shape (M, 2 to 4).

    A side with a finite period is a circle of two columns.
    """
    sides = []
    for along, period in zip(lattice.coordinates().T, periods, strict=True):
        low, high = along.min(), along.max()
        if np.isfinite(period) and high > low:
            angle = 2.0 * np.pi * along / period
            sides.append((period / (2.0 * np.pi), [np.cos(angle), np.sin(angle)]))
        else:
            half = (high - low) / 2.0
            sides.append((half, [(along - (low + high) / 2.0) / (half or 1.0)]))
    sides.sort(key=lambda side: -side[0])
    return np.column_stack([column for _, columns in sides for column in columns])
