"""The plain numbers of a run, by stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.invert import well_posedness
from musicfw.measures import path_measures
from musicfw.som.preservation import preservation, topographic_product
from musicfw.som.quality import dead_units, quantization_error, topographic_error
from musicfw.types import Inversion, TrainedMap, Trajectory

# At these sizes the measures of neighbourhoods take about half a second each.
_POINTS_COMPARED, _NEIGHBORS, _UNITS_COMPARED = 1000, 10, 1024


def map_metrics(trained: TrainedMap, training: FloatArray, held_out: FloatArray) -> dict[str, Any]:
    """Return size, quality on the training and held-out points, and well-posedness of a map.

    Each name means what the function of that name in `musicfw.som.quality` or
    `musicfw.som.preservation` says, on the training points; with ``held_out_`` on those held out.
    ``dead_units`` is how many there are. Neighbourhoods are of 10 points, among 1000 training
    points spread evenly over all. What costs the square of the number of units is left out beyond
    1024 of them, and what needs more points than there are, too. Maps with an embedding are
    measured in its codes, and have their `reconstruction_error` beside.
    """
    book = trained.codebook
    posed = well_posedness(book)
    seen, unseen = trained.encode(training), trained.encode(held_out)
    metrics: dict[str, Any] = {
        "units": book.units,
        "dimension": book.dimension,
        "training_points": int(training.shape[0]),
        "held_out_points": int(held_out.shape[0]),
        "quantization_error": quantization_error(book, seen),
        "held_out_quantization_error": quantization_error(book, unseen),
        "dead_units": int(dead_units(book, seen).size),
        "affine_rank": posed.affine_rank,
        "condition": posed.condition,
        "is_exact": posed.is_exact,
    }
    if trained.embedding is not None:
        metrics["reconstruction_error"] = reconstruction_error(trained, training)
        metrics["held_out_reconstruction_error"] = reconstruction_error(trained, held_out)
    if book.lattice is not None and book.units > 1:
        metrics["topographic_error"] = topographic_error(book, seen)
        metrics["held_out_topographic_error"] = topographic_error(book, unseen)
        metrics |= _preservation_metrics(book, seen)
    return metrics


def _preservation_metrics(book: Codebook, points: FloatArray) -> dict[str, float | None]:
    some = points[:: -(-points.shape[0] // _POINTS_COMPARED)]
    metrics: dict[str, float | None] = {}
    if book.units <= _UNITS_COMPARED:
        product = topographic_product(book)
        metrics["topographic_product"] = product if np.isfinite(product) else None
    if some.shape[0] > 2 * _NEIGHBORS:
        metrics |= preservation(book, some, neighbors=_NEIGHBORS)._asdict()
    return metrics


def reconstruction_error(trained: TrainedMap, points: FloatArray) -> float:
    """Return the share of the points' variance that the map's space does not hold.

    ``Σ ||x̂ − x||² / Σ ||x − mean||²`` in the scaled features; 0 without an embedding.
    """
    lost = (trained.reconstruct(points) - points) / trained.scaling.scale
    spread = (points - points.mean(axis=0)) / trained.scaling.scale
    return float(np.square(lost).sum() / max(np.square(spread).sum(), np.finfo(np.float64).tiny))


def relative_errors(points: FloatArray, originals: FloatArray) -> FloatArray:
    """Return ``||x̂ − x|| / ||x||`` per point, shape (N,); the absolute error where x = 0."""
    error = np.linalg.norm(points - originals, axis=1)
    size = np.linalg.norm(originals, axis=1)
    return np.asarray(error / np.where(size > 0.0, size, 1.0), dtype=np.float64)


def inversion_metrics(inversion: Inversion, originals: FloatArray) -> dict[str, Any]:
    """Return errors against the points whose distances were inverted, and the statuses."""
    errors = relative_errors(inversion.points, originals)
    usable = np.isfinite(errors)
    return {
        "points": int(errors.size),
        "median_relative_error": _median(errors[usable]),
        "max_relative_error": float(errors[usable].max()) if usable.any() else None,
        "median_residual": _median(inversion.residual[usable]),
        "max_hidden_radius": (
            float(inversion.hidden_radius[usable].max()) if usable.any() else None
        ),
        "statuses": {status.name: n for status, n in inversion.counts().items()},
    }


def trajectory_metrics(path: Trajectory) -> dict[str, Any]:
    """Return how many points arrived, when, and medians of the measures of their paths."""
    measures = path_measures(path)
    del measures["arrived"]
    return {
        "points": int(path.stop.size),
        "reached": int(path.reached.sum()),
        "median_arrival": _median(path.arrival[path.arrival >= 0]),
        "median_path_length": _median(path.step_norm.sum(axis=0)),
        **{name: _median(values[np.isfinite(values)]) for name, values in measures.items()},
        "stops": {reason.name: n for reason, n in path.counts().items()},
    }


def _median(values: Any) -> float | None:
    return float(np.median(values)) if np.size(values) else None
