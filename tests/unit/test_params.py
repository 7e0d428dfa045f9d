from __future__ import annotations

import enum
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from hypothesis import given
from hypothesis import strategies as st

from musicfw.api import NoParams, SolverFactory, param
from musicfw.errors import UsageError
from musicfw.expected import describe
from musicfw.params import (
    build_params,
    params_from_keywords,
    params_schema,
    params_to_tree,
    validate,
)
from musicfw.yamlpos import load

Natural = Annotated[int, Ge(0)]


class Shade(enum.Enum):
    DARK = "dark"
    LIGHT = "light"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Part of the options."""

    depth: Annotated[int, Ge(1)] = param(1, help="How deep.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another part."""

    size: int = param(2, help="How large.")
    name: str = field(metadata={"help": "Of what."})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of every sort."""

    alpha: Annotated[float, Gt(0)] = param(1, help="Strength.")
    rank: Annotated[int, Ge(1)] | Literal["auto"] | None = param("auto", help="Rank.")
    mode: Literal["batch", "online"] = param("batch", help="How.")
    pair: tuple[int, int] = param((1, 2), help="Two.")
    units: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] | None = param(
        None, help="Some."
    )
    chosen: tuple[int, ...] | Literal["all"] = param("all", help="Which.")
    inner: Inner = param(Inner(), help="Within.")
    either: Inner | Other | None = param(None, help="One of two.")
    lambda_: float = param(0.5, help="A key that is a word of Python.")
    title: str = param("", help="Text.")
    fast: bool = param(False, help="Whether.")
    shade: Shade = param(Shade.DARK, help="Colour.")
    weights: dict[str, float] = field(default_factory=dict, metadata={"help": "By name."})


def factory_of(params, name="ridge"):
    return SolverFactory(name=name, params=params, build=lambda p: None, summary="For tests.")


RIDGE = factory_of(Options)


FINITE = "expected a finite number greater than 0"
RANK = "expected an integer of at least 1, 'auto' or null"
UNITS = "expected a non-empty list of integers of at least 0, or null"
DEPTH = "expected an integer of at least 1"
PAIR = "expected a list of 2 integers"


def problem_of(values):
    params, problems = build_params(RIDGE, values)
    assert params is None
    (problem,) = problems
    return problem


@pytest.mark.parametrize(
    ("values", "code", "path", "message"),
    [
        ({"alpha": -1}, "out-of-range", "alpha", "expected a number greater than 0, got -1"),
        (
            {"alpha": "1"},
            "wrong-type",
            "alpha",
            "expected a number greater than 0, got the text '1'",
        ),
        ({"alpha": True}, "wrong-type", "alpha", "expected a number greater than 0, got true"),
        ({"alpha": math.nan}, "out-of-range", "alpha", FINITE + ", got .nan"),
        ({"alpha": -math.inf}, "out-of-range", "alpha", FINITE + ", got -.inf"),
        ({"alpha": 10**400}, "out-of-range", "alpha", FINITE + ", got an integer of 401 digits"),
        ({"mode": "bath"}, "unknown-choice", "mode", "expected 'batch' or 'online', got 'bath'"),
        ({"mode": 3}, "wrong-type", "mode", "expected 'batch' or 'online', got 3"),
        ({"shade": "drak"}, "unknown-choice", "shade", "expected 'dark' or 'light', got 'drak'"),
        ({"pair": [1]}, "out-of-range", "pair", PAIR + ", got the list [1]"),
        ({"pair": [1, 2, 3]}, "out-of-range", "pair", PAIR + ", got the list [1, 2, 3]"),
        ({"pair": [1, 2.5]}, "wrong-type", "pair[1]", "expected an integer, got 2.5"),
        ({"units": []}, "out-of-range", "units", UNITS + ", got an empty list"),
        (
            {"units": [3, -1]},
            "out-of-range",
            "units[1]",
            "expected an integer of at least 0, got -1",
        ),
        ({"inner": {"depth": 0}}, "out-of-range", "inner.depth", DEPTH + ", got 0"),
        ({"inner": None}, "wrong-type", "inner", "expected a mapping, got nothing (null)"),
        ({"title": 3}, "wrong-type", "title", "expected text, got 3"),
        ({"fast": "yes"}, "wrong-type", "fast", "expected true or false, got the text 'yes'"),
        ({"weights": {"a": "b"}}, "wrong-type", "weights.a", "expected a number, got the text 'b'"),
        ({"lambda_": 1}, "unknown-key", "lambda_", "expected a known key, got 'lambda_'"),
    ],
)
def test_what_does_not_fit_is_one_problem_in_our_words(values, code, path, message):
    problem = problem_of(values)
    assert (problem.code, problem.path, problem.message) == (code, path, message)


@pytest.mark.parametrize(
    ("values", "code", "path", "message"),
    [
        ({"rank": 0}, "out-of-range", "rank", RANK + ", got 0"),
        ({"rank": "aut"}, "unknown-choice", "rank", RANK + ", got 'aut'"),
        ({"rank": []}, "wrong-type", "rank", RANK + ", got an empty list"),
        ({"chosen": [1, "a"]}, "wrong-type", "chosen[1]", "expected an integer, got the text 'a'"),
        ({"chosen": 1}, "wrong-type", "chosen", "expected a list of integers or 'all', got 1"),
        ({"either": 1}, "wrong-type", "either", "expected a mapping, a mapping or null, got 1"),
        ({"either": {"depth": 0}}, "out-of-range", "either.depth", DEPTH + ", got 0"),
        ({"either": {"size": 3}}, "missing-key", "either.name", "expected text, got nothing"),
    ],
)
def test_a_union_gives_one_problem_at_the_place_that_was_meant(values, code, path, message):
    problem = problem_of(values)
    assert (problem.code, problem.path, problem.message) == (code, path, message)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"aplha": 1}, "did you mean 'alpha'?"),
        ({"alpha:3": None}, "write a space after the ':' (alpha: 3)"),
        ({"inner": {"x": 1}}, "known keys: depth"),
        ({"mode": "bath"}, "did you mean 'batch'?"),
        ({"alpha": "1e-3"}, "write 1e-3 without quotes"),
        ({"alpha": "1_000"}, "write 1000"),
        ({"rank": 3.0}, "write 3"),
        ({"rank": "none"}, "write null"),
        ({"fast": "off"}, "write false"),
        ({"title": 3}, "put it into quotes"),
        ({"units": 3}, "write a list: [3]"),
        ({"pair": {}}, "begin each item with '- '"),
        ({"inner": None}, "write its keys below it, indented"),
        ({"alpha": 0}, None),
    ],
)
def test_a_hint_says_what_to_write_instead(values, hint):
    assert problem_of(values).hint == hint


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (Annotated[float, Ge(0), Le(1)], "a number from 0 to 1"),
        (Annotated[float, Ge(0.0), Lt(0.5)], "a number of at least 0 and less than 0.5"),
        (Annotated[float | None, Gt(0)], "a number greater than 0 or null"),
        (Annotated[int, MultipleOf(8)], "an integer that is a multiple of 8"),
        (Annotated[str, MinLen(1), MaxLen(9)], "text of at least 1 and at most 9 characters"),
        (Annotated[list[str], Len(2, 4)], "a list of 2 to 4 texts"),
        (tuple[tuple[float, float], ...], "a list of lists of 2 numbers"),
        (Literal[1, True, None, "a"], "1, true, null or 'a'"),
        (Path, "text"),
        (dict[str, int], "a mapping"),
        (Any, "a value"),
    ],
)
def test_a_type_is_described_in_words(tp, expected):
    assert describe(tp) == expected


def test_every_problem_is_found_at_once_with_its_position():
    text = "with:\n  alpha: -1\n  moed: batch\n  inner: {depth: 0, x: 1}\n"
    document, _ = load(text, source="s.yaml")
    _, problems = build_params(RIDGE, document.tree["with"], path=("with",), document=document)
    found = [(p.path, p.mark.line, p.mark.column) for p in problems]
    assert sorted(found) == [
        ("with.alpha", 2, 10),
        ("with.inner.depth", 4, 18),
        ("with.inner.x", 4, 21),
        ("with.moed", 3, 3),
    ]


def test_lists_become_tuples_integers_become_numbers_and_mappings_become_dataclasses():
    params, problems = build_params(
        RIDGE, {"alpha": 2, "pair": [3, 4], "inner": {"depth": 2}, "lambda": 1, "shade": "light"}
    )
    assert problems == []
    assert (params.alpha, type(params.alpha)) == (2.0, float)
    assert (params.pair, params.inner, params.lambda_) == ((3, 4), Inner(depth=2), 1.0)
    assert params.shade is Shade.LIGHT


def test_any_type_can_be_validated():
    assert validate(tuple[int, ...], [1, 2]) == ((1, 2), [])
    _, (problem,) = validate(tuple[int, ...], [1, "x"], path=("a",))
    assert problem.path == "a[1]"


def test_no_values_give_the_defaults():
    assert build_params(RIDGE, {}) == (Options(), [])


def test_an_option_without_default_is_reported_as_missing():
    _, (problem,) = build_params(factory_of(Other), {})
    assert (problem.code, problem.path) == ("missing-key", "name")


def test_a_factory_without_options_refuses_all():
    _, (problem,) = build_params(factory_of(NoParams), {"a": 1})
    assert (problem.code, problem.hint) == ("unknown-key", "no key is known here; remove it")


def test_a_params_class_that_breaks_is_the_fault_of_its_plugin():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Broken:
        x: int = param(0, help="")

        def __post_init__(self) -> None:
            raise KeyError("oops")

    for values in ({}, {"x": 1}):
        _, (problem,) = build_params(factory_of(Broken), values)
        assert problem.code == "plugin-failed"
        assert "raised KeyError: 'oops'" in problem.message


# --- Python calls --------------------------------------------------------------------------------


def test_numpy_values_mean_the_same_as_plain_ones():
    given_numpy = params_from_keywords(
        RIDGE,
        {
            "alpha": np.float32(0.5),
            "rank": np.int64(3),
            "pair": np.array([1, 2]),
            "units": range(2),
            "fast": np.True_,
            "inner": Inner(depth=3),
            "shade": Shade.LIGHT,
            "lambda_": np.float64(2),
            "weights": {"a": np.array(1.5)},
        },
    )
    plain = {"alpha": 0.5, "rank": 3, "pair": [1, 2], "units": [0, 1], "fast": True}
    plain |= {"inner": {"depth": 3}, "shade": "light", "lambda": 2, "weights": {"a": 1.5}}
    assert given_numpy == build_params(RIDGE, plain)[0]


def test_a_call_with_several_mistakes_raises_all_of_them():
    with pytest.raises(UsageError) as caught:
        params_from_keywords(RIDGE, {"alpha": -1.0, "mode": "bath", "untis": 3})
    assert str(caught.value).splitlines() == [
        "ridge: error[out-of-range] alpha: expected a number greater than 0, got -1.0",
        "ridge: error[unknown-choice] mode: expected 'batch' or 'online', got 'bath'",
        "    help: did you mean 'batch'?",
        "ridge: error[unknown-key] untis: expected a known key, got 'untis'",
        "    help: did you mean 'units'?",
    ]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"alpha": object()},
            r"\[wrong-type\] alpha: expected a number greater than 0, got object",
        ),
        (
            {"units": [1, print]},
            r"\[wrong-type\] units\[1\]: expected an integer of at least 0, got",
        ),
        ({"alpha": 1 + 2j}, "got complex"),
        ({"nonsense": print}, r"\[unknown-key\] nonsense"),
        ({"rank": 10**5000}, "rank: expected an integer of at least 1, 'auto' or null, got int"),
    ],
)
def test_what_is_no_plain_value_is_refused_where_it_stands(keywords, message):
    with pytest.raises(UsageError, match=message) as caught:
        params_from_keywords(RIDGE, keywords)
    assert str(caught.value).count("error[") == 1


def test_musicfw_and_default_params_do_without_pydantic():
    code = (
        "import sys, musicfw\n"
        "from musicfw.params import build_params\n"
        "from musicfw.api import NoParams, SolverFactory\n"
        "f = SolverFactory(name='x', params=NoParams, build=print, summary='')\n"
        "assert build_params(f, {}) == (NoParams(), [])\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- trees and schemas ---------------------------------------------------------------------------

TREES = st.fixed_dictionaries(
    {},
    optional={
        "alpha": st.floats(min_value=1e-9, max_value=1e9) | st.integers(1, 9),
        "rank": st.none() | st.just("auto") | st.integers(1, 2**70),
        "mode": st.sampled_from(["batch", "online"]),
        "pair": st.lists(st.integers(), min_size=2, max_size=2),
        "units": st.none() | st.lists(st.integers(0, 9), min_size=1),
        "chosen": st.just("all") | st.lists(st.integers()),
        "inner": st.fixed_dictionaries({}, optional={"depth": st.integers(1, 9)}),
        "lambda": st.floats(allow_nan=False, allow_infinity=False),
        "title": st.text(st.characters(exclude_categories=["Cs"])),
        "shade": st.sampled_from(["dark", "light"]),
        "weights": st.dictionaries(st.text("ab", max_size=2), st.integers(-9, 9)),
    },
)


@given(TREES)
def test_params_go_to_a_tree_and_back(tree):
    params, problems = build_params(RIDGE, tree)
    assert problems == []
    full = params_to_tree(params)
    assert {key: full[key] for key in tree if key != "inner"} == {
        key: value for key, value in tree.items() if key != "inner"
    }
    assert build_params(RIDGE, full) == (params, [])


@given(TREES)
def test_the_schema_accepts_what_validation_accepts(tree):
    jsonschema.Draft202012Validator(params_schema(RIDGE)).validate(tree)


@pytest.mark.parametrize(
    "tree", [{"alpha": 0}, {"mode": "x"}, {"aplha": 1}, {"pair": [1]}, {"inner": {"x": 1}}]
)
def test_the_schema_refuses_what_validation_refuses(tree):
    assert not jsonschema.Draft202012Validator(params_schema(RIDGE)).is_valid(tree)


def test_the_schema_holds_defaults_and_help():
    schema = params_schema(RIDGE)
    assert schema["description"] == "Options of every sort."
    assert schema["properties"]["alpha"]["description"] == "Strength."
    assert schema["properties"]["pair"]["default"] == [1, 2]
    assert schema["properties"]["lambda"]["default"] == 0.5
    assert schema["$defs"]["Inner"]["properties"]["depth"]["description"] == "How deep."
    assert "title" not in schema["properties"]["alpha"]
