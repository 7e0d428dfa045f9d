"""The axes in which a stream is learnt: its units, scaled, times the roots of feature weights.

A stream cannot know its own mean: a scaling is fitted to the rows of the first update, or given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, WorkArray
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.feature_weights import feature_weights_of
from musicfw.scaling import ScalingKind, fit_scaling
from musicfw.sparse import columns_divided, is_sparse

__all__ = ["StreamAxes", "check_scaling_fits", "importance_in_stream"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamAxes:
    """From original units to the axes of a training, and back to the map's units.

    Parameters
    ----------
    scaling : Scaling
        How original units become the map's.
    importance : ndarray, shape (D,), or None
        Feature weights, all above 0.
    """

    scaling: Scaling
    importance: FloatArray | None

    @classmethod
    def of(
        cls,
        rows: WorkArray,
        scaling: ScalingKind | Scaling,
        importance: FloatArray | None,
        *,
        missing: bool,
    ) -> StreamAxes:
        """Return the axes for a stream that begins with these rows, shape (n, D)."""
        if scaling == "none":
            scaling = Scaling.identity(rows.shape[1])
        elif not isinstance(scaling, Scaling):
            scaling = fit_scaling(rows, scaling, missing=missing)
        return cls(scaling=scaling, importance=importance)

    def is_of(self, other: StreamAxes) -> bool:
        """Whether the scaling is that of other axes."""
        ours, theirs = self.scaling, other.scaling
        return np.array_equal(ours.offset, theirs.offset) and np.array_equal(
            ours.scale, theirs.scale
        )

    def along(self, rows: WorkArray) -> WorkArray:
        """Return rows (n, D) in the axes, infinite if need be; themselves if nothing changes."""
        with np.errstate(over="ignore"):
            scaled: WorkArray = self.scaling.to_map(cast(FloatArray, rows))
            return scaled if self.importance is None else scaled * np.sqrt(self.importance)

    def along_from(self, centre: FloatArray, rows: Any) -> tuple[Any, FloatArray]:
        """Return rows, of a matrix that may be sparse, and a centre: their difference is right.

        The difference is that of the rows in the axes to ``centre``, which is there already; what
        is sparse stays sparse.
        """
        if not is_sparse(rows):
            return self.along(rows), centre
        unit = self.scaling.scale / self._roots
        return columns_divided(rows, unit), centre + self.scaling.offset / unit

    def in_map(self, prototypes: FloatArray) -> FloatArray:
        """Return prototypes (M, D) of the axes in the map's units."""
        return prototypes / self._roots

    @property
    def _roots(self) -> FloatArray:
        if self.importance is None:
            return np.ones_like(self.scaling.scale)
        return np.sqrt(self.importance)


def check_scaling_fits(scaling: ScalingKind | Scaling, *, dimension: int) -> None:
    """Refuse the scaling of other features."""
    if isinstance(scaling, Scaling) and scaling.offset.size != dimension:
        raise UsageError(
            f"scaling: expected {dimension} offsets and scales, one per feature, got "
            f"{scaling.offset.size}; give that of data with the same features"
        )


def importance_in_stream(
    given: npt.ArrayLike | Mapping[Any, float] | None,
    *,
    names: tuple[str, ...] | None,
    dimension: int,
) -> FloatArray | None:
    """Return the weights (D,) that were given for each feature or for some (the others: 1).

    Raises
    ------
    UsageError
        As `feature_weights_of`, and for weights of 0.
    """
    if given is None:
        return None
    weights = feature_weights_of(given, names=names, dimension=dimension)
    if not weights.all():
        column = int(np.flatnonzero(weights == 0.0)[0])
        raise UsageError(
            f"feature_weights: expected numbers above 0 for a stream (of a feature that does not "
            f"count, prototypes hold a mean over rows that are gone), got 0 for column {column}; "
            f"leave the column out, or train on an array"
        )
    return weights
