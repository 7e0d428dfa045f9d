"""Schedules: how the radius falls, and which points each update is made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from musicfw.arrays import FloatArray, IntArray

DecayName = Literal["linear", "exponential", "inverse-time"]


def decay(start: float, end: float, *, steps: int, name: DecayName) -> FloatArray:
    """Return how a rate falls from ``start`` to ``end``, shape (steps,).

    With t from 0 to 1:

    ============  ==================================
    name          value
    ============  ==================================
    linear        start + t (end − start)
    exponential   start (end/start)^t
    inverse-time  start / (1 + t (start/end − 1))
    ============  ==================================

    A single step takes ``end``.
    """
    if steps == 1:
        return np.array([end])
    t = np.linspace(0.0, 1.0, steps)
    if name == "exponential":
        return np.asarray(start * (end / start) ** t)
    if name == "inverse-time":
        return np.asarray(start / (1.0 + t * (start / end - 1.0)))
    return np.linspace(start, end, steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One update.

    Parameters
    ----------
    rows : ndarray of int or None
        Points it is made from; None for all.
    memory : float
        Share of the statistics of the steps before that still counts.
    """

    rows: IntArray | None
    memory: float = 0.0


def batch_steps(count: int) -> Iterator[Step]:
    """Yield steps from all points."""
    return (Step(rows=None) for _ in range(count))


def minibatch_steps(
    points: int, *, count: int, chunks: int, rng: np.random.Generator, growing: bool = False
) -> Iterator[Step]:
    """Yield steps from one chunk each, in an order drawn anew for every pass.

    Statistics are kept over a window that grows with the step t (from 1) to t/8 chunks, at most
    one pass: each step keeps the share ``1 − 1/window`` of what was collected before. Early steps
    forget the disorder of the start; later ones average over as many points as they can.

    A pass of one chunk has no order and no memory: its steps are those of `batch_steps`.

    Parameters
    ----------
    points : int
        N.
    count : int
        How many steps: a pass has ``chunks`` of them, and the last pass may be cut short.
    chunks : int
        Chunks of nearly equal size in a pass.
    rng : numpy.random.Generator
        Draws the orders.
    growing : bool
        Whether the steps of at most a pass grow evenly, from a quarter of a chunk to a whole one.
        While the neighbourhood is wide each unit learns from the points of many, so fewer are
        enough: on Fashion-MNIST five eighths of the points ended with the same errors.
    """
    if chunks == 1:
        yield from batch_steps(count)
        return
    if growing and count <= chunks <= points // 4:
        ends = (np.linspace(0.25, 1.0, count).cumsum() * (points / chunks)).astype(np.intp)
        for step, rows in enumerate(np.split(rng.permutation(points), ends)[:count]):
            yield Step(rows=rows, memory=window_memory(step, most=chunks))
        return
    for step in range(count):
        if step % chunks == 0:
            order = np.array_split(rng.permutation(points), chunks)
        yield Step(rows=order[step % chunks], memory=window_memory(step, most=chunks))


def window_memory(step: int, *, most: float = np.inf) -> float:
    """Return the share of older statistics that step 0, 1, … keeps: a window of step/8 chunks."""
    window = min(max(1.0, (step + 1) / 8.0), most)
    return 1.0 - 1.0 / window


def chunks_of(points: int, chunk_size: int) -> int:
    """Return in how many chunks of nearly equal size a pass takes its points."""
    return -(-points // chunk_size)


def progressive_steps(points: int, *, count: int, rng: np.random.Generator) -> Iterator[Step]:
    """Yield steps from more and more points: from 1 % of them, at least 64, in a geometric series.

    The points of a step are among those of the next; the last step takes all.
    """
    order = rng.permutation(points)
    first = min(points, max(64, points // 100))
    for size in decay(first, points, steps=count, name="exponential").round().astype(np.intp):
        yield Step(rows=None if size == points else np.sort(order[:size]))
