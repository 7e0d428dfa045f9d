"""What a plugin author imports: the hook marker, the factories and the protocols.

A plugin is a module that implements one or more hooks; each returns factories::

    from dataclasses import dataclass
    from musicfw.api import CentredSystem, RawSolution, SolverFactory, hookimpl, param

    @dataclass(frozen=True, slots=True, kw_only=True)
    class MyParams:
        damping: Annotated[float, Ge(0)] = param(0.0, help="Tikhonov parameter.")

    @hookimpl
    def musicfw_solvers():
        return [SolverFactory(name="mine", params=MyParams, build=MySolver, summary="…")]

The host checks shapes and finiteness, and computes residuals, ranks, conditions and times itself:
a plugin states only what it alone knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pluggy

from musicfw.arrays import BoolArray, FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.dataset import Dataset
from musicfw.geometry import CentredSystem
from musicfw.lattice import Lattice

__all__ = [
    "Backend",
    "BackendFactory",
    "BoolArray",
    "CentredSystem",
    "Checkpoint",
    "Codebook",
    "Dataset",
    "DatasetFactory",
    "DatasetSource",
    "Embedding",
    "EmbeddingFactory",
    "Factorisation",
    "Factory",
    "FloatArray",
    "IntArray",
    "Lattice",
    "Move",
    "NoParams",
    "Policy",
    "PolicyFactory",
    "RawMap",
    "RawSolution",
    "Solver",
    "SolverFactory",
    "Steering",
    "SteeringProblem",
    "TrainingProblem",
    "hookimpl",
    "param",
]

hookimpl = pluggy.HookimplMarker("musicfw")

T_co = TypeVar("T_co", covariant=True)


def param(default: Any, *, help: str, is_path: bool = False) -> Any:  # noqa: A002
    """Return a dataclass field with a default and a help text.

    The type and the constraints (`annotated_types`) stand in the annotation. Together they are
    the YAML option, its validation, its JSON Schema and its documentation.

    An option of a data set with ``is_path`` is text that names a file or folder. Written in a spec
    as a relative path it starts at the spec's folder, or at the working directory if nothing is
    there; what is built gets an absolute path.
    """
    return dataclasses.field(default=default, metadata={"help": help, "is_path": is_path})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoParams:
    """The params of a factory that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory(Generic[T_co]):
    """Something a spec can name under ``use:``.

    Parameters
    ----------
    name : str
        Lower case, words joined by hyphens.
    params : type
        A frozen dataclass whose fields are made by `param`; every field has a default.
    build : callable
        ``build(params) -> object`` of the protocol of its kind.
    summary : str
        One line for listings.
    traits : frozenset of str
        What the host and the conformance kit may rely on.

    Notes
    -----
    ``reserved_params`` are the arguments of the verb that uses the factory: a field of ``params``
    cannot have their names, for ``verb(…, **params)`` could not tell them apart.
    """

    kind: ClassVar[str] = ""
    known_traits: ClassVar[frozenset[str]] = frozenset()
    reserved_params: ClassVar[frozenset[str]] = frozenset()

    name: str
    params: type
    build: Callable[[Any], T_co]
    summary: str
    traits: frozenset[str] = frozenset()


# --- solvers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSolution:
    """What a solver's `solve` returns.

    Parameters
    ----------
    coordinates : ndarray, shape (D, B)
        u, the points relative to the centroid, one column per right-hand side.
    """

    coordinates: FloatArray


class Factorisation(Protocol):
    """A prepared system: solves for many right-hand sides."""

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Solve ``V u = b`` for every column of ``rhs`` (M, B), which is read-only.

        The columns of b sum to 0; with the trait ``uncentred`` they are as they come.
        """
        ...


class Solver(Protocol):
    """Turns a centred system into something that solves it: factorise once, solve many."""

    def factorise(self, system: CentredSystem) -> Factorisation:
        """Prepare the system (its arrays are read-only)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverFactory(Factory[Solver]):
    """A factory of inversion solvers.

    Trait ``regularised``: a residual is meant. Trait ``uncentred``: `solve` is given ``−½ e`` with
    its mean, which tells ``||u||²`` (``system.distances_of`` makes distances of it), and chooses
    for itself how distances that no point has are weighed: the host does not refine its answer.
    """

    kind: ClassVar[str] = "solver"
    known_traits: ClassVar[frozenset[str]] = frozenset({"regularised", "uncentred"})
    reserved_params: ClassVar[frozenset[str]] = frozenset(
        {"codebook", "registry", "self", "solver", "squared_distances", "tolerance"}
    )


# --- embeddings ----------------------------------------------------------------------------------


class Embedding(Protocol):
    """A learned pair of an encoder and a decoder, between the data and the space of a map."""

    @property
    def name(self) -> str:
        """Name of the `EmbeddingFactory` that builds it from its files."""
        ...

    def encode(self, points: FloatArray) -> FloatArray:
        """Return the codes (N, d) of points (N, D), which are scaled as the training data were."""
        ...

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return points (N, D), scaled as the training data were, for codes (N, d)."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Return all that it is made of, by file name; never pickle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFactory(Factory[Embedding]):
    """Brings a stored embedding back: ``build`` takes what `Embedding.files` returned."""

    kind: ClassVar[str] = "embedding"

    params: type = NoParams


# --- backends ------------------------------------------------------------------------------------


class Checkpoint(Protocol):
    """Keeps the state of a training, so that it can go on after the process has ended."""

    def load(self) -> Mapping[str, npt.NDArray[Any]] | None:
        """Return the arrays kept by an earlier process for the same problem, or None."""
        ...

    def offer(self, state: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> None:
        """Offer the state between two updates; the host calls ``state()`` if it wants to keep it.

        What ``state()`` returns must not change later.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingProblem:
    """What a backend is given.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Training data in the map's units, read-only, finite, at least two different rows; float64,
        or for a backend with the trait ``float32`` also float32. NaN only as ``missing`` says.
        For a backend with the trait ``sparse`` it may be a canonical `scipy.sparse.csr_array`.
    lattice : Lattice
        The lattice to place the prototypes on.
    rng : numpy.random.Generator
        The only source of randomness allowed.
    progress : callable
        ``progress(done, total)``; call it now and then.
    initial : ndarray, shape (M, D), optional
        First prototypes that the caller gave, in the map's units, read-only.
    weights : ndarray, shape (N,), optional
        Only for backends with the trait ``weights``: as how many points each counts; read-only,
        not negative, not all 0.
    missing : bool
        Only for backends with the trait ``missing``: whether NaN in ``points`` stands for missing
        values. No row and no column is wholly missing.
    checkpoint : Checkpoint, optional
        Only for backends with the trait ``resumable``: where the state may be kept. A training
        that goes on from one must end with the same numbers as one that never stopped.
    """

    points: FloatArray
    lattice: Lattice
    rng: np.random.Generator
    progress: Callable[[int, int], None]
    initial: FloatArray | None = None
    weights: FloatArray | None = None
    missing: bool = False
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawMap:
    """What a backend returns.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Unit ``row * columns + column`` in row ``unit``.
    history : mapping of str to ndarray, shape (epochs,)
        What the backend recorded along the way; may be empty.
    interrupted : bool
        Whether the user stopped the training (KeyboardInterrupt) and this is how far it came.
    relevances : ndarray, shape (D,) or (M, D), optional
        How much each feature matters to the units, if the backend learns it: see `Codebook`.
    embedding : Embedding, optional
        Only from backends with the trait ``embedding``: the way between the data and the space of
        the prototypes, which then have d coordinates in place of D features.
    placed : bool
        Whether every unit has its place on the lattice. If not, there may be fewer units than the
        lattice has, in any order, and the codebook has no lattice.
    distances : ndarray, shape (n,), optional
        Distances of points to their nearest prototypes, if the backend has them at hand: of all the
        problem's points, or of some, evenly or randomly chosen. The map keeps their percentiles; of
        fewer than all and than 500, the host measures them itself.
    """

    prototypes: FloatArray
    history: Mapping[str, FloatArray] = field(default_factory=dict)
    interrupted: bool = False
    relevances: FloatArray | None = None
    embedding: Embedding | None = None
    placed: bool = True
    distances: FloatArray | None = None


class Backend(Protocol):
    """Trains a map."""

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the prototypes for the problem's lattice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFactory(Factory[Backend]):
    """A factory of training backends.

    Trait ``embedding``: its prototypes lie in the space of ``RawMap.embedding``. Trait
    ``float32``: float32 data need not become float64. Trait ``missing``: it trains on points with
    missing values. Trait ``resumable``: it uses ``TrainingProblem.checkpoint``. Trait ``sparse``:
    it trains on a sparse matrix. Trait ``weights``: it uses ``TrainingProblem.weights``.
    """

    kind: ClassVar[str] = "backend"
    known_traits: ClassVar[frozenset[str]] = frozenset(
        {"embedding", "float32", "missing", "resumable", "sparse", "weights"}
    )
    reserved_params: ClassVar[frozenset[str]] = frozenset(
        {"X", "backend", "checkpoint", "checkpoint_every_s", "cluster_by", "clusters"}
        | {"feature_names", "feature_weights", "image_shape", "initial", "labels", "lattice"}
        | {"missing", "progress", "registry", "scaling", "seed", "weights"}
    )


# --- policies ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteeringProblem:
    """What a policy is given.

    Parameters
    ----------
    codebook : Codebook
        The map's prototypes, in the features that may change (D of them), along axes in which a
        relevance shared by all units is 1: it has relevances only where they differ by unit, which
        only policies with the trait ``relevances`` are given.
    points : ndarray, shape (N, D)
        Where the points start, in the codebook's units, read-only.
    units : ndarray of intp, shape (K,)
        Units of the target.
    goals : ndarray, shape (N, K)
        Squared distances to ``units`` that are wanted at the end: 0 to be at a prototype.
    directions : ndarray, shape (K,)
        +1 to approach a goal, −1 to move away from it.
    weights : ndarray, shape (K,)
        How much each unit of the target counts beside the others; 1 unless targets are combined.
    waypoints : ndarray of intp, shape (W,)
        Units to pass in this order, if the target is a path; else empty.
    steps : int
        How many steps the host will ask for at most.
    frozen_distances : ndarray, shape (N, M), or None
        The part of every squared distance that cannot change, because its features are frozen.
    lower, upper : ndarray, shape (D,), or None
        Bounds that no point may cross. Given only to policies with the trait ``bounds``.
    cost : ndarray, shape (D,), or None
        Price of changing each feature, mean 1. Given only to policies with the trait ``cost``.
    reference : ndarray, shape (R, D), or None
        Data of the same kind, in the map's units, for policies that look at data.
    """

    codebook: Codebook
    points: FloatArray
    units: IntArray
    goals: FloatArray
    directions: FloatArray
    weights: FloatArray
    waypoints: IntArray
    steps: int
    frozen_distances: FloatArray | None = None
    lower: FloatArray | None = None
    upper: FloatArray | None = None
    cost: FloatArray | None = None
    reference: FloatArray | None = None

    @property
    def approaches(self) -> bool:
        """Whether the target is one set of units to come near to."""
        return bool((self.directions > 0).all() and not self.goals.any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """The result of one step.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Where the points are now.
    settled : ndarray of bool, shape (N,)
        Points for which further steps would change nothing worth having.
    """

    points: FloatArray
    settled: BoolArray


class Steering(Protocol):
    """A batch of points on their way."""

    def advance(self, active: BoolArray) -> Move:
        """Move the points for which ``active`` (N,) is true by one step; leave the others."""
        ...


class Policy(Protocol):
    """Decides how points move through the map."""

    def begin(self, problem: SteeringProblem) -> Steering:
        """Prepare the walk of a batch of points."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFactory(Factory[Policy]):
    """A factory of control policies.

    Traits ``bounds``, ``cost`` and ``relevances`` (of the codebook, by unit): it heeds them;
    ``reference``: it looks at data.
    """

    kind: ClassVar[str] = "policy"
    known_traits: ClassVar[frozenset[str]] = frozenset(
        {"bounds", "cost", "reference", "relevances"}
    )
    reserved_params: ClassVar[frozenset[str]] = frozenset(
        {"codebook", "cost", "frozen", "lower", "off_manifold", "policy", "progress", "reference"}
        | {"registry", "steps", "target", "until", "upper", "x"}
    )


# --- datasets ------------------------------------------------------------------------------------


class DatasetSource(Protocol):
    """Loads or makes data."""

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the data; raise `musicfw.errors.DataError` if they cannot be used."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFactory(Factory[DatasetSource]):
    """A factory of data sources."""

    kind: ClassVar[str] = "dataset"
