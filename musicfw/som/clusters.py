"""Clusters of a map's units, by Ward's method; their number by the silhouette."""

from __future__ import annotations

import math

import numpy as np

from musicfw.arrays import FloatArray, IntArray
from musicfw.errors import UsageError
from musicfw.geometry import pair_squared_distances

_MOST_CLUSTERS = 20


def cluster_units(
    prototypes: FloatArray, relevances: FloatArray | None = None, *, clusters: int | None = None
) -> IntArray:
    """Return the cluster of every unit, shape (M,), numbered 0, 1, … in order of first unit.

    Clusters are merged so that the sum of squares within them grows least (Ward, "Hierarchical
    grouping to optimize an objective function", JASA 1963), as is usual for the units of a map
    (Vesanto and Alhoniemi, "Clustering of the self-organizing map", IEEE TNN 2000).

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Prototypes, finite.
    relevances : ndarray, shape (D,) or (M, D), optional
        Those of a `Codebook`. Where units measure differently, the mean of both squared distances
        stands between two prototypes; Ward's recurrence takes it as it is.
    clusters : int, optional
        How many, 1 … M. None takes the number from 2 to ``min(2·√M, 20, M − 1)`` with the best
        mean silhouette (of equals the smaller), or one cluster if fewer than 3 units or only
        equal prototypes leave no choice.

    Raises
    ------
    UsageError
        If ``clusters`` is not an integer from 1 to M.
    """
    units = prototypes.shape[0]
    if clusters is not None:
        _check_number(clusters, units)
    if units == 1:
        return np.zeros(1, dtype=np.intp)
    # Imported where it is used: scipy's clustering would double the time of `import musicfw`.
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    condensed = _condensed(prototypes, relevances)
    tree = linkage(condensed, method="ward")
    if clusters is not None:
        return _cut(tree, clusters)
    largest = min(math.floor(2.0 * math.sqrt(units)), _MOST_CLUSTERS, units - 1)
    if largest < 2 or not condensed.any():
        return np.zeros(units, dtype=np.intp)
    distances = squareform(condensed)
    cuts = [_cut(tree, count) for count in range(2, largest + 1)]
    return max(cuts, key=lambda cut: float(silhouettes(distances, cut).mean()))


def silhouettes(distances: FloatArray, clusters: IntArray) -> FloatArray:
    """Return how well each unit lies in its cluster, from −1 to 1, shape (M,).

    ``s = (b − a) / max(a, b)`` with a the mean distance to the rest of the own cluster and b the
    least mean distance to another cluster; 0 for a unit alone (Rousseeuw, "Silhouettes", JCAM
    1987).

    Parameters
    ----------
    distances : ndarray, shape (M, M)
        Between units.
    clusters : ndarray of int, shape (M,)
        Cluster of each unit, 0 … k−1, k at least 2.
    """
    units = np.arange(clusters.size)
    membership = np.eye(int(clusters.max()) + 1)[clusters]
    sizes = membership.sum(axis=0)
    sums = distances @ membership
    own_size = sizes[clusters]
    within = sums[units, clusters] / np.maximum(own_size - 1.0, 1.0)
    means = sums / sizes
    means[units, clusters] = np.inf
    nearest = means.min(axis=1)
    larger = np.maximum(within, nearest)
    judged = (own_size > 1) & (larger > 0.0)
    return np.where(judged, (nearest - within) / np.where(judged, larger, 1.0), 0.0)


def _condensed(prototypes: FloatArray, relevances: FloatArray | None) -> FloatArray:
    """Return the distances between all pairs of prototypes, in scipy's condensed form."""
    from scipy.spatial.distance import pdist

    if relevances is None or relevances.ndim == 1:
        scaled = prototypes if relevances is None else prototypes * np.sqrt(relevances)
        return np.asarray(pdist(scaled))
    numbers = np.arange(prototypes.shape[0])
    rows = [
        pair_squared_distances(
            prototypes, relevances, np.full(numbers.size - unit - 1, unit), numbers[unit + 1 :]
        )
        for unit in numbers
    ]
    return np.asarray(np.sqrt(np.concatenate(rows)))


def _check_number(clusters: int, units: int) -> None:
    whole = isinstance(clusters, int | np.integer) and not isinstance(clusters, bool)
    if not whole or not 1 <= clusters <= units:
        raise UsageError(
            f"clusters: expected an integer from 1 to {units} (the number of units), got "
            f"{clusters!r}"
        )


def _cut(tree: FloatArray, clusters: int) -> IntArray:
    """Return the partition after all but the last ``clusters − 1`` merges of a linkage matrix.

    Always that many clusters: `fcluster` gives fewer where merges are equally high.
    """
    units = tree.shape[0] + 1
    root = np.arange(2 * units - 1)
    for step in range(units - clusters):
        root[tree[step, :2].astype(np.intp)] = units + step
    for node in range(root.size - 1, -1, -1):
        root[node] = root[root[node]]
    _, first, number = np.unique(root[:units], return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.intp)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[number]
