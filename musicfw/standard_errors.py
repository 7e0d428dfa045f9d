"""How sure each feature of an inverted point is, given the noise of its distances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_activations, as_matrix
from musicfw.axes import axes_of
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.geometry import centred_system
from musicfw.invert import as_map
from musicfw.types import TrainedMap

_EPS = float(np.finfo(np.float64).eps)
# Numbers per block of Jacobians: about 32 MB.
_BLOCK_ELEMENTS = 1 << 22
# A feature with a larger share than this outside what the distances place is not placed.
_WITHIN = 1e-8


def standard_errors(
    codebook: Codebook | TrainedMap,
    points: npt.ArrayLike,
    squared_distances: npt.ArrayLike,
    *,
    noise: npt.ArrayLike,
) -> FloatArray:
    """Return the standard error of every feature of points that were inverted from distances.

    Parameters
    ----------
    codebook : Codebook or TrainedMap
        The map, as for `invert`.
    points : array_like, shape (N, D) or (D,)
        What ``invert(…, solver="maximum-likelihood").points`` found, in its units; rows with NaN
        have no standard error.
    squared_distances : array_like, shape (N, M) or (M,)
        The distances that it was found from.
    noise : array_like that broadcasts to (N, M)
        Standard deviation of the errors of the squared distances: one number, or
        ``0.01 * squared_distances`` for relative errors of 1 %.

    Returns
    -------
    ndarray, shape (N, D)
        In the units of the points; infinite for a feature that the distances do not place, NaN
        where the point is.

    Raises
    ------
    UsageError
        For noise that is not positive or has another shape, and for a map with an embedding.
    DataError
        For points and distances of other shapes.

    Notes
    -----
    The roots of the diagonal of ``H⁻¹``, H the observed information of independent normal errors ::

        H = Σ_i ω_i (J_i J_iᵀ + 2 (d_i(x) − d_i) diag R_i),   J_i = 2 R_i∘(x − w_i),   ω = 1/sd²

    in the prototypes' hull, the squared length of the hidden part another unknown where there is
    one. The second term counts what the length of a point tells where the map is thin, which the
    expected information leaves out (B. Efron, D. V. Hinkley, "Assessing the accuracy of the maximum
    likelihood estimator", Biometrika 65, 1978). To first order in the noise: with much noise on a
    thin map the errors of the points are rather half as large as these.
    """
    trained = as_map(codebook)
    if trained.embedding is not None:
        raise UsageError(
            f"standard_errors: the embedding {trained.embedding.name!r} is not linear; use "
            f"trained.codebook, and its codes for points"
        )
    given = as_matrix(np.atleast_2d(points), name="points", columns=trained.dimension, finite=False)
    distances = as_activations(
        squared_distances, name="squared_distances", units=trained.codebook.units, finite=False
    )
    if len(distances) != len(given):
        raise UsageError(
            f"squared_distances: expected {len(given)} rows, one per point, got {len(distances)}"
        )
    weights = 1.0 / _deviations(noise, distances.shape) ** 2
    usable = np.isfinite(given).all(axis=1) & np.isfinite(distances).all(axis=1)
    usable &= np.isfinite(weights).all(axis=1)
    found = np.full(given.shape, np.nan)
    axes = axes_of(trained.codebook)
    found[usable] = np.inf
    columns = np.ix_(np.flatnonzero(usable), axes.features)
    coordinates = axes.along(trained.scaling.to_map(given[usable]))
    spread = _of_coordinates(axes.codebook, coordinates, distances[usable], weights[usable])
    found[columns] = spread * (trained.scaling.scale[axes.features] / axes.scale)
    return found


def _deviations(noise: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return the standard deviations, shape (N, M)."""
    given = np.asarray(noise, dtype=np.float64)
    if not (given > 0.0).all():
        got = "NaN" if np.isnan(given).any() else f"{given.min():g}"
        raise UsageError(f"noise: expected positive standard deviations, got {got}")
    try:
        return np.asarray(np.broadcast_to(given, shape))
    except ValueError as err:
        raise UsageError(
            f"noise: expected a number or an array that broadcasts to {shape}, got the shape "
            f"{given.shape}"
        ) from err


def _of_coordinates(
    book: Codebook, points: FloatArray, distances: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the standard errors along the axes of a codebook, shape (n, K)."""
    W, R = book.prototypes, book.relevances
    basis = np.eye(book.dimension)
    if R is None:
        # Along the hull: what the codebook has no spread in, the distances do not place.
        basis = centred_system(W).right
    centre = W.mean(axis=0)
    points = centre + (points - centre) @ basis @ basis.T
    found = np.empty(points.shape)
    block = max(1, _BLOCK_ELEMENTS // W.size)
    for start in range(0, len(points), block):
        rows = slice(start, start + block)
        with np.errstate(over="ignore", invalid="ignore"):
            H = _information(points[rows], W, R, basis, distances[rows], weights[rows])
        # Of distances whose squares overflow nothing is known.
        H[~np.isfinite(H).all(axis=(1, 2))] = 0.0
        found[rows] = _roots_of_inverse(H, basis)
    return found


def _information(
    points: FloatArray,
    W: FloatArray,
    R: FloatArray | None,
    basis: FloatArray,
    distances: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """Return H, shape (n, r, r), along the columns of the basis (K, r)."""
    offset = points[:, np.newaxis, :] - W
    weighted = offset if R is None else offset * R
    misfit = np.einsum("nmk,nmk->nm", weighted, offset) - distances
    J = 2.0 * (weighted @ basis)
    JW = (J * weights[:, :, np.newaxis]).transpose(0, 2, 1)
    H = JW @ J
    if R is not None:
        H += 2.0 * np.einsum("nm,mk->nk", weights * misfit, R)[:, :, np.newaxis] * basis
        return H
    common = np.einsum("nm,nm->n", weights, misfit)
    hidden = (common < 0.0) & (basis.shape[1] < basis.shape[0])
    # The hidden part makes up for what all distances miss: it is unknown like the rest.
    shared = JW.sum(axis=2)[hidden]
    mass = weights[hidden].sum(axis=1)[:, np.newaxis, np.newaxis]
    H[hidden] -= shared[:, :, np.newaxis] * shared[:, np.newaxis, :] / mass
    bend = np.where(hidden, 0.0, 2.0 * common)
    H += bend[:, np.newaxis, np.newaxis] * np.eye(basis.shape[1])
    return H


def _roots_of_inverse(H: FloatArray, basis: FloatArray) -> FloatArray:
    """Return the roots of the diagonal of ``basis H⁻¹ basisᵀ``, (n, K), infinite if not placed."""
    if basis.shape[1] == 0:
        return np.full((len(H), basis.shape[0]), np.inf)
    eigenvalues, Q = np.linalg.eigh(H)
    least = H.shape[1] * _EPS * np.abs(eigenvalues).max(axis=1, keepdims=True)
    known = eigenvalues > least
    share = np.square(basis @ Q)
    inside = np.einsum("nkr,nr->nk", share, known)
    variance = np.einsum("nkr,nr->nk", share, known / np.where(known, eigenvalues, 1.0))
    return np.where(inside > 1.0 - _WITHIN, np.sqrt(variance), np.inf)
