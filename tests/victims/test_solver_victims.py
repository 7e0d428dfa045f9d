"""Broken solvers, each rejected by the check made for it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Ge

from musicfw.api import NoParams, RawSolution, SolverFactory, param
from musicfw.codebook import Codebook
from musicfw.geometry import centred_system
from musicfw.testing import CheckFailure, solver_checks
from musicfw.testing.doors import CHECKS


@dataclass
class Fine:
    """A solver that keeps every law; the victims spoil one thing each."""

    params: object = None
    inverse: np.ndarray = field(default=None, repr=False)

    def factorise(self, system):
        self.system = system
        weights = 1.0 / system.singular_values
        self.inverse = (system.right * weights) @ system.left.T
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.inverse @ rhs)


# --- accuracy ------------------------------------------------------------------------------------


class Float32Inside(Fine):
    def solve(self, rhs):
        narrow = self.inverse.astype(np.float32) @ rhs.astype(np.float32)
        return RawSolution(coordinates=narrow.astype(np.float64))


class HiddenRidge(Fine):
    def factorise(self, system):
        sigma = system.singular_values
        self.inverse = (system.right * (sigma / (sigma**2 + 1e-6))) @ system.left.T
        return self


class NormalEquations(Fine):
    def factorise(self, system):
        V = system.matrix
        self.inverse = np.linalg.pinv(V.T @ V, hermitian=True) @ V.T
        return self


class OnlyEnoughRows(Fine):
    """Uses as many rows as there are unknowns, for they are enough without noise."""

    def factorise(self, system):
        order = np.argsort(-np.abs(system.left).sum(axis=1))
        self.rows = np.sort(order[: system.affine_rank + 1])
        self.inverse = np.linalg.pinv(system.matrix[self.rows])
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.inverse @ rhs[self.rows])


class IgnoresWeakRows(Fine):
    """Weighs rows by their length: no longer least squares."""

    def factorise(self, system):
        weights = 1.0 + system.squared_norms / (system.squared_norms.max() or 1.0)
        self.inverse = np.linalg.pinv(system.matrix * weights[:, np.newaxis]) * weights
        return self


class BasicSolution(Fine):
    """Solves for as many features as the rank allows and leaves the others at 0."""

    def factorise(self, system):
        r = system.affine_rank
        chosen = []
        for k in range(system.dimension):
            columns = system.matrix[:, [*chosen, k]]
            if len(chosen) < r and np.linalg.matrix_rank(columns) > len(chosen):
                chosen.append(k)
        self.inverse = np.zeros(system.matrix.T.shape)
        if chosen:
            self.inverse[chosen] = np.linalg.pinv(system.matrix[:, chosen])
        return self


class AlwaysExact(Fine):
    """Adds something to what the distances do not tell, so that nothing seems to be missing."""

    def solve(self, rhs):
        u = self.inverse @ rhs
        missing = np.linalg.svd(self.system.matrix)[2][self.system.affine_rank :]
        guess = missing[:1].T * 1e3 * np.abs(self.system.prototypes).max()
        return RawSolution(coordinates=u + guess.sum(axis=1, keepdims=True))


class GrowsWhereWeak(Fine):
    """A filter that amplifies weak directions."""

    def factorise(self, system):
        sigma = system.singular_values
        share = 1.0 + 0.1 * (sigma[:1] - sigma) / sigma[:1]
        self.inverse = (system.right * (share / sigma)) @ system.left.T
        return self


class ShrinksTheStrong(Fine):
    """A filter upside down: the strong directions are shrunk more than the weak."""

    def factorise(self, system):
        sigma = system.singular_values
        self.inverse = (system.right * (0.5 / sigma)) @ system.left.T
        if sigma.size:
            self.inverse += (system.right[:, -1:] * 0.5 / sigma[-1]) @ system.left[:, -1:].T
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    strength: Annotated[float, Ge(0)] = param(1.0, help="How strong.")


class UpAndDown(Fine):
    """Its option shrinks the answer up to 1e-3 and lets go of it again beyond."""

    def solve(self, rhs):
        share = 0.5 if self.params.strength == 1e-3 else 1.0
        return RawSolution(coordinates=share * (self.inverse @ rhs))


# --- equivariance --------------------------------------------------------------------------------


class Uncentred(Fine):
    def factorise(self, system):
        self.inverse = np.linalg.pinv(system.prototypes)
        return self


class NeverNegative(Fine):
    """As if every feature had to be above the centroid."""

    def solve(self, rhs):
        return RawSolution(coordinates=np.abs(self.inverse @ rhs))


class AbsoluteThreshold(Fine):
    def factorise(self, system):
        kept = system.singular_values > 1e-3
        weights = np.where(kept, 1.0 / system.singular_values, 0.0)
        self.inverse = (system.right * weights) @ system.left.T
        return self


class OffByOneUnit(Fine):
    def solve(self, rhs):
        return RawSolution(coordinates=self.inverse @ np.roll(rhs, 1, axis=0))


# --- contract ------------------------------------------------------------------------------------


class RepeatsColumnZero(Fine):
    def solve(self, rhs):
        first = self.inverse @ rhs[:, :1]
        return RawSolution(coordinates=np.repeat(first, rhs.shape[1], axis=1))


class MeanOfTheBatch(Fine):
    """Subtracts the mean of the batch, as one does with data."""

    def solve(self, rhs):
        shift = rhs.mean(axis=1, keepdims=True) if rhs.shape[1] > 1 else 0.0
        return RawSolution(coordinates=self.inverse @ (rhs - shift))


class WarmStartForGood(Fine):
    """Starts from the last answer and stops too early to forget it."""

    last = None

    def solve(self, rhs):
        exact = self.inverse @ rhs
        if self.last is not None and self.last.shape == exact.shape:
            exact = exact + 1e-6 * (self.last - exact)
        self.last = exact
        return RawSolution(coordinates=exact)


class SharedBetweenSystems(Fine):
    """Keeps its factorisation in the class, so that the next one overwrites it."""

    kept: list = []  # noqa: RUF012 - the mistake

    def factorise(self, system):
        SharedBetweenSystems.kept[:] = [Fine().factorise(system).inverse]
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.kept[0] @ rhs)


class WritesIntoItsInput(Fine):
    def solve(self, rhs):
        rhs = rhs if rhs.flags.writeable else rhs.copy()
        rhs -= rhs.mean(axis=0)
        rhs *= 2.0
        return RawSolution(coordinates=0.5 * (self.inverse @ rhs))


class WritesIntoTheSystem(Fine):
    def factorise(self, system):
        if system.matrix.flags.writeable:
            system.matrix[:] = 0.0
        return super().factorise(system)


class JudgesItsInput(Fine):
    def solve(self, rhs):
        u = self.inverse @ rhs
        if not np.allclose(self.system.matrix @ u, rhs, rtol=1e-4, atol=1e-4 * np.abs(rhs).max()):
            raise np.linalg.LinAlgError("the distances belong to no point")
        return RawSolution(coordinates=u)


class NeedsFullRank(Fine):
    def factorise(self, system):
        sigma = np.linalg.svd(system.matrix, compute_uv=False)
        if sigma.min() <= 1e-10 * sigma.max():
            raise np.linalg.LinAlgError("Singular matrix")
        return super().factorise(system)


class CrashesOnNothing(Fine):
    def solve(self, rhs):
        columns = [self.inverse @ column for column in rhs.T]
        return RawSolution(coordinates=np.stack(columns, axis=1))


class FailsForFortranOrder(Fine):
    def solve(self, rhs):
        flat = rhs.ravel(order="K").reshape(rhs.shape)
        return RawSolution(coordinates=self.inverse @ flat)


class Determinants(Fine):
    """Cramer's rule."""

    def factorise(self, system):
        normal = system.matrix.T @ system.matrix
        size = normal.shape[0]
        self.inverse = np.zeros(normal.shape)
        for i in range(size):
            for j in range(size):
                minor = np.delete(np.delete(normal, j, axis=0), i, axis=1)
                self.inverse[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
        self.inverse = self.inverse / np.linalg.det(normal) @ system.matrix.T
        return self


class DifferentEveryTime(Fine):
    def factorise(self, system):
        super().factorise(system)
        self.inverse = self.inverse * (1.0 + 1e-13 * np.random.default_rng().normal())
        return self


class SeedsTheWorld(Fine):
    def factorise(self, system):
        np.random.seed(0)  # noqa: NPY002 - the mistake
        return super().factorise(system)


class UsesTheWorldsGenerator(Fine):
    def solve(self, rhs):
        random.random()
        return super().solve(rhs)


class HoldsALambda(Fine):
    def factorise(self, system):
        inverse = Fine().factorise(system).inverse
        self.apply = lambda rhs: inverse @ rhs
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.apply(rhs))


class OneBufferForAll(Fine):
    def solve(self, rhs):
        self.buffer = rhs
        time.sleep(1e-3)
        return RawSolution(coordinates=self.inverse @ self.buffer)


class ATuple(Fine):
    def solve(self, rhs):
        return (self.inverse @ rhs,)


class OneColumnOnly(Fine):
    def solve(self, rhs):
        return RawSolution(coordinates=(self.inverse @ rhs)[:, :1])


def factory(victim, params=NoParams, traits=()):
    return SolverFactory(
        name=victim.__name__.lower(),
        params=params,
        build=victim,
        summary=(victim.__doc__ or victim.__name__).strip(),
        traits=frozenset(traits),
    )


REGULARISED = {"traits": {"regularised"}}

# The victim, the check that is made for it, and how its message goes on.
VICTIMS = [
    (Float32Inside, {}, "round_trip", "expected every point back from its distances within"),
    (HiddenRidge, {}, "round_trip", "expected every point back"),
    (NormalEquations, {}, "error_scales_with_condition", "expected at condition 1e"),
    (OnlyEnoughRows, {}, "least_squares_optimal", "expected ||Vᵀ(V u − b)|| within"),
    (IgnoresWeakRows, {}, "least_squares_optimal", "expected ||Vᵀ(V u − b)|| within"),
    (BasicSolution, {}, "minimum_norm", "expected no part outside the prototypes' affine hull"),
    (AlwaysExact, {}, "rank_deficiency_is_reported", "expected the status PROJECTED for a point"),
    (GrowsWhereWeak, REGULARISED, "shrinkage_monotone", "expected shares σ f(σ) in [0, 1]"),
    (ShrinksTheStrong, REGULARISED, "shrinkage_monotone", "expected shares σ f(σ) that fall"),
    (
        UpAndDown,
        {**REGULARISED, "params": Strength},
        "shrinkage_monotone",
        "expected answers whose length only falls or only grows with strength",
    ),
    (Uncentred, {}, "translation_equivariance", "expected the answer to move with the map"),
    (NeverNegative, {}, "rotation_equivariance", "expected the answer to turn with the map"),
    (AbsoluteThreshold, {}, "scale_equivariance", "expected the same answer in units of 2^"),
    (OffByOneUnit, {}, "permutation_equivariance", "expected the same answer for units in any"),
    (RepeatsColumnZero, {}, "batch_equals_loop", "expected a batch to equal its columns"),
    (MeanOfTheBatch, {}, "batch_equals_loop", "expected a batch to equal its columns"),
    (WarmStartForGood, {}, "factorisation_reusable", "expected the same bits for the same right"),
    (SharedBetweenSystems, {}, "factorisation_reusable", "expected the same bits for the same"),
    (WritesIntoItsInput, {}, "inputs_unchanged", "expected rhs unchanged, it was written to: "),
    (WritesIntoTheSystem, {}, "inputs_unchanged", "expected system.matrix unchanged, it was"),
    (JudgesItsInput, {}, "bad_input_is_a_status", "it raised LinAlgError: the distances belong"),
    (NeedsFullRank, {}, "degenerate_maps_are_solved", "it raised LinAlgError: Singular matrix ("),
    (CrashesOnNothing, {}, "empty_batch", "it raised ValueError: need at least one array"),
    (FailsForFortranOrder, {}, "dtype_and_layout", "expected the same answer for an array in Fort"),
    (Determinants, {}, "finite_at_any_scale", "expected finite coordinates in units of 2^"),
    (DifferentEveryTime, {}, "deterministic", "expected the same bits twice, got"),
    (SeedsTheWorld, {}, "no_global_random_state", "expected the global generator np.random"),
    (UsesTheWorldsGenerator, {}, "no_global_random_state", "expected the generator of the module"),
    (HoldsALambda, {}, "factorisation_can_be_copied", "expected the factorisation (HoldsALambda)"),
    (OneBufferForAll, {}, "thread_safe", "expected thread "),
    (ATuple, {}, "least_squares_optimal", "expected solve to return a RawSolution, got tuple"),
    (OneColumnOnly, {}, "batch_equals_loop", "expected coordinates (D, B) of shape"),
]
WITHOUT_EXAMPLE = {"no_global_random_state", "factorisation_can_be_copied", "thread_safe"}


@pytest.mark.parametrize(
    ("victim", "rest", "check", "told"), VICTIMS, ids=[v[0].__name__ for v in VICTIMS]
)
def test_a_broken_solver_is_rejected_by_the_check_made_for_it(rejected, victim, rest, check, told):
    message = rejected(factory(victim, **rest), check)
    assert f"fails the check {check!r}: {told}" in message
    if check not in WITHOUT_EXAMPLE:
        assert "\n  smallest failing example: codebook = Codebook(prototypes=[[" in message


def test_every_check_of_solvers_alone_has_a_victim():
    own = {check.name for check in CHECKS if check.kinds == {"solver"}}
    assert own == {check for _, _, check, _ in VICTIMS}


def test_the_solver_that_the_victims_spoil_keeps_every_law():
    for name, call in solver_checks(factory(Fine)):
        try:
            call()
        except CheckFailure as failure:
            pytest.fail(f"{name}: {failure}")


def test_an_example_is_small_and_makes_the_failure_again(rejected):
    message = rejected(factory(OffByOneUnit), "permutation_equivariance")
    example = message.partition("smallest failing example: ")[2].partition("\n")[0]
    assert len(example) < 200
    scope = {"Codebook": Codebook}
    exec(example, scope)
    system, rhs = centred_system(scope["codebook"].prototypes), np.array(scope["rhs"])
    broken = OffByOneUnit().factorise(system).solve(rhs).coordinates
    assert np.abs(broken - Fine().factorise(system).solve(rhs).coordinates).max() > 1e-3
