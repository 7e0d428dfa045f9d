"""The verb *train*: from data to a map. The host's side of every backend call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from musicfw.api import BackendFactory, Embedding, RawMap, TrainingProblem
from musicfw.arrays import (
    FloatArray,
    IntArray,
    as_matrix,
    as_relevances,
    as_training_data,
    read_only,
)
from musicfw.checkpoint import FileCheckpoint, fingerprint
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling, checked_image_shape, checked_names
from musicfw.embeddings import checked_embedding
from musicfw.errors import DataError, UsageError
from musicfw.feature_weights import feature_weights_of, unweighted, weighted
from musicfw.frames import names_of
from musicfw.geometry import best_matching_units, nearest_squared_distances
from musicfw.lattice import Lattice
from musicfw.missing import (
    MissingValues,
    filled_from,
    has_gaps,
    keeps_gaps,
    masked_best_matching_units,
)
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.plugins import Provided, Registry, provided, unblamed
from musicfw.scaling import ScalingKind, fit_scaling
from musicfw.som.clusters import cluster_units
from musicfw.som.initialization import suggested_lattice
from musicfw.som.quality import labels_of_units
from musicfw.sparse import arrays_of, columns_divided, is_sparse, read_only_csr
from musicfw.types import TrainedMap


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
        interrupt goes on from there and ends with the same numbers as if nothing had happened.
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
    if feature_weights is not None and "embedding" in chosen.factory.traits:
        raise UsageError(
            f"feature_weights: the backend {chosen.factory.name!r} measures in codes of its own, "
            f"not in features; leave them out, or scale the data"
        )
    if feature_weights is not None and is_sparse(X):
        raise UsageError(
            "feature_weights: expected none with sparse data; multiply the columns by the roots of "
            "the weights instead"
        )
    # Scaling works in float64; unscaled float32 data stay as they are: no copy of them is made.
    single = scaling == "none" and "float32" in chosen.factory.traits
    feature_names = names_of(X) if feature_names is None else feature_names
    points = _training_data(X, chosen, missing, names=feature_names, keep_float32=single)
    sparse = is_sparse(points)
    gaps = keeps_gaps(missing) and not sparse and has_gaps(points)
    if lattice is not None and not isinstance(lattice, Lattice):
        raise UsageError(f"lattice: expected a Lattice, got {type(lattice).__name__}")
    text_labels = _labels(labels, points.shape[0])
    names = checked_names(feature_names, points.shape[1], name="feature_names")
    shape = checked_image_shape(image_shape, points.shape[1], name="image_shape")
    resolved_params = params_from_keywords(chosen.factory, params)
    fitted = (
        Scaling.identity(points.shape[1]) if single else fit_scaling(points, scaling, missing=gaps)
    )
    # What stays sparse is x / scale: the rest of the change of units goes to the prototypes.
    shift = fitted.offset / fitted.scale if sparse else np.zeros(1)
    scaled = along = columns_divided(points, fitted.scale) if sparse else fitted.to_map(points)
    importance = None
    if feature_weights is not None:
        importance = feature_weights_of(feature_weights, names=names, dimension=scaled.shape[1])
        along = weighted(scaled, importance, missing=gaps)
    if lattice is None:
        lattice = suggested_lattice(along, rng=_generator(seed))
    problem = TrainingProblem(
        points=read_only_csr(along) if sparse else read_only(along),
        lattice=lattice,
        rng=_generator(seed),
        progress=unblamed(progress or (lambda done, total: None)),
        initial=None
        if initial is None
        else _initial(initial, lattice, fitted, importance, shift, names=names),
        weights=None if weights is None else _weights(weights, points.shape[0], chosen),
        missing=gaps,
    )
    if checkpoint is None:
        raw = _fit(chosen, resolved_params, problem)
    else:
        facts = {"seed": int(seed), "scaling": scaling}
        raw = _fit_kept(
            chosen, resolved_params, problem, facts, path=checkpoint, every_s=checkpoint_every_s
        )
    if importance is not None:
        raw = unweighted(raw, importance, scaled)
    embedding = None if raw.embedding is None else _embedding(raw, problem, registry)
    if sparse:
        raw = replace(raw, prototypes=raw.prototypes - shift)
    in_map = scaled if embedding is None else embedding.encode(scaled)
    codebook = Codebook(
        prototypes=raw.prototypes,
        lattice=lattice if raw.placed else None,
        relevances=raw.relevances,
    )
    seen = replace(codebook, prototypes=codebook.prototypes + shift) if sparse else codebook
    codebook = replace(
        codebook,
        labels=None if text_labels is None else _unit_labels(seen, in_map, text_labels, gaps),
        clusters=None if clusters is None else _clusters(codebook, clusters),
    )
    return TrainedMap(
        codebook=codebook,
        scaling=fitted,
        backend=chosen.factory.name,
        params=params_to_tree(resolved_params),
        seed=int(seed),
        history=raw.history,
        interrupted=raw.interrupted,
        feature_names=names,
        image_shape=shape,
        distance_quantiles=_distance_quantiles(in_map, seen, gaps),
        embedding=embedding,
    )


def _clusters(codebook: Codebook, clusters: int) -> IntArray:
    return cluster_units(codebook.prototypes, codebook.relevances, clusters=clusters)


def _unit_labels(
    codebook: Codebook, points: FloatArray, labels: npt.NDArray[np.str_], gaps: bool
) -> npt.NDArray[np.str_]:
    find = masked_best_matching_units if gaps else best_matching_units
    winners = find(points, codebook.prototypes, codebook.relevances)
    return labels_of_units(winners, labels, units=codebook.units)


def _distance_quantiles(points: FloatArray, codebook: Codebook, gaps: bool) -> FloatArray:
    """Return the percentiles of the distance to the nearest prototype, of 1000 rows at most."""
    some = points[:: -(-points.shape[0] // 1000)]
    if gaps:
        units = masked_best_matching_units(some, codebook.prototypes, codebook.relevances)
        some = filled_from(some, codebook.prototypes, units)
    nearest = nearest_squared_distances(some, codebook.prototypes, codebook.relevances)
    return np.quantile(np.sqrt(nearest), np.linspace(0.0, 1.0, 101))


def _training_data(
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


def _fit(chosen: Provided, params: Any, problem: TrainingProblem) -> RawMap:
    backend = chosen.build(params)
    with chosen.calling("fit"):
        raw = backend.fit(problem)
    if not isinstance(raw, RawMap):
        raise chosen.error("fit", f"expected a RawMap, got {type(raw).__name__}")
    dimension = problem.points.shape[1]
    if raw.embedding is not None:
        if "embedding" not in chosen.factory.traits:
            raise chosen.error("fit", "an embedding needs the trait 'embedding', which it lacks")
        dimension = np.shape(raw.prototypes)[-1]
    units = problem.lattice.units
    if not raw.placed:
        units = min(units, max(1, np.shape(raw.prototypes)[0] if np.ndim(raw.prototypes) else 0))
    shape = (units, dimension)
    chosen.checked(raw.prototypes, call="fit", name="prototypes (M, D)", shape=shape)
    if not np.isfinite(raw.prototypes).all():
        unit = int(np.flatnonzero(~np.isfinite(raw.prototypes).all(axis=1))[0])
        raise chosen.error("fit", f"the prototype of unit {unit} is not finite")
    if raw.relevances is not None:
        try:
            as_relevances(raw.relevances, name="relevances", units=shape[0], dimension=shape[1])
        except UsageError as err:
            raise chosen.error("fit", str(err)) from err
    if not isinstance(raw.history, Mapping):
        got = type(raw.history).__name__
        raise chosen.error("fit", f"expected history as a mapping of arrays, got {got}")
    for name, values in raw.history.items():
        column = np.asarray(values)
        chosen.checked(column, call="fit", name=f"history[{name!r}]", shape=(column.size,))
    return raw


def _fit_kept(
    chosen: Provided,
    params: Any,
    problem: TrainingProblem,
    facts: dict[str, Any],
    *,
    path: str | os.PathLike[str],
    every_s: float,
) -> RawMap:
    """Do `_fit` with a checkpoint, which lasts as long as there is something left to do."""
    if "resumable" not in chosen.factory.traits:
        raise UsageError(
            f"checkpoint: the backend {chosen.factory.name!r} cannot go on from one; leave it out, "
            f"or use the backend 'native'"
        )
    facts |= {"backend": chosen.factory.name, "params": params_to_tree(params)}
    facts["lattice"] = problem.lattice.to_json()
    points = arrays_of(problem.points)
    same = fingerprint(*points, problem.initial, problem.weights, **facts)
    kept = FileCheckpoint(path, fingerprint=same, every_s=every_s)
    raw = _fit(chosen, params, replace(problem, checkpoint=kept))
    kept.keep() if raw.interrupted else kept.remove()
    return raw


def _embedding(raw: RawMap, problem: TrainingProblem, registry: Registry | None) -> Embedding:
    dimension, codes = problem.points.shape[1], raw.prototypes.shape[1]
    inner = cast(Embedding, raw.embedding)
    return checked_embedding(inner, dimension=dimension, code_dimension=codes, registry=registry)


def _initial(
    initial: npt.ArrayLike,
    lattice: Lattice,
    scaling: Scaling,
    importance: FloatArray | None,
    shift: FloatArray,
    *,
    names: tuple[str, ...] | None,
) -> FloatArray:
    dimension = scaling.offset.shape[0]
    prototypes = as_matrix(initial, name="initial", columns=dimension, column_names=names)
    if prototypes.shape[0] != lattice.units:
        raise UsageError(
            f"initial: expected {lattice.units} rows, one prototype per unit of the lattice, got "
            f"{prototypes.shape[0]}"
        )
    scaled = scaling.to_map(prototypes) + shift
    return read_only(scaled if importance is None else scaled * np.sqrt(importance))


def _weights(weights: npt.ArrayLike, count: int, chosen: Provided) -> FloatArray:
    if "weights" not in chosen.factory.traits:
        raise UsageError(
            f"weights: the backend {chosen.factory.name!r} takes none; leave them out, or use the "
            f"backend 'native'"
        )
    column = as_matrix(np.reshape(np.asarray(weights), (-1, 1)), name="weights")[:, 0]
    if column.shape != (count,):
        raise UsageError(f"weights: expected {count}, one per row of X, got {column.size}")
    if (column < 0.0).any() or not column.any():
        raise UsageError("weights: expected numbers of at least 0, and one above 0 at least")
    return read_only(column)


def _labels(labels: npt.ArrayLike | None, count: int) -> npt.NDArray[np.str_] | None:
    if labels is None:
        return None
    text = np.asarray(labels).astype(np.str_)
    if text.shape != (count,):
        raise UsageError(f"labels: expected shape ({count},), one per row of X, got {text.shape}")
    return text


def _generator(seed: int) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"seed: expected an integer of at least 0, got {seed!r}")
    return np.random.default_rng(int(seed))
