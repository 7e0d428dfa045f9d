"""Hypothesis strategies for specs: valid ones, and ones with exactly one planted mistake."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from musicfw.api import Factory
from musicfw.params import build_params
from musicfw.plugins import Registry
from musicfw.testing.option_strategies import options_of
from musicfw.testing.strategies import lattices
from musicfw.yamlpos import dump

__all__ = ["BrokenSpec", "broken_run_specs", "run_specs"]

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokenSpec:
    """A spec with one mistake.

    Parameters
    ----------
    text : str
        YAML.
    code : str
        Of the problem that is to be reported, and no other.
    line, column : int
        Where, counted from 1.
    """

    text: str
    code: str
    line: int
    column: int


@st.composite
def run_specs(draw: DrawFn, registry: Registry) -> str:
    """Return specs, as YAML, that `musicfw.spec.load_spec` accepts for a registry.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    registry : Registry
        Whose names they use, with options that go together. Options that are text, such as paths,
        keep their defaults: a spec is valid whether its files are there or not.
    """
    return dump(draw(_trees(registry)))


@st.composite
def broken_run_specs(draw: DrawFn, registry: Registry) -> BrokenSpec:
    """Return specs with exactly one mistake, its code and its position.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    registry : Registry
        As for `run_specs`.
    """
    tree = copy.deepcopy(draw(_trees(registry)))
    code, plant = draw(st.sampled_from(_MISTAKES))
    token = plant(tree, draw)
    text = dump(tree)
    if code == "duplicate-key":
        text += f"{token}: 1\n"
    # Found in the text itself, not by the code that is to be tested; of two, the second counts.
    start = text.rindex(token)
    line = text.count("\n", 0, start) + 1
    return BrokenSpec(text=text, code=code, line=line, column=start - text.rfind("\n", 0, start))


# --- valid trees ---------------------------------------------------------------------------------


@st.composite
def _trees(draw: DrawFn, registry: Registry) -> Tree:
    lattice = draw(lattices(largest=4))
    tree: Tree = {
        "seed": draw(st.integers(0, 99)),
        "data": _section(draw, registry, "dataset")
        | {"scaling": draw(st.sampled_from(["none", "standard", "minmax"]))}
        | {"holdout": draw(st.sampled_from([0.0, 0.2, 0.5]))},
        "map": _section(draw, registry, "backend") | {"lattice": dataclasses.asdict(lattice)},
        "invert": [
            _section(draw, registry, "solver") | {"id": f"inversion-{i}"}
            for i in range(draw(st.integers(0, 2)))
        ],
        "control": [
            _section(draw, registry, "policy")
            | {
                "id": f"walk-{i}",
                "target": draw(_targets(lattice.rows, lattice.columns)),
                "start": draw(_STARTS),
                "steps": draw(st.integers(1, 20)),
                "until": draw(st.sampled_from(["settled", "arrived"])),
            }
            for i in range(draw(st.integers(0, 2)))
        ],
        "report": {"figures": False},
    }
    if lattice.units > 1 and draw(st.booleans()):
        tree["map"]["clusters"] = draw(st.integers(2, lattice.units))
    return tree


def _section(draw: DrawFn, registry: Registry, kind: str) -> Tree:
    factory = draw(st.sampled_from(registry.factories(kind)))
    options = draw(options_of(factory).map(lambda drawn: _fitting(factory, drawn)))
    return {"use": factory.name, "with": options}


def _fitting(factory: Factory[Any], options: Tree) -> Tree:
    """Return the options if they go together, else none."""
    return {} if build_params(factory, options)[1] else options


_STARTS: SearchStrategy[Tree] = st.one_of(
    st.fixed_dictionaries({"count": st.integers(1, 5)}),
    st.fixed_dictionaries({"rows": st.lists(st.integers(0, 9), min_size=1, max_size=3)}),
)


def _targets(rows: int, columns: int) -> SearchStrategy[Tree]:
    units = st.lists(st.integers(0, rows * columns - 1), min_size=1, max_size=3, unique=True)
    cell = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1)).map(list)
    kinds: list[SearchStrategy[Tree]] = [
        st.fixed_dictionaries({"units": units}),
        st.fixed_dictionaries({"cell": cell}),
        st.fixed_dictionaries({"label": st.sampled_from(["0", "a"])}),
        st.fixed_dictionaries({"cluster": st.integers(0, 1)}),
        st.fixed_dictionaries({"sample": st.integers(0, 9)}),
    ]
    return st.tuples(st.one_of(kinds), st.booleans()).map(lambda both: both[0] | {"away": both[1]})


# --- mistakes: each changes the tree and returns the text that marks the place --------------------


def _mappings(tree: Tree) -> list[Tree]:
    """Return every mapping of the spec that has a fixed set of keys."""
    places = [tree, tree["data"], tree["map"], tree["map"]["lattice"], tree["report"]]
    places += tree["invert"]
    for item in tree["control"]:
        places += [item, item["target"], item["start"]]
    return places


def _users(tree: Tree) -> list[Tree]:
    return [tree["data"], tree["map"], *tree["invert"], *tree["control"]]


def _unknown_key(tree: Tree, draw: DrawFn) -> str:
    draw(st.sampled_from(_mappings(tree)))["planted_key"] = 1
    return "planted_key"


def _unknown_option(tree: Tree, draw: DrawFn) -> str:
    draw(st.sampled_from(_users(tree)))["with"]["planted_option"] = 1
    return "planted_option"


def _unknown_name(tree: Tree, draw: DrawFn) -> str:
    user = draw(st.sampled_from(_users(tree)))
    user |= {"use": "planted-name", "with": {}}
    return "planted-name"


def _wrong_type(tree: Tree, draw: DrawFn) -> str:
    place, key = draw(
        st.sampled_from(
            [(tree, "seed"), (tree["map"]["lattice"], "rows"), (tree["report"], "figures")]
        )
    )
    place[key] = "planted-text"
    return "planted-text"


def _out_of_range(tree: Tree, draw: DrawFn) -> str:
    place, key = draw(
        st.sampled_from([(tree, "seed"), (tree["data"], "holdout"), (tree["map"], "clusters")])
    )
    place[key] = -987654
    return "-987654"


def _unknown_choice(tree: Tree, draw: DrawFn) -> str:
    place, key = draw(
        st.sampled_from([(tree["data"], "scaling"), (tree["map"]["lattice"], "topology")])
    )
    place[key] = "planted-choice"
    return "planted-choice"


def _bad_id(tree: Tree, draw: DrawFn) -> str:
    tree["invert"] = [{"use": "exact", "id": "Planted.Id"}]
    return "Planted.Id"


def _duplicate_id(tree: Tree, draw: DrawFn) -> str:
    tree["invert"] = [{"use": "exact", "id": "planted-id"}] * 2
    tree["invert"] = copy.deepcopy(tree["invert"])
    return "planted-id"


def _duplicate_key(tree: Tree, draw: DrawFn) -> str:
    return draw(st.sampled_from([key for key in tree if key != "report"]))


def _bad_unit(tree: Tree, draw: DrawFn) -> str:
    tree["control"] = [{"use": "straight-line", "target": {"units": [0, 987654]}}]
    return "987654"


_MISTAKES: list[tuple[str, Callable[[Tree, DrawFn], str]]] = [
    ("unknown-key", _unknown_key),
    ("unknown-key", _unknown_option),
    ("unknown-name", _unknown_name),
    ("wrong-type", _wrong_type),
    ("out-of-range", _out_of_range),
    ("out-of-range", _bad_unit),
    ("unknown-choice", _unknown_choice),
    ("bad-id", _bad_id),
    ("duplicate-id", _duplicate_id),
    ("duplicate-key", _duplicate_key),
]
