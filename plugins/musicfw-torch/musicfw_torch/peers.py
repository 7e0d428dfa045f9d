"""What the model is measured against, by the same harness.

Peers that learn codes use the same network, batches, epochs and threads; only their loss differs.
Every peer runs once per seed at fixed settings.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

import musicfw as mf
from musicfw.arrays import FloatArray, IntArray
from musicfw_torch.params import SomrlParams

# Ward's method on all points needs their distances: 8 N² bytes.
MOST_POINTS_FOR_WARD = 5000
_STARTS = 10


def kmeans(points: FloatArray, *, clusters: int, seed: int) -> IntArray:
    """Return Lloyd's k-means, the best of ten starts by k-means++."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(clusters, n_init=_STARTS, random_state=seed).fit_predict(points))


def ward(points: FloatArray, *, clusters: int, seed: int) -> IntArray:
    """Return Ward's agglomerative clustering of the points; nothing about it is random."""
    from sklearn.cluster import AgglomerativeClustering

    del seed
    return np.asarray(AgglomerativeClustering(clusters).fit_predict(points))


def mixture(
    points: FloatArray, *, clusters: int, seed: int, covariance: Literal["diag", "full"]
) -> IntArray:
    """Return the components of a Gaussian mixture, the best of three starts."""
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(clusters, covariance_type=covariance, n_init=3, random_state=seed)
    return np.asarray(model.fit_predict(points))


def umap_mixture(points: FloatArray, *, clusters: int, seed: int) -> IntArray:
    """Return a full Gaussian mixture on UMAP's coordinates, 10 of them, as N2D does to codes.

    20 neighbours and a minimal distance of 0 (R. McConville et al., "N2D", ICPR 2020).
    """
    import umap

    reducer = umap.UMAP(n_components=10, n_neighbors=20, min_dist=0.0, random_state=seed, n_jobs=1)
    codes = np.asarray(reducer.fit_transform(points), dtype=np.float64)
    return mixture(codes, clusters=clusters, seed=seed, covariance="full")


def relevances_of_features(points: FloatArray, *, clusters: int, seed: int) -> IntArray:
    """Return the units of musicfw's backend ``relevance``, one per cluster, on the features."""
    lattice = mf.Lattice(rows=1, columns=clusters)
    trained = mf.train(points, lattice=lattice, backend="relevance", mode="clusters", seed=seed)
    return trained.codebook.best_matching_units(trained.encode(points))


diagonal_mixture = partial(mixture, covariance="diag")


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def autoencoder(params: SomrlParams) -> SomrlParams:
    """Return the options that train the network alone, by plain reconstruction."""
    return replace(
        params,
        reconstruction_weight=1.0,
        code_noise=0.0,  # its unit is that of the neighbours' term
        neighbour_weight=0.0,
        map_weight=0.0,
        law="none",
    )


def desom_like(params: SomrlParams) -> SomrlParams:
    """Return the options of a joint training as in DESOM (F. Forest et al., 2019).

    Reconstruction and a plain map from the first epoch on, prototypes as parameters of Adam, a
    radius that falls from 10 to 0.1; their neighbourhood exp(−g²/T²) is ours of radius T / √2.
    """
    root = 2.0**0.5
    return replace(
        autoencoder(params),
        map_weight=params.map_weight,
        prototypes="gradient",
        warm_up=0.0,
        radius_start=10.0 / root,
        radius_end=0.1 / root,
        final_epochs=0,
    )


def trained_with(
    params: SomrlParams,
    points: FloatArray,
    *,
    lattice: mf.Lattice,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> mf.TrainedMap:
    """Return a map that the backend trained on points with these options."""
    options = {name: getattr(params, name) for name in SomrlParams.__dataclass_fields__}
    return mf.train(
        points,
        lattice=lattice,
        backend="somrl-autoencoder",
        seed=seed,
        progress=progress,
        **options,
    )
