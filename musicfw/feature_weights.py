"""Feature weights: a relevance shared by all units, given and not learnt.

Training in the axes ``√weight · x`` is training by the distance ``Σ_k weight_k (x_k − w_k)²``, for
any backend. A feature of weight 0 is then the same everywhere: its prototypes hold the mean of
their unit's data, and distances tell nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import RawMap
from musicfw.arrays import FloatArray, IntArray, as_training_data
from musicfw.control.constraints import per_feature
from musicfw.errors import UsageError
from musicfw.geometry import best_matching_units
from musicfw.missing import known_and_filled, masked_best_matching_units
from musicfw.sparse import columns_multiplied, is_sparse

__all__ = ["feature_weights_of", "unweighted", "weighted"]


def feature_weights_of(
    given: npt.ArrayLike | Mapping[Any, float], *, names: tuple[str, ...] | None, dimension: int
) -> FloatArray:
    """Return the weights (D,) that were given for each feature or for some (the others: 1).

    Raises
    ------
    UsageError
        For unknown features, another number of them, and weights that are negative, not finite or
        all 0.
    """
    if not isinstance(given, Mapping) and np.array(given, dtype=object).ndim == 0:
        raise UsageError(
            f"feature_weights: expected {dimension} numbers, or a mapping of features to numbers, "
            f"got {given!r}"
        )
    weights = per_feature(given, 1.0, names, dimension, "feature_weights")
    if not (np.isfinite(weights) & (weights >= 0.0)).all() or not weights.any():
        raise UsageError(
            "feature_weights: expected finite numbers of at least 0, and one above 0 at least"
        )
    return weights


def weighted(points: FloatArray, weights: FloatArray, *, missing: bool = False) -> FloatArray:
    """Return points (N, D), an array or a CSR array, in the axes to train in, of their dtype.

    ``missing`` tells whether NaN may stand for what is not known.

    Raises
    ------
    DataError
        If the points differ only in features of weight 0.
    """
    axes = np.sqrt(weights).astype(points.dtype)
    along = columns_multiplied(points, axes) if is_sparse(points) else points * axes
    name = "X with feature_weights"
    return as_training_data(along, name=name, missing=missing, keep_float32=True)


def unweighted(raw: RawMap, weights: FloatArray, points: FloatArray) -> RawMap:
    """Return what a backend made of weighted points as a map of the points themselves.

    Relevances that the backend has learnt are multiplied by the weights.
    """
    seen, unseen = np.flatnonzero(weights), np.flatnonzero(weights == 0.0)
    prototypes = np.zeros_like(raw.prototypes, dtype=np.float64)
    prototypes[:, seen] = raw.prototypes[:, seen] / np.sqrt(weights[seen])
    relevances = weights if raw.relevances is None else weights * raw.relevances
    if unseen.size:
        find = best_matching_units if is_sparse(points) else masked_best_matching_units
        winners = find(points, prototypes, relevances)
        prototypes[:, unseen] = _means(points[:, unseen], winners, prototypes.shape[0])
    return replace(raw, prototypes=prototypes, relevances=relevances)


def _means(points: Any, winners: IntArray, units: int) -> FloatArray:
    """Return the means of each unit's known values; of all where a unit has none."""
    if is_sparse(points):  # nothing is missing
        counts = np.bincount(winners, minlength=units)[:, np.newaxis].astype(np.float64)
        rows = points.tocoo()
        sums = np.zeros((units, points.shape[1]))
        np.add.at(sums, (winners[rows.row], rows.col), rows.data)
    else:
        known, filled = known_and_filled(points)
        sums, counts = np.zeros((units, points.shape[1])), np.zeros((units, points.shape[1]))
        np.add.at(sums, winners, filled)
        np.add.at(counts, winners, known)
    overall = sums.sum(axis=0) / counts.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), overall)
