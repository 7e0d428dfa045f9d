"""What a backend is given to train on, and the way back from its prototypes to the map's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import RawMap
from musicfw.arrays import FloatArray, as_matrix, as_training_data, read_only
from musicfw.dataset import Scaling
from musicfw.errors import DataError, UsageError
from musicfw.feature_weights import feature_weights_of, unweighted, weighted
from musicfw.lattice import Lattice
from musicfw.missing import MissingValues, has_gaps, keeps_gaps
from musicfw.plugins import Provided
from musicfw.scaling import ScalingKind, fit_scaling
from musicfw.sparse import columns_divided, is_sparse

__all__ = ["TrainingData", "as_prototypes", "training_data"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """Data on their way into a map.

    Parameters
    ----------
    scaled : ndarray or CSR array, shape (N, D)
        The points in the map's units. What stays sparse is ``x / scale``: the rest of the change
        of units, ``shift``, goes to the prototypes.
    along : ndarray or CSR array, shape (N, D)
        The same in the axes that the backend trains in: times √(feature weight).
    scaling : Scaling
        How original units become the map's.
    importance : ndarray, shape (D,), or None
        The feature weights.
    shift : ndarray, shape (D,) or (1,)
        0 but for sparse data.
    gaps : bool
        Whether NaN stands for missing values.
    """

    scaled: Any
    along: Any
    scaling: Scaling
    importance: FloatArray | None
    shift: FloatArray
    gaps: bool

    def first_prototypes(
        self, initial: npt.ArrayLike, lattice: Lattice, *, names: tuple[str, ...] | None
    ) -> FloatArray:
        """Return prototypes (M, D) that were given in original units in the backend's axes."""
        dimension = self.scaling.offset.shape[0]
        prototypes = as_prototypes(initial, lattice, columns=dimension, names=names)
        scaled = self.scaling.to_map(prototypes) + self.shift
        return read_only(scaled if self.importance is None else scaled * np.sqrt(self.importance))

    def in_map(self, raw: RawMap) -> RawMap:
        """Return a backend's map with its prototypes in the map's units."""
        if self.importance is not None:
            raw = unweighted(raw, self.importance, self.scaled)
        if is_sparse(self.scaled):
            raw = replace(raw, prototypes=raw.prototypes - self.shift)
        return raw


def as_prototypes(
    initial: npt.ArrayLike, lattice: Lattice, *, columns: int | None, names: Sequence[str] | None
) -> FloatArray:
    """Return first prototypes (M, D) that were given; refuse another number of them."""
    prototypes = as_matrix(initial, name="initial", columns=columns, column_names=names)
    if prototypes.shape[0] != lattice.units:
        raise UsageError(
            f"initial: expected {lattice.units} rows, one prototype per unit of the lattice, "
            f"got {prototypes.shape[0]}"
        )
    return prototypes


def training_data(
    X: npt.ArrayLike,
    chosen: Provided,
    *,
    scaling: ScalingKind,
    missing: MissingValues,
    feature_weights: npt.ArrayLike | Mapping[Any, float] | None,
    names: Sequence[str] | None,
) -> TrainingData:
    """Return the data as a backend may be given them.

    Raises
    ------
    DataError
        For data that cannot be used, naming row and column.
    UsageError
        For feature weights where there can be none.
    """
    _check_weights_fit(chosen, feature_weights)
    # Scaling works in float64; unscaled float32 data stay as they are: no copy of them is made.
    single = scaling == "none" and "float32" in chosen.factory.traits
    points = _checked(X, chosen, missing, names=names, keep_float32=single)
    sparse = is_sparse(points)
    gaps = keeps_gaps(missing) and not sparse and has_gaps(points)
    fitted = (
        Scaling.identity(points.shape[1]) if single else fit_scaling(points, scaling, missing=gaps)
    )
    scaled = along = columns_divided(points, fitted.scale) if sparse else fitted.to_map(points)
    importance = None
    if feature_weights is not None:
        known = None if names is None else tuple(str(name) for name in names)
        importance = feature_weights_of(feature_weights, names=known, dimension=points.shape[1])
        along = weighted(scaled, importance, missing=gaps)
    return TrainingData(
        scaled=scaled,
        along=along,
        scaling=fitted,
        importance=importance,
        shift=fitted.offset / fitted.scale if sparse else np.zeros(1),
        gaps=gaps,
    )


def _check_weights_fit(chosen: Provided, feature_weights: object) -> None:
    if feature_weights is not None and "embedding" in chosen.factory.traits:
        raise UsageError(
            f"feature_weights: the backend {chosen.factory.name!r} measures in codes of its own, "
            f"not in features; leave them out, or scale the data"
        )


def _checked(
    X: npt.ArrayLike,
    chosen: Provided,
    missing: MissingValues,
    *,
    names: Sequence[str] | None,
    keep_float32: bool,
) -> FloatArray:
    if is_sparse(X) and "sparse" not in chosen.factory.traits:
        raise DataError(
            f"X: the backend {chosen.factory.name!r} takes no sparse data; use the backend "
            f"'native', or give X.toarray()"
        )
    keeps, fits = keeps_gaps(missing), "missing" in chosen.factory.traits
    advice = "remove or impute those rows"
    if fits:
        advice += ", or train with missing='keep'"
    elif keeps:
        advice += f", or use the backend 'native': {chosen.factory.name!r} needs every value"
    return as_training_data(
        X,
        column_names=names,
        missing=fits and keeps,
        keep_float32=keep_float32,
        gap_advice=advice,
    )
