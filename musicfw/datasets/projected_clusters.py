"""The data source ``projected-clusters``: clusters that each lie in a few of the features.

The usual benchmark of subspace clustering, as generated for OpenSubspace (E. Müller, S. Günnemann,
I. Assent and T. Seidl, "Evaluating clustering in subspace projections of high dimensional data",
PVLDB 2 (2009)); `draw` also returns the truth that evaluation needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from musicfw.api import BoolArray, Dataset, DatasetFactory, FloatArray, IntArray, param
from musicfw.errors import UsageError

__all__ = [
    "FACTORY",
    "NOISE",
    "ProjectedClusters",
    "ProjectedClustersParams",
    "ProjectedClustersSource",
    "draw",
]

NOISE = "noise"
"""Label of the points that belong to no cluster."""

RegimeName = Literal["dense", "sparse"]
# Standard deviations in a relevant feature, as shares of the range.
_DEVIATIONS = {"dense": (0.008, 0.018), "sparse": (0.01, 0.03)}
_CENTRES = (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectedClusters:
    """Points with the truth about them. What `draw` returns.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Irrelevant features lie in 0 … 1, and nearly all of the relevant ones.
    components : ndarray of intp, shape (N,)
        Cluster of each point, 0 … K−1; −1 for noise.
    relevant : ndarray of bool, shape (K, D)
        In which features each cluster lies.
    """

    points: FloatArray
    components: IntArray
    relevant: BoolArray

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """The components as text, ``noise`` for −1, shape (N,)."""
        names = np.append(np.arange(self.relevant.shape[0]).astype(np.str_), NOISE)
        return np.asarray(names[self.components])


def draw(
    rng: np.random.Generator,
    *,
    dimension: int = 10,
    clusters: int = 10,
    points: int = 1600,
    noise: float = 0.09,
    regime: RegimeName = "dense",
) -> ProjectedClusters:
    """Return clusters in random subspaces, with uniform noise, in random order.

    A cluster lies in a random set of relevant features: there ``x_k ~ N(c_k, s_k²)`` with
    ``c_k ~ U(0.05, 0.95)``; every other feature is uniform on 0 … 1, for its points too. Sizes are
    in proportion to ``U(1, 2)``. The regimes:

    ========  =======================================================  ============================
    regime    share of relevant features                               s_k
    ========  =======================================================  ============================
    dense     50–80 %                                                  U(0.008, 0.018)
    sparse    20–40 % up to D = 20, 10–20 % up to 50, then 5–12 %      U(0.01, 0.03)
    ========  =======================================================  ============================

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness; the same state gives the same points.
    dimension : int
        Number of features D.
    clusters : int
        K.
    points : int
        N, noise included.
    noise : float
        Share of points that are uniform in all features, 0 … 1.
    regime : {"dense", "sparse"}
        How many features matter.

    Raises
    ------
    UsageError
        If the regime leaves a cluster without a relevant feature, or fewer points than clusters.
    """
    shares = _shares(regime, dimension)
    least, most = int(np.ceil(shares[0] * dimension)), int(shares[1] * dimension)
    if most < least:
        raise UsageError(
            f"dimension: expected one of which {shares[0]:.0%} to {shares[1]:.0%} can be relevant "
            f"({regime}), got {dimension}; take more features"
        )
    outliers = round(noise * points)
    if points - outliers < 2 * clusters:
        raise UsageError(
            f"points: expected at least two in each of {clusters} clusters beside {outliers} of "
            f"noise, got {points}; take more"
        )
    relevant = np.zeros((clusters, dimension), dtype=np.bool_)
    for row in relevant:
        row[rng.choice(dimension, rng.integers(least, most + 1), replace=False)] = True
    centres = rng.uniform(*_CENTRES, relevant.shape)
    deviations = rng.uniform(*_DEVIATIONS[regime], relevant.shape)
    weights = rng.uniform(1.0, 2.0, clusters)
    ends = np.rint(np.cumsum(weights) / weights.sum() * (points - outliers))
    number = np.searchsorted(ends, np.arange(points), side="right")
    components = rng.permutation(np.where(number < clusters, number, -1))
    uniform = rng.uniform(size=(points, dimension))
    normal = rng.standard_normal((points, dimension))
    inside = (components >= 0)[:, np.newaxis] & relevant[components]
    drawn = np.where(inside, centres[components] + deviations[components] * normal, uniform)
    return ProjectedClusters(points=drawn, components=components, relevant=relevant)


def _shares(regime: RegimeName, dimension: int) -> tuple[float, float]:
    if regime == "dense":
        return 0.5, 0.8
    if dimension <= 20:
        return 0.2, 0.4
    return (0.1, 0.2) if dimension <= 50 else (0.05, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedClustersParams:
    """Params of ``projected-clusters``."""

    points: Annotated[int, Ge(1)] = param(1600, help="Number of points N, noise included.")
    dimension: Annotated[int, Ge(1)] = param(10, help="Number of features D.")
    clusters: Annotated[int, Ge(1)] = param(10, help="Number of clusters K.")
    noise: Annotated[float, Ge(0), Le(1)] = param(
        0.09, help="Share of points that belong to no cluster; their label is noise."
    )
    regime: RegimeName = param(
        "dense",
        help="dense: each cluster lies in 50-80 % of the features; sparse: in 20-40 % up to 20 "
        "features, 10-20 % up to 50, 5-12 % beyond.",
    )


@dataclass(frozen=True, slots=True)
class ProjectedClustersSource:
    """Clusters in subspaces; see `draw`. Labels are ``0 … K−1`` and ``noise``."""

    params: ProjectedClustersParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return what `draw` draws from the same state of ``rng``."""
        asked = self.params
        drawn = draw(
            rng,
            dimension=asked.dimension,
            clusters=asked.clusters,
            points=asked.points,
            noise=asked.noise,
            regime=asked.regime,
        )
        return Dataset(
            points=drawn.points,
            labels=drawn.labels,
            description=(
                f"{asked.clusters} clusters in {asked.regime} subspaces of {asked.dimension} "
                f"features, {asked.noise:.0%} uniform noise"
            ),
        )


FACTORY = DatasetFactory(
    name="projected-clusters",
    params=ProjectedClustersParams,
    build=ProjectedClustersSource,
    summary="Clusters that lie in subspaces, with noise, made from the seed.",
)
