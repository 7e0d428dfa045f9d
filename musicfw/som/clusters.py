"""Clusters of a map's units: from the prototypes alone, or with the data they stand for.

============================  ====================================================================
`cluster_units`               Ward's method on the prototypes; their number by the silhouette
`count_weighted_ward`         Ward's method on the data of each unit, as if on the data themselves
`winner_graph_clusters`       spectral clustering of the graph of first and second winners
`neighbour_graph_clusters`    Ward's method on where a walk from neighbour to neighbour leads
============================  ====================================================================

The cluster of a point is that of its best matching unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, as_points, as_whole, is_whole
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.geometry import pair_squared_distances, squared_distances

ClusterBy = Literal["prototypes", "points", "winners", "neighbours"]

_MOST_CLUSTERS = 20
# Elements of one block of distances: about 8 MB.
_BLOCK_ELEMENTS = 1 << 20
# Up to which a k-d tree finds neighbours sooner than all distances do.
_TREE_FEATURES = 15
# Of the walk of `neighbour_graph_clusters`.
_STEPS = 16


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


def count_weighted_ward(codebook: Codebook, points: npt.ArrayLike, *, clusters: int) -> IntArray:
    """Return the cluster of every unit, shape (M,), by Ward's method on the means of their points.

    Each merge takes the two groups a, b that raise the sum of squares within groups least, by
    ``n_a n_b / (n_a + n_b) ||m_a − m_b||²`` with the number n and mean m of their points: Ward's
    method on the points themselves, begun from the units. A unit without points joins the cluster
    of the unit with points whose prototype is nearest. Source: Ward (1963), as in `cluster_units`.

    Parameters
    ----------
    codebook : Codebook
        The map. Its distances decide which unit a point belongs to. Means are compared with
        relevances that all units share; those of single units are no metric between them, and do
        not count here.
    points : array_like, shape (N, D)
        In the map's units; with at least as many best matching units as clusters.
    clusters : int
        How many.

    Returns
    -------
    ndarray of intp, shape (M,)
        Numbered 0, 1, … in order of first unit with points.

    Raises
    ------
    UsageError
        If ``clusters`` is not an integer from 1 to the number of units with points.
    """
    matrix = as_points(points, name="points", dimension=codebook.dimension)
    winners = codebook.best_matching_units(matrix)
    occupied, number = np.unique(winners, return_inverse=True)
    _check_number(clusters, occupied.size, of="units with points")
    counts = np.bincount(number).astype(np.float64)
    sums = np.zeros((occupied.size, codebook.dimension))
    np.add.at(sums, number, _stretched(matrix, codebook.relevances))
    return _spread(codebook, occupied, _ward(sums, counts, clusters=clusters))


def _ward(sums: FloatArray, counts: FloatArray, *, clusters: int) -> IntArray:
    """Return the groups that Ward's method makes of weighted points, given by sum and weight."""
    sums, counts = sums.copy(), counts.copy()
    means = sums / counts[:, np.newaxis]
    group = np.arange(counts.size)
    offset = means[:, np.newaxis, :] - means
    cost = np.einsum("ijk,ijk->ij", offset, offset)
    cost *= counts[:, np.newaxis] * counts / (counts[:, np.newaxis] + counts)
    np.fill_diagonal(cost, np.inf)
    for _ in range(counts.size - clusters):
        kept, gone = sorted(divmod(int(cost.argmin()), counts.size))
        group[group == gone] = kept
        sums[kept] += sums[gone]
        counts[kept] += counts[gone]
        means[kept] = sums[kept] / counts[kept]
        cost[gone] = cost[:, gone] = np.inf
        there = np.isfinite(cost[kept])
        rest = means[there] - means[kept]
        raised = counts[there] * counts[kept] / (counts[there] + counts[kept])
        cost[kept, there] = cost[there, kept] = raised * np.einsum("nd,nd->n", rest, rest)
    return _in_order(group)


def winner_graph(codebook: Codebook, points: npt.ArrayLike) -> FloatArray:
    """Return how strongly the data join every two units, shape (M, M), symmetric.

    ``A_ij = #{x : its two best units are i and j} / √(n_i n_j)`` with n the number of points that
    a unit is first or second for: units that share points are joined, however far apart they lie
    (the graph of T. Martinetz and K. Schulten, "Topology representing networks", Neural Networks 7
    (1994), with counts). Of equally near units the lowest come first.
    """
    matrix = as_points(points, name="points", dimension=codebook.dimension)
    units = codebook.units
    joined = np.zeros((units, units))
    if units == 1:
        return joined
    block = max(1, _BLOCK_ELEMENTS // units)
    for start in range(0, matrix.shape[0], block):
        squared = codebook.squared_distances(matrix[start : start + block])
        first = squared.argmin(axis=1)
        squared[np.arange(first.size), first] = np.inf
        np.add.at(joined, (first, squared.argmin(axis=1)), 1.0)
    joined += joined.T
    visits = np.maximum(joined.sum(axis=0), 1.0)
    return np.asarray(joined / np.sqrt(visits[:, np.newaxis] * visits))


def winner_graph_clusters(codebook: Codebook, points: npt.ArrayLike, *, clusters: int) -> IntArray:
    """Return the cluster of every unit, shape (M,), by spectral clustering of `winner_graph`.

    The leading eigenvectors of the normalised graph ``√S⁻¹ A √S⁻¹``, S its degrees (A. Ng, M.
    Jordan and Y. Weiss, "On spectral clustering", NIPS 2001), are assigned by a QR factorisation
    with column pivoting (A. Damle, V. Minden and L. Ying, "Simple, direct and efficient multi-way
    spectral clustering", Information and Inference 8 (2019)): no random start. The parameters,
    units without points and errors are as in `count_weighted_ward`.
    """
    graph = winner_graph(codebook, points)
    degrees = graph.sum(axis=1)
    occupied = np.flatnonzero(degrees > 0.0) if codebook.units > 1 else np.zeros(1, dtype=np.intp)
    _check_number(clusters, occupied.size, of="units with points")
    if clusters == 1:
        return np.zeros(codebook.units, dtype=np.intp)
    from scipy.linalg import eigh, qr, svd  # here, so that `import musicfw` stays quick

    normalised = _normalised(graph[np.ix_(occupied, occupied)])
    last = occupied.size - 1
    _, vectors = eigh(normalised, subset_by_index=(last - clusters + 1, last))
    _, _, pivots = qr(vectors.T, mode="economic", pivoting=True)
    left, _, right = svd(vectors[pivots[:clusters]].T)
    assigned = np.abs(vectors @ (left @ right)).argmax(axis=1)
    return _spread(codebook, occupied, _in_order(assigned))


def neighbour_graph(
    codebook: Codebook, points: npt.ArrayLike, *, neighbours: int = 15
) -> FloatArray:
    """Return how many pairs of neighbouring points join every two units, shape (M, M), symmetric.

    ``A_ij = #{(x, y) : y one of the k nearest points of x, the units of x and y i and j}``, both
    ways. Points are neighbours by Euclidean distance, with relevances that all units share if there
    are some. They are searched with a k-d tree in up to 15 dimensions, as of codes; beyond, by all
    distances: the time grows with the square of the number of points.

    Parameters
    ----------
    codebook : Codebook
        The map, whose distances decide which unit a point belongs to.
    points : array_like, shape (N, D)
        In the map's units.
    neighbours : int
        k, at least 1; at most N − 1 are taken.

    Raises
    ------
    UsageError
        If ``neighbours`` is not an integer of at least 1.
    """
    matrix = as_points(points, name="points", dimension=codebook.dimension)
    winners = codebook.best_matching_units(matrix)
    return _joined(codebook, matrix, winners, neighbours=neighbours)


def _joined(
    codebook: Codebook, matrix: FloatArray, winners: IntArray, *, neighbours: int
) -> FloatArray:
    """Return the neighbour graph of points (N, D) whose winners (N,) are known."""
    joined = np.zeros((codebook.units, codebook.units))
    k = min(as_whole(neighbours, name="neighbours", least=1), matrix.shape[0] - 1)
    if k < 1:
        return joined
    found = _nearest(_stretched(matrix, codebook.relevances), k + 1)
    # A point is its own nearest, but for one of more than k copies: then the last is dropped.
    own = found == np.arange(matrix.shape[0])[:, np.newaxis]
    own[~own.any(axis=1), -1] = True
    others = found[~own].reshape(-1, k)
    np.add.at(joined, (np.repeat(winners, k), winners[others.ravel()]), 1.0)
    return joined + joined.T


def _nearest(points: FloatArray, count: int) -> IntArray:
    """Return the nearest points of each, itself among them, in any order, shape (N, count)."""
    if points.shape[1] <= _TREE_FEATURES:
        from scipy.spatial import cKDTree  # here, so that `import musicfw` stays quick

        return np.asarray(cKDTree(points).query(points, k=count)[1])
    found = np.empty((points.shape[0], count), dtype=np.intp)
    block = max(1, 8 * _BLOCK_ELEMENTS // points.shape[0])
    for start in range(0, points.shape[0], block):
        squared = squared_distances(points[start : start + block], points)
        nearest = np.argpartition(squared, count - 1, axis=1)
        found[start : start + block] = nearest[:, :count]
    return found


def neighbour_graph_clusters(
    codebook: Codebook, points: npt.ArrayLike, *, clusters: int, neighbours: int = 15
) -> IntArray:
    """Return the cluster of every unit, shape (M,), by where walks over `neighbour_graph` lead.

    With the eigenvalues λ and eigenvectors u of ``√S⁻¹ A √S⁻¹``, S the degrees of the graph, unit i
    lies at ``(λ_k¹⁶ u_ik)_k``: the diffusion map of a walk of 16 steps (R. Coifman and S. Lafon,
    "Diffusion maps", Applied and Computational Harmonic Analysis 21 (2006)), scaled to length 1 (as
    in Ng, Jordan and Weiss, 2001). Ward's method, weighted by the points of each unit, merges them
    there. Unlike a cut by as many eigenvectors as clusters, it does not change by leaps with their
    number; nothing is random. Parameters, units without points and errors are as in
    `count_weighted_ward` and `neighbour_graph`.
    """
    matrix = as_points(points, name="points", dimension=codebook.dimension)
    winners = codebook.best_matching_units(matrix)
    graph = _joined(codebook, matrix, winners, neighbours=neighbours)
    counts = np.bincount(winners, minlength=codebook.units)
    occupied = np.flatnonzero(counts)
    _check_number(clusters, occupied.size, of="units with points")
    if occupied.size == 1:
        return np.zeros(codebook.units, dtype=np.intp)
    graph, weights = graph[np.ix_(occupied, occupied)], counts[occupied].astype(np.float64)
    values, vectors = np.linalg.eigh(_normalised(graph))
    places = vectors * np.maximum(values, 0.0) ** _STEPS
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    merged = _ward(places * weights[:, np.newaxis], weights, clusters=clusters)
    return _spread(codebook, occupied, merged)


def _stretched(points: FloatArray, relevances: FloatArray | None) -> FloatArray:
    """Return points whose Euclidean distances have the relevances that all units share in them."""
    return points if relevances is None or relevances.ndim == 2 else points * np.sqrt(relevances)


def _normalised(graph: FloatArray) -> FloatArray:
    """Return ``√S⁻¹ A √S⁻¹``, S the degrees, all positive."""
    root = np.sqrt(graph.sum(axis=1))
    return np.asarray(graph / (root[:, np.newaxis] * root))


def _spread(codebook: Codebook, occupied: IntArray, clusters: IntArray) -> IntArray:
    """Return the clusters of the occupied units and, for the rest, of the nearest of them."""
    nearest = codebook.squared_distances(codebook.prototypes, occupied).argmin(axis=1)
    nearest[occupied] = np.arange(occupied.size)
    return np.asarray(clusters[nearest])


BY_POINTS: dict[str, Callable[..., IntArray]] = {
    "points": count_weighted_ward,
    "winners": winner_graph_clusters,
    "neighbours": neighbour_graph_clusters,
}
"""What a spec calls the ways that look at points; without them it is ``prototypes``."""


def check_cluster_by(by: str, *, clusters: int | None) -> None:
    """Refuse a way that is unknown, or that needs to be told how many clusters and is not.

    Raises
    ------
    UsageError
    """
    if by != "prototypes" and by not in BY_POINTS:
        known = ", ".join(repr(name) for name in ("prototypes", *BY_POINTS))
        raise UsageError(f"cluster_by: expected one of {known}, got {by!r}")
    if by != "prototypes" and clusters is None:
        raise UsageError(
            f"cluster_by: {by!r} needs to know how many clusters to make; give clusters, or leave "
            f"cluster_by out"
        )


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
        return np.asarray(pdist(_stretched(prototypes, relevances)))
    numbers = np.arange(prototypes.shape[0])
    rows = [
        pair_squared_distances(
            prototypes, relevances, np.full(numbers.size - unit - 1, unit), numbers[unit + 1 :]
        )
        for unit in numbers
    ]
    return np.asarray(np.sqrt(np.concatenate(rows)))


def _check_number(clusters: int, units: int, *, of: str = "units") -> None:
    if not is_whole(clusters) or not 1 <= clusters <= units:
        raise UsageError(
            f"clusters: expected an integer from 1 to {units} (the number of {of}), got "
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
    return _in_order(root[:units])


def _in_order(groups: IntArray) -> IntArray:
    """Return groups numbered 0, 1, … in the order in which they first appear."""
    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.intp)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[number]
