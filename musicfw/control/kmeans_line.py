"""Policy ``kmeans-line``: a baseline without a map. A straight line to the nearest k-means centre.

The map is used only to say which centres belong to the target: those most of whose data win there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from musicfw.api import FloatArray, PolicyFactory, SteeringProblem, param
from musicfw.control.straight_line import Line, line_to
from musicfw.errors import UsageError
from musicfw.geometry import best_matching_units, squared_distances
from musicfw.som.initialization import sampled_rows
from musicfw.som.statistics import statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class KmeansLineParams:
    """Options of the policy ``kmeans-line``."""

    centres: Annotated[int, Ge(1)] | None = param(
        None, help="Number of centres; null: as many as the map has units."
    )
    iterations: Annotated[int, Ge(1)] = param(10, help="Iterations of Lloyd's algorithm.")
    rows: Annotated[int, Ge(1)] = param(
        5_000, help="How many rows of the data to use at most, drawn at random."
    )
    seed: Annotated[int, Ge(0)] = param(0, help="Seed of the rows and of the first centres.")


class KmeansLine:
    """A line to the nearest centre of the target, found in the reference data.

    Parameters
    ----------
    params : KmeansLineParams
        Options.
    """

    def __init__(self, params: KmeansLineParams) -> None:
        self._params = params

    def begin(self, problem: SteeringProblem) -> Line:
        """Find the centres and return the lines of all points."""
        if problem.reference is None:
            raise UsageError(
                "reference: the policy 'kmeans-line' needs data to find its centres in; give steer "
                "reference=, for instance the training data"
            )
        if not problem.approaches:
            raise UsageError("target: the policy 'kmeans-line' needs units to approach")
        ends = self._centres_of_target(problem, problem.reference)
        nearest = squared_distances(problem.points, ends).argmin(axis=1)
        return line_to(problem, ends[nearest])

    def _centres_of_target(self, problem: SteeringProblem, data: FloatArray) -> FloatArray:
        rng = np.random.default_rng(self._params.seed)
        if data.shape[0] > self._params.rows:
            data = data[np.sort(rng.choice(data.shape[0], size=self._params.rows, replace=False))]
        count = min(self._params.centres or problem.codebook.units, data.shape[0])
        centre = data.mean(axis=0)
        centres = sampled_rows(data, count, rng=rng) - centre
        for _ in range(self._params.iterations):
            found = statistics(data - centre, centres)
            filled = found.counts > 0
            centres[filled] = found.sums[filled] / found.counts[filled, np.newaxis]
        centres += centre
        member = best_matching_units(data, centres)
        winners = problem.codebook.best_matching_units(data)
        inside = np.isin(winners, problem.units)
        size = np.bincount(member, minlength=count)
        held = np.bincount(member, weights=inside, minlength=count)
        belongs = (size > 0) & (2.0 * held > size)
        if not belongs.any():
            # No centre is mostly of the target: the one with the largest share of it stands in.
            belongs = np.arange(count) == (held / np.maximum(size, 1)).argmax()
        return np.asarray(centres[belongs])


KMEANS_LINE = PolicyFactory(
    name="kmeans-line",
    params=KmeansLineParams,
    build=KmeansLine,
    summary="A baseline without a map: a straight line to the nearest k-means centre.",
    traits=frozenset({"bounds", "reference", "relevances"}),
)
