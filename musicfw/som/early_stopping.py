"""When to stop a training: once the error on points held out of it no longer falls.

Source: L. Prechelt, "Early stopping — but when?", in *Neural Networks: Tricks of the Trade*, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from musicfw.api import TrainingProblem
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.som.centred_points import CentredPoints


def split(problem: TrainingProblem, share: float) -> tuple[TrainingProblem, TrainingProblem]:
    """Return the problem without the points held out, and with these alone.

    The points are drawn from the problem's generator, first of all that is; those of weight 0 are
    not, for they would tell nothing. Both parts are copies.

    Raises
    ------
    UsageError
        If that leaves less than two points to learn, or none to judge by.
    """
    count, weights = problem.points.shape[0], problem.weights
    candidates = np.arange(count) if weights is None else np.flatnonzero(weights)
    wanted = round(share * candidates.size)
    if wanted < 1 or candidates.size - wanted < 2:
        raise UsageError(
            f"validation_share: expected a share that leaves 2 points to learn and holds 1 out, "
            f"got {share:g} of {candidates.size}"
        )
    held = np.zeros(count, dtype=bool)
    held[problem.rng.permutation(candidates)[:wanted]] = True
    learnt, judged = (
        replace(
            problem,
            points=problem.points[rows],
            weights=None if weights is None else weights[rows],
        )
        for rows in (~held, held)
    )
    return learnt, judged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What the points held out have said so far.

    Parameters
    ----------
    prototypes : ndarray, shape (M, D)
        Those with the least error.
    error : float
        Theirs.
    surpassed : float
        The error that counts as improved upon.
    waited : int
        How often it was measured since without improving.
    """

    prototypes: FloatArray
    error: float
    surpassed: float
    waited: int = 0

    def after(self, prototypes: FloatArray, error: float, *, tolerance: float) -> Judged:
        """Return the state after one more measurement."""
        improved = error < self.surpassed * (1.0 - tolerance)
        better = error < self.error
        return Judged(
            prototypes=prototypes if better else self.prototypes,
            error=min(error, self.error),
            surpassed=error if improved else self.surpassed,
            waited=0 if improved else self.waited + 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judge:
    """Measures the points held out and says when to stop.

    Parameters
    ----------
    points : CentredPoints
        Those held out, about the centre of the others.
    every : int
        Updates from one measurement to the next.
    patience : int
        How many measurements in a row without improvement end the training.
    tolerance : float
        An error lower by this share, or less, is no improvement.
    """

    points: CentredPoints
    every: int
    patience: int
    tolerance: float

    def is_due(self, updates: int) -> bool:
        """Whether to measure after so many updates."""
        return updates % self.every == 0

    def measure(self, prototypes: FloatArray) -> float:
        """Return the quantization error of the points held out."""
        return self.points.statistics(None, prototypes).quantization_error

    def judged(self, before: Judged | None, prototypes: FloatArray, error: float) -> Judged:
        """Return the state after a measurement."""
        if before is None:
            return Judged(prototypes=prototypes, error=error, surpassed=error)
        return before.after(prototypes, error, tolerance=self.tolerance)

    def is_done(self, judged: Judged | None) -> bool:
        """Whether the training has ended."""
        return judged is not None and judged.waited >= self.patience
