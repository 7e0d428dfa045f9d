"""What a stream's trainer remembers of the rows that are gone."""

from __future__ import annotations

from dataclasses import dataclass

from musicfw.arrays import FloatArray, WorkArray
from musicfw.som.early_stopping import Judge
from musicfw.som.reached import Reached
from musicfw.stream_axes import StreamAxes

__all__ = ["Replay", "StreamState"]


@dataclass(slots=True, kw_only=True, eq=False)
class Replay:
    """Rows that come again: so many updates, and those that waited for the next."""

    pending: WorkArray
    updates: int
    passed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamState:
    """What is remembered of all rows but those that wait for their update."""

    axes: StreamAxes
    centre: FloatArray
    reached: Reached
    judge: Judge | None

    @property
    def is_done(self) -> bool:
        """Whether points held out no longer get nearer."""
        return self.judge is not None and self.judge.is_done(self.reached.judged)
