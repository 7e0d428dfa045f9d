"""From a linear answer to the point whose distances fit best, where units measure differently.

The lifted system treats the squares of a point as unknowns of their own, which costs information:
the best point minimises ``Σ_i ω_i (d_i(x) − d_i)²``. Damped Gauss–Newton steps (Levenberg 1944,
Marquardt 1963) find it from the linear answer, with ``J_i = 2 R_i∘(x − w_i)``. Errors of distances
are often relative: ``ω_i = 1 / d_i²`` is then right, and leaves a third of the error. Which of the
two it is, the misfit itself tells: the likelier one (normal errors, their variance from the fit) is
taken, point by point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musicfw.arrays import BoolArray, FloatArray
from musicfw.lifted import LiftedSystem
from musicfw.noise import Errors, relative_is_likelier, sizes

# Numbers per block of Jacobians: about 32 MB.
_BLOCK_ELEMENTS = 1 << 22
_MOST_STEPS = 60
_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e6
# Steps shorter than this share of the map's extent hardly lower the objective, which is flat at its
# lowest, but they still lead to the one lowest point: so many of them are taken on trust.
_SHORT, _TRUSTED = 1e-7, 4
# Below this relative misfit there is no noise worth weighing.
_NO_NOISE = 1e-12
# Another start is believed where its objective is lower by this factor.
_CLEARLY = 0.25
_NEAREST = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refined:
    """Points about the centre of a lifted system.

    Parameters
    ----------
    u : ndarray, shape (N, D)
        Their coordinates.
    residual : ndarray, shape (N,)
        ``||d(x̂) − d|| / ||d||``.
    ambiguous : ndarray of bool, shape (N,)
        Points beside which others may have the same distances.
    """

    u: FloatArray
    residual: FloatArray
    ambiguous: BoolArray


def refined(
    system: LiftedSystem, u: FloatArray, distances: FloatArray, *, steps: bool, tolerance: float
) -> Refined:
    """Return the points that fit the distances (N, M) best, from a solver's answer u (N, D).

    Parameters
    ----------
    system : LiftedSystem
        The units.
    u : ndarray, shape (N, D)
        The solver's answer; kept as it is if ``steps`` is false (it is meant as it is).
    distances : ndarray, shape (N, M)
        The activations.
    steps : bool
        Whether Gauss–Newton steps are wanted.
    tolerance : float
        Relative residual up to which a point fits.
    """
    if steps:
        u = lifted_fit(system, u, distances, tolerance=tolerance)
    residual = np.empty(u.shape[0])
    for rows in _blocks(system, u.shape[0]):
        residual[rows] = _relative_misfit(system, u[rows], distances[rows])
    unplaced = np.abs(u[:, system.flat]).max(axis=1, initial=0.0) > tolerance * system.extent
    return Refined(u=u, residual=residual, ambiguous=unplaced | (not system.is_determined))


def lifted_fit(
    system: LiftedSystem,
    u: FloatArray,
    distances: FloatArray,
    *,
    tolerance: float = 1e-6,
    errors: Errors | None = None,
) -> FloatArray:
    """Return the best fit, shape (N, D), that steps from u (N, D) lead to.

    Weights are 1 or 1/d² by ``errors``, by default those that make a point's misfit likelier.
    """
    u = u.copy()
    for rows in _blocks(system, u.shape[0]):
        u[rows] = _best(system, u[rows], distances[rows], tolerance, errors)
    return u


def _blocks(system: LiftedSystem, count: int) -> Iterator[slice]:
    """Yield the rows whose Jacobians are held at once."""
    block = max(1, _BLOCK_ELEMENTS // system.matrix.size)
    return (slice(start, start + block) for start in range(0, count, block))


def _best(
    system: LiftedSystem,
    u: FloatArray,
    distances: FloatArray,
    tolerance: float,
    errors: Errors | None,
) -> FloatArray:
    ones = np.ones(distances.shape)
    u, misfit = _descended(system, u, distances, ones)
    size2 = np.einsum("nm,nm->n", distances, distances)
    open_ended = np.full(u.shape[0], not system.is_determined) | bool(system.flat.any())
    again = np.flatnonzero(open_ended & (misfit > tolerance**2 * size2))
    for other in _other_starts(system, distances[again]):
        found, there = _descended(system, other, distances[again], ones[again])
        better = there < _CLEARLY * misfit[again]
        u[again[better]], misfit[again[better]] = found[better], there[better]
    # Weights are judged by what the fit leaves over: there must be something left.
    left_over = system.units > system.dimension + system.relevance_rank
    if errors != "absolute" and system.is_determined and left_over:
        noisy = np.flatnonzero(misfit > _NO_NOISE**2 * size2)
        u[noisy] = _weighted(system, u[noisy], distances[noisy], errors)
    return u


def _other_starts(system: LiftedSystem, distances: FloatArray) -> list[FloatArray]:
    """Return starts (N, D): the least lifted solution, and the prototypes of the nearest units."""
    if distances.shape[0] == 0:
        return []
    e = -0.5 * (distances - system.squared_norms)
    lifted = e @ system.least_lifted.T
    least, squares = np.split(lifted, 2, axis=1)
    # A flat feature has no linear term: its square alone tells how far, not on which side.
    least = np.where(system.flat, np.sqrt(np.maximum(squares, 0.0)), least)
    order = np.argsort(distances / system.relevances.sum(axis=1), axis=1, kind="stable")
    nearest = order[:, : min(_NEAREST, system.units)].T
    # Not on the prototype itself, where its own distance has no gradient.
    return [least, *(0.9 * system.offsets[units] + 0.1 * least for units in nearest)]


def _weighted(
    system: LiftedSystem, u: FloatArray, distances: FloatArray, errors: Errors | None
) -> FloatArray:
    """Return the fit with relative weights; unless asked for, where its misfit is likelier."""
    size, usable = sizes(distances)
    weights = 1.0 / size**2
    weights /= weights.mean(axis=1, keepdims=True)
    other, _ = _descended(system, u, distances, weights)
    chosen = usable
    if errors is None:
        absolute, relative = (system.lengths(fit) - distances for fit in (u, other))
        chosen = usable & relative_is_likelier(absolute, relative, size)
    return np.where(chosen[:, np.newaxis], other, u)


def _descended(
    system: LiftedSystem, u: FloatArray, distances: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return where damped Gauss–Newton steps end, shape (N, D), and the objective, shape (N,)."""
    u = u.copy()
    misfit, J = _linearised(system, u, distances)
    value = np.einsum("nm,nm,nm->n", weights, misfit, misfit)
    damping = np.full(u.shape[0], 1e-10)
    rows = np.arange(u.shape[0])
    trusted = np.zeros(u.shape[0], dtype=np.intp)
    for _ in range(_MOST_STEPS):
        if rows.size == 0:
            break
        step = _step(J, misfit, weights[rows], damping[rows])
        there, J_there = _linearised(system, u[rows] + step, distances[rows])
        lower = np.einsum("nm,nm,nm->n", weights[rows], there, there)
        length = np.abs(step).max(axis=1, initial=0.0)
        reach = system.extent + np.abs(u[rows]).max(axis=1, initial=0.0)
        short = length <= _SHORT * reach
        trusted[rows] += short
        taken = (lower < value[rows]) | (short & (lower <= value[rows] * (1.0 + _SHORT)))
        moved = rows[taken]
        u[moved] += step[taken]
        value[moved] = lower[taken]
        misfit[taken], J[taken] = there[taken], J_there[taken]
        damping[rows] = np.where(
            taken,
            np.maximum(damping[rows] / 10.0, _LEAST_DAMPING),
            np.maximum(damping[rows], 1e-6) * 10.0,
        )
        going = (damping[rows] < _MOST_DAMPING) & (value[rows] > 0.0) & (trusted[rows] < _TRUSTED)
        rows, misfit, J = rows[going], misfit[going], J[going]
    return u, value


def _linearised(
    system: LiftedSystem, u: FloatArray, distances: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return ``d(x) − d``, shape (N, M), and ``J_i = 2 R_i∘(x − w_i)``, shape (N, M, D)."""
    offset = u[:, np.newaxis, :] - system.offsets
    J = offset * system.relevances
    misfit = np.einsum("nmd,nmd->nm", J, offset) - distances
    J *= 2.0
    return misfit, J


def _step(
    J: FloatArray, misfit: FloatArray, weights: FloatArray, damping: FloatArray
) -> FloatArray:
    """Return ``−(Jᵀ Ω J + λ I)⁻¹ Jᵀ Ω (d(x) − d)``, λ relative to the mean eigenvalue."""
    weighted = (J * weights[:, :, np.newaxis]).transpose(0, 2, 1)
    normal = weighted @ J
    mean = np.einsum("ndd->n", normal) / max(normal.shape[1], 1)
    lam = np.where(mean > 0.0, damping * mean, 1.0)
    normal += lam[:, np.newaxis, np.newaxis] * np.eye(normal.shape[1])
    gradient = weighted @ misfit[:, :, np.newaxis]
    return np.asarray(-np.linalg.solve(normal, gradient)[:, :, 0])


def _relative_misfit(system: LiftedSystem, u: FloatArray, distances: FloatArray) -> FloatArray:
    misfit = system.lengths(u) - distances
    size = np.sqrt(np.einsum("nm,nm->n", distances, distances))
    relative = np.sqrt(np.einsum("nm,nm->n", misfit, misfit)) / np.where(size > 0.0, size, 1.0)
    return np.asarray(relative)
