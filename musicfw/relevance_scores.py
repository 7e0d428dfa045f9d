"""How well relevances tell in which features a cluster lies, and how they divide the features.

`relevance_auc` and `subspace_ce` compare them with a truth, which artificial data have
(`musicfw.datasets.projected_clusters`); `disentanglement` needs none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musicfw.arrays import BoolArray, FloatArray, IntArray, as_matrix
from musicfw.cluster_scores import matched_clusters, one_to_one
from musicfw.errors import UsageError
from musicfw.lattice import Lattice


def relevance_auc(
    relevances: npt.ArrayLike,
    relevant: npt.ArrayLike,
    *,
    components: npt.ArrayLike,
    clusters: npt.ArrayLike,
) -> float:
    """Return how surely a relevant feature has a greater relevance than one that is not.

    The area under the ROC curve of a found cluster's relevances against the true set of the
    component it is matched to (`musicfw.cluster_scores.matched_clusters`), that is the share of
    pairs (relevant, not relevant) in the right order, ties half (J. A. Hanley and B. J. McNeil,
    Radiology 143 (1982)); the mean over the components. One with nothing but relevant features
    has no such pair and does not count.

    Parameters
    ----------
    relevances : array_like, shape (K, D)
        Of the found clusters 0 … K−1.
    relevant : array_like of bool, shape (C, D)
        The true sets of the components 0 … C−1.
    components : array_like of int, shape (N,)
        True component of each point; −1 for noise, which does not count.
    clusters : array_like of int, shape (N,)
        Found cluster of each point.

    Raises
    ------
    UsageError
        For shapes or numbers that do not fit, and if no component can be judged.
    """
    R, truth = as_matrix(relevances, name="relevances"), _truth(relevant)
    true, found = _assignments(components, clusters, truth, R)
    areas = []
    for component, cluster in zip(*matched_clusters(true, found), strict=True):
        inside = truth[component]
        if inside.any() and not inside.all():
            above = R[cluster, inside][:, np.newaxis] - R[cluster, ~inside]
            areas.append(float(((above > 0.0) + 0.5 * (above == 0.0)).mean()))
    if not areas:
        raise UsageError(
            "relevant: expected a component with relevant features and others, got none"
        )
    return float(np.mean(areas))


def relevant_features(relevances: npt.ArrayLike) -> BoolArray:
    """Return which features are relevant: those above the largest gap of the sorted relevances.

    Parameters
    ----------
    relevances : array_like, shape (K, D)
        One row per cluster.

    Returns
    -------
    ndarray of bool, shape (K, D)
        Where all are equal there is no gap: all are relevant.
    """
    R = as_matrix(relevances, name="relevances")
    rising = np.sort(R, axis=1)
    if R.shape[1] == 1:
        return np.ones(R.shape, dtype=np.bool_)
    gaps = np.diff(rising, axis=1)
    lowest = np.take_along_axis(rising, gaps.argmax(axis=1)[:, np.newaxis] + 1, axis=1)
    return np.asarray(np.where(gaps.any(axis=1, keepdims=True), lowest, rising[:, :1]) <= R)


def subspace_ce(
    features: npt.ArrayLike,
    relevant: npt.ArrayLike,
    *,
    components: npt.ArrayLike,
    clusters: npt.ArrayLike,
) -> float:
    """Return the share of point-feature pairs on which found and true subspace clusters agree.

    A subspace cluster is the set of pairs of its points with its features. With the one-to-one
    matching of clusters that agrees on most pairs, the pairs agreed on are divided by the pairs in
    any found or any true cluster: 1 − CE of A. Patrikainen and M. Meilă, "Comparing subspace
    clusterings", IEEE TKDE 18 (2006), so that 1 is best (as in the LARFDSSOM papers, which call
    this CE).

    Parameters
    ----------
    features : array_like of bool, shape (K, D)
        The features of the found clusters, see `relevant_features`.
    relevant, components, clusters
        As in `relevance_auc`.
    """
    cut, truth = np.asarray(features, dtype=np.bool_), _truth(relevant)
    true, found = _assignments(components, clusters, truth, cut)
    points = np.zeros((truth.shape[0], cut.shape[0]))
    np.add.at(points, (true, found), 1.0)
    common = truth.astype(np.float64) @ cut.T.astype(np.float64)
    sizes = truth.sum(axis=1)[:, np.newaxis] + cut.sum(axis=1)
    agreed = points * common
    union = float((points * (sizes - common)).sum())
    return float(agreed[one_to_one(agreed)].sum()) / union if union else 1.0


def cluster_relevances(
    relevances: npt.ArrayLike, *, unit_clusters: npt.ArrayLike, counts: npt.ArrayLike
) -> FloatArray:
    """Return the mean relevances of the units of each cluster, by their points, shape (C, D).

    Parameters
    ----------
    relevances : array_like, shape (M, D)
        Of the units of a map.
    unit_clusters : array_like of int, shape (M,)
        Cluster of each unit, 0 … C−1, each with a unit at least.
    counts : array_like, shape (M,)
        Points of each unit. A cluster without any takes its units alike.
    """
    R = as_matrix(relevances, name="relevances")
    number = np.asarray(unit_clusters, dtype=np.intp)
    membership = np.eye(int(number.max()) + 1)[number].T
    weighted = membership * np.asarray(counts, dtype=np.float64)
    empty = ~weighted.any(axis=1)
    weighted[empty] = membership[empty]
    return np.asarray(weighted @ R / weighted.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disentanglement:
    """How relevances divide the features among clusters. What `disentanglement` returns.

    With ``p_i = r_i / Σ_k r_ik`` and H the entropy:

    Parameters
    ----------
    completeness : float
        Mean of ``1 − H(p_i) / ln D``: 1 if every cluster uses one feature, 0 if all alike.
    disentanglement : float
        Mean of ``1 − H(r_·k / Σ_i r_ik) / ln K`` over the features, weighted by their sums: 1 if
        every feature serves one cluster, 0 if all alike.
    effective_dimension : float
        Mean of ``exp H(p_i)``: how many features a cluster uses, 1 … D.
    overlap : float
        Mean cosine of the relevances of two clusters; lower means separate subspaces.
    neighbour_overlap : float or None
        The same over neighbours on the lattice; higher means that relevances change smoothly.
    """

    completeness: float
    disentanglement: float
    effective_dimension: float
    overlap: float
    neighbour_overlap: float | None


def disentanglement(
    relevances: npt.ArrayLike, *, lattice: Lattice | None = None
) -> Disentanglement:
    """Return the scores of C. Eastwood and C. Williams with relevances as importances.

    Source: "A framework for the quantitative evaluation of disentangled representations", ICLR
    2018 (DCI), section 2; effective dimension and overlap are the usual perplexity and cosine.
    With a single feature completeness is 1, with a single cluster disentanglement and overlap are.

    Parameters
    ----------
    relevances : array_like, shape (K, D)
        One row per cluster, or per unit; not negative, each row with a positive sum.
    lattice : Lattice, optional
        Of the units, for ``neighbour_overlap``.

    Raises
    ------
    UsageError
        For negative relevances or a row of zeros, or a lattice with another number of units.
    """
    R = as_matrix(relevances, name="relevances")
    if (R < 0.0).any() or not R.any(axis=1).all():
        raise UsageError(
            "relevances: expected numbers of at least 0, and one above 0 in every row; take them "
            "from a codebook"
        )
    if lattice is not None and lattice.units != R.shape[0]:
        raise UsageError(
            f"lattice: expected {R.shape[0]} units, one per row of relevances, got {lattice.units}"
        )
    rows, columns = _entropies(R), _entropies(R.T)
    unit = R / np.linalg.norm(R, axis=1, keepdims=True)
    cosines = unit @ unit.T
    others = ~np.eye(R.shape[0], dtype=np.bool_)
    neighbours = None if lattice is None else cosines[lattice.neighbours()]
    return Disentanglement(
        completeness=float((1.0 - rows / max(np.log(R.shape[1]), _TINY)).mean()),
        disentanglement=float(
            np.average(1.0 - columns / max(np.log(R.shape[0]), _TINY), weights=R.sum(axis=0))
        ),
        effective_dimension=float(np.exp(rows).mean()),
        overlap=float(cosines[others].mean()) if others.any() else 1.0,
        neighbour_overlap=(
            float(neighbours.mean()) if neighbours is not None and neighbours.size else None
        ),
    )


# In place of the logarithm of 1: the entropy of a single entry is 0, and 0 / tiny is 0.
_TINY = float(np.finfo(np.float64).tiny)


def _entropies(rows: FloatArray) -> FloatArray:
    """Return ``−Σ p ln p`` of every row divided by its sum; 0 for a row of zeros."""
    sums = rows.sum(axis=1, keepdims=True)
    p = rows / np.where(sums > 0.0, sums, 1.0)
    return np.asarray(-(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=1))


def _truth(relevant: npt.ArrayLike) -> BoolArray:
    truth = np.asarray(relevant)
    if truth.ndim != 2 or truth.dtype != np.bool_:
        raise UsageError(
            f"relevant: expected a bool array of shape (C, D), got {truth.dtype} {truth.shape}"
        )
    return truth


def _assignments(
    components: npt.ArrayLike,
    clusters: npt.ArrayLike,
    truth: BoolArray,
    found: FloatArray | BoolArray,
) -> tuple[IntArray, IntArray]:
    """Return component and cluster of the points that are no noise."""
    if found.ndim != 2 or found.shape[1] != truth.shape[1]:
        raise UsageError(
            f"relevances: expected {truth.shape[1]} features as in relevant, got {found.shape}"
        )
    true, own = np.asarray(components), np.asarray(clusters)
    if true.ndim != 1 or true.shape != own.shape:
        raise UsageError(
            f"clusters: expected one per component, shape {true.shape}, got {own.shape}"
        )
    for name, numbers, count in (
        ("components", true, truth.shape[0]),
        ("clusters", own, found.shape[0]),
    ):
        if numbers.dtype.kind not in "iu" or (numbers.size and numbers.max() >= count):
            raise UsageError(f"{name}: expected integers below {count}, got {numbers!r}")
    kept = true >= 0
    if not kept.any():
        raise UsageError("components: expected at least one point that is no noise, got none")
    if own[kept].min() < 0:
        raise UsageError(f"clusters: expected integers of at least 0, got {own[kept].min()}")
    return true[kept].astype(np.intp), own[kept].astype(np.intp)
