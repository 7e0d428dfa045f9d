"""The verb *evaluate*: compare policies on the same pairs of a point and a target label.

Every measure is taken per pair, so that policies can be compared pair by pair, and is given with
its mean and a bootstrap interval (percentile method, Efron 1979). Measures *along* a path are taken
at equal fractions of its length, so that a path that lingers gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_points, frozen
from musicfw.control.targets import Target
from musicfw.errors import UsageError, did_you_mean
from musicfw.measures import (
    distance_to_data,
    frames_at_fractions,
    path_measures,
    sharpness,
)
from musicfw.plugins import Registry, default_registry
from musicfw.steer import steer
from musicfw.types import TrainedMap, Trajectory

__all__ = ["Evaluation", "Interval", "evaluate", "evaluate_paths"]

FRACTIONS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its bootstrap interval.

    Parameters
    ----------
    mean, low, high : float
        Mean over the pairs and the interval of ``Evaluation.confidence``; NaN without any value.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Measures of several policies on the same pairs. What `evaluate` returns.

    Parameters
    ----------
    values : mapping of str to mapping of str to ndarray, shape (N,)
        By policy and measure, one number per pair; NaN where a measure has no meaning.
    paths : mapping of str to ndarray, shape (N, F, D)
        By policy, the frames at ``fractions`` of each path's length, in original units.
    fractions : tuple of float
        Where measures along the paths were taken.
    confidence : float
        Of the intervals.
    seed : int
        Of the resampling.
    """

    values: Mapping[str, Mapping[str, FloatArray]]
    paths: Mapping[str, FloatArray]
    fractions: tuple[float, ...]
    confidence: float = 0.95
    seed: int = 0

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures."""
        return tuple(next(iter(self.values.values())))

    def interval(self, policy: str, measure: str, *, against: str | None = None) -> Interval:
        """Return mean and interval of a measure, or of its paired difference to another policy."""
        values = self._column(policy, measure)
        if against is not None:
            values = values - self._column(against, measure)
        return bootstrap(values, confidence=self.confidence, seed=self.seed)

    def table(self) -> dict[str, dict[str, Interval]]:
        """Return the interval of every measure, by policy."""
        return {p: {m: self.interval(p, m) for m in self.measures} for p in self.values}

    def to_markdown(self) -> str:
        """Return the table as Markdown: one row per measure, one column per policy."""
        policies = list(self.values)
        lines = ["| measure | " + " | ".join(policies) + " |"]
        lines.append("|---|" + "---|" * len(policies))
        for measure in self.measures:
            cells = []
            for policy in policies:
                found = self.interval(policy, measure)
                cells.append(f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]")
            lines.append(f"| {measure} | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _column(self, policy: str, measure: str) -> FloatArray:
        for name, known in ((policy, self.values), (measure, next(iter(self.values.values())))):
            if name not in known:
                hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
                raise UsageError(f"evaluation: expected a policy or measure, got {name!r}; {hint}")
        return self.values[policy][measure]


def evaluate(
    trained: TrainedMap,
    points: npt.ArrayLike,
    target_labels: npt.ArrayLike,
    *,
    policies: Mapping[str, Mapping[str, Any]] | Sequence[str] = ("music", "straight-line"),
    steps: int = 100,
    classifier: Any = None,
    reference: npt.ArrayLike | None = None,
    training_points: npt.ArrayLike | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    registry: Registry | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Steer every point to all units of its target label, by each policy, and measure the paths.

    Parameters
    ----------
    trained : TrainedMap
        A map with unit labels.
    points : array_like, shape (N, D)
        Where the points start, in original units; held-out data for an honest comparison.
    target_labels : array_like, shape (N,)
        Label that each point is steered to.
    policies : sequence of str, or mapping of str to mapping
        Names of policies; or by a name of your choice the policy (``use``, default that name) and
        its params.
    steps : int
        Steps of every walk.
    classifier : object, optional
        With ``predict_proba`` and ``classes_`` as in scikit-learn, trained on data apart, in
        original units. Without it there are no probabilities.
    reference : array_like, shape (R, D), optional
        Real data apart from ``points``, in original units, for ``distance_to_data``.
    training_points : array_like, shape (R, D), optional
        Data that policies may look at (``kmeans-line``), in original units.
    fractions : sequence of float
        Where on the path's length to measure.
    seed : int
        Seed of the resampling.
    registry : Registry, optional
        Where names are looked up.
    progress : callable, optional
        Called as ``progress(done, total)`` after each walk.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError
        For labels that no unit has, wrong shapes, or unknown policies.
    """
    names, dimension = trained.feature_names, trained.dimension
    starts = as_points(points, name="points", dimension=dimension, column_names=names)
    if reference is not None:  # a frame is put in the features' order
        reference = as_points(reference, name="reference", dimension=dimension, column_names=names)
    labels = np.asarray(target_labels).astype(np.str_)
    if labels.shape != (starts.shape[0],) or labels.size == 0:
        raise UsageError(
            f"target_labels: expected shape ({starts.shape[0]},), one per point and at least one, "
            f"got {labels.shape}"
        )
    registry = registry or default_registry()
    chosen = _chosen(policies)
    groups = [(label, np.flatnonzero(labels == label)) for label in np.unique(labels)]
    walks: dict[str, list[tuple[npt.NDArray[np.intp], Trajectory]]] = {}
    for number, (name, (use, params)) in enumerate(chosen.items()):
        looks_at_data = "reference" in registry.find("policy", use).factory.traits
        walks[name] = []
        for done, (label, rows) in enumerate(groups):
            path = steer(
                trained,
                starts[rows],
                target=Target.label(label),
                policy=use,
                steps=steps,
                reference=training_points if looks_at_data else None,
                registry=registry,
                **params,
            )
            walks[name].append((rows, path))
            if progress is not None:
                progress(number * len(groups) + done + 1, len(chosen) * len(groups))
    return evaluate_paths(
        walks,
        target_labels=labels,
        classifier=classifier,
        reference=reference,
        image_shape=trained.image_shape,
        fractions=fractions,
        seed=seed,
    )


def evaluate_paths(
    walks: Mapping[str, Sequence[tuple[npt.NDArray[np.intp], Trajectory]]],
    *,
    target_labels: npt.NDArray[np.str_] | None = None,
    classifier: Any = None,
    reference: npt.ArrayLike | None = None,
    image_shape: tuple[int, int] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> Evaluation:
    """Return the measures of paths that were made before.

    Parameters
    ----------
    walks : mapping of str to sequence of (rows, Trajectory)
        By policy; ``rows`` (n,) tells which pairs the trajectory's points are. Every policy covers
        the same pairs 0 … N−1.
    target_labels, classifier, reference, fractions, seed
        As in `evaluate`; without target labels there is no target probability.
    image_shape : tuple of int, optional
        (height, width), for ``sharpness``.

    Returns
    -------
    Evaluation
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.ndim != 1 or shares.size == 0 or not ((shares >= 0) & (shares <= 1)).all():
        raise UsageError(f"fractions: expected numbers from 0 to 1, got {fractions!r}")
    values: dict[str, dict[str, FloatArray]] = {}
    frames: dict[str, FloatArray] = {}
    for name, parts in walks.items():
        count = sum(rows.size for rows, _ in parts)
        dimension = parts[0][1].points.shape[2]
        along = np.empty((count, shares.size, dimension))
        to_map = np.empty((count, shares.size))
        whole: dict[str, FloatArray] = {}
        for rows, path in parts:
            for n, row in enumerate(rows):
                along[row] = frames_at_fractions(path.points[:, n], shares)
            to_map[rows] = _distances_to_map(path, along[rows], shares)
            for measure, found in path_measures(path).items():
                whole.setdefault(measure, np.empty(count))[rows] = found
        frames[name] = frozen(along)
        values[name] = whole | _along(
            along, to_map, shares, target_labels, classifier, reference, image_shape
        )
    return Evaluation(
        values=values, paths=frames, fractions=tuple(float(f) for f in shares), seed=seed
    )


def bootstrap(
    values: FloatArray, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of the finite values and its percentile bootstrap interval."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return Interval(mean=float("nan"), low=float("nan"), high=float("nan"))
    rng = np.random.default_rng(seed)
    means = finite[rng.integers(0, finite.size, size=(resamples, finite.size))].mean(axis=1)
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(mean=float(finite.mean()), low=float(low), high=float(high))


def _along(
    along: FloatArray,
    to_map: FloatArray,
    shares: FloatArray,
    labels: npt.NDArray[np.str_] | None,
    classifier: Any,
    reference: npt.ArrayLike | None,
    image_shape: tuple[int, int] | None,
) -> dict[str, FloatArray]:
    """Return the measures at each fraction."""
    found: dict[str, FloatArray] = {}
    data = None
    if reference is not None:
        data = as_points(reference, name="reference", dimension=along.shape[2])
    for position, share in enumerate(shares):
        points = along[:, position]
        here: dict[str, FloatArray] = {}
        if classifier is not None:
            probability = np.asarray(classifier.predict_proba(points), dtype=np.float64)
            if labels is not None:
                here["target_probability"] = _of_label(probability, classifier, labels)
            here["top_confidence"] = probability.max(axis=1)
        if image_shape is not None:
            here["sharpness"] = sharpness(points, image_shape)
        if data is not None:
            here["distance_to_data"] = distance_to_data(points, data)
        here["distance_to_map"] = to_map[:, position]
        found |= {f"{measure} at {share:.0%}": values for measure, values in here.items()}
    order = sorted(found, key=lambda name: list(here).index(name.split(" at ")[0]))
    return {name: found[name] for name in order}


def _distances_to_map(path: Trajectory, along: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the distance to the nearest prototype at each fraction, shape (n, F)."""
    if path.codes is None:
        frames = path.scaling.to_map(along)
    else:
        codes = (path.codes[:, n] for n in range(path.stop.size))
        frames = np.stack([frames_at_fractions(code, shares) for code in codes])
    flat = frames.reshape(-1, path.codebook.dimension)
    nearest = path.codebook.squared_distances(flat).min(axis=1)
    return np.asarray(np.sqrt(nearest).reshape(along.shape[:2]))


def _of_label(probability: FloatArray, classifier: Any, labels: npt.NDArray[np.str_]) -> FloatArray:
    classes = [str(name) for name in classifier.classes_]
    unknown = sorted(set(labels.tolist()) - set(classes))
    if unknown:
        raise UsageError(
            f"classifier: expected one that knows the label {unknown[0]!r}, got classes "
            f"{', '.join(classes)}; train it on data with every target label"
        )
    column = np.array([classes.index(label) for label in labels.tolist()])
    return np.asarray(probability[np.arange(labels.size), column])


def _chosen(
    policies: Mapping[str, Mapping[str, Any]] | Sequence[str],
) -> dict[str, tuple[str, dict[str, Any]]]:
    if isinstance(policies, str) or not policies:
        raise UsageError(f"policies: expected names of policies, got {policies!r}")
    if not isinstance(policies, Mapping):
        return {name: (name, {}) for name in policies}
    chosen = {}
    for name, params in policies.items():
        rest = dict(params)
        chosen[name] = (str(rest.pop("use", name)), rest)
    return chosen
