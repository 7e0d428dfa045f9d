"""The one place where a plain tree becomes typed values, and every misfit a `Problem`.

Options are declared once, as a frozen dataclass: type, constraint (`annotated_types`), default and
help. Validation is pydantic's, in strict JSON mode: ``"10"`` is no integer and ``yes`` no boolean,
while a list is fine for a tuple and an integer for a number. NaN and infinities are refused, for
they are never a sensible option and JSON cannot hold them. The messages are ours, written from
the declared type, so that all plugins speak the same way.

A field whose name ends in an underscore (``with_``, ``lambda_``) stands for the key without it.
pydantic is imported on first use: ``import musicfw`` does without.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from musicfw.api import Factory
from musicfw.errors import Problem, UsageError
from musicfw.expected import expected_type, misfits
from musicfw.yamlpos import Document, Path, format_path

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# Python refuses to write integers with more digits than 4300 as text, hence as JSON.
_LARGEST = 10**4000

__all__ = [
    "build_params",
    "params_from_keywords",
    "params_schema",
    "params_to_tree",
    "type_schema",
    "validate",
]


def validate(
    tp: Any, tree: Any, *, path: Path = (), document: Document | None = None
) -> tuple[Any, list[Problem]]:
    """Return the tree as a value of a type, or None and everything that is wrong with it.

    Parameters
    ----------
    tp : type
        A dataclass or any annotation that pydantic knows.
    tree : plain tree
        As `musicfw.yamlpos.load` makes it.
    path : tuple of str and int
        Where the tree stands in the whole, for messages.
    document : Document, optional
        Where the positions come from.

    Returns
    -------
    value
        Of type ``tp``; None if there are problems.
    problems : list of Problem
        One per place, in the order of the fields.
    """
    from pydantic import ValidationError

    try:
        (value,) = _adapter(tp).validate_json(json.dumps([tree]))
    except ValidationError as err:
        errors = err.errors(include_url=False, include_input=False)
        # The first step leads into the tuple that `_adapter` wraps around.
        located = [(e["type"], e["loc"][1:], e.get("ctx", {}), e["msg"]) for e in errors]
        return None, [
            _problem(code, (*path, *below), message, hint, document)
            for code, below, message, hint in misfits(tp, tree, located)
        ]
    return value, []


def build_params(
    factory: Factory[Any],
    values: Mapping[str, Any],
    *,
    path: Path = (),
    document: Document | None = None,
) -> tuple[Any, list[Problem]]:
    """Return a factory's params from the values under ``with:``, or None and the problems.

    Parameters
    ----------
    factory : Factory
        Whose params.
    values : mapping
        Plain values; the defaults fill the rest.
    path, document
        As in `validate`.

    Returns
    -------
    params
        An instance of ``factory.params``; None if there are problems.
    problems : list of Problem
        ``plugin-failed`` if the params class itself raised something other than ValueError.
    """
    try:
        if not values and not _required(factory.params):
            return factory.params(), []
        return validate(factory.params, dict(values), path=path, document=document)
    except Exception as err:
        message = (
            f"expected {factory.params.__name__} of {factory.name!r} to accept or refuse its "
            f"values, but it raised {type(err).__name__}: {err}"
        )
        hint = "this is a fault of the plugin, not of the values; report it there"
        return None, [_problem("plugin-failed", path, message, hint, document)]


def params_from_keywords(factory: Factory[Any], keywords: Mapping[str, Any]) -> Any:
    """Return a factory's params from the keywords of a Python call.

    Numpy scalars and arrays, tuples, paths and dataclasses are turned into plain values first, so
    that a call and a spec with the same values mean the same.

    Raises
    ------
    UsageError
        With every problem, one per line: ``ridge: error[out-of-range] alpha: expected …``.
    """
    foreign: dict[Path, Any] = {}
    keys = {f.name: _key(f.name) for f in dataclasses.fields(factory.params)}
    values = {
        keys.get(name, name): _plain(value, (keys.get(name, name),), foreign)
        for name, value in keywords.items()
    }
    params, problems = build_params(factory, values)
    # What is no plain value was left out as None; whatever is said about that None is untrue.
    untrue = {format_path(path[: i + 1]) for path in foreign for i in range(len(path))}
    problems = [p for p in problems if p.code == "unknown-key" or p.path not in untrue] + [
        Problem(
            "wrong-type",
            format_path(path),
            f"expected {expected_type(factory.params, path)}, got {type(value).__name__}",
        )
        for path, value in foreign.items()
        if path[0] in keys.values()
    ]
    if problems:
        raise UsageError("\n".join(f"{factory.name}: {problem}" for problem in problems))
    return params


def params_to_tree(params: Any) -> dict[str, Any]:
    """Return params as a plain tree, defaults included, that `validate` turns into the same."""
    tree = _plain(params, (), {})
    if not isinstance(tree, dict):
        raise TypeError(f"expected a dataclass instance, got {type(params).__name__}")
    return tree


def params_schema(factory: Factory[Any]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a factory's params, with defaults and help."""
    return type_schema(factory.params)


def type_schema(tp: Any, *, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """Return the JSON Schema of a type; help texts of dataclass fields become descriptions."""
    from pydantic.json_schema import GenerateJsonSchema

    class WithHelp(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

        def dataclass_schema(self, schema: Any) -> dict[str, Any]:
            result = super().dataclass_schema(schema)
            result.pop("title", None)
            summary = (schema["cls"].__doc__ or "").partition("\n")[0]
            # A dataclass without a docstring has its signature there, which tells nothing new.
            if not summary.startswith(f"{schema['cls'].__name__}("):
                result["description"] = summary
            for field in dataclasses.fields(schema["cls"]):
                if "help" in field.metadata:
                    option = result["properties"][_key(field.name)]
                    option["description"] = field.metadata["help"]
            return result

    whole = _adapter(tp).json_schema(schema_generator=WithHelp, ref_template=ref_template)
    schema: dict[str, Any] = whole["prefixItems"][0]
    definitions = whole.get("$defs", {})
    for name in list(definitions):
        if schema.get("$ref") == ref_template.format(model=name):
            schema = definitions.pop(name)
    return schema | {"$defs": definitions} if definitions else schema


@cache
def _adapter(tp: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    # pydantic takes no config for a dataclass, but hands that of what surrounds it down to it.
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, alias_generator=_key)
    return TypeAdapter(tuple[tp], config=config)


def _key(field_name: str) -> str:
    return field_name.rstrip("_")


def _required(params: type) -> bool:
    missing = dataclasses.MISSING
    return any(
        f.default is missing and f.default_factory is missing for f in dataclasses.fields(params)
    )


def _problem(
    code: str, path: Path, message: str, hint: str | None, document: Document | None
) -> Problem:
    # A key that should not be there is the place itself; for one that is missing `mark` returns
    # the nearest parent.
    mark = None if document is None else document.mark(path, key=code == "unknown-key")
    return Problem(code, format_path(path), message, mark, hint)


def _plain(value: Any, path: Path, foreign: dict[Path, Any]) -> Any:
    """Return the value as plain data; what cannot be is None and noted in ``foreign``."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), path, foreign)
    if isinstance(value, enum.Enum):
        return _plain(value.value, path, foreign)
    is_huge = isinstance(value, int) and abs(value) > _LARGEST
    if not is_huge and (value is None or isinstance(value, bool | int | float | str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {_key(f.name): getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, (*path, str(k)), foreign) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple | range):
        return [_plain(v, (*path, i), foreign) for i, v in enumerate(value)]
    foreign[path] = value
    return None
