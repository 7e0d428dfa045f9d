"""The axes that a codebook measures along: features that matter, a shared relevance scaled away.

``Σ_k R_k (x_k − w_k)²`` is Euclidean in the coordinates ``√R_k x_k``, so one relevance for all
units needs no mathematics of its own: inversion and control work in these axes and come back. A
feature that matters to no unit is no axis: distances tell nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musicfw.arrays import BoolArray, FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axes:
    """Made by `axes_of`.

    Parameters
    ----------
    features : ndarray of intp, shape (K,)
        The features that matter to some unit.
    scale : ndarray, shape (K,)
        ``√R`` of a shared relevance, else 1.
    codebook : Codebook
        The units along these axes, (M, K); its relevances are None or differ by unit.
    elsewhere : ndarray, shape (D,)
        Mean of the prototypes: what stands in for the features that are no axis.
    """

    features: IntArray
    scale: FloatArray
    codebook: Codebook
    elsewhere: FloatArray

    @property
    def dimension(self) -> int:
        """Number of features D."""
        return int(self.elsewhere.shape[0])

    @property
    def are_features(self) -> bool:
        """Whether the coordinates are the features themselves, all of them, as they are."""
        return self.features.size == self.dimension and bool((self.scale == 1.0).all())

    @property
    def irrelevant(self) -> tuple[int, ...]:
        """The features that are no axis."""
        return tuple(np.setdiff1d(np.arange(self.dimension), self.features).tolist())

    def along(self, points: FloatArray) -> FloatArray:
        """Return the coordinates (…, K) of points (…, D)."""
        return points if self.are_features else points[..., self.features] * self.scale

    def back(self, coordinates: FloatArray) -> FloatArray:
        """Return the points (N, D) with these coordinates (N, K)."""
        if self.are_features:
            return coordinates
        points = np.tile(self.elsewhere, (coordinates.shape[0], 1))
        points[:, self.features] = coordinates / self.scale
        return points

    def only(self, wanted: BoolArray) -> Axes:
        """Return the axes of the features for which ``wanted`` (D,) is true; at least one.

        Raises
        ------
        UsageError
            If none of the features that matter to a unit is left.
        """
        kept = wanted[self.features]
        if kept.all():
            return self
        relevances = self.codebook.relevances
        if relevances is not None:
            relevances = relevances[:, kept]
        left = np.array([kept.any()]) if relevances is None else relevances.any(axis=1)
        if not left.all():
            whose = "any unit" if relevances is None else f"unit {int(np.argmin(left))}"
            raise UsageError(
                f"frozen: every feature that matters to {whose} is frozen, so no distance to it "
                f"can change; free one of them"
            )
        return Axes(
            features=self.features[kept],
            scale=self.scale[kept],
            codebook=replace(
                self.codebook,
                prototypes=self.codebook.prototypes[:, kept],
                relevances=relevances,
            ),
            elsewhere=self.elsewhere,
        )


def axes_of(codebook: Codebook) -> Axes:
    """Return the axes of a codebook; those of one without relevances are its features."""
    relevances, dimension = codebook.relevances, codebook.dimension
    features, scale, along = np.arange(dimension), np.ones(dimension), codebook
    if relevances is not None:
        if relevances.ndim == 2 and (relevances == relevances[0]).all():
            relevances = relevances[0]
        features = np.flatnonzero(relevances.reshape(-1, dimension).any(axis=0))
        relevances = relevances[..., features]
        scale = np.sqrt(relevances) if relevances.ndim == 1 else np.ones(features.size)
        along = replace(
            codebook,
            prototypes=codebook.prototypes[:, features] * scale,
            relevances=None if relevances.ndim == 1 else relevances,
        )
    return Axes(
        features=features,
        scale=scale,
        codebook=along,
        elsewhere=np.asarray(codebook.prototypes.mean(axis=0)),
    )
