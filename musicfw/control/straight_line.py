"""Policy ``straight-line``: the baseline, equal steps to the nearest prototype of the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.api import BoolArray, FloatArray, Move, NoParams, PolicyFactory, SteeringProblem
from musicfw.control.guide import ranked
from musicfw.gauss_newton import refined
from musicfw.geometry import centred_system
from musicfw.lifted import LiftedSystem, lifted_system

# Relative misfit up to which a point has the activations of the target.
_TOLERANCE = 1e-6


@dataclass(slots=True)
class Line:
    """Straight lines of a batch of points, in equal steps."""

    starts: FloatArray
    ends: FloatArray
    steps: int
    taken: int = 0

    def advance(self, active: BoolArray) -> Move:
        """Move by 1/steps of the way."""
        self.taken += 1
        share = self.taken / self.steps
        points = self.starts + share * (self.ends - self.starts)
        if self.taken >= self.steps:
            points = self.ends
        return Move(points=points, settled=np.full(active.shape, self.taken >= self.steps))


class StraightLine:
    """``x(t) = x + (t/T) (end − x)``, over the steps T of the walk.

    The end is the nearest prototype of the target; for a path its last one; for ``away`` the mirror
    image of the nearest prototype (so that the distance doubles); for activations the least-squares
    point with these activations (or its mirror image). Bounds move the end into the box, and so the
    whole line.
    """

    def begin(self, problem: SteeringProblem) -> Line:
        """Return the lines of all points."""
        starts = problem.points
        if problem.goals.any():
            ends = _points_with(problem)
            if (problem.directions < 0).all():
                ends = 2.0 * starts - ends
        else:
            prototypes = problem.codebook.prototypes[problem.units]
            nearest = ranked(problem, starts)[:, problem.units].argmin(axis=1)
            ends = prototypes[nearest]
            away = problem.directions[nearest] < 0
            ends = np.where(away[:, np.newaxis], 2.0 * starts - ends, ends)
        return line_to(problem, ends)


def line_to(problem: SteeringProblem, ends: FloatArray) -> Line:
    """Return the lines from the problem's points to ``ends`` (N, D), which bounds may move.

    A box is convex, so a line between two of its points stays inside.
    """
    if problem.lower is not None and problem.upper is not None:
        ends = np.clip(ends, problem.lower, problem.upper)
    return Line(starts=problem.points, ends=ends, steps=problem.steps)


def _points_with(problem: SteeringProblem) -> FloatArray:
    """Return the points whose activations are the goals, shape (N, D)."""
    book, units = problem.codebook, problem.units
    if book.relevances is None:
        system = centred_system(book.prototypes[units])
    else:
        system = lifted_system(book.prototypes[units], book.relevances[units])
    rhs, _ = system.right_hand_side(problem.goals)
    spectral = system.left.T @ rhs / system.singular_values[:, np.newaxis]
    u = np.ascontiguousarray((system.right @ spectral).T)
    if isinstance(system, LiftedSystem):
        u = refined(system, u, problem.goals, steps=True, tolerance=_TOLERANCE).u
    return np.asarray(system.centroid + u)


STRAIGHT_LINE = PolicyFactory(
    name="straight-line",
    params=NoParams,
    build=lambda params: StraightLine(),
    summary="The baseline: equal steps along a straight line to the nearest target prototype.",
    traits=frozenset({"bounds", "relevances"}),
)
