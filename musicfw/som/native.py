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

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from musicfw.api import BackendFactory, RawMap, TrainingProblem
from musicfw.arrays import FloatArray, IntArray
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints
from musicfw.som.compiled import FilteredPoints
from musicfw.som.early_stopping import Judge, split
from musicfw.som.history import History
from musicfw.som.initialization import Overview, first_prototypes, overview
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
from musicfw.som.sparse_points import points_of
from musicfw.sparse import is_sparse

_LOG = logging.getLogger(__name__)

_ROWS_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBackend:
    """Trains from sufficient statistics; see the module."""

    params: NativeParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the trained prototypes.

        The history has one entry per update: its ``radius``; ``change``, the root mean square
        distance it moved the prototypes (at most 64, spread evenly); ``quantization_error`` after
        it, of the points of the next step (after the last one of 1000, spread evenly, or of all in
        mode batch); and ``topographic_error``, of 64 of these. In mode online it has one per pass,
        and ``quantization_error`` is the mean over the points just before each was learnt.

        With ``validation_share`` it has ``held_out_quantization_error`` too, NaN where that was not
        measured, and the prototypes returned are those where it is least.
        """
        held_out = None
        if self.params.validation_share:
            problem, held_out = split(problem, self.params.validation_share)
        seen = overview(problem.points, rng=problem.rng, weights=problem.weights)
        data = self._data(problem, seen)
        if problem.initial is not None:
            first = problem.initial - data.centre
        else:
            name = self.params.initialization
            first = first_prototypes(
                problem.points, seen, problem.lattice, name=name, rng=problem.rng
            )
            first += seen.centre - data.centre
        judge = None if held_out is None else self._judge(held_out, data)
        train = self._online if self.params.mode == "online" else self._by_steps
        with data.all_to_itself():
            return train(problem, data, first, judge)

    def _data(self, problem: TrainingProblem, seen: Overview) -> CentredPoints:
        params, sparse = self.params, is_sparse(problem.points)
        dtype, size = np.dtype(params.dtype or problem.points.dtype), params.rows_per_chunk
        if params.search != "compiled" or problem.missing or sparse:
            if params.search == "compiled":
                kind = "sparse data" if sparse else "data with missing values"
                _LOG.info("search: 'plain' instead of 'compiled' for %s: same units", kind)
            return points_of(problem, seen.centre, dtype, size)
        facts = problem.points, seen.centre, dtype, size
        return FilteredPoints(*facts, weights=problem.weights, seen=seen)

    def _judge(self, held_out: TrainingProblem, learnt: CentredPoints) -> Judge:
        params, every, size = self.params, 1, self.params.rows_per_chunk
        if params.mode == "minibatch":  # judging takes no longer than learning
            every = chunks_of(held_out.points.shape[0], size)
        points = points_of(held_out, learnt.centre, learnt.dtype, size)
        patience, tolerance = params.judgements_to_wait, params.tolerance
        return Judge(points=points, every=every, patience=patience, tolerance=tolerance)

    def _by_steps(
        self,
        problem: TrainingProblem,
        data: CentredPoints,
        prototypes: FloatArray,
        judge: Judge | None,
    ) -> RawMap:
        """Return the prototypes after the steps of the mode, or those before an interrupt."""
        radii, kind = self._radii(problem), self.params.neighborhood
        history = History(radii, problem.lattice, held_out=judge is not None)
        # Replaced as a whole after every update, so that an interrupt leaves it consistent.
        reached = Reached.load(problem.checkpoint, history) or Reached(prototypes=prototypes)
        interrupted = False
        try:
            for number, step in enumerate(self._steps(problem)):
                if number < reached.updates:
                    continue  # its order was drawn from the generator, as the first time
                if judge is not None and judge.is_done(reached.judged):
                    break
                fresh = data.statistics(step.rows, reached.prototypes)
                if number:
                    best_two = data.best_two(step.rows, reached.prototypes)
                    history.note_errors(number - 1, fresh.quantization_error, best_two)
                H = neighbourhood(problem.lattice, float(radii[number]), name=kind)
                reached = reached.after(fresh, H, memory=step.memory, history=history, judge=judge)
                reached.offer(problem.checkpoint, history)
                problem.progress(reached.updates, radii.size)
        except KeyboardInterrupt:
            if not reached.updates:
                raise
            interrupted = True
        rows = None if self.params.mode == "batch" else _spread_evenly(data.count)
        last = data.statistics(rows, reached.prototypes).quantization_error
        best_two = data.best_two(rows, reached.prototypes)
        history.note_errors(reached.updates - 1, last, best_two)
        known = data.sampled_distances() if judge is None and not problem.missing else None
        raw = _raw_map(reached, data.centre, history, interrupted=interrupted)
        return replace(raw, distances=known)

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
            growing = params.epochs is None and params.listed_radii is None
            yield from minibatch_steps(points, count=count, chunks=chunks, rng=rng, growing=growing)
        elif params.mode == "progressive":
            yield from progressive_steps(points, count=count, rng=rng)
        else:
            yield from batch_steps(count)
        yield from batch_steps(params.full_epochs)

    def _rates(self, updates: int) -> FloatArray:
        falls = self.params.radius_decay
        ends = self.params.learning_rate, self.params.learning_rate_end
        return decay(*ends, steps=updates, name=falls if isinstance(falls, str) else "exponential")

    def _online_map(
        self, problem: TrainingProblem, data: CentredPoints, prototypes: FloatArray
    ) -> OnlineMap:
        repels = self.params.neighborhood == "mexican-hat"
        return OnlineMap(
            prototypes.astype(data.dtype),
            squared_lattice=problem.lattice.squared_distances(),
            neighborhood=self.params.neighborhood,
            missing=problem.missing,
            reach=greatest_squared_length(data.chunks(None)) if repels else np.inf,
        )

    def _online(
        self,
        problem: TrainingProblem,
        data: CentredPoints,
        prototypes: FloatArray,
        judge: Judge | None,
    ) -> RawMap:
        """Return the prototypes after Kohonen's rule, or those of the last whole pass."""
        if problem.weights is not None:
            raise UsageError(
                "weights: expected none with mode: online (its learning rate already says how much "
                "a point counts); use another mode"
            )
        points = problem.points.shape[0]
        radii = radius_schedule(self.params, problem.lattice, updates=self._updates(problem))
        rates, som = self._rates(radii.size), self._online_map(problem, data, prototypes)
        passes = radii.size // points
        history = History(radii[points - 1 :: points], problem.lattice, held_out=judge is not None)
        reached = Reached.load(problem.checkpoint, history) or Reached(prototypes=prototypes)
        interrupted = False
        try:
            for number in range(passes):
                order = problem.rng.permutation(points)
                if number < reached.updates:
                    continue
                if judge is not None and judge.is_done(reached.judged):
                    break
                now = slice(number * points, (number + 1) * points)
                som.prototypes = reached.prototypes.astype(data.dtype)
                error_sum = som.learn_all(data.chunks(order), radii=radii[now], rates=rates[now])
                learnt = som.prototypes.astype(np.float64)
                history.note_errors(number, error_sum / points, data.best_two(order, learnt))
                reached = reached.moved(learnt, history=history, judge=judge)
                reached.offer(problem.checkpoint, history)
                problem.progress(reached.updates, passes)
        except KeyboardInterrupt:
            if not reached.updates:
                raise
            interrupted = True
        return _raw_map(reached, data.centre, history, interrupted=interrupted)


def _spread_evenly(points: int) -> IntArray | None:
    """Return some points to look at, spread evenly, at most 1000; None for all if these are few."""
    step = -(-points // _ROWS_LOOKED_AT)
    return None if step == 1 else np.arange(0, points, step)


def _raw_map(
    reached: Reached, centre: FloatArray, history: History, *, interrupted: bool
) -> RawMap:
    return RawMap(
        prototypes=reached.best + centre,
        history=history.until(reached.updates),
        interrupted=interrupted,
    )


NATIVE = BackendFactory(
    name="native",
    params=NativeParams,
    build=lambda params: NativeBackend(params=params),
    summary="SOM from sufficient statistics: mini-batch, batch, progressive, online.",
    traits=frozenset({"float32", "missing", "resumable", "sparse", "weights"}),
)
