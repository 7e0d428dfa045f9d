"""Whether what is near in the data is near on the lattice, and the other way round.

All distances in the data are the codebook's own (its relevances among them), in the map's units. On
the lattice many distances are equal, and points of one unit are at none: the measures of points are
what they are on average if ties are broken at random, which does not depend on the numbers of the
units or the order of the points.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_points
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.geometry import of_units, prototype_squared_distances, squared_distances
from musicfw.som.quality import required_lattice

# Elements per block of distances between points: about 8 MB.
_BLOCK_ELEMENTS = 1 << 20
# Squared lattice distances that are equal but for rounding.
_LATTICE_DECIMALS = 9
# Squared distances are a difference of products: below this share of the largest they are rounding.
_COINCIDENT = 64 * float(np.finfo(np.float64).eps)


def topographic_product(codebook: Codebook) -> float:
    """Return whether the lattice has too few dimensions for the prototypes, or too many.

    With n_k(j) the k-th nearest unit to j, by the prototypes (V) or on the lattice (A)::

        Q1(j,k) = d_V(j, n_k^A(j)) / d_V(j, n_k^V(j))
        Q2(j,k) = d_A(j, n_k^A(j)) / d_A(j, n_k^V(j))
        P = 1/(M(M−1)) Σ_j Σ_k 1/(2k) Σ_{l≤k} ln(Q1(j,l) Q2(j,l))

    0 if both orders agree; below 0 where the lattice is folded into more dimensions than it has,
    above 0 where it has more than the prototypes fill (H.-U. Bauer and K. Pawelzik, "Quantifying
    the neighborhood preservation of self-organizing feature maps", IEEE Trans. Neural Networks 3,
    1992). Of units equally far on the lattice the one with the nearer prototype
    comes first, and the other way round. 0 for a map of one unit; NaN if two prototypes coincide to
    rounding, which have no order. Takes a few matrices of M².

    Raises
    ------
    UsageError
        If the codebook has no lattice.
    """
    lattice, units = required_lattice(codebook, "topographic_product"), codebook.units
    if units == 1:
        return 0.0
    between = prototype_squared_distances(codebook.prototypes, codebook.relevances)
    on_lattice = lattice.squared_distances().round(_LATTICE_DECIMALS)
    between[between <= _COINCIDENT * between.max()] = 0.0
    # A unit is not its own neighbour: it comes first in every order and is left out.
    for matrix in (between, on_lattice):
        np.fill_diagonal(matrix, -1.0)
    by_lattice = np.lexsort((between, on_lattice))[:, 1:]
    by_prototypes = np.lexsort((on_lattice, between))[:, 1:]
    logarithms = np.zeros(by_lattice.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # logarithms of 0, and their differences
        for matrix in (between, on_lattice):
            logarithms += np.log(np.take_along_axis(matrix, by_lattice, axis=1))
            logarithms -= np.log(np.take_along_axis(matrix, by_prototypes, axis=1))
    # Logarithms of squares, hence 4 for 2.
    mean = np.cumsum(logarithms, axis=1) / (4.0 * np.arange(1, units))
    return float(mean.mean()) if np.isfinite(mean).all() else float("nan")


class Preservation(NamedTuple):
    """What `preservation` measures: each 1 at best."""

    trustworthiness: float
    continuity: float
    neighborhood_preservation: float


def preservation(codebook: Codebook, points: npt.ArrayLike, *, neighbors: int = 10) -> Preservation:
    """Return `trustworthiness`, `continuity` and `neighborhood_preservation` in one go.

    Parameters
    ----------
    codebook : Codebook
        The map. A point lies on the lattice where its best matching unit does.
    points : array_like, shape (N, D)
        More than 2 · ``neighbors`` points; the time grows with N² ln N.
    neighbors : int
        k, how many nearest points make a neighbourhood.

    Raises
    ------
    UsageError
        If the codebook has no lattice, or for fewer points.
    """
    lattice = required_lattice(codebook, "preservation")
    matrix = as_points(points, name="points", dimension=codebook.dimension)
    count = matrix.shape[0]
    if not 1 <= neighbors < count / 2:
        raise UsageError(
            f"neighbors: expected from 1 to less than half of the {count} points, got {neighbors}"
        )
    units = codebook.best_matching_units(matrix)
    on_lattice = lattice.squared_distances().round(_LATTICE_DECIMALS)
    intruded = missed = kept = 0.0
    for rows in _blocks(count):
        here = units[rows]
        near = squared_distances(matrix, matrix[rows], of_units(codebook.relevances, here)).T
        data = _ranks(near, rows, neighbors)
        shown = _ranks(on_lattice[here][:, units], rows, neighbors)
        intruded += float((shown.share * data.excess).sum())
        missed += float((data.share * shown.excess).sum())
        kept += float((data.share * shown.share).sum())
    k = float(neighbors)
    worst = count * k * (2.0 * count - 3.0 * k - 1.0) / 2.0
    return Preservation(1.0 - intruded / worst, 1.0 - missed / worst, kept / (count * k))


def trustworthiness(codebook: Codebook, points: npt.ArrayLike, *, neighbors: int = 10) -> float:
    """Return whether points shown as near are near: 1 if all are.

    ``1 − 2/(N k (2N − 3k − 1)) Σ_i Σ_{j ∈ U_k(i)} (r(i,j) − k)``, where U_k(i) are the points among
    the k nearest to i on the lattice, but not in the data, and r(i,j) is the rank of j by its
    distance from i in the data (J. Venna and S. Kaski, "Neighborhood preservation in nonlinear
    projection methods: an experimental study", ICANN 2001). Parameters and errors are those of
    `preservation`.
    """
    return preservation(codebook, points, neighbors=neighbors).trustworthiness


def continuity(codebook: Codebook, points: npt.ArrayLike, *, neighbors: int = 10) -> float:
    """Return whether points that are near are shown as near: 1 if all are.

    `trustworthiness` with data and lattice exchanged (the same source, where it is called the
    preservation of original neighbourhoods). Parameters and errors are those of `preservation`.
    """
    return preservation(codebook, points, neighbors=neighbors).continuity


def neighborhood_preservation(
    codebook: Codebook, points: npt.ArrayLike, *, neighbors: int = 10
) -> float:
    """Return the share of the k nearest points in the data that are so on the lattice, too.

    The mean recall, which is the mean precision, of neighbourhoods of k points (J. Venna et al.,
    "Information retrieval perspective to nonlinear dimensionality reduction for data
    visualization", JMLR 11, 2010); k/(N − 1) is what chance gives. Parameters and errors are those
    of `preservation`.
    """
    return preservation(codebook, points, neighbors=neighbors).neighborhood_preservation


class _Ranks(NamedTuple):
    """Of every point j as seen from i, on average over the orders of what is equally far."""

    share: FloatArray
    """How likely j is among the k nearest to i."""
    excess: FloatArray
    """``max(rank − k, 0)``."""


def _ranks(distances: FloatArray, rows: slice, neighbors: int) -> _Ranks:
    """Return the ranks of all points as seen from some, both (n, N); changes ``distances``."""
    count, size = distances.shape
    own = np.arange(count), np.arange(rows.start, rows.start + count)
    distances[own] = -1.0
    order = distances.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, axis=1)
    place = np.arange(size)
    begins = np.ones(distances.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] > ordered[:, :-1]
    # The point itself is the first, so that place p holds rank p. A tie takes ranks from `first`
    # to `last`, and each of its points any of them alike.
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    ends = np.ones(distances.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, size)[:, ::-1], axis=1)[:, ::-1]
    members = (last - first + 1).astype(np.float64)
    share = np.clip((neighbors + 1 - first) / members, 0.0, 1.0)
    lowest = np.maximum(first - neighbors, 1.0)
    highest = np.maximum(last - neighbors, 0.0)
    excess = np.maximum(highest - lowest + 1.0, 0.0) * (lowest + highest) / 2.0 / members
    share[:, 0] = excess[:, 0] = 0.0
    result = _Ranks(np.empty(distances.shape), np.empty(distances.shape))
    np.put_along_axis(result.share, order, share, axis=1)
    np.put_along_axis(result.excess, order, excess, axis=1)
    return result


def _blocks(count: int) -> Iterator[slice]:
    size = max(1, _BLOCK_ELEMENTS // count)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
