"""Measures of paths and of the points on them. Each has one meaning, stated with its formula."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.geometry import squared_distances
from musicfw.types import Trajectory

# Elements of one block of distances to the reference data: about 64 MB.
_BLOCK_ELEMENTS = 1 << 23


def frames_at_fractions(points: FloatArray, fractions: npt.ArrayLike) -> FloatArray:
    """Return the points of one path at fractions of its length, by linear interpolation.

    Parameters
    ----------
    points : ndarray, shape (T+1, D)
        The frames of one path.
    fractions : array_like, shape (F,)
        0 is the start and 1 the end, both bit for bit.

    Returns
    -------
    ndarray, shape (F, D)
        A path of length zero gives its start every time.
    """
    wanted = np.clip(np.asarray(fractions, dtype=np.float64), 0.0, 1.0)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(lengths)])
    if arc[-1] == 0.0:
        return np.repeat(points[:1], wanted.size, axis=0)
    # The last segment that begins at or before the wanted length and is not of length zero.
    segments = np.flatnonzero(lengths > 0.0)
    at = wanted * arc[-1]
    segment = segments[np.searchsorted(arc[segments], at, side="right") - 1]
    share = np.clip((at - arc[segment]) / lengths[segment], 0.0, 1.0)[:, np.newaxis]
    frames: FloatArray = points[segment] * (1.0 - share) + points[segment + 1] * share
    # Lengths that were summed up do not tell the ends to the last bit.
    frames[wanted == 0.0] = points[0]
    frames[wanted == 1.0] = points[-1]
    return frames


def sharpness(points: FloatArray, image_shape: tuple[int, int]) -> FloatArray:
    """Return the variance of the Laplacian of each image, shape (N,).

    The 5-point Laplacian (4 neighbours minus 4 times the pixel) at the inner pixels; larger for
    more fine detail (Pech-Pacheco et al. 2000, ICPR). Quadratic in the contrast.
    """
    images = points.reshape(-1, *image_shape)
    if min(image_shape) < 3:
        raise UsageError(f"sharpness: expected images of at least 3 × 3 pixels, got {image_shape}")
    inner = images[:, 1:-1, 1:-1]
    laplacian = (
        images[:, :-2, 1:-1]
        + images[:, 2:, 1:-1]
        + images[:, 1:-1, :-2]
        + images[:, 1:-1, 2:]
        - 4.0 * inner
    )
    return np.asarray(laplacian.reshape(images.shape[0], -1).var(axis=1))


def distance_to_data(points: FloatArray, data: FloatArray, *, neighbours: int = 1) -> FloatArray:
    """Return the mean distance to the nearest rows of real data, shape (N,), original units."""
    if not 1 <= neighbours <= data.shape[0]:
        raise UsageError(
            f"neighbours: expected 1 … {data.shape[0]} (the rows of data), got {neighbours}"
        )
    found = np.empty(points.shape[0])
    block = max(1, _BLOCK_ELEMENTS // data.shape[0])
    for start in range(0, points.shape[0], block):
        rows = slice(start, start + block)
        squared = squared_distances(points[rows], data)
        nearest = np.partition(squared, neighbours - 1, axis=1)[:, :neighbours]
        found[rows] = np.sqrt(nearest).mean(axis=1)
    return found


def path_measures(path: Trajectory) -> dict[str, FloatArray]:
    """Return the measures of whole paths, each of shape (N,).

    Returns
    -------
    dict
        ``arrived``: 1 if the path ends in the target, else 0. ``path_over_chord``: length over the
        distance of its ends, 1 for a straight line. ``longest_step_over_mean``: of the steps that
        moved. ``acceleration``: ``Σ ||x_{t+1} − 2 x_t + x_{t−1}||² / Σ ||x_{t+1} − x_t||²``, 0 for
        steady motion on a line. ``preserved_change``: median over the units outside the target of
        ``|d_i(end) − d_i(start)| / d_i(start)``. ``monotone_fall``: share of the steps that moved
        in which the squared distance to the nearest target unit did not rise.
    """
    frames = path.in_map()
    steps = np.diff(frames, axis=0)
    squared = np.einsum("tnd,tnd->tn", steps, steps)
    length = np.sqrt(squared).sum(axis=0)
    chord = np.linalg.norm(frames[-1] - frames[0], axis=1)
    moving = squared > 0.0
    count = moving.sum(axis=0)
    bend = np.diff(steps, axis=0)
    to_target = path.squared_distances(path.target_units).min(axis=2)
    # A rise within rounding is none.
    falls = np.diff(to_target, axis=0) <= 1e-12 * to_target[:-1]
    return {
        "arrived": path.reached.astype(np.float64),
        "path_over_chord": _ratio(length, chord),
        "longest_step_over_mean": _ratio(np.sqrt(squared.max(axis=0)) * count, length),
        "acceleration": _ratio(np.einsum("tnd,tnd->n", bend, bend), squared.sum(axis=0)),
        "preserved_change": _preserved_change(path),
        "monotone_fall": _ratio((falls & moving).sum(axis=0), count),
    }


def _preserved_change(path: Trajectory) -> FloatArray:
    others = np.setdiff1d(np.arange(path.codebook.units), path.target_units)
    if others.size == 0:
        return np.full(path.stop.size, np.nan)
    ends = path.in_map([0, -1])
    start, end = (path.codebook.squared_distances(frame, others) for frame in ends)
    change = np.abs(end - start) / np.where(start > 0.0, start, 1.0)
    return np.asarray(np.median(change, axis=1))


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> FloatArray:
    """Return part / whole, NaN where whole is 0."""
    divisor = np.asarray(whole, dtype=np.float64)
    safe = np.where(divisor > 0.0, divisor, np.nan)
    return np.asarray(np.asarray(part, dtype=np.float64) / safe)
