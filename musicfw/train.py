"""The verb *train*: from data to a map. The host's side of every backend call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from musicfw.api import BackendFactory, Embedding, RawMap, TrainingProblem
from musicfw.arrays import FloatArray, IntArray, as_whole, read_only
from musicfw.codebook import Codebook
from musicfw.dataset import as_weights, checked_image_shape, checked_names
from musicfw.embeddings import checked_embedding
from musicfw.errors import UsageError
from musicfw.fit import fit, fit_kept
from musicfw.frames import names_of
from musicfw.geometry import best_matching_units, nearest_squared_distances
from musicfw.lattice import Lattice
from musicfw.missing import MissingValues, filled_from, masked_best_matching_units
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.plugins import Provided, Registry, provided, unblamed
from musicfw.scaling import ScalingKind
from musicfw.som.clusters import BY_POINTS, ClusterBy, check_cluster_by, cluster_units
from musicfw.som.initialization import suggested_lattice
from musicfw.som.quality import labels_of_units
from musicfw.sparse import is_sparse, read_only_csr
from musicfw.training_data import TrainingData, training_data
from musicfw.types import TrainedMap

# The percentiles are taken from this many distances at most, and from half of it if there are as
# many points.
_DISTANCES = 1000


def train(
    X: npt.ArrayLike,
    *,
    lattice: Lattice | None = None,
    backend: str | BackendFactory = "native",
    seed: int = 0,
    labels: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    feature_weights: npt.ArrayLike | Mapping[Any, float] | None = None,
    scaling: ScalingKind = "none",
    missing: MissingValues = "refuse",
    clusters: int | None = None,
    cluster_by: ClusterBy = "prototypes",
    feature_names: Sequence[str] | None = None,
    image_shape: tuple[int, int] | None = None,
    initial: npt.ArrayLike | None = None,
    registry: Registry | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every_s: float = 30.0,
    **params: Any,
) -> TrainedMap:
    """Train a self-organizing map.

    Parameters
    ----------
    X : array_like, DataFrame or sparse matrix, shape (N, D)
        Training data in original units; finite but for what ``missing`` allows, with at least two
        different rows. A frame (pandas, polars) gives the features their names. A sparse matrix
        (scipy.sparse) stays sparse, whatever the scaling.
    lattice : Lattice, optional
        Where the units lie; by default `musicfw.som.initialization.suggested_lattice`: about
        ``5 √N`` units, its sides in the ratio of the data's two leading standard deviations.
    backend : str or BackendFactory
        Name of a registered backend.
    seed : int
        The same data, params and seed give the same prototypes, byte for byte.
    labels : array_like, shape (N,), optional
        Class of each row; every unit gets the label of most of its rows.
    weights : array_like, shape (N,), optional
        As how many rows each row counts in the training, not negative; 2 is as good as a second
        copy of the row. The scaling, and first prototypes that are drawn, do not regard them.
    feature_weights : array_like (D,) or mapping, optional
        How much each feature counts in a distance, or some features by number or name (the others
        count 1); at least 0. After the scaling: a weight of 4 is as good as twice the scale. They
        become ``codebook.relevances``, shared by all units, so that everything heeds them; of a
        feature of weight 0 the distances tell nothing.
    scaling : {"none", "standard", "minmax"}
        Change of units before training; it is remembered, so that verbs given the TrainedMap take
        and return original units.
    missing : {"refuse", "keep"}
        What NaN in ``X`` is: an error, or a missing value. A row with gaps is compared with the
        prototypes in the features it has, and teaches them those; the scaling is that of the known
        values. `TrainedMap.impute` then fills gaps.
    clusters : int, optional
        How many clusters of prototypes to make for ``Target.cluster``; chosen by the silhouette
        when it is needed and not given.
    cluster_by : {"prototypes", "points", "winners", "neighbours"}
        What merges units into these clusters, see `musicfw.som.clusters`: `cluster_units`,
        `count_weighted_ward`, `winner_graph_clusters` or `neighbour_graph_clusters`. The latter
        three look at ``X`` (its codes, if the backend learns some), which must be dense and have
        no gaps.
    feature_names, image_shape
        As in `Dataset`; used in messages and figures. Names given with a frame choose its columns.
    initial : array_like, shape (M, D), optional
        First prototypes in original units, instead of the backend's own; those of a trained map
        continue its training (choose a small radius).
    registry : Registry, optional
        Where names are looked up; by default everything installed.
    progress : callable, optional
        Called as ``progress(done, total)``; what it raises comes out as it is.
    checkpoint : path-like, optional
        File that keeps the state while the training lasts. The same call after a crash or an
        interrupt goes on from there and ends with the same numbers as if nothing had happened; with
        other versions of musicfw, numpy or the backend's plugin it is refused.
    checkpoint_every_s : float
        Seconds between two writes of it, at least.
    **params
        The backend's params.

    Returns
    -------
    TrainedMap
        If the user interrupts the training (Ctrl-C), the map so far, with ``interrupted`` true;
        before there is one, KeyboardInterrupt is raised.

    Raises
    ------
    DataError
        For data that cannot be used, naming row and column; rows and columns that are wholly
        missing among them.
    UsageError
        For an unknown backend or wrong params, or names or an image shape that do not fit ``X``.
    PluginError
        If the backend fails or returns something of the wrong shape.
    """
    chosen = provided("backend", backend, registry)
    feature_names = names_of(X) if feature_names is None else feature_names
    data = training_data(
        X,
        chosen,
        scaling=scaling,
        missing=missing,
        feature_weights=feature_weights,
        names=feature_names,
    )
    count, dimension = data.scaled.shape
    if lattice is not None and not isinstance(lattice, Lattice):
        raise UsageError(f"lattice: expected a Lattice, got {type(lattice).__name__}")
    text_labels = _labels(labels, count)
    names = checked_names(feature_names, dimension, name="feature_names")
    _check_clusters(clusters, cluster_by, data)
    shape = checked_image_shape(image_shape, dimension, name="image_shape")
    resolved_params = params_from_keywords(chosen.factory, params)
    if lattice is None:
        lattice = suggested_lattice(data.along, rng=_generator(seed))
    problem = TrainingProblem(
        points=read_only_csr(data.along) if is_sparse(data.along) else read_only(data.along),
        lattice=lattice,
        rng=_generator(seed),
        progress=unblamed(progress or (lambda done, total: None)),
        initial=None if initial is None else data.first_prototypes(initial, lattice, names=names),
        weights=None if weights is None else _weights(weights, count, chosen),
        missing=data.gaps,
    )
    if checkpoint is None:
        raw = fit(chosen, resolved_params, problem)
    else:
        facts = {"seed": int(seed), "scaling": scaling}
        raw = fit_kept(
            chosen, resolved_params, problem, facts, path=checkpoint, every_s=checkpoint_every_s
        )
    raw = data.in_map(raw)
    embedding = None if raw.embedding is None else _embedding(raw, problem, registry)
    codebook, quantiles = _described(
        raw,
        data,
        lattice=lattice,
        points=data.scaled if embedding is None else embedding.encode(data.scaled),
        labels=text_labels,
        clusters=clusters,
        cluster_by=cluster_by,
    )
    return TrainedMap(
        codebook=codebook,
        scaling=data.scaling,
        backend=chosen.factory.name,
        params=params_to_tree(resolved_params),
        seed=int(seed),
        history=raw.history,
        interrupted=raw.interrupted,
        feature_names=names,
        image_shape=shape,
        distance_quantiles=quantiles,
        embedding=embedding,
    )


def _described(
    raw: RawMap,
    data: TrainingData,
    *,
    lattice: Lattice,
    points: FloatArray,
    labels: npt.NDArray[np.str_] | None,
    clusters: int | None,
    cluster_by: ClusterBy,
) -> tuple[Codebook, FloatArray]:
    """Return the codebook with labels and clusters, and quantiles of the distance to it."""
    codebook = Codebook(
        prototypes=raw.prototypes,
        lattice=lattice if raw.placed else None,
        relevances=raw.relevances,
    )
    # As the points stand: those that are sparse have not been moved.
    seen = codebook
    if data.shift.any():
        seen = replace(codebook, prototypes=codebook.prototypes + data.shift)
    codebook = replace(
        codebook,
        labels=None if labels is None else _unit_labels(seen, points, labels, data.gaps),
        clusters=None if clusters is None else _clusters(seen, points, clusters, cluster_by),
    )
    known = raw.distances
    if known is None or known.size < min(points.shape[0], _DISTANCES // 2):
        known = _distances(points, seen, data.gaps)
    return codebook, _percentiles(known)


def _check_clusters(clusters: int | None, by: ClusterBy, data: TrainingData) -> None:
    check_cluster_by(by, clusters=clusters)
    if by != "prototypes" and (data.gaps or is_sparse(data.scaled)):
        got = "data with missing values" if data.gaps else "sparse data"
        raise UsageError(
            f"cluster_by: expected 'prototypes' with {got}, got {by!r}; use it, or give dense data "
            f"without gaps"
        )


def _clusters(codebook: Codebook, points: FloatArray, clusters: int, by: ClusterBy) -> IntArray:
    if by == "prototypes":
        return cluster_units(codebook.prototypes, codebook.relevances, clusters=clusters)
    return BY_POINTS[by](codebook, points, clusters=clusters)


def _unit_labels(
    codebook: Codebook, points: FloatArray, labels: npt.NDArray[np.str_], gaps: bool
) -> npt.NDArray[np.str_]:
    find = masked_best_matching_units if gaps else best_matching_units
    winners = find(points, codebook.prototypes, codebook.relevances)
    return labels_of_units(winners, labels, units=codebook.units)


def _percentiles(values: FloatArray) -> FloatArray:
    """Return what `numpy.quantile` does at 0, .01 … 1, in a quarter of its time."""
    last = values.size - 1
    return np.interp(np.linspace(0.0, last, 101), np.arange(last + 1.0), np.sort(values))


def _distances(points: FloatArray, codebook: Codebook, gaps: bool) -> FloatArray:
    """Return the distances to the nearest prototype, of 1000 rows at most."""
    some = points[:: -(-points.shape[0] // _DISTANCES)]
    if gaps:
        units = masked_best_matching_units(some, codebook.prototypes, codebook.relevances)
        some = filled_from(some, codebook.prototypes, units)
    nearest = nearest_squared_distances(some, codebook.prototypes, codebook.relevances)
    return np.sqrt(nearest)


def _embedding(raw: RawMap, problem: TrainingProblem, registry: Registry | None) -> Embedding:
    dimension, codes = problem.points.shape[1], raw.prototypes.shape[1]
    inner = cast(Embedding, raw.embedding)
    return checked_embedding(inner, dimension=dimension, code_dimension=codes, registry=registry)


def _weights(weights: npt.ArrayLike, count: int, chosen: Provided) -> FloatArray:
    if "weights" not in chosen.factory.traits:
        raise UsageError(
            f"weights: the backend {chosen.factory.name!r} takes none; leave them out, or use the "
            f"backend 'native'"
        )
    column = as_weights(weights, rows=count)
    if not column.any():
        raise UsageError("weights: expected one above 0 at least, they are all 0")
    return read_only(column)


def _labels(labels: npt.ArrayLike | None, count: int) -> npt.NDArray[np.str_] | None:
    if labels is None:
        return None
    text = np.asarray(labels).astype(np.str_)
    if text.shape != (count,):
        raise UsageError(f"labels: expected shape ({count},), one per row of X, got {text.shape}")
    return text


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(as_whole(seed, name="seed", least=0))
