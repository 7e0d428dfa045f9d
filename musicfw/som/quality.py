"""How good a map is: errors, U-matrix, hits, labels. All in the map's units, in bounded memory.

Points may be a sparse matrix; no more than a block of rows of it becomes dense.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, as_points
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.geometry import (
    of_units,
    pair_squared_distances,
    squared_distances,
    squared_lengths,
)
from musicfw.lattice import Lattice
from musicfw.som.neighbourhoods import gaussian_neighbourhood
from musicfw.sparse import dense

# Elements per block of distances or differences: about 8 MB.
_BLOCK_ELEMENTS = 1 << 20


def quantization_error(codebook: Codebook, points: npt.ArrayLike) -> float:
    """Return the mean distance of the points to their best matching units.

    ``QE = 1/N Σ_n ||x_n − w_bmu(n)||`` (Kohonen, *Self-Organizing Maps*, 2001, section 3.4). The
    differences are taken entry by entry, so a point on its prototype contributes exactly 0.

    Parameters
    ----------
    codebook : Codebook
        The map.
    points : array_like, shape (N, D)
        At least one point.
    """
    matrix = _points(codebook, points)
    units = codebook.best_matching_units(matrix)
    total = 0.0
    for rows in _blocks(matrix.shape[0], codebook.dimension):
        total += float(np.sqrt(_squared_errors(codebook, matrix[rows], units[rows])).sum())
    return float(total / matrix.shape[0])


def topographic_error(codebook: Codebook, points: npt.ArrayLike) -> float:
    """Return the share of points whose two best matching units do not touch.

    ``TE = 1/N Σ_n [bmu₁(x_n) and bmu₂(x_n) do not touch]`` (Kiviluoto, "Topology preservation in
    self-organizing maps", ICNN 1996). Units touch as in `Lattice.touching`: the 8 around a unit on
    a rectangular lattice, the 6 on a hexagonal one, across the border on a torus. Of equally near
    units the lowest come first. A map of one unit has no second: 0.

    Raises
    ------
    UsageError
        If the codebook has no lattice.
    """
    lattice = required_lattice(codebook, "topographic_error")
    matrix = _points(codebook, points)
    if codebook.units == 1:
        return 0.0
    touching = lattice.touching()
    errors = 0
    for rows in _blocks(matrix.shape[0], max(codebook.units, codebook.dimension)):
        squared = squared_distances(matrix[rows], codebook.prototypes, codebook.relevances)
        best = squared.argmin(axis=1)
        squared[np.arange(best.size), best] = np.inf
        errors += int(np.count_nonzero(~touching[best, squared.argmin(axis=1)]))
    return float(errors / matrix.shape[0])


def explained_variance(codebook: Codebook, points: npt.ArrayLike) -> float:
    """Return the share of the points' variance that their best matching units account for.

    ``1 − Σ_n ||x_n − w_bmu(n)||² / Σ_n ||x_n − x̄||²``: R² of the prototypes as a prediction, 1 if
    every point lies on its prototype, 0 for a single prototype at the mean, and below 0 if that
    would be better. Both squares are measured with the relevances of the best matching unit.

    Raises
    ------
    UsageError
        If all points are the same: they have no variance.
    """
    matrix = _points(codebook, points)
    units = codebook.best_matching_units(matrix)
    mean, total, unexplained = matrix.mean(axis=0), 0.0, 0.0
    for rows in _blocks(matrix.shape[0], codebook.dimension):
        relevances = of_units(codebook.relevances, units[rows])
        total += float(squared_lengths(dense(matrix[rows]) - mean, relevances).sum())
        unexplained += float(_squared_errors(codebook, matrix[rows], units[rows]).sum())
    if not total > 0.0:
        raise UsageError("points: expected points that differ, got no variance to explain")
    return 1.0 - unexplained / total


def distortion(codebook: Codebook, points: npt.ArrayLike, *, radius: float) -> float:
    """Return the mean squared distance of the points to all prototypes, by their neighbourhood.

    ``1/N Σ_n Σ_i h(bmu(n), i) ||x_n − w_i||²`` with the gaussian neighbourhood
    ``h = exp(−d² / 2 radius²)``: what the batch map lowers at a fixed radius (T. Heskes, "Energy
    functions for self-organizing maps", in *Kohonen Maps*, 1999). At a vanishing radius it is the
    mean squared quantization error.

    Raises
    ------
    UsageError
        If the codebook has no lattice, or for a radius that is not positive.
    """
    lattice = required_lattice(codebook, "distortion")
    if not radius > 0.0:
        raise UsageError(f"radius: expected a positive number, got {radius!r}")
    matrix = _points(codebook, points)
    weights = gaussian_neighbourhood(lattice.squared_distances(), radius)
    total = 0.0
    for rows in _blocks(matrix.shape[0], max(codebook.units, codebook.dimension)):
        squared = squared_distances(matrix[rows], codebook.prototypes, codebook.relevances)
        total += float(np.einsum("nm,nm->", weights[squared.argmin(axis=1)], squared))
    return float(total / matrix.shape[0])


def kaski_lagus(codebook: Codebook, points: npt.ArrayLike) -> float:
    """Return the mean distance to the best matching unit and on to the second over the lattice.

    ``1/N Σ_n (||x_n − w_1|| + path(1, 2))`` with the shortest path between the two best matching
    units over lattice neighbours, its length measured between prototypes (S. Kaski and K. Lagus,
    "Comparing self-organizing maps", ICANN 1996): it grows both with the quantization error and
    with folds of the map. For a map of one unit it is the quantization error.

    Raises
    ------
    UsageError
        If the codebook has no lattice.
    """
    lattice = required_lattice(codebook, "kaski_lagus")
    matrix = _points(codebook, points)
    error = quantization_error(codebook, matrix)
    if codebook.units == 1:
        return error
    from scipy.sparse import csr_array  # here, so that `import musicfw` stays quick
    from scipy.sparse.csgraph import shortest_path

    unit, neighbour = np.nonzero(lattice.neighbours())
    lengths = _pair_lengths(codebook, unit, neighbour)
    # csgraph takes 0 for no edge: equal prototypes are next to nothing apart instead.
    lengths = np.maximum(lengths, np.finfo(np.float64).tiny)
    paths = shortest_path(csr_array((lengths, (unit, neighbour)), shape=(codebook.units,) * 2))
    total = 0.0
    for rows in _blocks(matrix.shape[0], max(codebook.units, codebook.dimension)):
        squared = squared_distances(matrix[rows], codebook.prototypes, codebook.relevances)
        best = squared.argmin(axis=1)
        squared[np.arange(best.size), best] = np.inf
        total += float(paths[best, squared.argmin(axis=1)].sum())
    return float(error + total / matrix.shape[0])


def u_matrix(codebook: Codebook) -> FloatArray:
    """Return each unit's mean distance to its nearest lattice neighbours, shape (M,).

    High values are borders between clusters (Ultsch and Siemon, "Kohonen's self organizing feature
    maps for exploratory data analysis", INNC 1990). The neighbours are those of
    `Lattice.neighbours`: 4 or 6 inside, fewer at a border. A unit without neighbours has 0. Two
    units that measure differently (relevances by unit) are as far apart as the mean of both squared
    distances says.

    Raises
    ------
    UsageError
        If the codebook has no lattice.
    """
    unit, neighbour = np.nonzero(required_lattice(codebook, "u_matrix").neighbours())
    lengths = _pair_lengths(codebook, unit, neighbour)
    sums = np.bincount(unit, weights=lengths, minlength=codebook.units)
    counts = np.bincount(unit, minlength=codebook.units)
    return np.asarray(sums / np.maximum(counts, 1))


def hit_counts(codebook: Codebook, points: npt.ArrayLike) -> IntArray:
    """Return how many points have each unit as their best matching unit, shape (M,)."""
    return np.bincount(codebook.best_matching_units(points), minlength=codebook.units)


def dead_units(codebook: Codebook, points: npt.ArrayLike) -> IntArray:
    """Return the units that are nobody's best matching unit, in ascending order."""
    return np.flatnonzero(hit_counts(codebook, points) == 0)


def majority_labels(
    codebook: Codebook, points: npt.ArrayLike, labels: npt.ArrayLike
) -> npt.NDArray[np.str_]:
    """Return the label of most of each unit's points, shape (M,); "" for a unit without any.

    Of equally frequent labels the one that comes first in sorted order wins.

    Parameters
    ----------
    codebook : Codebook
        The map.
    points : array_like, shape (N, D)
        Labelled points.
    labels : array_like, shape (N,)
        Their labels, turned into text.

    Raises
    ------
    UsageError
        If there is not one label per point.
    """
    matrix = _points(codebook, points)
    text = np.asarray(labels).astype(np.str_)
    if text.shape != (matrix.shape[0],):
        raise UsageError(
            f"labels: expected shape ({matrix.shape[0]},), one per point, got {text.shape}"
        )
    return labels_of_units(codebook.best_matching_units(matrix), text, units=codebook.units)


def labels_of_units(
    winners: IntArray, labels: npt.NDArray[np.str_], *, units: int
) -> npt.NDArray[np.str_]:
    """Return what `majority_labels` does, from the best matching unit of every point, (N,)."""
    names, codes = np.unique(labels, return_inverse=True)
    pairs, frequency = np.unique(winners * names.size + codes, return_counts=True)
    unit, code = np.divmod(pairs, names.size)
    # By unit, then the most frequent, then the first in sorted order.
    order = np.lexsort((code, -frequency, unit))
    labelled, first = np.unique(unit[order], return_index=True)
    result = np.zeros(units, dtype=names.dtype)
    result[labelled] = names[code[order[first]]]
    return result


def _points(codebook: Codebook, points: npt.ArrayLike) -> FloatArray:
    matrix = as_points(points, name="points", dimension=codebook.dimension, sparse=True)
    if matrix.shape[0] == 0:
        raise UsageError("points: expected at least one point, got none")
    return matrix


def required_lattice(codebook: Codebook, measure: str) -> Lattice:
    """Return the codebook's lattice, or refuse in the name of a measure that needs one."""
    if codebook.lattice is None:
        raise UsageError(
            f"{measure}: expected a codebook with a lattice, got one without; give it one with "
            f"Codebook(prototypes=…, lattice=Lattice(…))"
        )
    return codebook.lattice


def _blocks(rows: int, row_elements: int) -> Iterator[slice]:
    size = max(1, _BLOCK_ELEMENTS // row_elements)
    return (slice(start, start + size) for start in range(0, rows, size))


def _squared_errors(codebook: Codebook, points: FloatArray, units: IntArray) -> FloatArray:
    """Return the squared distance of each point to its own unit, shape (n,)."""
    relevances = of_units(codebook.relevances, units)
    return squared_lengths(dense(points) - codebook.prototypes[units], relevances)


def _pair_lengths(codebook: Codebook, first: IntArray, second: IntArray) -> FloatArray:
    """Return the distance between each pair of units, shape (P,)."""
    lengths = np.empty(first.size)
    for pairs in _blocks(first.size, codebook.dimension):
        lengths[pairs] = np.sqrt(
            pair_squared_distances(
                codebook.prototypes, codebook.relevances, first[pairs], second[pairs]
            )
        )
    return lengths
