"""The stage *evaluate* of a run: random pairs, a classifier by name, and what to compare."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, IntArray
from musicfw.dataset import Dataset
from musicfw.errors import UsageError, did_you_mean
from musicfw.evaluate import Evaluation, evaluate
from musicfw.params import params_to_tree
from musicfw.plugins import Registry
from musicfw.types import TrainedMap

if TYPE_CHECKING:
    from musicfw.sections import EvaluateSpec, RunSpec

FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Rows that the classifier is trained on at most: enough to tell classes apart, in seconds.
_CLASSIFIER_ROWS = 10_000


def compare_policies(
    section: EvaluateSpec,
    spec: RunSpec,
    trained: TrainedMap,
    dataset: Dataset,
    *,
    train_rows: IntArray,
    held_out: IntArray,
    rng: np.random.Generator,
    registry: Registry,
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Return the comparison that a spec asks for.

    Half of the held-out rows are where pairs start; the other half are the real data that the
    frames are compared with, so that no path is near its own start's image for that alone. The
    classifier sees training rows only.
    """
    labels = check_comparison(section, dataset, held_out)
    half = held_out.size // 2
    starts, apart = held_out[:half], held_out[half:]
    reachable = np.unique(np.asarray(trained.codebook.labels))
    reachable = reachable[reachable != ""]
    rows, wanted = _pairs(section.pairs, labels, starts, reachable, rng)
    # At random, since data may be sorted by their labels.
    count = min(train_rows.size, _CLASSIFIER_ROWS)
    seen = np.sort(rng.choice(train_rows, size=count, replace=False))
    return evaluate(
        trained,
        dataset.points[rows],
        wanted,
        policies=_policies(section, spec),
        steps=section.steps,
        classifier=_fitted(section.classifier, dataset, seen, spec.seed),
        reference=dataset.points[apart],
        training_points=dataset.points[train_rows],
        fractions=FRACTIONS,
        seed=spec.seed,
        registry=registry,
        progress=progress,
    )


def check_comparison(
    section: EvaluateSpec, dataset: Dataset, held_out: IntArray
) -> npt.NDArray[np.str_]:
    """Return the labels of the data, after checking what can be checked before training.

    Raises
    ------
    UsageError
        Without labels, with fewer than two classes or four held-out rows, or for a classifier that
        scikit-learn does not have.
    """
    if dataset.labels is None:
        raise UsageError("evaluate: the data have no labels to steer to; leave the section out")
    if np.unique(dataset.labels).size < 2:
        raise UsageError("evaluate: expected data with at least two labels, got one")
    if held_out.size < 4:
        raise UsageError(
            f"evaluate: expected at least 4 held-out rows, got {held_out.size}; raise data.holdout"
        )
    if section.classifier is not None:
        _classifier_class(section.classifier)
    return dataset.labels


def _pairs(
    count: int,
    labels: npt.NDArray[np.str_],
    starts: IntArray,
    reachable: npt.NDArray[np.str_],
    rng: np.random.Generator,
) -> tuple[IntArray, npt.NDArray[np.str_]]:
    """Return random rows, each with a random other label that some unit has."""
    rows = rng.choice(starts, size=count, replace=count > starts.size)
    wanted = []
    for row in rows:
        others = reachable[reachable != labels[row]]
        if others.size == 0:
            raise UsageError("evaluate: the map's units carry one label only; use a larger map")
        wanted.append(str(rng.choice(others)))
    return rows, np.array(wanted)


def _policies(section: EvaluateSpec, spec: RunSpec) -> dict[str, dict[str, Any]]:
    walks = {walk.id: walk for walk in spec.control}
    chosen: dict[str, dict[str, Any]] = {}
    for name in section.policies:
        walk = walks.get(name)
        chosen[name] = {} if walk is None else {"use": walk.use, **params_to_tree(walk.with_)}
    return chosen


def _classifier_class(name: str) -> type[Any]:
    try:
        from sklearn.utils import all_estimators
    except ImportError as err:
        raise UsageError(
            "evaluate.classifier: needs scikit-learn; pip install 'musicfw[examples]', or write "
            "classifier: null"
        ) from err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental estimators that are only listed
        known = {
            found: made
            for found, made in all_estimators("classifier")
            if _gives_probabilities(made)
        }
    if name not in known:
        hint = did_you_mean(name, known) or "for instance 'LogisticRegression'"
        raise UsageError(
            f"evaluate.classifier: expected a classifier of scikit-learn with probabilities, got "
            f"{name!r}; {hint}"
        )
    found: type[Any] = known[name]
    return found


def _gives_probabilities(classifier: type[Any]) -> bool:
    try:
        # Of an instance: whether 'SVC' has them depends on its options.
        return hasattr(classifier(), "predict_proba")
    except TypeError:
        return False  # it cannot be made without arguments


def _fitted(name: str | None, dataset: Dataset, rows: IntArray, seed: int) -> Any:
    """Return the classifier, with its defaults but for the seed, on features of comparable size."""
    if name is None:
        return None
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    made = _classifier_class(name)()
    if "random_state" in made.get_params():
        made.set_params(random_state=seed)
    points: FloatArray = dataset.points[rows]
    scale = float(points.std()) or 1.0
    shrink = FunctionTransformer(lambda values: values / scale)
    pipeline = make_pipeline(shrink, made)
    with warnings.catch_warnings():
        # It need not converge to the last digit to tell the classes apart.
        warnings.simplefilter("ignore")
        pipeline.fit(points, np.asarray(dataset.labels)[rows])
    return pipeline


def evaluation_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the table as plain values: mean, low and high by policy and measure."""

    def plain(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        policy: {
            measure: {
                "mean": plain(found.mean),
                "low": plain(found.low),
                "high": plain(found.high),
            }
            for measure, found in row.items()
        }
        for policy, row in evaluation.table().items()
    }
