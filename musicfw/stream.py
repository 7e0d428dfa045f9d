"""The verb *train* for data that come in chunks: one pass, in order, in the memory of one chunk.

Rows are collected into updates of ``chunk_size`` rows whatever the sizes of the chunks they come
in, so the map depends on the rows and their order only, bit for bit. The rest is the mode
``minibatch`` of the backend ``native``: statistics that forget over a growing window. What differs
is that rows are taken in the order they come (shuffle what is sorted), that the first
``chunk_size`` rows give the first prototypes, and that the radius, once it has fallen, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_matrix, known_range, refuse_unknown_rows
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling, checked_names
from musicfw.errors import DataError, UsageError
from musicfw.frames import names_of
from musicfw.lattice import Lattice
from musicfw.missing import MaskedSearch, MissingValues, keeps_gaps
from musicfw.params import params_from_keywords, params_to_tree
from musicfw.som.initialization import first_prototypes, overview
from musicfw.som.native import NATIVE
from musicfw.som.native_params import NativeParams, radius_schedule
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.schedules import window_memory
from musicfw.som.statistics import PlainSearch, Statistics, WorkArray, statistics, update
from musicfw.sparse import as_csr, dense, is_sparse
from musicfw.types import TrainedMap

__all__ = ["StreamTrainer", "train_stream"]


def train_stream(
    chunks: Iterable[npt.ArrayLike],
    *,
    lattice: Lattice,
    seed: int = 0,
    updates: int | None = None,
    missing: MissingValues = "refuse",
    feature_names: Sequence[str] | None = None,
    **params: Any,
) -> TrainedMap:
    """Train a map in one pass over chunks of rows, in the memory of one chunk.

    Parameters
    ----------
    chunks : iterable of array_like or DataFrame, shape (n, D)
        Rows, in original units, finite; a generator, say, or slices of a memory-mapped array. How
        they are divided does not matter; their order does.
    lattice : Lattice
        Where the units lie.
    seed, updates, missing, feature_names, **params
        As for `StreamTrainer`.

    Raises
    ------
    DataError
        For unusable rows, and fewer than two of them.
    UsageError
        For wrong params.
    """
    trainer = StreamTrainer(
        lattice,
        seed=seed,
        updates=updates,
        missing=missing,
        feature_names=feature_names,
        **params,
    )
    for chunk in chunks:
        trainer.learn(chunk)
    return trainer.snapshot()


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
    missing : {"refuse", "keep"}
        What NaN in a row is, as in `musicfw.train`; every feature has to be known in some of the
        rows of the first update.
    feature_names : sequence of str, optional
        Names of the features; by default those of the first frame, if frames are learnt. They are
        the columns taken of every frame.
    **params
        Those of the backend ``native`` in mode ``minibatch`` but ``epochs`` and ``full_epochs``.

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
        missing: MissingValues = "refuse",
        feature_names: Sequence[str] | None = None,
        **params: Any,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise UsageError(f"seed: expected an integer of at least 0, got {seed!r}")
        self.lattice, self.seed = lattice, int(seed)
        self._missing = keeps_gaps(missing)
        self._names = None if feature_names is None else tuple(feature_names)
        self.params: NativeParams = params_from_keywords(NATIVE, params)
        _check(self.params, updates)
        self._radii = radius_schedule(
            self.params,
            lattice,
            updates=updates or self.params.updates(points=2**62, units=lattice.units),
        )
        self._pending: WorkArray | None = None  # raw rows of the next update, (chunk_size, D)
        self._filled = 0
        self._state: _State | None = None  # none before the first update
        self._errors: list[float] = []

    def learn(self, rows: npt.ArrayLike) -> None:
        """Learn rows, shape (n, D), n at least 0; float32 rows are kept as they are.

        An array, a frame or a sparse matrix.

        Raises
        ------
        DataError
            For unusable rows; nothing of them is learnt.
        """
        if is_sparse(rows):
            self._learn_sparse(rows)
            return
        columns = None if self._pending is None else self._pending.shape[1]
        names = names_of(rows) if columns is None and self._names is None else self._names
        matrix: WorkArray = as_matrix(
            rows,
            name="rows",
            columns=columns,
            column_names=names,
            missing=self._missing,
            keep_float32=True,
            gap_advice="remove or impute those rows, or learn with missing='keep'",
        )
        if self._missing:
            refuse_unknown_rows(matrix, name="rows")
        if self._pending is None:
            self._names = checked_names(names, matrix.shape[1], name="feature_names")
            dtype = np.dtype(self.params.dtype or matrix.dtype)
            self._pending = np.empty((self.params.rows_per_chunk, matrix.shape[1]), dtype=dtype)
        start = 0
        while start < matrix.shape[0]:
            filled = self._filled
            taken = matrix[start : start + self._pending.shape[0] - filled]
            with np.errstate(over="ignore"):  # of float64 to float32; the update refuses it
                self._pending[filled : filled + taken.shape[0]] = taken
            self._filled += taken.shape[0]
            start += taken.shape[0]
            if self._filled == self._pending.shape[0]:
                self._state, error = self._after_update(self._pending)
                self._errors.append(error)
                self._filled = 0

    def _learn_sparse(self, rows: Any) -> None:
        """Learn a sparse matrix, no more than an update's rows of which become dense at a time."""
        columns = None if self._pending is None else self._pending.shape[1]
        matrix = as_csr(rows, name="rows", columns=columns, keep_float32=True)
        for start in range(0, matrix.shape[0], self.params.rows_per_chunk):
            self.learn(dense(matrix[start : start + self.params.rows_per_chunk]))

    def snapshot(self) -> TrainedMap:
        """Return the map after all rows so far, those of an update not yet full among them.

        The trainer itself is not changed: what it learns later does not depend on snapshots.

        Raises
        ------
        DataError
            If fewer than two rows have come.
        """
        state, errors = self._state, list(self._errors)
        if self._pending is not None and self._filled > (state is None):
            state, error = self._after_update(self._pending[: self._filled])
            errors.append(error)
        if state is None:
            raise DataError(
                f"rows: expected at least 2 to train on, got {self._filled}; learn more before a "
                f"snapshot"
            )
        return TrainedMap(
            codebook=Codebook(prototypes=state.prototypes + state.centre, lattice=self.lattice),
            scaling=Scaling.identity(state.centre.size),
            backend=NATIVE.name,
            params=params_to_tree(self.params),
            seed=self.seed,
            feature_names=self._names,
            history={
                "quantization_error": np.array(errors),
                "radius": self._radii[np.minimum(np.arange(len(errors)), self._radii.size - 1)],
            },
        )

    def _after_update(self, rows: WorkArray) -> tuple[_State, float]:
        """Return the state after an update from some rows, and their error before it."""
        state, step = self._state or self._first_state(rows), len(self._errors)
        with np.errstate(over="ignore", invalid="ignore"):
            centred = rows - state.centre.astype(rows.dtype)
            search = (MaskedSearch if self._missing else PlainSearch)(
                state.prototypes, centred.dtype
            )
            fresh = statistics(centred, state.prototypes, search=search, missing=self._missing)
        if not np.isfinite(fresh.error_sum):
            raise DataError(
                f"rows: squared distances between them overflow {rows.dtype.name}; scale the data"
            )
        collected = fresh
        if state.collected is not None:
            collected = fresh + state.collected.faded(window_memory(step))
        radius = float(self._radii[min(step, self._radii.size - 1)])
        H = neighbourhood(self.lattice, radius, name=self.params.neighborhood)
        after = _State(
            centre=state.centre,
            prototypes=update(collected, H, state.prototypes),
            collected=collected,
        )
        return after, fresh.quantization_error

    def _first_state(self, rows: WorkArray) -> _State:
        if self._missing:
            unknown = np.flatnonzero(np.isnan(known_range(rows)[0]))
            if unknown.size:
                raise DataError(
                    f"rows: column {int(unknown[0])} has no known value in the first "
                    f"{rows.shape[0]} rows, which give the first prototypes; shuffle the rows, "
                    f"raise chunk_size, or leave the column out"
                )
        rng, name = np.random.default_rng(self.seed), self.params.initialization
        seen = overview(rows, rng=rng)
        return _State(
            centre=seen.centre,
            prototypes=first_prototypes(rows, seen, self.lattice, name=name, rng=rng),
            collected=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """What is remembered of all rows but those that wait for their update."""

    centre: FloatArray
    prototypes: FloatArray
    collected: Statistics | None


def _check(params: NativeParams, updates: int | None) -> None:
    if params.mode != "minibatch":
        raise UsageError(f"mode: expected 'minibatch' for a stream, got {params.mode!r}")
    for name in ("epochs", "full_epochs", "validation_share"):
        if getattr(params, name):
            raise UsageError(
                f"{name}: expected none for a stream (its rows come once), got "
                f"{getattr(params, name)}; leave it out, or train on an array"
            )
    if params.listed_radii is not None:
        raise UsageError(
            "radius_decay: expected a name for a stream (it has no epochs to list radii for), got "
            "a list; leave it out, or train on an array"
        )
    if updates is not None and updates < 1:
        raise UsageError(f"updates: expected at least 1, got {updates}")
