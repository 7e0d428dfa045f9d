"""A map that learns rows as they come, in updates of so many, whatever chunks they come in.

The rest is the mode ``minibatch`` of the backend ``native``: statistics that forget over a growing
window. `musicfw.stream` says what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import (
    FloatArray,
    WorkArray,
    as_whole,
)
from musicfw.checkpoint import fingerprint
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling, as_weights, checked_names
from musicfw.errors import DataError, UsageError
from musicfw.frames import names_of
from musicfw.lattice import Lattice
from musicfw.missing import MissingValues, keeps_gaps
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.scaling import ScalingKind, checked_kind
from musicfw.som.centred_points import CentredPoints, refuse_overflow
from musicfw.som.early_stopping import Judge
from musicfw.som.history import History
from musicfw.som.initialization import Overview, first_prototypes, overview
from musicfw.som.native import NATIVE
from musicfw.som.native_params import NativeParams, radius_schedule
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.reached import Reached
from musicfw.som.schedules import chunks_of, window_memory
from musicfw.sparse import arrays_of, as_csr, dense, is_sparse
from musicfw.stream_axes import StreamAxes, check_scaling_fits, importance_in_stream
from musicfw.stream_checks import (
    check_stream_params,
    refuse_unknown_columns,
    rows_of_stream,
    rows_to_judge_by,
)
from musicfw.stream_state import Replay, StreamState
from musicfw.training_data import as_prototypes
from musicfw.types import TrainedMap

__all__ = ["StreamTrainer"]


class StreamTrainer:
    """A map that learns rows as they come.

    Parameters
    ----------
    lattice : Lattice
        Where the units lie.
    seed : int
        The same rows in the same order, params and seed give the same map, byte for byte.
    updates : int, optional
        Over how many updates of ``chunk_size`` rows the radius falls; afterwards it stays. By
        default 30, and more than 64 rows per unit.
    initial : array_like, shape (M, D), optional
        First prototypes, instead of those that the rows of the first update give; those of a map
        in original units continue it (choose a small ``radius_start``).
    validation : array_like, DataFrame or sparse matrix, shape (V, D), optional
        Rows to judge the map by, which it does not learn; they stay in memory (dense ones twice, if
        scaled or weighted). Their quantization error is measured after every update, or after
        as many as take V rows; once ``patience`` measurements in a row are no improvement by
        ``tolerance``, the trainer has stopped.
    missing : {"refuse", "keep"}
        What NaN in a row is, as in `musicfw.train`; every feature has to be known in some of the
        rows of the first update.
    scaling : {"none", "standard", "minmax"} or Scaling
        Change of units before training: fitted to the rows of the first update, or that of another
        map (``trained.scaling``), say. It is remembered; errors of the history are in its units.
    feature_weights : array_like (D,) or mapping, optional
        How much each feature counts in a distance, as in `musicfw.train`, but above 0.
    feature_names : sequence of str, optional
        Names of the features; by default those of the first frame, ``validation`` or learnt. They
        are the columns taken of every frame.
    **params
        Those of the backend ``native`` in mode ``minibatch`` but ``epochs``, ``full_epochs`` and
        ``validation_share``.

    Raises
    ------
    UsageError
        For wrong params.
    """

    def __init__(
        self,
        lattice: Lattice,
        *,
        seed: int = 0,
        updates: int | None = None,
        initial: npt.ArrayLike | None = None,
        validation: npt.ArrayLike | None = None,
        missing: MissingValues = "refuse",
        scaling: ScalingKind | Scaling = "none",
        feature_weights: npt.ArrayLike | Mapping[Any, float] | None = None,
        feature_names: Sequence[str] | None = None,
        **params: Any,
    ) -> None:
        self.lattice, self.seed = lattice, as_whole(seed, name="seed", least=0)
        self._missing = keeps_gaps(missing)
        self._scaling = scaling if isinstance(scaling, Scaling) else checked_kind(scaling)
        self._feature_weights = feature_weights
        self._importance: FloatArray | None = None  # once the features are known
        self.params: NativeParams = params_from_keywords(NATIVE, params)
        check_stream_params(self.params, updates)
        self._radii = radius_schedule(
            self.params,
            lattice,
            updates=updates or self.params.updates(points=2**62, units=lattice.units),
        )
        names = names_of(validation) if feature_names is None else feature_names
        self._names = None if names is None else tuple(names)
        self._pending: WorkArray | None = None  # raw rows of the next update, (chunk_size, D)
        self._weights = np.ones(self.params.rows_per_chunk)  # of them
        self._filled = 0
        self._state: StreamState | None = None  # none before the first update
        self._replay: Replay | None = None  # rows that come again, after a checkpoint
        self._initial: FloatArray | None = None
        self._validation: Any = None
        if validation is not None:
            self._validation = rows_to_judge_by(
                validation, names=self._names, missing=self._missing
            )
        if initial is not None:
            columns = self._dimension
            self._initial = as_prototypes(initial, lattice, columns=columns, names=self._names)
        self._history = History(self._radii, lattice, held_out=validation is not None)

    @property
    def updates_made(self) -> int:
        """How many updates were made so far."""
        return 0 if self._state is None else self._state.reached.updates

    @property
    def stopped(self) -> bool:
        """Whether the error of ``validation`` no longer falls: rows are then ignored."""
        return self._state is not None and self._state.is_done

    def learn(self, rows: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
        """Learn rows, shape (n, D), n at least 0; float32 rows are kept as they are.

        An array, a frame or a sparse matrix. Once the trainer has `stopped`, nothing is learnt.
        ``weights`` (n,) tell as how many rows each counts in its update, not negative; an update
        has ``chunk_size`` rows whatever they are.

        Raises
        ------
        DataError
            For unusable rows; nothing of them is learnt.
        UsageError
            For unusable weights, and a scaling or feature weights of other features; likewise.
        """
        if is_sparse(rows):
            self._learn_sparse(rows, weights)
            return
        names = names_of(rows) if self._dimension is None and self._names is None else self._names
        columns, missing = self._dimension, self._missing
        matrix = rows_of_stream(rows, name="rows", columns=columns, names=names, missing=missing)
        if self._pending is None:
            self._names = checked_names(names, matrix.shape[1], name="feature_names")
            check_scaling_fits(self._scaling, dimension=matrix.shape[1])
            self._importance = self._importance_of(matrix.shape[1])
            # In a dtype that was asked for, unless a scaling comes first.
            dtype = self.params.dtype if self._scaling == "none" else None
            shape = self.params.rows_per_chunk, matrix.shape[1]
            self._pending = np.empty(shape, dtype=dtype or matrix.dtype)
        counts = np.ones(len(matrix)) if weights is None else as_weights(weights, rows=len(matrix))
        start = 0
        while start < matrix.shape[0] and not self.stopped:
            filled = self._filled
            taken = matrix[start : start + self._pending.shape[0] - filled]
            with np.errstate(over="ignore"):  # of float64 to float32; the update refuses it
                self._pending[filled : filled + taken.shape[0]] = taken
            self._weights[filled : filled + len(taken)] = counts[start : start + len(taken)]
            self._filled += taken.shape[0]
            start += taken.shape[0]
            if self._replay is not None:
                self._pass_over(self._replay)
            if self._filled == self._pending.shape[0]:
                self._state = self._after_update(self._pending, self._weights)
                self._filled = 0

    @property
    def _dimension(self) -> int | None:
        """Number of features D, once it is known."""
        known = (self._pending, self._validation, self._initial)
        return next((int(each.shape[1]) for each in known if each is not None), None)

    def _importance_of(self, dimension: int) -> FloatArray | None:
        given, names = self._feature_weights, self._names
        return importance_in_stream(given, names=names, dimension=dimension)

    def _learn_sparse(self, rows: Any, weights: npt.ArrayLike | None) -> None:
        """Learn a sparse matrix, no more than an update's rows of which become dense at a time."""
        matrix = as_csr(rows, name="rows", columns=self._dimension, keep_float32=True)
        count = matrix.shape[0]
        counts = None if weights is None else as_weights(weights, rows=count)
        for start in range(0, count, self.params.rows_per_chunk):
            here = slice(start, start + self.params.rows_per_chunk)
            self.learn(dense(matrix[here]), None if counts is None else counts[here])

    def snapshot(self) -> TrainedMap:
        """Return the map after all rows so far, those of an update not yet full among them.

        With ``validation`` it is the one with the least error on it, of those that were measured.
        The trainer itself is not changed: what it learns later does not depend on snapshots.

        The history has one entry per update, of at most 64 bytes: its ``radius``; ``change``, the
        root mean square distance it moved the prototypes (at most 64, spread evenly); the
        ``quantization_error`` of its rows just before they were learnt, and the
        ``topographic_error`` of the first 64 of them. With ``validation`` there is
        ``held_out_quantization_error`` after it too, NaN where that was not measured.

        Raises
        ------
        DataError
            If fewer than two rows have come.
        """
        state = self._state
        if self._pending is not None and self._filled > (state is None):
            # What this adds to the history is written over by the full update.
            here = slice(self._filled)
            state = self._after_update(self._pending[here], self._weights[here])
        if state is None:
            raise DataError(
                f"rows: expected at least 2 to train on, got {self._filled}; learn more before a "
                f"snapshot"
            )
        prototypes = state.axes.in_map(state.reached.best + state.centre)
        weights = state.axes.importance
        return TrainedMap(
            codebook=Codebook(prototypes=prototypes, lattice=self.lattice, relevances=weights),
            scaling=state.axes.scaling,
            backend=NATIVE.name,
            params=params_to_tree(self.params),
            seed=self.seed,
            feature_names=self._names,
            history=self._history.until(state.reached.updates),
        )

    @property
    def is_replaying(self) -> bool:
        """Whether rows are still passed over, because they were learnt before a checkpoint."""
        return self._replay is not None

    def fingerprint(self) -> str:
        """Return a hash of all that it was made with."""
        judging = () if self._validation is None else arrays_of(self._validation)
        scaling, weights = self._scaling, self._feature_weights
        if isinstance(weights, Mapping):
            weights = sorted((repr(name), repr(weight)) for name, weight in weights.items())
        scaled = (scaling.offset, scaling.scale) if isinstance(scaling, Scaling) else ()
        return fingerprint(
            self._initial,
            *judging,
            *scaled,
            scaling=None if scaled else scaling,
            feature_weights=np.array(weights, dtype=object).tolist(),
            seed=self.seed,
            lattice=self.lattice.to_json(),
            params=params_to_tree(self.params),
            radii=self._radii.tolist(),
            missing=self._missing,
            names=self._names,
        )

    def state(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return what a checkpoint keeps, once there was an update; `restore` takes it."""
        if self._state is None or self._pending is None:
            raise UsageError("state: expected an update to keep, there was none; learn more rows")
        reached = self._state.reached
        names = {} if self._names is None else {"names": np.array(self._names)}
        return {
            **reached.arrays(self._history.until(reached.updates)),
            **names,
            "centre": self._state.centre,
            "offset": self._state.axes.scaling.offset,
            "scale": self._state.axes.scaling.scale,
            "pending": self._pending[: self._filled].copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state; the rows have to come again from the first, and are passed over."""
        if "names" in state:
            self._names = tuple(str(name) for name in state["names"])
        pending, centre = state["pending"], state["centre"]
        scaling = Scaling(offset=state["offset"], scale=state["scale"])
        axes = StreamAxes(scaling=scaling, importance=self._importance_of(centre.size))
        reached = Reached.of(state, self._history)
        judge = self._judge(axes, centre, dtype=pending.dtype)
        self._state = StreamState(axes=axes, centre=centre, reached=reached, judge=judge)
        self._replay = Replay(pending=pending, updates=reached.updates)

    def _pass_over(self, replay: Replay) -> None:
        """Compare rows that come again with what is known of them, and do not learn them.

        All but the first update and the last rows are taken on trust.
        """
        assert self._pending is not None
        assert self._state is not None
        same = True
        if replay.passed < replay.updates and self._filled == self._pending.shape[0]:
            if replay.passed == 0:
                rng = np.random.default_rng(self.seed)
                axes, _, seen = self._begun(self._pending, self._weights, rng=rng)
                same = np.array_equal(seen.centre, self._state.centre) and axes.is_of(
                    self._state.axes
                )
            replay.passed += 1
            self._filled = 0
        count = replay.pending.shape[0]
        if replay.passed == replay.updates and self._filled >= count:
            same = same and self._pending[:count].tobytes() == replay.pending.tobytes()
            self._replay = None
        if not same:
            raise UsageError(
                "checkpoint: the rows are not those that the training began with; give the same "
                "chunks, from the first, or delete the file to begin anew"
            )

    def _after_update(self, rows: WorkArray, counts: FloatArray) -> StreamState:
        """Return the state after an update from some rows, with as how many each counts."""
        state = self._state or self._first_state(rows, counts)
        before, step = state.reached, state.reached.updates
        along = state.axes.along(rows)
        points = self._about(state.centre, along, dtype=rows.dtype, weights=counts)
        fresh = points.statistics(None, before.prototypes)
        best_two = points.best_two(None, before.prototypes)
        self._history.note_errors(step, fresh.quantization_error, best_two)
        radius = float(self._radii[min(step, self._radii.size - 1)])
        H = neighbourhood(self.lattice, radius, name=self.params.neighborhood)
        memory = window_memory(step)
        after = before.after(fresh, H, memory=memory, history=self._history, judge=state.judge)
        return replace(state, reached=after)

    def _about(
        self,
        centre: FloatArray,
        rows: Any,
        *,
        dtype: npt.DTypeLike,
        weights: FloatArray | None = None,
    ) -> CentredPoints:
        size, dtype = self.params.rows_per_chunk, self.params.dtype or dtype
        return CentredPoints(rows, centre, dtype, size, weights=weights, missing=self._missing)

    def _begun(
        self, rows: WorkArray, counts: FloatArray, *, rng: np.random.Generator
    ) -> tuple[StreamAxes, WorkArray, Overview]:
        """Return the axes of a stream that begins so, these rows in them, and an overview."""
        if self._missing:
            refuse_unknown_columns(rows)
        axes = StreamAxes.of(rows, self._scaling, self._importance, missing=self._missing)
        along = axes.along(rows)
        if np.isinf(along).any():
            refuse_overflow(np.dtype(self.params.dtype or rows.dtype))
        weights = None if (counts == 1.0).all() else counts
        return axes, along, overview(along, rng=rng, weights=weights)

    def _first_state(self, rows: WorkArray, counts: FloatArray) -> StreamState:
        rng, name = np.random.default_rng(self.seed), self.params.initialization
        axes, along, seen = self._begun(rows, counts, rng=rng)
        if self._initial is None:
            first = first_prototypes(along, seen, self.lattice, name=name, rng=rng)
        else:
            first = axes.along(self._initial) - seen.centre
        judge, reached = self._judge(axes, seen.centre, dtype=rows.dtype), Reached(prototypes=first)
        return StreamState(axes=axes, centre=seen.centre, reached=reached, judge=judge)

    def _judge(self, axes: StreamAxes, centre: FloatArray, *, dtype: npt.DTypeLike) -> Judge | None:
        if self._validation is None:
            return None
        along, origin = axes.along_from(centre, self._validation)
        return Judge(
            points=self._about(origin, along, dtype=dtype),
            every=chunks_of(self._validation.shape[0], self.params.rows_per_chunk),
            patience=self.params.judgements_to_wait,
            tolerance=self.params.tolerance,
        )
