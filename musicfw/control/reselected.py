"""The MUSIC step with one factorisation for every target: selected units may change at any step.

All units share one preserve weight ρ, so the spectrum is that of the plain centred prototypes. The
K selected units, with weight ω_S, stand beside ``u uᵀ`` as K further rank-one terms::

    Jᵀ Ω J + λ I = 4ρ diag(Σ²) + λ I + 4ρM u uᵀ + Σ_S (ω_S − ρ) J_iᵀ J_i,   J_i = 2 (a − b_i, s)

solved by Woodbury's formula of size K+1 per point.
"""

from __future__ import annotations

import numpy as np

from musicfw.api import FloatArray
from musicfw.control.spectral import SpectralSystem, Step


def reselected_step(
    system: SpectralSystem,
    a: FloatArray,
    s: FloatArray,
    *,
    corners: FloatArray,
    weights: FloatArray,
    change: FloatArray,
    damping: FloatArray,
    max_step: FloatArray | None = None,
) -> Step:
    """Return the MUSIC step of points that each have selected units of their own.

    Parameters
    ----------
    system : SpectralSystem
        With uniform weights ρ; ``curvature`` is 4ρΣ² and ``total_weight`` ρM.
    a, s : ndarray, shapes (N, r), (N,)
        The points.
    corners : ndarray, shape (N, K, r)
        b_i of each point's selected units.
    weights : ndarray, shape (N, K)
        Their ω_S.
    change : ndarray, shape (N, K)
        δ, wanted changes of the squared distances to them.
    damping : ndarray, shape (N,)
        λ > 0.
    max_step : ndarray, shape (N,), optional
        Longer steps are shortened to this length.
    """
    count, kept = weights.shape
    preserve = system.total_weight / system.units
    u = np.concatenate([a, s[:, np.newaxis]], axis=1)
    J = 2.0 * (u[:, np.newaxis, :] - np.pad(corners, ((0, 0), (0, 0), (0, 1))))
    columns = np.concatenate([u[:, np.newaxis, :], J], axis=1)
    factors = np.empty((count, kept + 1))
    factors[:, 0] = 4.0 * system.total_weight
    factors[:, 1:] = weights - preserve
    curvature = np.append(system.curvature, 0.0)
    inverse = 1.0 / (curvature + damping[:, np.newaxis])
    pull = weights * change
    g = np.einsum("nk,nkr->nr", pull, J)
    scaled = columns * inverse[:, np.newaxis, :]
    capacitance = np.eye(kept + 1) + factors[:, :, np.newaxis] * (
        columns @ scaled.transpose(0, 2, 1)
    )
    right = factors * np.einsum("nkr,nr->nk", scaled, g)
    inner = solved(capacitance, right)
    step = g * inverse - np.einsum("nk,nkr->nr", inner, scaled)
    norm = np.sqrt(np.einsum("nr,nr->n", step, step))
    if max_step is not None:
        step *= (max_step / np.maximum(norm, max_step))[:, np.newaxis]
        norm = np.minimum(norm, max_step)
    along = np.einsum("nkr,nr->nk", columns, step)
    curved = np.einsum("r,nr,nr->n", curvature, step, step) + (factors * along**2).sum(axis=1)
    before = (pull * change).sum(axis=1)
    predicted = curved - 2.0 * np.einsum("nr,nr->n", g, step) + before
    # Σ ω J Δ over all units: 2ρM u·Δ of the centred sum, and the selected ones' extra weight.
    first = 2.0 * system.total_weight * along[:, 0] + (factors[:, 1:] * along[:, 1:]).sum(axis=1)
    total = system.total_weight + factors[:, 1:].sum(axis=1)
    after = predicted + 2.0 * norm**2 * (first - pull.sum(axis=1)) + total * norm**4
    return Step(
        da=step[:, :-1],
        ds=step[:, -1],
        norm=norm,
        before=before,
        predicted=predicted,
        after=after,
    )


def solved(systems: FloatArray, right: FloatArray) -> FloatArray:
    """Return the solutions (N, k); NaN, a step that no control takes, for a singular system.

    Far beyond the map, or with hardly any damping, the system of a point can be singular in double
    precision; that must not stop the other points.
    """
    try:
        return np.asarray(np.linalg.solve(systems, right[:, :, np.newaxis])[:, :, 0])
    except np.linalg.LinAlgError:
        if len(systems) == 1:
            return np.full_like(right, np.nan)
        alone = [solved(systems[n : n + 1], right[n : n + 1]) for n in range(len(systems))]
        return np.concatenate(alone)
