"""How far a training has come: what an interrupt returns and a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import Checkpoint
from musicfw.arrays import FloatArray
from musicfw.som.early_stopping import Judge, Judged
from musicfw.som.history import History
from musicfw.som.statistics import Neighbourhood, Statistics, update

_HISTORY = "history."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reached:
    """A state between two updates.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        About the centre of the data.
    updates : int
        How many led to them (passes, in mode online).
    collected : Statistics, optional
        What later updates may keep.
    judged : Judged, optional
        What points held out say of it.
    """

    prototypes: FloatArray
    updates: int = 0
    collected: Statistics | None = None
    judged: Judged | None = None

    @property
    def best(self) -> FloatArray:
        """The prototypes to return: those with the least held-out error, or else the last."""
        return self.prototypes if self.judged is None else self.judged.prototypes

    def after(
        self,
        fresh: Statistics,
        neighbourhood: Neighbourhood,
        *,
        memory: float,
        history: History,
        judge: Judge | None = None,
    ) -> Reached:
        """Return the state after an update from ``fresh`` and a share of what was collected.

        How far it moved the prototypes, and what a judge measures of them, goes to the history.
        """
        collected = fresh
        if memory and self.collected is not None:
            collected = fresh + self.collected.faded(memory)
        moved = update(collected, neighbourhood, self.prototypes)
        return self.moved(moved, history=history, judge=judge, collected=collected)

    def moved(
        self,
        prototypes: FloatArray,
        *,
        history: History,
        judge: Judge | None = None,
        collected: Statistics | None = None,
    ) -> Reached:
        """Return the state with new prototypes; how far they moved goes to the history."""
        history.note_change(self.updates, self.prototypes, prototypes)
        judged = self.judged
        if judge is not None and judge.is_due(self.updates + 1):
            error = judge.measure(prototypes)
            history.note(self.updates, held_out_quantization_error=error)
            judged = judge.judged(judged, prototypes, error)
        return Reached(
            prototypes=prototypes, updates=self.updates + 1, collected=collected, judged=judged
        )

    def offer(self, checkpoint: Checkpoint | None, history: History) -> None:
        """Offer this state, and the history so far, to a checkpoint."""
        if checkpoint is not None:
            known = history.until(self.updates)
            checkpoint.offer(lambda: self.arrays(known))

    def arrays(self, history: Mapping[str, FloatArray]) -> dict[str, npt.NDArray[Any]]:
        """Return this state and a history as arrays that `of` reads."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "prototypes": self.prototypes,
            "updates": np.array(self.updates),
            **{_HISTORY + name: values for name, values in history.items()},
        }
        if self.collected is not None:
            arrays["sums"] = self.collected.sums
            arrays["counts"] = self.collected.counts
            arrays["totals"] = np.array([self.collected.error_sum, self.collected.rows])
            if self.collected.feature_counts is not None:
                arrays["feature_counts"] = self.collected.feature_counts
        if self.judged is not None:
            arrays["best"] = self.judged.prototypes
            arrays["judged"] = np.array(
                [self.judged.error, self.judged.surpassed, self.judged.waited]
            )
        return arrays

    @classmethod
    def load(cls, checkpoint: Checkpoint | None, history: History) -> Reached | None:
        """Return the state that `offer` offered, and put its history in place; None without one."""
        kept = None if checkpoint is None else checkpoint.load()
        return None if kept is None else cls.of(kept, history)

    @classmethod
    def of(cls, kept: Mapping[str, npt.NDArray[Any]], history: History) -> Reached:
        """Return the state that `arrays` made arrays of, and put its history in place."""
        history.restore(
            {name.removeprefix(_HISTORY): kept[name] for name in kept if name.startswith(_HISTORY)}
        )
        collected = judged = None
        if "sums" in kept:
            error_sum, rows = (float(value) for value in kept["totals"])
            collected = Statistics(
                sums=kept["sums"],
                counts=kept["counts"],
                error_sum=error_sum,
                rows=rows,
                feature_counts=kept.get("feature_counts"),
            )
        if "best" in kept:
            error, surpassed, waited = (float(value) for value in kept["judged"])
            judged = Judged(
                prototypes=kept["best"], error=error, surpassed=surpassed, waited=int(waited)
            )
        return cls(
            prototypes=kept["prototypes"],
            updates=int(kept["updates"]),
            collected=collected,
            judged=judged,
        )
