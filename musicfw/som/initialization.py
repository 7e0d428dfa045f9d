"""First prototypes of a map: a plane through the principal components, or rows of the data."""

from __future__ import annotations

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.lattice import Lattice

# Beyond this many rows the components are taken from a random subset: they are a start, known to
# about 1/sqrt(2·2048) = 1.6 %, and their cost no longer grows with the data.
_ROWS_FOR_COMPONENTS = 2048


def principal_plane(
    points: FloatArray, lattice: Lattice, *, centre: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return prototypes on the plane of the first two principal components, about the centre.

    ``w_i = p_i σ₁ z₁ + q_i σ₂ z₂`` with the unit's lattice position (p, q) scaled to [−1, 1], the
    lattice's longer side along z₁, and σ the standard deviations. A component's sign is such that
    its entry of largest magnitude is positive. A side of one unit has p = 0.

    Source: Kohonen (2013), section 4.3 ("linear initialization").

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Data.
    lattice : Lattice
        Where the units lie.
    centre : ndarray, shape (D,)
        Mean of the data.
    rng : numpy.random.Generator
        Chooses a subset of the rows if there are more than 2048.

    Returns
    -------
    ndarray, shape (M, D)
        Relative to the centre.
    """
    if points.shape[0] > _ROWS_FOR_COMPONENTS:
        chosen = rng.choice(points.shape[0], _ROWS_FOR_COMPONENTS, replace=False)
        points = points[np.sort(chosen)]
    components = principal_components(points - centre)
    return _position(lattice)[:, : components.shape[0]] @ components


def principal_components(centred: FloatArray) -> FloatArray:
    """Return the leading two principal directions times their standard deviations, shape (k, D).

    k is 2, or 1 for D = 1. Taken from the smaller of the two Gram matrices; a component whose
    variance is below rounding (data on a line) is 0.
    """
    rows, dimension = centred.shape
    wide = dimension > rows
    scale = float(np.abs(centred).max()) or 1.0
    X = centred / scale
    gram = X @ X.T if wide else X.T @ X
    size = gram.shape[0]
    count = min(2, size)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    significant = values > max(rows, dimension) * np.finfo(np.float64).eps * values[0]
    deviations = np.sqrt(np.where(significant, values, 0.0) / rows)
    directions = vectors.T @ X if wide else vectors.T
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.where(lengths > 0.0, lengths, 1.0)
    largest = np.abs(directions).argmax(axis=1)
    signs = np.where(directions[np.arange(count), largest] < 0.0, -1.0, 1.0)
    return np.asarray(directions * (signs * deviations * scale)[:, np.newaxis])


def sampled_rows(points: FloatArray, units: int, *, rng: np.random.Generator) -> FloatArray:
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
    return points[rng.choice(count, units, replace=count < units)]


def _position(lattice: Lattice) -> FloatArray:
    """Return lattice positions scaled to [−1, 1], the longer side in column 0, shape (M, 2)."""
    position = lattice.coordinates()
    lowest, highest = position.min(axis=0), position.max(axis=0)
    half = (highest - lowest) / 2.0
    scaled = (position - (lowest + highest) / 2.0) / np.where(half > 0.0, half, 1.0)
    return np.asarray(scaled[:, ::-1] if half[1] > half[0] else scaled)
