"""The backend ``minisom``: an adapter on MiniSom (G. Vettigli, github.com/JustGlowing/minisom).

What is offered is what agrees with the rest of musicfw. Left out on purpose: MiniSom's other
activation distances (units are found by squared Euclidean distances everywhere here), its
neighbourhood functions ``triangle`` (its peak is sigma², not 1) and ``mexican_hat`` (it pushes
prototypes away without bound), and a torus, which it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from musicfw.api import BackendFactory, RawMap, TrainingProblem, param
from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice, prototypes_by_unit, weights_by_cell
from musicfw.som.quality import quantization_error


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniSomParams:
    """Options of the backend ``minisom``, under MiniSom's names.

    Raises
    ------
    UsageError
        For options that contradict each other.
    """

    mode: Literal["online", "batch"] = param(
        "online",
        help="online: MiniSom.train, one update per point; batch: MiniSom.train_batch_offline.",
    )
    epochs: Annotated[int, Ge(1)] = param(
        10, help="Passes over the data; within one, learning rate and sigma stay the same."
    )
    num_iteration: Annotated[int, Ge(1)] | None = param(
        None,
        help="Number of single updates instead of epochs, both rates decaying with each "
        "(mode online).",
    )
    sigma: Annotated[float, Ge(0.1)] | None = param(
        None,
        help="Radius at the start; null takes half the lattice's larger side, rounded down, at "
        "least 1.",
    )
    learning_rate: Annotated[float, Gt(0), Le(1)] | None = param(
        None,
        help="Learning rate at the start; null takes 0.5 online, and 1 in mode batch (where each "
        "epoch mixes the old prototypes with the new ones).",
    )
    decay_function: Literal["asymptotic_decay", "inverse_decay_to_zero", "linear_decay_to_zero"] = (
        param("asymptotic_decay", help="How the learning rate falls; asymptotic: to a third.")
    )
    sigma_decay_function: Literal[
        "linear_decay_to_one", "inverse_decay_to_one", "asymptotic_decay"
    ] = param("linear_decay_to_one", help="How sigma falls; asymptotic: to a third of its start.")
    neighborhood_function: Literal["gaussian", "bubble"] = param(
        "gaussian", help="bubble: all units within sigma alike, on rectangular lattices only."
    )
    random_order: bool = param(
        True, help="Take the points in random order, the same in every epoch (mode online)."
    )
    initialization: Literal["sample", "pca", "random"] = param(
        "sample",
        help="First prototypes: data rows; a plane of unit length along two principal components; "
        "or random unit vectors.",
    )

    def __post_init__(self) -> None:
        if self.mode == "batch" and self.num_iteration is not None:
            raise UsageError(
                f"num_iteration: expected null with mode: batch (it counts single updates), got "
                f"{self.num_iteration}; set epochs instead"
            )
        if self.neighborhood_function == "bubble" and (self.sigma or 1.0) % 1.0:
            raise UsageError(
                f"sigma: expected a whole number for the neighborhood_function 'bubble', got "
                f"{self.sigma:g}; take {max(1, round(self.sigma or 1.0))}, or 'gaussian'"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniSomBackend:
    """Trains with MiniSom; see the module."""

    params: MiniSomParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the trained prototypes.

        The seed of MiniSom's own generator is drawn from ``problem.rng``. The history holds
        ``quantization_error`` of the prototypes returned, shape (1,).

        Raises
        ------
        UsageError
            For a lattice or data that MiniSom cannot treat.
        """
        # Data near the largest numbers overflow; the host refuses the result, without warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._fit(problem)

    def _fit(self, problem: TrainingProblem) -> RawMap:
        points, params = problem.points, self.params
        som = _untrained(params, problem)
        if problem.initial is not None:
            som._weights = weights_by_cell(problem.initial, problem.lattice)
        elif params.initialization == "pca":
            som.pca_weights_init(points)
        elif params.initialization == "sample":
            som.random_weights_init(points)
        if params.mode == "batch":
            _train_batch(som, points, epochs=params.epochs, progress=problem.progress)
        else:
            _train_online(som, points, params=params, progress=problem.progress)
        prototypes = prototypes_by_unit(som.get_weights(), problem.lattice)
        if not np.isfinite(prototypes).all():
            return RawMap(prototypes=prototypes)
        error = quantization_error(Codebook(prototypes=prototypes), points)
        return RawMap(prototypes=prototypes, history={"quantization_error": np.array([error])})


class _WatchedRows:
    """The data as a sequence of rows that reports when another pass over them begins."""

    def __init__(
        self, points: FloatArray, epochs: int, progress: Callable[[int, int], None]
    ) -> None:
        self._points = points
        self._epochs = epochs
        self._progress = progress
        self._passes = 0

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, row: int) -> FloatArray:
        return np.asarray(self._points[row])

    def __iter__(self) -> Iterator[FloatArray]:
        if self._passes:
            self._progress(self._passes, self._epochs)
        self._passes += 1
        return iter(self._points)


def _untrained(params: MiniSomParams, problem: TrainingProblem) -> Any:
    """Return a MiniSom for the problem, or refuse what it would only warn about or get wrong."""
    lattice, dimension = problem.lattice, problem.points.shape[1]
    sigma = _sigma(params, lattice)
    _check(params, lattice, sigma=sigma, dimension=dimension)
    from minisom import MiniSom

    return MiniSom(
        lattice.columns,
        lattice.rows,
        dimension,
        sigma=sigma,
        learning_rate=_learning_rate(params),
        decay_function=params.decay_function,
        sigma_decay_function=params.sigma_decay_function,
        neighborhood_function=params.neighborhood_function,
        topology=lattice.topology,
        random_seed=int(problem.rng.integers(2**32)),
    )


def _train_batch(
    som: Any, points: FloatArray, *, epochs: int, progress: Callable[[int, int], None]
) -> None:
    """Call ``MiniSom.train_batch_offline`` and report the progress."""
    som.train_batch_offline(_WatchedRows(points, epochs, progress), epochs)
    progress(epochs, epochs)


def _train_online(
    som: Any,
    points: FloatArray,
    *,
    params: MiniSomParams,
    progress: Callable[[int, int], None],
) -> None:
    """Do what ``MiniSom.train`` does, number for number, and report the progress."""
    count = points.shape[0]
    if params.num_iteration is None:
        order = np.tile(_order(som, np.arange(count), params), params.epochs)
        duration, updates_per_tick = params.epochs, count
    else:
        order = _order(som, np.arange(params.num_iteration) % count, params)
        duration, updates_per_tick = params.num_iteration, 1
    report_every = max(1, order.size // 100)
    for done, row in enumerate(order, start=1):
        point = points[row]
        som.update(point, som.winner(point), (done - 1) // updates_per_tick, duration)
        if done % report_every == 0 or done == order.size:
            progress(done, order.size)


def _order(som: Any, rows: IntArray, params: MiniSomParams) -> IntArray:
    if params.random_order:
        # The generator MiniSom.train shuffles with, after it drew the first prototypes.
        som._random_generator.shuffle(rows)
    return rows


def _sigma(params: MiniSomParams, lattice: Lattice) -> float:
    if params.sigma is not None:
        return params.sigma
    return float(max(1, max(lattice.rows, lattice.columns) // 2))


def _learning_rate(params: MiniSomParams) -> float:
    if params.learning_rate is not None:
        return params.learning_rate
    return 1.0 if params.mode == "batch" else 0.5


def _check(params: MiniSomParams, lattice: Lattice, *, sigma: float, dimension: int) -> None:
    if lattice.borders != "planar":
        raise UsageError(
            f"lattice.{lattice.borders}: expected false for the backend 'minisom' (its lattices "
            f"have borders all around), got true; use the backend 'native'"
        )
    if params.neighborhood_function == "bubble" and lattice.topology == "hexagonal":
        raise UsageError(
            "neighborhood_function: expected 'gaussian' on a hexagonal lattice ('bubble' counts "
            "rows and columns as if it were rectangular), got 'bubble'"
        )
    widest = float(np.hypot(lattice.rows, lattice.columns))
    if sigma > widest:
        raise UsageError(
            f"sigma: expected at most {widest:.4g}, the diagonal of the {lattice.rows} × "
            f"{lattice.columns} lattice, got {sigma:g}; lower it or leave it out"
        )
    if params.initialization == "pca" and (dimension == 1 or 1 in (lattice.rows, lattice.columns)):
        raise UsageError(
            f"initialization: expected 'sample' or 'random' (MiniSom's 'pca' needs 2 features, 2 "
            f"rows and 2 columns), got 'pca' with {dimension} feature(s) on a {lattice.rows} × "
            f"{lattice.columns} lattice; the backend 'native' has a 'pca' without these limits"
        )


MINISOM = BackendFactory(
    name="minisom",
    params=MiniSomParams,
    build=lambda params: MiniSomBackend(params=params),
    summary="MiniSom, online or batch, on planar rectangular and hexagonal lattices.",
)
