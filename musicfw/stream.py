"""The verb *train* for data that come in chunks: one pass, in order, in the memory of one chunk.

Rows are collected into updates of ``chunk_size`` rows whatever the sizes of the chunks they come
in, so the map depends on the rows and their order only, bit for bit. The rest is the mode
``minibatch`` of the backend ``native``: statistics that forget over a growing window. What differs
is that rows are taken in the order they come (shuffle what is sorted), that the first
``chunk_size`` rows give the first prototypes, and that the radius, once it has fallen, stays.

No row comes twice, so there are no epochs: what is recorded, and judged, is each update.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from musicfw.checkpoint import FileCheckpoint
from musicfw.dataset import Scaling
from musicfw.errors import UsageError
from musicfw.fit import relevant_versions
from musicfw.lattice import Lattice
from musicfw.missing import MissingValues
from musicfw.scaling import ScalingKind
from musicfw.stream_trainer import StreamTrainer
from musicfw.types import TrainedMap

__all__ = ["StreamTrainer", "train_stream"]


def train_stream(
    chunks: Iterable[npt.ArrayLike],
    *,
    lattice: Lattice,
    seed: int = 0,
    updates: int | None = None,
    initial: npt.ArrayLike | None = None,
    validation: npt.ArrayLike | None = None,
    missing: MissingValues = "refuse",
    scaling: ScalingKind | Scaling = "none",
    feature_weights: npt.ArrayLike | Mapping[Any, float] | None = None,
    feature_names: Sequence[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every_s: float = 30.0,
    **params: Any,
) -> TrainedMap:
    """Train a map in one pass over chunks of rows, in the memory of one chunk.

    Parameters
    ----------
    chunks : iterable of array_like or DataFrame, shape (n, D)
        Rows, in original units, finite; a generator, say, or slices of a memory-mapped array. How
        they are divided does not matter; their order does. No more are taken once the error of
        ``validation`` has stopped the training.
    lattice : Lattice
        Where the units lie.
    seed, updates, initial, validation, missing, scaling, feature_weights, feature_names, **params
        As for `StreamTrainer`.
    checkpoint, checkpoint_every_s
        As for `musicfw.train`. The same call goes on from the file; the chunks have to come again
        from the first, and rows that were learnt are passed over. Of them the first update's and
        the last are compared with what is kept.

    Returns
    -------
    TrainedMap
        If the user interrupts the training (Ctrl-C), the map so far, with ``interrupted`` true;
        before its first update, KeyboardInterrupt is raised.

    Raises
    ------
    DataError
        For unusable rows, and fewer than two of them.
    UsageError
        For wrong params, and for a checkpoint of another training.
    """
    trainer = StreamTrainer(
        lattice,
        seed=seed,
        updates=updates,
        initial=initial,
        validation=validation,
        missing=missing,
        scaling=scaling,
        feature_weights=feature_weights,
        feature_names=feature_names,
        **params,
    )
    kept = None
    if checkpoint is not None:
        kept = _file(trainer, checkpoint, every_s=checkpoint_every_s)
    interrupted = _learn_all(trainer, chunks, kept)
    if trainer.is_replaying and not trainer.stopped:
        raise UsageError(
            f"checkpoint: {checkpoint} has learnt more rows than there are; give the same chunks, "
            f"from the first"
        )
    trained = replace(trainer.snapshot(), interrupted=interrupted)
    if kept is not None:
        kept.keep() if interrupted else kept.remove()
    return trained


def _learn_all(
    trainer: StreamTrainer, chunks: Iterable[npt.ArrayLike], kept: FileCheckpoint | None
) -> bool:
    """Learn chunk after chunk; return whether the user has interrupted it."""
    try:
        for chunk in chunks:
            trainer.learn(chunk)
            if trainer.stopped:
                break
            _offer(trainer, kept)
    except KeyboardInterrupt:
        if not trainer.updates_made or trainer.is_replaying:
            raise
        _offer(trainer, kept)
        return True
    return False


def _file(
    trainer: StreamTrainer, path: str | os.PathLike[str], *, every_s: float
) -> FileCheckpoint:
    """Return the checkpoint of a trainer that has learnt nothing yet, and let it go on from it."""
    same, versions = trainer.fingerprint(), relevant_versions()
    kept = FileCheckpoint(path, fingerprint=same, versions=versions, every_s=every_s)
    state = kept.load()
    if state is not None:
        trainer.restore(state)
    return kept


def _offer(trainer: StreamTrainer, kept: FileCheckpoint | None) -> None:
    if kept is not None and trainer.updates_made and not trainer.is_replaying:
        kept.offer(trainer.state)
