"""The native backend: self-organizing maps trained from sufficient statistics.

All modes but ``online`` repeat one step: collect the `statistics` of some points, add what is kept
of those before, `update`. They differ in which points a step takes:

===========  ==========================================  =========================
mode         points of a step                            kept of the steps before
===========  ==========================================  =========================
minibatch    the next chunk, in random order             a window that grows
batch        all                                         nothing
progressive  1 % at first, all at last                   nothing
online       one (Kohonen's rule, `musicfw.som.online`)  —
===========  ==========================================  =========================

Sources: T. Kohonen, "Essentials of the self-organizing map", Neural Networks 37 (2013); the
statistics that forget are those of O. Cappé and E. Moulines, "On-line expectation-maximization
algorithm", JRSS B 71 (2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from musicfw.api import BackendFactory, RawMap, TrainingProblem
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints
from musicfw.som.compiled import FilteredPoints
from musicfw.som.initialization import first_prototypes, overview
from musicfw.som.native_params import NativeParams, radius_schedule
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.online import OnlineMap, greatest_squared_length
from musicfw.som.reached import Reached
from musicfw.som.schedules import (
    Step,
    batch_steps,
    chunks_of,
    decay,
    minibatch_steps,
    progressive_steps,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBackend:
    """Trains from sufficient statistics; see the module."""

    params: NativeParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the trained prototypes.

        The history holds ``radius`` and ``quantization_error``, one entry per update: the error
        after it, of the points of the next step (all of them in mode batch). Its last value is
        that of the prototypes returned, on the points of the first step. In mode online it has one
        entry per pass: the mean of the errors of the points just before each was learnt.
        """
        seen = overview(problem.points, rng=problem.rng, weights=problem.weights)
        if problem.initial is not None:
            first = problem.initial - seen.centre
        else:
            name = self.params.initialization
            first = first_prototypes(
                problem.points, seen, problem.lattice, name=name, rng=problem.rng
            )
        dtype = np.dtype(self.params.dtype or problem.points.dtype)
        compiled = self.params.search == "compiled"
        if compiled and problem.missing:
            raise UsageError(
                "search: expected 'plain' for data with missing values, got 'compiled', whose "
                "bounds need every feature; leave it out"
            )
        facts = problem.points, seen.centre, dtype, self.params.rows_per_chunk
        data = (
            FilteredPoints(*facts, weights=problem.weights, sample=seen.spread)
            if compiled
            else CentredPoints(*facts, weights=problem.weights, missing=problem.missing)
        )
        online = self.params.mode == "online"
        return (self._online if online else self._by_steps)(problem, data, first)

    def _by_steps(
        self, problem: TrainingProblem, data: CentredPoints, prototypes: FloatArray
    ) -> RawMap:
        """Return the prototypes after the steps of the mode, or those before an interrupt."""
        radii = self._radii(problem)
        errors = np.empty(radii.size)
        # Replaced as a whole after every update, so that an interrupt leaves it consistent.
        reached = Reached.load(problem.checkpoint, errors) or Reached(prototypes=prototypes)
        first: Step | None = None
        interrupted = False
        try:
            for number, step in enumerate(self._steps(problem)):
                first = first or step
                if number < reached.updates:
                    continue  # its order was drawn from the generator, as the first time
                fresh = data.statistics(step.rows, reached.prototypes)
                if number:
                    errors[number - 1] = fresh.quantization_error
                reached = reached.after(
                    fresh,
                    neighbourhood(
                        problem.lattice, float(radii[number]), name=self.params.neighborhood
                    ),
                    memory=step.memory,
                )
                reached.offer(problem.checkpoint, errors)
                problem.progress(reached.updates, radii.size)
        except KeyboardInterrupt:
            if not reached.updates:
                raise
            interrupted = True
        assert first is not None  # there is at least one update
        last = data.statistics(first.rows, reached.prototypes).quantization_error
        errors[reached.updates - 1] = last
        return _raw_map(reached, data.centre, errors, radii, interrupted=interrupted)

    def _updates(self, problem: TrainingProblem) -> int:
        return self.params.updates(points=problem.points.shape[0], units=problem.lattice.units)

    def _radii(self, problem: TrainingProblem) -> FloatArray:
        falling = radius_schedule(self.params, problem.lattice, updates=self._updates(problem))
        return np.append(falling, np.full(self.params.full_epochs, falling[-1]))

    def _steps(self, problem: TrainingProblem) -> Iterator[Step]:
        params, points, rng = self.params, problem.points.shape[0], problem.rng
        count = self._updates(problem)
        if params.mode == "minibatch":
            chunks = chunks_of(points, params.rows_per_chunk)
            yield from minibatch_steps(points, count=count, chunks=chunks, rng=rng)
        elif params.mode == "progressive":
            yield from progressive_steps(points, count=count, rng=rng)
        else:
            yield from batch_steps(count)
        yield from batch_steps(params.full_epochs)

    def _online(
        self, problem: TrainingProblem, data: CentredPoints, prototypes: FloatArray
    ) -> RawMap:
        """Return the prototypes after Kohonen's rule, or those of the last whole pass."""
        if problem.weights is not None:
            raise UsageError(
                "weights: expected none with mode: online (its learning rate already says how much "
                "a point counts); use another mode"
            )
        params, points = self.params, problem.points.shape[0]
        radii = radius_schedule(params, problem.lattice, updates=self._updates(problem))
        ends = params.learning_rate, params.learning_rate_end
        name = params.radius_decay if isinstance(params.radius_decay, str) else "exponential"
        rates = decay(*ends, steps=radii.size, name=name)
        reach = np.inf
        if params.neighborhood == "mexican-hat":
            reach = greatest_squared_length(data.chunks(None))
        errors = np.empty(radii.size // points)
        reached = Reached.load(problem.checkpoint, errors) or Reached(prototypes=prototypes)
        interrupted = False
        try:
            for number in range(errors.size):
                order = problem.rng.permutation(points)
                if number < reached.updates:
                    continue
                now = slice(number * points, (number + 1) * points)
                som = OnlineMap(
                    reached.prototypes.astype(data.dtype),
                    squared_lattice=problem.lattice.squared_distances(),
                    neighborhood=params.neighborhood,
                    missing=problem.missing,
                    reach=reach,
                )
                errors[number] = (
                    som.learn_all(data.chunks(order), radii=radii[now], rates=rates[now]) / points
                )
                learnt = som.prototypes.astype(np.float64)
                reached = Reached(prototypes=learnt, updates=number + 1)
                reached.offer(problem.checkpoint, errors)
                problem.progress(reached.updates, errors.size)
        except KeyboardInterrupt:
            if not reached.updates:
                raise
            interrupted = True
        last = radii[points - 1 :: points]
        return _raw_map(reached, data.centre, errors, last, interrupted=interrupted)


def _raw_map(
    reached: Reached,
    centre: FloatArray,
    errors: FloatArray,
    radii: FloatArray,
    *,
    interrupted: bool,
) -> RawMap:
    done = reached.updates
    return RawMap(
        prototypes=reached.prototypes + centre,
        history={"quantization_error": errors[:done], "radius": radii[:done]},
        interrupted=interrupted,
    )


NATIVE = BackendFactory(
    name="native",
    params=NativeParams,
    build=lambda params: NativeBackend(params=params),
    summary="SOM from sufficient statistics: mini-batch, batch, progressive, online.",
    traits=frozenset({"float32", "missing", "resumable", "weights"}),
)
