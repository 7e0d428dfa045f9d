"""The MUSIC step in spectral coordinates: no D×D or M×M system is ever formed.

One MUSIC step at x wants the squared distances d_i to change by δ_i (0 for units to be kept)::

    Δ = argmin Σ ω_i (J_i Δ − δ_i)² + λ ||Δ||²,     J_i = 2 (x − w_i)ᵀ

(Londei, Benati, Lanzieri, Loreto 2026, arXiv 2601.13851). With the weighted centroid c,
``m = Σ ω_i`` and ``√Ω (W − c) = P Σ Zᵀ`` the cross terms vanish::

    Jᵀ Ω J = 4 (Z Σ² Zᵀ + m u uᵀ),                  u = x − c

a fixed spectrum plus one rank-one term. So ``x = c + Z a + s n`` with a unit vector n ⟂ Z that
never changes along a walk: the state of a point is a (r numbers) and s (one), the system matrix is
diagonal plus rank one, and a step costs O(K·r) for K selected units, whatever M and D are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.api import FloatArray, IntArray
from musicfw.geometry import affine_rank


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralSystem:
    """What a walk needs of a codebook, its weights and its selected units. See `spectral_system`.

    Parameters
    ----------
    centroid : ndarray, shape (D,)
        c, the weighted centroid.
    directions : ndarray, shape (D, r)
        Z, orthonormal columns.
    curvature : ndarray, shape (r,)
        4 Σ², in decreasing order.
    total_weight : float
        m.
    units : int
        M.
    selected : ndarray, shape (K, r)
        Selected prototypes in spectral coordinates, ``(w_i − c) Z``.
    selected_weights : ndarray, shape (K,)
        Their ω_i.
    """

    centroid: FloatArray
    directions: FloatArray
    curvature: FloatArray
    total_weight: float
    units: int
    selected: FloatArray
    selected_weights: FloatArray

    @property
    def scale(self) -> float:
        """4 σ₁²: what λ is relative to."""
        return float(self.curvature[0]) if self.curvature.size else 1.0


def spectral_system(
    prototypes: FloatArray, *, weights: FloatArray, selected: IntArray
) -> SpectralSystem:
    """Return the spectral form for fixed weights.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        w_i.
    weights : ndarray, shape (M,)
        ω_i ≥ 0, not all zero. A unit of weight zero is ignored.
    selected : ndarray of intp, shape (K,)
        Units whose distances are to change.
    """
    total = float(weights.sum())
    centroid = weights @ prototypes / total
    offset = prototypes - centroid
    offset -= weights @ offset / total
    root = np.sqrt(weights)[:, np.newaxis] * offset
    _, sigma, directions = np.linalg.svd(root, full_matrices=False)
    rank = affine_rank(sigma, np.sqrt(weights.max()) * prototypes)
    directions = np.ascontiguousarray(directions[:rank].T)
    return SpectralSystem(
        centroid=centroid,
        directions=directions,
        curvature=4.0 * sigma[:rank] ** 2,
        total_weight=total,
        units=prototypes.shape[0],
        selected=offset[selected] @ directions,
        selected_weights=weights[selected],
    )


@dataclass(slots=True, kw_only=True, eq=False)
class SpectralState:
    """Where a batch of points is.

    Parameters
    ----------
    a : ndarray, shape (N, r)
        Coordinates in the span of the prototypes.
    s : ndarray, shape (N,)
        Coordinate along each point's own normal.
    normal : ndarray, shape (N, D)
        n, the unit normals; zero for a point in the span.
    """

    a: FloatArray
    s: FloatArray
    normal: FloatArray


def to_spectral(system: SpectralSystem, points: FloatArray) -> SpectralState:
    """Return points (N, D) in spectral coordinates."""
    u = points - system.centroid
    a = u @ system.directions
    rest = u - a @ system.directions.T
    # A second projection: after one, the rest keeps rounding in the span as large as eps·|u|.
    rest -= (rest @ system.directions) @ system.directions.T
    s = np.sqrt(np.einsum("nd,nd->n", rest, rest))
    size = np.sqrt(np.einsum("nd,nd->n", u, u))
    in_span = s <= 16.0 * np.finfo(np.float64).eps * size
    s[in_span] = 0.0
    normal = np.divide(
        rest, s[:, np.newaxis], out=np.zeros_like(rest), where=~in_span[:, np.newaxis]
    )
    return SpectralState(a=a, s=s, normal=normal)


def selected_squared_distances(system: SpectralSystem, a: FloatArray, s: FloatArray) -> FloatArray:
    """Return squared distances to the selected prototypes, shape (N, K)."""
    squared: FloatArray = a @ system.selected.T
    squared *= -2.0
    squared += (np.einsum("nr,nr->n", a, a) + s * s)[:, np.newaxis]
    squared += np.einsum("kr,kr->k", system.selected, system.selected)
    np.maximum(squared, 0.0, out=squared)
    return squared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A proposed step and what it does to the objective ``Σ ω_i (change of d_i − δ_i)²``.

    Parameters
    ----------
    da, ds : ndarray, shapes (N, r), (N,)
        Δ in spectral coordinates.
    norm : ndarray, shape (N,)
        ``||Δ||``.
    before, predicted, after : ndarray, shape (N,)
        The objective without the step, by the linear model, and in truth.
    """

    da: FloatArray
    ds: FloatArray
    norm: FloatArray
    before: FloatArray
    predicted: FloatArray
    after: FloatArray


def music_step(
    system: SpectralSystem,
    a: FloatArray,
    s: FloatArray,
    *,
    change: FloatArray,
    damping: FloatArray,
    max_step: FloatArray | None = None,
) -> Step:
    """Return the MUSIC step of a batch of points.

    Parameters
    ----------
    system : SpectralSystem
        The spectral form.
    a, s : ndarray, shapes (N, r), (N,)
        The points.
    change : ndarray, shape (N, K)
        δ, wanted changes of the squared distances to the selected units.
    damping : ndarray, shape (N,)
        λ > 0.
    max_step : ndarray, shape (N,), optional
        Longer steps are shortened to this length.

    Notes
    -----
    With ``B = 4Σ² + λ`` on a and λ on s, β = 4m and g = Jᵀ Ω δ the system is
    ``(B + β u uᵀ) Δ = g``, u = (a, s). Eliminating Δs first leaves, with w = λ / (λ + β s²),
    ``(B + β w a aᵀ) Δa = 2 (C w a − Σ c_i b_i)``, c = ω δ, C = Σ c: no division by a small λ.
    Since d_i(x+Δ) − d_i(x) = J_i Δ + ||Δ||² exactly, the true objective is known in closed form.
    """
    beta = 4.0 * system.total_weight
    pull = change * system.selected_weights
    total = pull.sum(axis=1)
    before = np.einsum("nk,nk->n", pull, change)
    toward = pull @ system.selected
    stiffness = damping + beta * s * s
    w = damping / stiffness
    inverse = 1.0 / (system.curvature + damping[:, np.newaxis])
    da = a * (total * w)[:, np.newaxis]
    da -= toward
    da *= 2.0
    da *= inverse
    inverse *= a
    along = np.einsum("nr,nr->n", a, da) / (1.0 + beta * w * np.einsum("nr,nr->n", a, inverse))
    inverse *= (beta * w * along)[:, np.newaxis]
    da -= inverse
    ds = s * (2.0 * total - beta * along) / stiffness
    if max_step is not None:
        norm = np.sqrt(np.einsum("nr,nr->n", da, da) + ds * ds)
        shorten = max_step / np.maximum(norm, max_step)
        da *= shorten[:, np.newaxis]
        ds *= shorten
    return _with_objective(system, a, s, da, ds, total, toward, before)


def _with_objective(
    system: SpectralSystem,
    a: FloatArray,
    s: FloatArray,
    da: FloatArray,
    ds: FloatArray,
    total: FloatArray,
    toward: FloatArray,
    before: FloatArray,
) -> Step:
    m = system.total_weight
    along = np.einsum("nr,nr->n", a, da) + s * ds
    length2 = np.einsum("nr,nr->n", da, da) + ds * ds
    gradient = 2.0 * (total * along - np.einsum("nr,nr->n", toward, da))
    curved = np.einsum("r,nr,nr->n", system.curvature, da, da) + 4.0 * m * along**2
    predicted = curved - 2.0 * gradient + before
    after = predicted + 2.0 * length2 * (2.0 * m * along - total) + m * length2**2
    return Step(
        da=da, ds=ds, norm=np.sqrt(length2), before=before, predicted=predicted, after=after
    )
