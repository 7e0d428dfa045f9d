"""The sections of a run's specification, as values.

Each field is at once the key in YAML, its type, constraint, default and help. A field whose name
ends in an underscore (``with_``) stands for the key without it. They are read by `musicfw.spec`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, Self

from annotated_types import Ge, Gt, Lt, MinLen

from musicfw.api import Factory, param
from musicfw.errors import Problem
from musicfw.lattice import Lattice
from musicfw.params import params_to_tree
from musicfw.som.clusters import ClusterBy, check_cluster_by
from musicfw.yamlpos import dump

__all__ = [
    "ControlSpec",
    "DataSpec",
    "InvertSpec",
    "MapSpec",
    "PluginsSpec",
    "ReportSpec",
    "RunSpec",
    "SpecRegistry",
    "StartSpec",
    "TargetSpec",
]

ID_PATTERN = "[a-z0-9][a-z0-9._-]{0,99}"  # it becomes the name of a file
TARGET_KINDS = ("units", "cell", "label", "cluster", "sample")

NonNegative = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Weight = Annotated[float, Ge(0)]
Rows = Annotated[tuple[NonNegative, ...], MinLen(1)]


def _required(*, help: str) -> Any:  # noqa: A002 - as in `param`
    return field(metadata={"help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Where the data come from. ``with_`` holds the params of the data set."""

    use: str = _required(help="Name of a data set.")
    with_: Any = param(None, help="The data set's own options.")
    scaling: Literal["none", "standard", "minmax"] = param(
        "none", help="Per feature: as it is, mean 0 and deviation 1, or from 0 to 1."
    )
    holdout: Annotated[float, Ge(0), Lt(1)] = param(
        0.2, help="Share of the rows that is kept out of training, for invert and control."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """How the map is trained. ``with_`` holds the params of the backend."""

    use: str = param("native", help="Name of a training backend.")
    with_: Any = param(None, help="The backend's own options.")
    lattice: Lattice = _required(help="The lattice of the map.")
    feature_weights: dict[str, Weight] | Annotated[tuple[Weight, ...], MinLen(1)] | None = param(
        None,
        help="How much features count in a distance: one number for each, or for some by name.",
    )
    clusters: Annotated[int, Ge(2)] | None = param(
        None, help="Number of clusters of prototypes; chosen automatically if null."
    )
    cluster_by: ClusterBy = param(
        "prototypes",
        help="What merges units into clusters: their prototypes (Ward), the means and numbers of "
        "their training points (Ward), points of which they are the two nearest units, or points "
        "that are neighbours of each other. All but the first need ``clusters``.",
    )

    def __post_init__(self) -> None:
        check_cluster_by(self.cluster_by, clusters=self.clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertSpec:
    """One inversion of held-out rows. ``with_`` holds the params of the solver."""

    id: str = param("", help="Name of its file; the name under use by default.")
    use: str = _required(help="Name of a solver.")
    with_: Any = param(None, help="The solver's own options.")
    count: Positive | None = param(None, help="How many held-out rows to invert; all if null.")
    noise: Annotated[float, Ge(0)] = param(
        0.0, help="Relative noise that is added to the distances first."
    )
    tolerance: Annotated[float, Ge(0)] = param(
        1e-6, help="Relative residual up to which distances count as those of a point."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """Where to steer to: exactly one of units, cell, label, cluster and sample."""

    units: Rows | None = param(None, help="Numbers of units.")
    cell: tuple[NonNegative, NonNegative] | None = param(
        None, help="Row and column of a unit, counted from 0."
    )
    label: str | None = param(None, help="All units with this label.")
    cluster: NonNegative | None = param(None, help="All units of this cluster, counted from 0.")
    sample: NonNegative | None = param(
        None, help="The activations of this held-out row, counted from 0."
    )
    away: bool = param(False, help="Steer away from the target instead of towards it.")

    @property
    def kind(self) -> str:
        """Name of the field that is given."""
        return next(name for name in TARGET_KINDS if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSpec:
    """Which held-out rows to steer: the first ``count`` (of a label), or ``rows``."""

    count: Positive = param(6, help="How many held-out rows.")
    label: str | None = param(None, help="Only rows with this label.")
    rows: Rows | None = param(None, help="Numbers of held-out rows, instead of count and label.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSpec:
    """One walk through the map. ``with_`` holds the params of the policy."""

    id: str = param("", help="Name of its file; the name under use by default.")
    use: str = _required(help="Name of a control policy.")
    with_: Any = param(None, help="The policy's own options.")
    target: TargetSpec = _required(help="Where to steer to.")
    start: StartSpec = param(StartSpec(), help="Which held-out rows to steer.")
    steps: Positive = param(100, help="Greatest number of steps.")
    until: Literal["settled", "arrived"] = param(
        "settled", help="Stop a point when it settles, or as soon as it arrives in the target."
    )
    frozen: tuple[int | str, ...] = param(
        (), help="Features that may not change, by number or name."
    )
    lower: float | dict[str, float] | None = param(
        None, help="Bound not to fall below: one for all features, or for some by name."
    )
    upper: float | dict[str, float] | None = param(
        None, help="Bound not to rise above: one for all features, or for some by name."
    )
    cost: dict[str, Annotated[float, Gt(0)]] | None = param(
        None, help="Price of changing features by name; that of the others is 1."
    )
    off_manifold: Annotated[float, Gt(0)] | None = param(
        None,
        help="Stop a point before it is farther from the map than this multiple of what 99 % of "
        "the training data are.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSpec:
    """A comparison of policies on random pairs of a held-out row and another label."""

    policies: Annotated[tuple[str, ...], MinLen(1)] = param(
        ("music", "straight-line"),
        help="What to compare: the id of a walk under control, for its policy and options, or the "
        "name of a policy with its defaults.",
    )
    pairs: Positive = param(200, help="How many pairs.")
    steps: Positive = param(100, help="Steps of every walk.")
    classifier: str | None = param(
        "LogisticRegression",
        help="A classifier of scikit-learn by its class name, trained on the training rows, for "
        "probabilities along the paths; null for none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpec:
    """What the report shows."""

    title: str | None = param(None, help="Title of the report.")
    figures: bool = param(True, help="Whether figures are drawn.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginsSpec:
    """Which plugins may and must be there."""

    block: tuple[str, ...] = param((), help="Plugins that are not used.")
    require: tuple[str, ...] = param((), help="Plugins without which the run does not start.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A validated specification of a run.

    In each section ``with_`` is an instance of its factory's params, with all defaults filled in.
    """

    seed: NonNegative = param(0, help="The one seed of the run.")
    data: DataSpec = _required(help="Where the data come from.")
    map: MapSpec = _required(help="How the map is trained.")
    invert: tuple[InvertSpec, ...] = param((), help="Inversions of held-out rows.")
    control: tuple[ControlSpec, ...] = param((), help="Walks through the map.")
    evaluate: EvaluateSpec | None = param(None, help="A comparison of policies on random pairs.")
    report: ReportSpec = param(ReportSpec(), help="What the report shows.")
    plugins: PluginsSpec = param(PluginsSpec(), help="Which plugins may and must be there.")

    def resolved(self) -> dict[str, Any]:
        """Return the plain tree with all defaults; loading it again gives the same spec."""
        tree = params_to_tree(self)
        for item in tree["control"]:
            item["target"] = {k: v for k, v in item["target"].items() if v is not None}
            if item["start"]["rows"] is None:
                del item["start"]["rows"]
            else:
                item["start"] = {"rows": item["start"]["rows"]}
        return tree

    def to_yaml(self) -> str:
        """Return `resolved` as YAML."""
        return dump(self.resolved())

    def sha256(self) -> str:
        """Return the hash of what is specified: the same for every way to write it."""
        text = json.dumps(_canonical(self.resolved()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _canonical(tree: Any) -> Any:
    # A default may be written 1 where a spec's 1 is read as 1.0.
    if isinstance(tree, dict):
        return {key: _canonical(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_canonical(value) for value in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() else tree


class SpecRegistry(Protocol):
    """What a spec asks of the registry."""

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the usable bare names of a kind."""
        ...

    def lookup(self, kind: str, name: str) -> Factory[Any] | Problem:
        """Return the factory, or why there is none."""
        ...

    def requirement(self, name: str) -> Problem | None:
        """Return why a plugin is not usable; None if it is."""
        ...

    def known_plugin(self, name: str) -> bool:
        """Whether a plugin of this name is installed."""
        ...

    def without(self, names: Sequence[str]) -> Self:
        """Return the registry with plugins blocked."""
        ...
