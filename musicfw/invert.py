"""The verb *invert*: from squared distances back to points; the host's side of every solver."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw import geometry
from musicfw.api import CentredSystem, RawSolution, SolverFactory
from musicfw.arrays import BoolArray, FloatArray, as_activations, read_only
from musicfw.axes import Axes, axes_of
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.gauss_newton import Refined, refined
from musicfw.geometry import WellPosedness
from musicfw.lifted import LiftedSystem, lifted_system
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.plugins import Provided, Registry, provided
from musicfw.status import Status
from musicfw.types import Inversion, TrainedMap

_EPS = float(np.finfo(np.float64).eps)
# Rounding errors, with room: LAPACK's test ratios allow as much.
_ROUNDINGS = 50.0
_ROUNDING = _ROUNDINGS * _EPS


def well_posedness(codebook: Codebook | TrainedMap) -> WellPosedness:
    """Return whether distances to the codebook's prototypes determine a point, and how well.

    Parameters
    ----------
    codebook : Codebook or TrainedMap
        The map.

    Returns
    -------
    WellPosedness
        Affine rank, condition, ``is_exact`` and a ``message`` for a reader.
    """
    axes = axes_of(as_map(codebook).codebook)
    return _well_posedness(_system(axes), axes)


def invert(
    codebook: Codebook | TrainedMap,
    squared_distances: npt.ArrayLike,
    *,
    solver: str | SolverFactory = "exact",
    registry: Registry | None = None,
    tolerance: float = 1e-6,
    **params: Any,
) -> Inversion:
    """Return the points that have these squared distances to the prototypes.

    For many batches make an `Inverter` once.

    Parameters
    ----------
    codebook : Codebook or TrainedMap
        The map. Given a TrainedMap, points are in original units; given a Codebook, in the map's.
    squared_distances : array_like, shape (N, M) or (M,)
        Activations: squared distances, as `Codebook.squared_distances` returns them.
    solver : str or SolverFactory
        Name of a registered solver.
    registry : Registry, optional
        Where names are looked up; by default everything installed.
    tolerance : float
        Relative residual up to which distances count as those of a point, and relative length up
        to which a hidden part counts as rounding.
    **params
        The solver's params.

    Returns
    -------
    Inversion
        Points with a status each. Numerical failure is data, not an exception: see ``status`` and
        ``raise_for_status``.

    Raises
    ------
    UsageError
        For a wrong shape, an unknown solver or wrong params.
    PluginError
        If the solver fails or returns something of the wrong shape.

    Notes
    -----
    ``V u = −½ (e − mean e)`` with ``e_i = d_i − ||v_i||²`` (math of `musicfw.geometry`).

    Where relevances differ by unit, the solver is given the system of `musicfw.lifted`, in the same
    unknowns u; it determines a point if there are ``D + rank R`` units. Its answer is then refined
    by Gauss–Newton steps on the distances themselves (`musicfw.gauss_newton`), with weights 1/d²
    where the misfit looks relative; with fewer units the steps begin from several points, and the
    status is AMBIGUOUS. The answer of a solver that regularises or chooses its weights itself is
    meant as it is: it is not refined.
    """
    inverter = Inverter(codebook, solver=solver, registry=registry, tolerance=tolerance, **params)
    return inverter(squared_distances)


class Inverter:
    """A codebook factorised once, to invert many batches. Call it with squared distances.

    Parameters
    ----------
    codebook, solver, registry, tolerance, **params
        As in `invert`.
    """

    def __init__(
        self,
        codebook: Codebook | TrainedMap,
        *,
        solver: str | SolverFactory = "exact",
        registry: Registry | None = None,
        tolerance: float = 1e-6,
        **params: Any,
    ) -> None:
        if not tolerance >= 0:
            raise UsageError(f"tolerance: expected a number of at least 0, got {tolerance!r}")
        self._map = as_map(codebook)
        self._provided: Provided = provided("solver", solver, registry)
        self._params = params_from_keywords(self._provided.factory, params)
        self._tolerance = tolerance
        self._axes = axes_of(self._map.codebook)
        self._system = _system(self._axes)
        self.well_posedness: WellPosedness = _well_posedness(self._system, self._axes)
        instance = self._provided.build(self._params)
        with self._provided.calling("factorise"):
            self._factorisation = instance.factorise(self._system)

    def __call__(self, squared_distances: npt.ArrayLike) -> Inversion:
        """Return the points of a batch of activations (N, M) or (M,)."""
        distances, valid = self._checked(squared_distances)
        started = time.perf_counter()
        rhs, mean_e = self._system.right_hand_side(distances)
        uncentred = "uncentred" in self._provided.factory.traits
        u = self._solve(self._system.uncentred(distances) if uncentred else rhs)
        finite: BoolArray = np.asarray(np.isfinite(u).all(axis=1))
        u = np.where(finite[:, np.newaxis], u, 0.0)
        ambiguous = np.full(valid.shape, bool(self._axes.irrelevant))
        with np.errstate(over="ignore"):
            if isinstance(self._system, LiftedSystem):
                fit = self._fitted(self._system, u, distances)
                u, residual, hidden = fit.u, fit.residual, np.zeros(valid.shape)
                ambiguous |= fit.ambiguous
            else:
                hidden = self._hidden_radius(u, rhs, mean_e)
                residual = _residual(self._system, u, rhs, mean_e, hidden, distances)
        elapsed_s = time.perf_counter() - started
        status = self._status(valid, finite, residual, hidden, ambiguous)
        points = self._map.decode(self._axes.back(self._system.centroid + u))
        unusable = ~(valid & finite)
        points[unusable], residual[unusable], hidden[unusable] = np.nan, np.nan, np.nan
        return Inversion(
            points=points,
            status=status,
            residual=residual,
            hidden_radius=hidden,
            well_posedness=self.well_posedness,
            solver=self._provided.factory.name,
            params=params_to_tree(self._params),
            elapsed_s=elapsed_s,
        )

    def _checked(self, squared_distances: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
        """Return the distances (N, M), harmless where invalid, and which rows are valid."""
        distances = as_activations(
            squared_distances, name="squared_distances", units=self._system.units, finite=False
        )
        given = np.asarray(squared_distances).dtype
        # Distances that were computed in float32 may be negative by its rounding.
        eps = max(_EPS, float(np.finfo(given).eps)) if given.kind == "f" else _EPS
        with np.errstate(invalid="ignore", over="ignore"):
            floor = -_ROUNDINGS * eps * np.abs(distances).max(axis=1, initial=0.0)
            # A square that overflows is as good as infinite: no residual could be told.
            size2 = np.einsum("nm,nm->n", distances, distances)
            valid = np.isfinite(size2) & (distances.min(axis=1) >= floor)
        if not valid.all():
            # The centroid's own distances: solvable by anyone, and replaced by NaN afterwards.
            distances = np.where(valid[:, np.newaxis], distances, self._system.squared_norms)
        return distances, valid

    def _solve(self, rhs: FloatArray) -> FloatArray:
        """Return u, shape (N, D), after checking what the solver returned."""
        with self._provided.calling("solve"), np.errstate(all="ignore"):
            solution = self._factorisation.solve(read_only(rhs))
        if not isinstance(solution, RawSolution):
            raise self._provided.error(
                "solve", f"expected a RawSolution, got {type(solution).__name__}"
            )
        coordinates = self._provided.checked(
            solution.coordinates,
            call="solve",
            name="coordinates (D, B)",
            shape=(self._system.dimension, rhs.shape[1]),
        )
        return np.ascontiguousarray(coordinates.T, dtype=np.float64)

    def _fitted(self, system: LiftedSystem, u: FloatArray, distances: FloatArray) -> Refined:
        """Return what Gauss–Newton makes of the answer, unless it is meant as it is."""
        steps = self._provided.factory.traits.isdisjoint({"regularised", "uncentred"})
        return refined(system, u, distances, steps=steps, tolerance=self._tolerance)

    def _hidden_radius(self, u: FloatArray, rhs: FloatArray, mean_e: FloatArray) -> FloatArray:
        """Return ρ, shape (N,): ``ρ² = mean e − ||u_∥||²``, 0 within rounding or if r = D."""
        system = self._system
        if system.affine_rank == system.dimension:
            return np.zeros(u.shape[0])
        if "regularised" in self._provided.factory.traits:
            in_hull = (system.left.T @ rhs) / system.singular_values[:, np.newaxis]
            length2 = np.einsum("rn,rn->n", in_hull, in_hull)
        else:
            length2 = np.einsum("nd,nd->n", u, u)
        spread = np.sqrt(system.squared_norms.max())
        scale = np.sqrt(length2) + spread
        far = np.abs(system.centroid).max()
        sigma = system.singular_values[-1] if system.affine_rank else 1.0
        gain = 1.0 + np.sqrt(length2 * system.units) / sigma
        rounding = _ROUNDING * scale * (scale + far) * gain
        rho2 = mean_e - length2
        floor = np.maximum(rounding, (self._tolerance * scale) ** 2)
        return np.sqrt(np.where(rho2 > floor, rho2, 0.0))

    def _status(
        self,
        valid: BoolArray,
        finite: BoolArray,
        residual: FloatArray,
        hidden: FloatArray,
        ambiguous: BoolArray,
    ) -> npt.NDArray[np.int8]:
        regularised = "regularised" in self._provided.factory.traits
        misfit = Status.REGULARISED if regularised else Status.INCONSISTENT
        return np.select(
            [
                ~valid,
                ~finite,
                ~(residual <= self._tolerance),
                hidden > 0.0,
                ambiguous,
            ],
            [
                np.int8(Status.INVALID_INPUT),
                np.int8(Status.FAILED),
                np.int8(misfit),
                np.int8(Status.PROJECTED),
                np.int8(Status.AMBIGUOUS),
            ],
            np.int8(Status.EXACT),
        ).astype(np.int8)


def _system(axes: Axes) -> CentredSystem:
    book = axes.codebook
    if book.relevances is None:
        return geometry.centred_system(book.prototypes)
    return lifted_system(book.prototypes, book.relevances)


def _well_posedness(system: CentredSystem, axes: Axes) -> WellPosedness:
    """Return what a system says of itself, for all features and in their own units."""
    posed = geometry.well_posedness(system)
    amplification = np.full(axes.dimension, np.inf)
    amplification[axes.features] = posed.feature_amplification / axes.scale
    return replace(
        posed,
        dimension=axes.dimension,
        irrelevant=axes.irrelevant,
        feature_amplification=tuple(amplification.tolist()),
    )


def _residual(
    system: CentredSystem,
    u: FloatArray,
    rhs: FloatArray,
    mean_e: FloatArray,
    hidden: FloatArray,
    distances: FloatArray,
) -> FloatArray:
    """Return ``||d(x̂) + ρ² − d|| / ||d||``, shape (N,), without recomputing d(x̂) from scratch.

    ``d(x̂) + ρ² − d = 2 (b − V û) + (||û||² + ρ² − mean e)``, whose two parts are orthogonal.
    """
    misfit = rhs - system.matrix @ u.T
    common = np.einsum("nd,nd->n", u, u) + hidden**2 - mean_e
    squared = 4.0 * np.einsum("mn,mn->n", misfit, misfit) + system.units * common**2
    size = np.sqrt(np.einsum("nm,nm->n", distances, distances))
    relative: FloatArray = np.sqrt(squared) / np.where(size > 0.0, size, 1.0)
    return relative


def as_map(codebook: Codebook | TrainedMap) -> TrainedMap:
    """Return the map; a bare codebook is one whose units are the caller's."""
    if isinstance(codebook, TrainedMap):
        return codebook
    if isinstance(codebook, Codebook):
        scaling = Scaling.identity(codebook.dimension)
        return TrainedMap(codebook=codebook, scaling=scaling, backend="", params={}, seed=0)
    raise UsageError(
        f"codebook: expected a Codebook or a TrainedMap, got {type(codebook).__name__}; wrap an "
        f"array of prototypes as Codebook(prototypes=W)"
    )
