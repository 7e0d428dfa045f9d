"""The native backend: the batch self-organizing map, by sufficient statistics.

One epoch assigns every point to its best matching unit and moves every prototype to the mean of the
points, weighted by the neighbourhood of their units::

    s_i = Σ_{bmu(x)=i} x      n_i = #{x : bmu(x) = i}      W ← (H s) / (H n)

The pair (s, n) is additive over any division of the data, so `statistics` and `update` are kept
apart: chunks, files, processes and machines merge by ``+``.

Source: T. Kohonen, "Essentials of the self-organizing map", Neural Networks 37 (2013), eq. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from musicfw.api import BackendFactory, RawMap, TrainingProblem, param
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som.initialization import principal_plane, sampled_rows

_WorkArray = npt.NDArray[np.floating[Any]]

# Weights below this are dropped: a quotient of denormal numbers would be noise.
_LEAST_WEIGHT = 1e-100


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeParams:
    """Options of the backend ``native``.

    The radius falls linearly over the epochs; the last epoch trains with ``radius_end``.

    Raises
    ------
    UsageError
        If ``radius_start`` is below ``radius_end``.
    """

    mode: Literal["batch"] = param(
        "batch", help="How points are taken: batch updates once per epoch, from all of them."
    )
    epochs: Annotated[int, Ge(1)] = param(30, help="Passes over the data.")
    radius_start: Annotated[float, Ge(0.01), Le(1e6)] | None = param(
        None,
        help="Neighbourhood radius of the first epoch, in distances between nearest units; null "
        "takes a quarter of the lattice's larger side.",
    )
    radius_end: Annotated[float, Ge(0.01), Le(1e6)] = param(
        1.0,
        help="Radius of the last epoch: smaller fits the data closer, larger keeps the map smooth.",
    )
    neighborhood: Literal["gaussian"] = param(
        "gaussian", help="Weight of a unit at lattice distance d: exp(-d²/(2 radius²))."
    )
    initialization: Literal["pca", "sample"] = param(
        "pca", help="First prototypes: a plane through the principal components, or data rows."
    )
    dtype: Literal["float64", "float32"] = param(
        "float64", help="Precision of the distances; float32 takes about half the time."
    )
    chunk_size: Annotated[int, Ge(1)] = param(
        4096, help="Points per matrix product; bounds the memory beside the data."
    )

    def __post_init__(self) -> None:
        if self.radius_start is not None and self.radius_start < self.radius_end:
            raise UsageError(
                f"radius_start: expected at least radius_end = {self.radius_end:g} (the radius "
                f"falls), got {self.radius_start:g}; raise it or lower radius_end"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """All that an epoch needs to know about some points. Additive: ``part + part = whole``.

    Parameters
    ----------
    sums : ndarray, shape (M, D)
        Sum of the points of each unit.
    counts : ndarray, shape (M,)
        Number of points of each unit.
    error_sum : float
        Sum of the distances of the points to their best matching units.
    rows : int
        Number of points.
    """

    sums: FloatArray
    counts: FloatArray
    error_sum: float
    rows: int

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            sums=self.sums + other.sums,
            counts=self.counts + other.counts,
            error_sum=self.error_sum + other.error_sum,
            rows=self.rows + other.rows,
        )

    @property
    def quantization_error(self) -> float:
        """Mean Euclidean distance to the best matching unit."""
        return self.error_sum / self.rows


def statistics(chunk: _WorkArray, prototypes: FloatArray) -> Statistics:
    """Return the statistics of some points with respect to the prototypes.

    Pure. The distances are computed by one matrix product in the precision of ``chunk`` and added
    up in float64. Points and prototypes share one origin; bring it near the data first (subtract
    a common centre), or ``||x||² − 2 x·w + ||w||²`` cancels.

    Parameters
    ----------
    chunk : ndarray of float64 or float32, shape (n, D)
        Points.
    prototypes : ndarray, shape (M, D)
        Prototypes. Of several nearest ones the lowest unit counts.

    Returns
    -------
    Statistics
    """
    W = prototypes.astype(chunk.dtype, copy=False)
    rows, units = chunk.shape[0], W.shape[0]
    # ||x − w||² − ||x||²: the term that is the same for all units joins after the search.
    relative = chunk @ (-2.0 * W).T
    relative += np.einsum("md,md->m", W, W)
    winners = relative.argmin(axis=1)
    squared = relative[np.arange(rows), winners]
    squared += np.einsum("nd,nd->n", chunk, chunk)
    np.maximum(squared, 0.0, out=squared)
    # One column per point with a single 1: four to six times as fast as sorted add.reduceat.
    import scipy.sparse  # here, so that `import musicfw` stays quick

    membership = scipy.sparse.csc_array(
        (np.ones(rows, dtype=chunk.dtype), winners, np.arange(rows + 1)), shape=(units, rows)
    )
    return Statistics(
        sums=np.asarray(membership @ chunk, dtype=np.float64),
        counts=np.bincount(winners, minlength=units).astype(np.float64),
        error_sum=float(np.sqrt(squared).sum(dtype=np.float64)),
        rows=rows,
    )


def update(collected: Statistics, neighbourhood: FloatArray, prototypes: FloatArray) -> FloatArray:
    """Return the prototypes after one epoch: ``W = (H s) / (H n)``.

    Pure. A unit that no point gives any weight keeps its prototype.

    Parameters
    ----------
    collected : Statistics
        Of all points, with respect to ``prototypes``.
    neighbourhood : ndarray, shape (M, M)
        H, not negative; as `gaussian_neighbourhood` returns.
    prototypes : ndarray, shape (M, D)
        Prototypes of the epoch.

    Returns
    -------
    ndarray, shape (M, D)
        Kohonen (2013), eq. 6.
    """
    weights = neighbourhood @ collected.counts
    moved = weights > 0.0
    result = prototypes.copy()
    result[moved] = (neighbourhood[moved] @ collected.sums) / weights[moved, np.newaxis]
    return result


def gaussian_neighbourhood(squared_distances: FloatArray, radius: float) -> FloatArray:
    """Return ``exp(−d² / (2 radius²))``, with weights below 1e-100 set to 0.

    Parameters
    ----------
    squared_distances : ndarray, shape (M, M)
        On the lattice.
    radius : float
        In the same units, positive.
    """
    with np.errstate(under="ignore"):
        weights: FloatArray = np.exp(squared_distances * (-0.5 / radius**2))
    weights[weights < _LEAST_WEIGHT] = 0.0
    return weights


def radius_schedule(params: NativeParams, lattice: Lattice) -> FloatArray:
    """Return the radius of every epoch, shape (epochs,), falling linearly.

    A single epoch uses ``radius_end``. A quarter of the larger side is enough to unfold a map that
    begins as a plane or a sample: half of it ended with a larger quantization error, at about the
    same topographic error, on digits, Fashion-MNIST, blobs, a swiss roll and a uniform square.
    """
    end = params.radius_end
    start = params.radius_start
    if start is None:
        start = max(end, max(lattice.columns, lattice.rows * lattice.row_height) / 4.0)
    if params.epochs == 1:
        return np.array([end])
    return np.linspace(start, end, params.epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBackend:
    """Trains by batch updates; see the module."""

    params: NativeParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the trained prototypes.

        The history holds ``radius`` and ``quantization_error``, the error after each epoch: its
        last value is that of the prototypes returned.
        """
        points, lattice = problem.points, problem.lattice
        centre = points.mean(axis=0)
        prototypes = self._first_prototypes(problem, centre)
        between_units = lattice.squared_distances()
        radii = radius_schedule(self.params, lattice)
        errors = np.empty(radii.size)
        collected = self._collect(points, centre, prototypes)
        for epoch, radius in enumerate(radii):
            H = gaussian_neighbourhood(between_units, float(radius))
            prototypes = update(collected, H, prototypes)
            collected = self._collect(points, centre, prototypes)
            errors[epoch] = collected.quantization_error
            problem.progress(epoch + 1, radii.size)
        return RawMap(
            prototypes=prototypes + centre,
            history={"quantization_error": errors, "radius": radii},
        )

    def _first_prototypes(self, problem: TrainingProblem, centre: FloatArray) -> FloatArray:
        if self.params.initialization == "sample":
            return sampled_rows(problem.points, problem.lattice.units, rng=problem.rng) - centre
        return principal_plane(problem.points, problem.lattice, centre=centre, rng=problem.rng)

    def _collect(
        self, points: FloatArray, centre: FloatArray, prototypes: FloatArray
    ) -> Statistics:
        """Return the statistics of all points about the centre, a chunk at a time.

        Each chunk is centred on its way: a centred copy of the data would save a tenth of the time
        and double the memory. The difference is taken in float64 before it is rounded to float32.
        """
        dtype = np.dtype(self.params.dtype)
        size = min(self.params.chunk_size, points.shape[0])
        centred = np.empty((size, points.shape[1]), dtype=dtype)
        total: Statistics | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, points.shape[0], size):
                rows = points[start : start + size]
                chunk = centred[: rows.shape[0]]
                np.subtract(rows, centre, out=chunk, casting="same_kind")
                part = statistics(chunk, prototypes)
                total = part if total is None else total + part
        assert total is not None  # the host gives at least two rows
        if not np.isfinite(total.error_sum):
            raise UsageError(
                f"points: squared distances between them overflow {dtype.name}; scale the data"
                + (", or use dtype: float64" if dtype == np.float32 else "")
            )
        return total


NATIVE = BackendFactory(
    name="native",
    params=NativeParams,
    build=lambda params: NativeBackend(params=params),
    summary="Batch SOM in NumPy: one matrix product per chunk, float64 or float32, also a torus.",
)
