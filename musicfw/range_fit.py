"""The point whose squared distances fit best, the lowest of all minima.

With distances that carry noise the best point minimises ``Σ_i ω_i (||x − w_i||² − d_i)²``, squared
range least squares. About the ω-weighted centroid, in coordinates y along the eigenvectors of
``Vᵀ Ω V = Q Λ Qᵀ``, it is stationary where ::

    (Λ + φ) y = γ,     φ = m/2 (||y||² − t),     γ = Qᵀ Vᵀ Ω b,   m = Σ ω,   t = Σ ω e / m

a ridge that chooses its own strength: the centred system leaves out the mean of e, which tells
``||u||²``, and φ is what brings the length of the answer in line with it. Λ + φ is positive
definite at the lowest minimum and there only, and ``||y(φ)||² − t − 2 φ/m`` is convex and falls, so
Newton's steps from the left of its one root only grow, and end where rounding stops them.

Where the prototypes do not span the space, ``||u||²`` may have a hidden part ρ² ≥ 0 as well: then
φ ≥ 0, and φ = 0 (the weighted linear answer) wherever ρ² > 0.

Source: A. Beck, P. Stoica, J. Li, "Exact and approximate solutions of source localization
problems", IEEE Trans. Signal Process. 56 (2008), SR-LS; the secular equation as in J. J. Moré and
D. C. Sorensen, "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4 (1983).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.arrays import BoolArray, FloatArray
from musicfw.geometry import CentredSystem
from musicfw.noise import Errors, relative_is_likelier, sizes

_EPS = float(np.finfo(np.float64).eps)
# Numbers per block of weighted matrices: about 32 MB.
_BLOCK_ELEMENTS = 1 << 22
# Misfits up to so many roundings are none: the linear answer stays, bit for bit.
_ROUNDINGS = 50.0
_MOST_STEPS = 200
# Where ψ is below this share of λ_r, b has next to nothing in the weakest direction: two mirror
# points fit alike, and the length that is left says how far they are.
_LEAST_SHIFT = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """Hull coordinates (n, r) of n points, and by how much their distances miss, (n, M)."""

    found: FloatArray
    misfit: FloatArray


def best_fit(
    system: CentredSystem, linear: FloatArray, distances: FloatArray, errors: Errors | None
) -> FloatArray:
    """Return the best fit u, shape (N, D), to distances (N, M) with noise.

    Parameters
    ----------
    system : CentredSystem
        Of units that measure alike.
    linear : ndarray, shape (N, r)
        The least-squares solution of ``P S a = b``; it stays where no noise is left to fit.
    distances : ndarray, shape (N, M)
        Squared distances.
    errors : {"absolute", "relative"} or None
        Weights 1 or 1/d²; None for those that make the misfit of a point likelier.
    """
    b = system.left * system.singular_values
    found = linear.copy()
    noisy = np.flatnonzero(_is_noisy(system, b, linear, distances))
    # Which errors are likelier is judged by what the fit leaves over: there must be something left.
    if errors is None and system.units <= system.affine_rank + 1:
        errors = "absolute"
    block = max(1, _BLOCK_ELEMENTS // b.size) if b.size else 1
    for start in range(0, noisy.size, block):
        rows = noisy[start : start + block]
        found[rows] = _fitted(system, b, distances[rows], errors)
    return found @ system.right.T


def _is_noisy(
    system: CentredSystem, b: FloatArray, linear: FloatArray, distances: FloatArray
) -> BoolArray:
    """Return which distances miss those of the linear answer by more than rounding, shape (N,)."""
    if system.affine_rank == 0:
        return np.zeros(distances.shape[0], dtype=np.bool_)
    misfit = _misfit(system, b, linear, distances)
    # Without noise the answer is no longer than the mean of e says; noise may give it any length.
    mean = np.maximum((distances - system.squared_norms).mean(axis=1), 0.0)
    length = np.minimum(np.linalg.norm(linear, axis=1), np.sqrt(mean))
    scale = length + np.sqrt(system.squared_norms.max())
    storage = np.abs(system.prototypes).max()
    rounding = _ROUNDINGS * _EPS * np.sqrt(system.units) * scale * (scale + storage)
    # What an error eps of a distance does to the answer, it does to all distances.
    moved = rounding / system.singular_values[-1]
    allowed = rounding + (length + moved) * moved
    return np.asarray(np.abs(misfit).max(axis=1) > allowed)


def _misfit(
    system: CentredSystem, b: FloatArray, found: FloatArray, distances: FloatArray
) -> FloatArray:
    """Return ``||a − b_i||² + ρ² − d_i``, shape (n, M), ρ² as equal weights have it."""
    e = distances - system.squared_norms
    length2 = np.einsum("nr,nr->n", found, found)
    if system.affine_rank < system.dimension:
        length2 = np.maximum(length2, e.mean(axis=1))
    return np.asarray(length2[:, np.newaxis] - 2.0 * (found @ b.T) - e)


def _fitted(
    system: CentredSystem, b: FloatArray, distances: FloatArray, errors: Errors | None
) -> FloatArray:
    """Return hull coordinates (n, r) by the weights asked for, or the likelier ones."""
    if errors == "absolute":
        return _equally_weighted(system, b, distances).found
    size, usable = sizes(distances)
    relative = _weighted(system, b, distances, 1.0 / size**2)
    if errors == "relative":
        return relative.found
    equal = _equally_weighted(system, b, distances)
    chosen = usable & relative_is_likelier(equal.misfit, relative.misfit, size)
    return np.where(chosen[:, np.newaxis], relative.found, equal.found)


def _equally_weighted(system: CentredSystem, b: FloatArray, distances: FloatArray) -> _Fit:
    """Return the fit with equal weights: the eigenvectors are the system's own."""
    sigma = system.singular_values
    rhs, mean = system.right_hand_side(distances)
    gamma = (rhs.T @ system.left) * sigma
    eigenvalues = np.broadcast_to(sigma**2, gamma.shape)
    is_full = system.affine_rank == system.dimension
    found = _stationary(eigenvalues, gamma, mean, float(system.units), is_full)
    return _Fit(found=found, misfit=_misfit(system, b, found, distances))


def _weighted(
    system: CentredSystem, b: FloatArray, distances: FloatArray, weights: FloatArray
) -> _Fit:
    """Return the fit with weights of each point, by an eigendecomposition of each point."""
    weights = weights / weights.mean(axis=1, keepdims=True)
    mass = float(system.units)
    centre = weights @ b / mass
    B = b - centre[:, np.newaxis, :]
    e = distances - np.einsum("nmr,nmr->nm", B, B)
    mean = np.einsum("nm,nm->n", weights, e) / mass
    target = -0.5 * (e - mean[:, np.newaxis])
    BW = (B * weights[:, :, np.newaxis]).transpose(0, 2, 1)
    eigenvalues, Q = np.linalg.eigh(BW @ B)
    # What rounding leaves of an eigenvalue 0 may be below 0. (That forming the product squares the
    # condition costs less than the noise does, unless that is below condition · eps.)
    eigenvalues = np.maximum(eigenvalues, _EPS * eigenvalues[:, -1:])
    gamma = _product(Q.transpose(0, 2, 1), _product(BW, target))
    is_full = system.affine_rank == system.dimension
    y = _product(Q, _stationary(eigenvalues, gamma, mean, mass, is_full))
    length2 = np.einsum("nr,nr->n", y, y)
    if not is_full:
        length2 = np.maximum(length2, mean)
    misfit = length2[:, np.newaxis] - 2.0 * _product(B, y) - e
    return _Fit(found=y + centre, misfit=misfit)


def _stationary(
    eigenvalues: FloatArray, gamma: FloatArray, mean: FloatArray, mass: float, is_full: bool
) -> FloatArray:
    """Return y of the lowest minimum, shape (n, r).

    The unknown is ``ψ = φ + λ_r > 0``, so that nothing cancels where φ is near −λ_r.
    """
    n = np.arange(gamma.shape[0])
    weakest = eigenvalues.argmin(axis=1)
    least, in_weakest = eigenvalues[n, weakest], gamma[n, weakest]
    gap = eigenvalues - least[:, np.newaxis]
    too_short = np.einsum("nr,nr->n", gamma / eigenvalues, gamma / eigenvalues) < mean
    psi = least.copy()
    if is_full:  # left of the root: there the weakest direction alone is longer than t
        start = np.abs(in_weakest[too_short]) / np.sqrt(mean[too_short])
        psi[too_short] = np.maximum(start, _LEAST_SHIFT * least[too_short])
    rows = np.flatnonzero(~too_short | is_full)
    for _ in range(_MOST_STEPS):
        inverse = 1.0 / (gap[rows] + psi[rows, np.newaxis])
        squares = (gamma[rows] * inverse) ** 2
        value = squares.sum(axis=1) - mean[rows] - 2.0 * (psi[rows] - least[rows]) / mass
        slope = 2.0 * ((squares * inverse).sum(axis=1) + 1.0 / mass)
        further = psi[rows] + value / slope
        grows = further > psi[rows] * (1.0 + 2.0 * _EPS)
        rows = rows[grows]
        psi[rows] = further[grows]
    y: FloatArray = gamma / (gap + psi[:, np.newaxis])
    lost = np.flatnonzero(psi <= _LEAST_SHIFT * least)
    others = np.einsum("nr,nr->n", y[lost], y[lost]) - y[lost, weakest[lost]] ** 2
    rest = mean[lost] + 2.0 * (psi[lost] - least[lost]) / mass - others
    y[lost, weakest[lost]] = np.copysign(np.sqrt(np.maximum(rest, 0.0)), in_weakest[lost])
    return y


def _product(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return each matrix times its vector, shape (n, k), of (n, k, l) and (n, l)."""
    return np.asarray((matrices @ vectors[:, :, np.newaxis])[:, :, 0])
