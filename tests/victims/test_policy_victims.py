"""Broken policies, each rejected by the check made for it."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from musicfw.api import Move, NoParams, PolicyFactory
from musicfw.errors import UsageError
from musicfw.geometry import squared_distances
from musicfw.testing import CheckFailure, policy_checks
from musicfw.testing.doors import CHECKS


class Fine:
    """Goes a third of what is left of the way; the victims spoil one thing each."""

    def begin(self, problem):
        if problem.goals.any():
            raise UsageError("target: expected units, got activations")
        walk = type(self)()
        walk.problem, walk.points = problem, problem.points.copy()
        return walk

    def target(self):
        prototypes = self.problem.codebook.prototypes
        nearest = squared_distances(self.points, prototypes[self.problem.units]).argmin(axis=1)
        return prototypes[self.problem.units[nearest]], self.problem.directions[nearest]

    def step(self):
        ends, directions = self.target()
        return directions[:, np.newaxis] * (ends - self.points) / 3.0

    def advance(self, active):
        step = np.where(active[:, np.newaxis], self.step(), 0.0)
        self.points = self.bounded(self.points + step)
        settled = np.linalg.norm(step, axis=1) <= 1e-9 * (1.0 + np.abs(self.points).max(initial=0))
        return self.result(settled)

    def bounded(self, points):
        if self.problem.lower is None:
            return points
        return np.clip(points, self.problem.lower, self.problem.upper)

    def result(self, settled):
        return Move(points=self.points.copy(), settled=settled)


class RateSignFlipped(Fine):
    def step(self):
        return -super().step()


class StaysForever(Fine):
    def step(self):
        return np.zeros_like(self.points)


class OnlyTowards(Fine):
    """Approaches even what it is to move away from."""

    def step(self):
        ends, _ = self.target()
        return (ends - self.points) / 3.0


class Drifts(Fine):
    """Adds a little wind."""

    def step(self):
        return super().step() + 1e-6


class MovesTheStart(Fine):
    def begin(self, problem):
        if problem.points.flags.writeable:
            points = problem.points
            points *= 0.99
        return super().begin(problem)


class SortsTheTarget(Fine):
    def begin(self, problem):
        if problem.weights.flags.writeable:
            weights = problem.weights
            weights /= weights.sum() + 1.0
        return super().begin(problem)


class DividesByZero(Fine):
    """A step of fixed length: there is no direction where there is no way to go."""

    def step(self):
        step = super().step()
        length = np.linalg.norm(step, axis=1, keepdims=True)
        return step / length * np.minimum(length, 0.5)


class NeverStops(Fine):
    """Walks past the goal and back again for ever."""

    def step(self):
        return 6.0 * super().step()

    def advance(self, active):
        return dataclasses.replace(super().advance(active), settled=np.zeros_like(active))


class SettlesTooEarly(Fine):
    def result(self, settled):
        return Move(points=self.points.copy(), settled=np.ones_like(settled))


class FollowsTheFirst(Fine):
    """Moves the whole batch as its first point."""

    def step(self):
        return np.repeat(super().step()[:1], len(self.points), axis=0)


class NeedsAPoint(Fine):
    def advance(self, active):
        self.farthest = np.abs(self.points).max()
        return super().advance(active)


class Diffuses(Fine):
    def step(self):
        return super().step() * (1.0 + 1e-6 * np.random.default_rng().normal())


class RollsDice(Fine):
    def step(self):
        random.random()
        return super().step()


class SeedsTheWorld(Fine):
    def begin(self, problem):
        np.random.seed(1)  # noqa: NPY002 - the mistake
        return super().begin(problem)


class CrossesBounds(Fine):
    def bounded(self, points):
        if self.problem.lower is None:
            return points
        return np.clip(points, self.problem.lower - 1e-12, self.problem.upper + 1e-12)


class IgnoresCost(Fine):
    pass


class HeedsCost(Fine):
    def step(self):
        cost = self.problem.cost
        return super().step() / (1.0 if cost is None else np.maximum(cost, 1.0))


class IgnoresRelevances(Fine):
    """Walks the other way along the feature that matters most to the unit."""

    def step(self):
        step = super().step()
        relevances = self.problem.codebook.relevances
        if relevances is not None:
            step[:, relevances[self.problem.units[0]].argmax()] *= -9.0
        return step


class ReturnsPoints(Fine):
    def result(self, settled):
        return self.points


class SettledForAll(Fine):
    def result(self, settled):
        return Move(points=self.points.copy(), settled=settled.all())


def factory(victim, *traits):
    return PolicyFactory(
        name=victim.__name__.lower(),
        params=NoParams,
        build=lambda params: victim(),
        summary=(victim.__doc__ or victim.__name__).strip(),
        traits=frozenset(traits),
    )


# The victim with its traits, the check that is made for it, and how its message goes on.
VICTIMS = [
    (factory(RateSignFlipped), "requested_change_is_honoured", "expected a first step that "),
    (factory(StaysForever), "requested_change_is_honoured", "expected a squared distance to the"),
    (factory(OnlyTowards), "requested_change_is_honoured", "expected a first step that raises"),
    (factory(Drifts), "zero_request_is_identity", "expected a point on the target to stay within"),
    (factory(MovesTheStart), "start_unchanged", "expected problem.points unchanged, it was"),
    (factory(SortsTheTarget), "start_unchanged", "expected problem.weights unchanged, it was"),
    (factory(DividesByZero), "frames_are_finite", "expected finite frames with "),
    (factory(NeverStops), "walks_stop", "expected point 0 at rest after 400 steps, got a step of"),
    (factory(SettlesTooEarly), "walks_stop", "expected point 0, settled in step 1, to stay, got"),
    (factory(FollowsTheFirst), "batch_of_points_equals_loop", "expected point 1 of a batch on its"),
    (factory(NeedsAPoint), "no_points_walk", "it raised ValueError: zero-size array to reduction"),
    (factory(Diffuses), "same_start_same_path", "expected the same bits twice, got a difference"),
    (
        factory(RollsDice),
        "no_global_randomness_in_steering",
        "expected the generator of the module",
    ),
    (factory(SeedsTheWorld), "no_global_randomness_in_steering", "expected the global generator"),
    (factory(CrossesBounds, "bounds"), "bounds_are_kept", "expected every frame within -0.5 … 0.5"),
    (factory(IgnoresCost, "cost"), "cost_is_heeded", "expected feature 0 at a hundred times"),
    (factory(IgnoresRelevances, "relevances"), "relevances_are_heeded", "expected a weighted sq"),
    (factory(ReturnsPoints), "same_start_same_path", "expected advance to return a Move, got nda"),
    (factory(SettledForAll), "walks_stop", "expected Move.settled of shape (3,), got ()"),
]


@pytest.mark.parametrize(
    ("victim", "check", "told"), VICTIMS, ids=[case[0].name for case in VICTIMS]
)
def test_a_broken_policy_is_rejected_by_the_check_made_for_it(rejected, victim, check, told):
    assert f"fails the check {check!r}: {told}" in rejected(victim, check)


def test_every_check_of_policies_alone_has_a_victim():
    own = {check.name for check in CHECKS if check.kinds == {"policy"}}
    assert own == {check for _, check, _ in VICTIMS}


@pytest.mark.parametrize(
    "fine",
    [factory(Fine, "bounds", "relevances"), factory(HeedsCost, "cost")],
    ids=["fine", "cost"],
)
def test_the_policy_that_the_victims_spoil_keeps_every_law(fine):
    for name, call in policy_checks(fine):
        try:
            call()
        except CheckFailure as failure:
            pytest.fail(f"{name}: {failure}")
