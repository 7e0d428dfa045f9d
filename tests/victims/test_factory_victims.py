"""Broken factories, each rejected by the check made for it; the same checks serve every kind."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from dataclasses import field as plain_field
from typing import Annotated, Any

import pytest
from annotated_types import Ge

from musicfw.api import NoParams, SolverFactory, param
from musicfw.testing import factory_laws
from musicfw.testing.kit import checks_in


class Solver:
    def __init__(self, params):
        self.params = params

    def factorise(self, system):
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutHelp:
    alpha: float = plain_field(default=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyHelp:
    alpha: float = param(1.0, help=" ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultOutOfBounds:
    alpha: Annotated[float, Ge(0)] = param(-1.0, help="Strength.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutDefault:
    alpha: float = plain_field(metadata={"help": "Strength."})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSchema:
    lock: threading.Event = param(None, help="A thing that YAML cannot hold.")


@dataclass(slots=True, kw_only=True)
class NotFrozen:
    alpha: float = param(1.0, help="Strength.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    alpha: Annotated[float, Ge(0)] = param(1.0, help="Strength.")

    def __post_init__(self):
        object.__setattr__(self, "alpha", self.alpha / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    tolerance: float = param(1.0, help="Of what the host calls tolerance.")


class HoldsALock(Solver):
    def __init__(self, params):
        self.lock = threading.Lock()


def factory(name="victim", params: Any = NoParams, build=Solver, summary="A victim.", traits=()):
    return SolverFactory(
        name=name, params=params, build=build, summary=summary, traits=frozenset(traits)
    )


# The victim, the check that is made for it, and how its message goes on.
VICTIMS = {
    "name with an underscore": (
        factory(name="my_solver"),
        "factory_is_valid",
        "SolverFactory.name: expected lower-case words joined by hyphens, got 'my_solver'",
    ),
    "unknown trait": (
        factory(traits={"regularized"}),
        "factory_is_valid",
        "SolverFactory.traits: expected some of ['regularised', 'uncentred'], got ['regularized']",
    ),
    "reserved option": (
        factory(params=Reserved),
        "factory_is_valid",
        "SolverFactory.params: the option 'tolerance' has the name of an argument",
    ),
    "option without a default": (
        factory(params=WithoutDefault),
        "factory_is_valid",
        "SolverFactory.params: every option needs a default",
    ),
    "summary of two lines": (
        factory(summary="One.\nTwo."),
        "factory_is_valid",
        "expected a summary in one line, got 'One.\\nTwo.'",
    ),
    "params not frozen": (
        factory(params=NotFrozen),
        "factory_is_valid",
        "expected frozen params, got the dataclass NotFrozen without frozen=True",
    ),
    "builds something else": (
        factory(build=lambda params: params),
        "defaults_build",
        "expected build to return an object with the method 'factorise', got NoParams",
    ),
    "defaults that do not build": (
        factory(build=lambda params: 1 / 0),
        "defaults_build",
        "it raised ZeroDivisionError: division by zero (",
    ),
    "option without help": (
        factory(params=WithoutHelp),
        "options_have_help",
        "expected a help text for the option 'alpha', got none",
    ),
    "option with an empty help": (
        factory(params=EmptyHelp),
        "options_have_help",
        "expected a help text for the option 'alpha', got none",
    ),
    "a type without a schema": (
        factory(params=NoSchema),
        "options_have_a_schema",
        "expected params that can be described in JSON Schema, but NoSchema cannot",
    ),
    "default out of bounds": (
        factory(params=DefaultOutOfBounds),
        "options_have_a_schema",
        "expected defaults that pass validation, got error[out-of-range] alpha",
    ),
    "options change when they are read again": (
        factory(params=Rounds),
        "options_round_trip",
        "expected Rounds(alpha=0.5), got Rounds(alpha=0.25)",
    ),
    "cannot be pickled": (
        factory(build=HoldsALock),
        "objects_can_be_copied",
        "expected the object that build makes (HoldsALock) to go through pickle",
    ),
}


@pytest.mark.parametrize("wrong", VICTIMS)
def test_a_broken_factory_is_rejected_by_the_check_made_for_it(rejected, wrong):
    victim, check, told = VICTIMS[wrong]
    assert f"fails the check {check!r}: {told}" in rejected(victim, check)


def test_every_check_of_factories_has_a_victim():
    assert {check.name for check in checks_in(factory_laws)} == {v[1] for v in VICTIMS.values()}
