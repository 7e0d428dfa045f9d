"""How far a training has come: what an interrupt returns and a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.api import Checkpoint
from musicfw.arrays import FloatArray
from musicfw.som.statistics import Neighbourhood, Statistics, update


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
    """

    prototypes: FloatArray
    updates: int = 0
    collected: Statistics | None = None

    def after(self, fresh: Statistics, neighbourhood: Neighbourhood, *, memory: float) -> Reached:
        """Return the state after an update from ``fresh`` and a share of what was collected."""
        collected = fresh
        if memory and self.collected is not None:
            collected = fresh + self.collected.faded(memory)
        return Reached(
            prototypes=update(collected, neighbourhood, self.prototypes),
            updates=self.updates + 1,
            collected=collected,
        )

    def offer(self, checkpoint: Checkpoint | None, errors: FloatArray) -> None:
        """Offer this state, and the errors so far, to a checkpoint."""
        if checkpoint is not None:
            known = errors[: self.updates].copy()
            checkpoint.offer(lambda: self._arrays(known))

    def _arrays(self, errors: FloatArray) -> Mapping[str, npt.NDArray[Any]]:
        arrays = {
            "prototypes": self.prototypes,
            "updates": np.array(self.updates),
            "errors": errors,
        }
        if self.collected is not None:
            arrays["sums"] = self.collected.sums
            arrays["counts"] = self.collected.counts
            arrays["totals"] = np.array([self.collected.error_sum, self.collected.rows])
            if self.collected.feature_counts is not None:
                arrays["feature_counts"] = self.collected.feature_counts
        return arrays

    @classmethod
    def load(cls, checkpoint: Checkpoint | None, errors: FloatArray) -> Reached | None:
        """Return the state that `offer` offered, and put its errors in place; None without one."""
        kept = None if checkpoint is None else checkpoint.load()
        if kept is None:
            return None
        errors[: kept["errors"].size] = kept["errors"]
        collected = None
        if "sums" in kept:
            error_sum, rows = (float(value) for value in kept["totals"])
            collected = Statistics(
                sums=kept["sums"],
                counts=kept["counts"],
                error_sum=error_sum,
                rows=rows,
                feature_counts=kept.get("feature_counts"),
            )
        return cls(prototypes=kept["prototypes"], updates=int(kept["updates"]), collected=collected)
