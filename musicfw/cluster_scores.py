"""How well clusters agree with classes that are known, and how well a representation tells them.

Every score is a share, 1 at best. Leave out rows that belong to no class (noise) before scoring.
Needs scikit-learn (``pip install 'musicfw[sklearn]'``), but for `purity`, `clustering_accuracy` and
`matched_clusters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray, as_matrix
from musicfw.errors import UsageError

_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringScores:
    """Agreement of clusters with classes. What `clustering_scores` returns.

    Parameters
    ----------
    accuracy : float
        `clustering_accuracy`.
    normalized_mutual_information : float
        ``I(labels; clusters) / mean(H(labels), H(clusters))``, the arithmetic mean (A. Strehl and
        J. Ghosh, "Cluster ensembles", JMLR 3 (2002), who take the geometric one).
    adjusted_rand_index : float
        Share of pairs treated alike, corrected for chance: 0 for random clusters, possibly below
        (L. Hubert and P. Arabie, "Comparing partitions", J. Classification 2 (1985)).
    purity : float
        `purity`: grows with the number of clusters.
    clusters : int
        Number of clusters that have points; say it beside the purity.
    """

    accuracy: float
    normalized_mutual_information: float
    adjusted_rand_index: float
    purity: float
    clusters: int


def clustering_scores(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> ClusteringScores:
    """Return the usual scores of clusters against classes.

    Parameters
    ----------
    labels : array_like, shape (N,)
        Class of each point.
    clusters : array_like, shape (N,)
        Cluster of each point; numbers or names.

    Raises
    ------
    UsageError
        If there is not one cluster per label, for no points, and without scikit-learn.
    """
    classes, found = _codes(labels, clusters)
    metrics = _sklearn("clustering_scores").metrics
    return ClusteringScores(
        accuracy=clustering_accuracy(classes, found),
        normalized_mutual_information=float(metrics.normalized_mutual_info_score(classes, found)),
        adjusted_rand_index=float(metrics.adjusted_rand_score(classes, found)),
        purity=purity(classes, found),
        clusters=int(found.max()) + 1,
    )


def clustering_accuracy(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """Return the share of points that lie in the cluster matched to their class (ACC).

    ``max_π 1/N Σ_n [labels_n = π(clusters_n)]`` over one-to-one matchings π, by the Hungarian
    method (Y. Yang et al., "Image clustering using local discriminant models and global
    integration", IEEE TIP 19 (2010), eq. 26). Clusters beyond the number of classes count nothing.
    """
    table = _contingency(*_codes(labels, clusters))
    return float(table[one_to_one(table)].sum() / table.sum())


def matched_clusters(
    labels: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the matching of `clustering_accuracy`: classes, and the cluster of each.

    Returns
    -------
    classes, matched : ndarray, shape (K,) each
        K is the smaller number of the two; of the types given, classes in sorted order.
    """
    table = _contingency(*_codes(labels, clusters))
    classes, found = one_to_one(table)
    return np.unique(np.asarray(labels))[classes], np.unique(np.asarray(clusters))[found]


def purity(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> float:
    """Return the share of points that belong to the class of most points of their cluster.

    ``1/N Σ_k max_j |cluster_k ∩ class_j|`` (C. D. Manning, P. Raghavan and H. Schütze,
    *Introduction to Information Retrieval*, 2008, section 16.3).
    """
    table = _contingency(*_codes(labels, clusters))
    return float(table.max(axis=0).sum() / table.sum())


def knn_accuracy(
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    neighbours: int = 5,
) -> float:
    """Return the accuracy of a vote of the nearest neighbours, by stratified 5-fold validation.

    Parameters
    ----------
    points : array_like, shape (N, D)
        A representation, latent codes for instance; distances are Euclidean.
    labels : array_like, shape (N,)
        Class of each point; at least 5 points of each.
    rng : numpy.random.Generator
        Draws the folds.
    neighbours : int
        How many vote.

    Raises
    ------
    UsageError
        For a class with fewer than 5 points, and without scikit-learn.
    """
    voters = _sklearn("knn_accuracy").neighbors.KNeighborsClassifier(neighbours)
    return _validated(voters, points, labels, rng)


def linear_probe_accuracy(
    points: npt.ArrayLike, labels: npt.ArrayLike, *, rng: np.random.Generator
) -> float:
    """Return the accuracy of a logistic regression, by stratified 5-fold validation.

    On standardised features, with scikit-learn's default L2 penalty (G. Alain and Y. Bengio,
    "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644). The
    parameters and errors are those of `knn_accuracy`.
    """
    sklearn = _sklearn("linear_probe_accuracy")
    probe = sklearn.pipeline.make_pipeline(
        sklearn.preprocessing.StandardScaler(),
        sklearn.linear_model.LogisticRegression(max_iter=2000),
    )
    return _validated(probe, points, labels, rng)


def _validated(
    estimator: Any, points: npt.ArrayLike, labels: npt.ArrayLike, rng: np.random.Generator
) -> float:
    sklearn = _sklearn("accuracy")
    matrix = as_matrix(points, name="points")
    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    _one_each(matrix.shape[0], "points", classes.shape, "labels")
    counts = np.bincount(classes)
    if counts.min() < _FOLDS:
        raise UsageError(
            f"labels: expected at least {_FOLDS} points of every class (one per fold), got "
            f"{counts.min()} of {str(names[counts.argmin()])!r}; leave such classes out"
        )
    folds = sklearn.model_selection.StratifiedKFold(
        _FOLDS, shuffle=True, random_state=int(rng.integers(2**32))
    )
    scores = sklearn.model_selection.cross_val_score(estimator, matrix, classes, cv=folds)
    return float(scores.mean())


def _codes(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Return both numbered 0, 1, … in sorted order."""
    given, found = np.asarray(labels), np.asarray(clusters)
    _one_each(given.size, "labels", found.shape, "clusters")
    _one_each(found.size, "clusters", given.shape, "labels")
    if given.size == 0:
        raise UsageError("labels: expected at least one point, got none")
    return np.unique(given, return_inverse=True)[1], np.unique(found, return_inverse=True)[1]


def _one_each(count: int, of: str, shape: tuple[int, ...], name: str) -> None:
    if shape != (count,):
        raise UsageError(f"{name}: expected shape ({count},), one for each of {of}, got {shape}")


def _contingency(classes: IntArray, found: IntArray) -> IntArray:
    """Return the number of points of every class (row) in every cluster (column)."""
    columns = int(found.max()) + 1
    pairs = np.bincount(classes * columns + found, minlength=(int(classes.max()) + 1) * columns)
    return pairs.reshape(-1, columns)


def one_to_one(worth: IntArray | FloatArray) -> tuple[IntArray, IntArray]:
    """Return rows and columns of the one-to-one matching with the largest sum."""
    from scipy.optimize import linear_sum_assignment  # here, so that `import musicfw` stays quick

    rows, columns = linear_sum_assignment(worth, maximize=True)
    return np.asarray(rows, dtype=np.intp), np.asarray(columns, dtype=np.intp)


def _sklearn(caller: str) -> Any:
    try:
        import sklearn
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.model_selection
        import sklearn.neighbors
        import sklearn.pipeline
        import sklearn.preprocessing
    except ImportError as err:
        raise UsageError(
            f"{caller}: needs scikit-learn, which cannot be imported ({err}); "
            f"pip install 'musicfw[sklearn]'"
        ) from err
    return sklearn
