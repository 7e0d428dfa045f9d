"""Checks of the factory itself, the same for every kind of plugin."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from musicfw.discovery import RefusedError, check_factory
from musicfw.params import build_params, params_schema, params_to_tree
from musicfw.testing.examples import for_all
from musicfw.testing.kit import Subject, ViolationError, check
from musicfw.testing.option_strategies import options_of

_KINDS = ("backend", "solver", "policy", "dataset")
_METHODS = {"backend": "fit", "solver": "factorise", "policy": "begin", "dataset": "load"}


@check(
    *_KINDS,
    "embedding",  # what it builds is checked with the backend whose maps have it
    advice="change the factory as the message says; see musicfw.api.Factory",
)
def factory_is_valid(subject: Subject) -> None:
    """A factory has a name in lower case with hyphens, known traits, params and a one-line summary.

    What a registry would refuse is refused here in the same words.
    """
    factory = subject.factory
    try:
        check_factory(factory, f"{type(factory).__name__}")
    except RefusedError as err:
        raise ViolationError(str(err)) from err
    if not factory.summary.strip() or "\n" in factory.summary.strip():
        raise ViolationError(f"expected a summary in one line, got {factory.summary!r}")
    if not factory.params.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ViolationError(
            f"expected frozen params, got the dataclass {factory.params.__name__} without "
            f"frozen=True: a result remembers its params, which therefore may not change"
        )


@check(*_KINDS, advice="give every option a default that its own constraints allow")
def defaults_build(subject: Subject) -> None:
    """The params can be made without arguments, and `build` makes of them what its kind needs."""
    built = subject.factory.build(subject.factory.params())
    method = _METHODS[subject.factory.kind]
    if not callable(getattr(built, method, None)):
        raise ViolationError(
            f"expected build to return an object with the method {method!r}, got "
            f"{type(built).__name__}"
        )


@check(*_KINDS, advice="declare the option by musicfw.api.param(default, help='…')")
def options_have_help(subject: Subject) -> None:
    """Every option has a help text: it is the documentation of the YAML key."""
    for field in dataclasses.fields(subject.factory.params):
        text = field.metadata.get("help", "")
        if not isinstance(text, str) or not text.strip():
            raise ViolationError(f"expected a help text for the option {field.name!r}, got none")


@check(*_KINDS, advice="use types and constraints that pydantic can describe in JSON Schema")
def options_have_a_schema(subject: Subject) -> None:
    """The options can be described in JSON Schema, and the defaults fit their own description."""
    factory = subject.factory
    try:
        schema = json.dumps(params_schema(factory), allow_nan=False)
    except Exception as err:
        raise ViolationError(
            f"expected params that can be described in JSON Schema, but "
            f"{factory.params.__name__} cannot: {type(err).__name__}: {err}"
        ) from err
    for field in dataclasses.fields(factory.params):
        if json.dumps(field.name.rstrip("_")) not in schema:
            raise ViolationError(f"expected the option {field.name!r} in the schema, got none")
    _, problems = build_params(factory, params_to_tree(factory.params()))
    if problems:
        raise ViolationError(f"expected defaults that pass validation, got {problems[0]}")


@check(*_KINDS, advice="let __post_init__ refuse values or leave them as they are")
def options_round_trip(subject: Subject) -> None:
    """Options written as JSON and read again make equal params: a stored run can be repeated."""

    def law(options: dict[str, Any]) -> None:
        params, problems = build_params(subject.factory, options)
        if problems:  # values that do not go together
            return
        tree = params_to_tree(params)
        again, problems = build_params(subject.factory, json.loads(json.dumps(tree)))
        if problems:
            raise ViolationError(f"expected options that were valid to stay so, got {problems[0]}")
        if again != params:
            raise ViolationError(f"expected {params}, got {again}")

    cases = st.fixed_dictionaries({"options": options_of(subject.factory)})
    for_all(law, cases, examples=20)


@check(*_KINDS, advice="build anew from the params; keep no state in modules, classes or closures")
def objects_can_be_copied(subject: Subject) -> None:
    """What `build` makes survives pickle and deepcopy, and so do its params: pools need it."""
    for what, value in (("params", subject.params), ("object that build makes", subject.build())):
        copies: tuple[tuple[str, Callable[[Any], Any]], ...] = (
            ("pickle", lambda v: pickle.loads(pickle.dumps(v))),
            ("copy.deepcopy", copy.deepcopy),
        )
        for how, duplicate in copies:
            try:
                duplicate(value)
            except Exception as err:
                raise ViolationError(
                    f"expected the {what} ({type(value).__name__}) to go through {how}, which a "
                    f"pool of processes needs; {type(err).__name__}: {err}"
                ) from err


def without_global_randomness(work: Callable[[], object]) -> None:
    """Run ``work`` and refuse if it used or seeded a generator that all share."""
    np.random.seed(12345)  # noqa: NPY002 - the state that nobody may touch
    random.seed(12345)
    before = _shared_states()
    work()
    after = _shared_states()
    if before[1] != after[1]:
        raise ViolationError("expected the generator of the module random untouched, it was used")
    if before[0] != after[0]:
        raise ViolationError("expected the global generator np.random untouched, it was used")


def _shared_states() -> tuple[str, object]:
    """Return the states of the generators that all share, comparable."""
    legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    inner = legacy["state"]
    return f"{inner['key'].tobytes()!r}{inner['pos']}{legacy['has_gauss']}", random.getstate()
