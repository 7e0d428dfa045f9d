"""What a declared type expects, in words: from pydantic's errors to musicfw's messages.

pydantic says where something does not fit and in which way; what was expected is told from the
declared type itself, in the words of someone who writes YAML. The location of an error in a union
holds names of its branches, which are in no spec: here they are taken out, and one problem is made
per place instead of one per branch.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import json
import math
import os
import re
import types
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from musicfw.errors import did_you_mean
from musicfw.yamlpos import Path, format_path

Located = tuple[str, tuple[Any, ...], dict[str, Any], str]
Misfit = tuple[str, Path, str, str | None]

_UNIONS = (Union, types.UnionType)
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_OWN_WORDS = re.compile(r"(?:\w+\.)?(\w+): (.+)", re.DOTALL)


def misfits(tp: Any, tree: Any, errors: Iterable[Located]) -> list[Misfit]:
    """Return (code, path, message, hint) for pydantic's errors (type, loc, ctx, msg).

    One per place: of a union, the branch that the value comes nearest to speaks, or all of them
    as one if it resembles none.
    """
    found: list[Misfit] = []
    unions: dict[Path, list[tuple[Located, list[tuple[Path, Any]]]]] = {}
    for error in errors:
        trace = _trace(tp, error[1], ())
        union = next((place for place, at in trace if len(_members(at)) > 1), None)
        if union is None:
            found.append(_misfit(error, trace, tree))
        else:
            unions.setdefault(union, []).append((error, trace))
    for place, group in unions.items():
        found += _of_union(place, group, tree)
    hinted = {(path[:-1], hint) for code, path, _, hint in found if code == "unknown-key"}
    # A misspelt key and the missing one that was meant are one mistake.
    return [
        m
        for m in found
        if m[0] != "missing-key" or (m[1][:-1], f"did you mean {m[1][-1]!r}?") not in hinted
    ]


def expected_type(tp: Any, path: Path) -> str:
    """Return in words what a type expects at a path."""
    for step in path:
        children = (_child(member, step) for member in _members(tp))
        tp = next((child for child in children if child is not None), Any)
    return describe(tp)


@cache
def field_types(cls: Any) -> dict[str, Any]:
    """Return the annotations of a dataclass by key (the name without a trailing underscore)."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name.rstrip("_"): hints[field.name] for field in dataclasses.fields(cls)}


# --- where ---------------------------------------------------------------------------------------


def _trace(tp: Any, loc: tuple[Any, ...], path: Path) -> list[tuple[Path, Any]]:
    """Return the places on the way to an error, with their types and without names of branches."""
    members = _members(tp)
    rest = loc[1:] if len(members) > 1 else loc
    if not rest:
        return [(path, tp)]
    here, below = (path, tp), (*path, rest[0])
    for member in members:
        child = _child(member, rest[0])
        if child is not None:
            return [here, *_trace(child, rest[1:], below)]
    return [here, (below, None)]


def _members(tp: Any) -> list[Any]:
    """Return the branches of a union without None; of anything else, itself."""
    bare = _bare(tp)
    if get_origin(bare) not in _UNIONS:
        return [tp]
    return [arg for arg in get_args(bare) if arg is not types.NoneType]


def _bare(tp: Any) -> Any:
    while get_origin(tp) is Annotated:
        tp = get_args(tp)[0]
    return tp


def _child(tp: Any, step: Any) -> Any:
    bare = _bare(tp)
    origin, args = get_origin(bare) or bare, get_args(bare)
    if isinstance(step, int):
        if origin not in _LISTS:
            return None
        if origin is tuple and args and args[-1] is not Ellipsis:
            return args[step] if step < len(args) else None
        return args[0] if args else Any
    if origin in _MAPPINGS:
        return args[1] if args else Any
    return field_types(bare).get(step) if _is_dataclass(bare) else None


def _is_dataclass(tp: Any) -> bool:
    return inspect.isclass(tp) and dataclasses.is_dataclass(tp)


def _value_at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[step]
    return tree


# --- which problem -------------------------------------------------------------------------------


def _of_union(
    place: Path, group: list[tuple[Located, list[tuple[Path, Any]]]], tree: Any
) -> list[Misfit]:
    deeper: dict[Any, list[tuple[Located, list[tuple[Path, Any]]]]] = {}
    for error, trace in group:
        if len(trace[-1][0]) > len(place):
            deeper.setdefault(error[1][len(place)], []).append((error, trace))
    if deeper:
        # A branch that fails inside has the right shape; the one with fewest faults was meant.
        meant = min(deeper.values(), key=lambda branch: sum(map(_weight, branch)))
        return [_misfit(error, trace, tree) for error, trace in meant]
    codes = [_code(error[0], _value_at(tree, place)) for error, _ in group]
    tp = next(at for where, at in group[0][1] if where == place)
    value = _value_at(tree, place)
    code = next((c for c in ("out-of-range", "unknown-choice") if c in codes), "wrong-type")
    return [_plain_misfit(code, place, tp, value)]


def _weight(located: tuple[Located, Any]) -> int:
    # A key that a branch does not have speaks more against it than one that was forgotten.
    return 2 if located[0][0] in _UNKNOWN else 1


def _misfit(error: Located, trace: list[tuple[Path, Any]], tree: Any) -> Misfit:
    kind, _, context, text = error
    path, tp = trace[-1]
    if kind in _UNKNOWN:
        return _unknown_key(path, trace[-2][1])
    if kind == "missing" and isinstance(path[-1], int):
        path, tp = trace[-2]  # a list that is too short
        return _plain_misfit("out-of-range", path, tp, _value_at(tree, path))
    if kind == "missing":
        section = format_path(path[:-1])
        hint = f"add '{path[-1]}: …'" + (f" to '{section}'" if section else "")
        return "missing-key", path, f"expected {describe(tp)}, got nothing", hint
    if kind in ("value_error", "assertion_error"):
        return _refusal(path, tp, str(context.get("error", text)))
    value = _value_at(tree, path)
    code, _, message, advice = _plain_misfit(_code(kind, value), path, tp, value)
    return code, path, message, text if code == "bad-value" else advice


def _code(kind: str, value: Any) -> str:
    if kind in ("literal_error", "enum"):
        return "unknown-choice" if isinstance(value, str) else "wrong-type"
    if kind.startswith(("greater_", "less_", "too_", "string_too_", "multiple_", "finite_")):
        return "out-of-range"
    return "wrong-type" if kind.endswith("_type") or kind.startswith("int_") else "bad-value"


def _unknown_key(path: Path, tp: Any) -> Misfit:
    key = str(path[-1])
    known = [k for m in _members(tp) if _is_dataclass(_bare(m)) for k in field_types(_bare(m))]
    name, colon, value = key.partition(":")
    if colon and name in known:
        hint: str | None = f"write a space after the ':' ({name}: {value})"
    elif not known:
        hint = "no key is known here; remove it"
    else:
        hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
    return "unknown-key", path, f"expected a known key, got {key!r}", hint


def _refusal(path: Path, tp: Any, text: str) -> Misfit:
    """Return the refusal of a dataclass in its own words, at the key that it names if it does."""
    match = _OWN_WORDS.fullmatch(text)
    owners = [bare for member in _members(tp) if _is_dataclass(bare := _bare(member))]
    if match and any(match[1] in field_types(owner) for owner in owners):
        return "bad-value", (*path, match[1]), match[2], None
    return "bad-value", path, text, None


def _plain_misfit(code: str, path: Path, tp: Any, value: Any) -> Misfit:
    choices = [choice for member in _members(tp) for choice in _choices(member)]
    hint = did_you_mean(value, map(str, choices)) if isinstance(value, str) else None
    families = {_family(member) for member in _members(tp)}
    if types.NoneType in get_args(_bare(tp)):
        families.add("null")
    if code != "out-of-range" and hint is None:
        hint = _advice(families, value, items=_family(_child(_members(tp)[0], 0)))
    expected = describe(tp)
    if "float" in families and isinstance(value, int | float) and not _is_finite(value):
        expected = expected.replace("a number", "a finite number")
    got = repr(value) if code == "unknown-choice" else in_words(value)
    return code, path, f"expected {expected}, got {got}", hint


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _advice(families: set[str], value: Any, *, items: str) -> str | None:
    """Return what to write instead, for the mix-ups that YAML invites."""
    numeric = families & {"int", "float"}
    if isinstance(value, str):
        if "bool" in families and value.lower() in ("yes", "no", "on", "off", "true", "false"):
            return f"write {'true' if value.lower() in ('yes', 'on', 'true') else 'false'}"
        if numeric and re.fullmatch(r"[-+]?[\d_.]+(?:[eE][-+]?\d+)?", value):
            return f"write {value.replace('_', '')}" + ("" if "_" in value else " without quotes")
        if "null" in families and value in ("none", "None"):
            return "write null"
    if numeric == {"int"} and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if families <= {"str", "null"} and isinstance(value, bool | int | float):
        return "put it into quotes"
    if families <= {"list", "null"}:
        if isinstance(value, dict):
            return "begin each item with '- '"
        if value is not None and items != "mapping":
            return f"write a list: [{_literal(value)}]"
    if families == {"mapping"} and value is None:
        return "write its keys below it, indented"
    return None


# --- words ---------------------------------------------------------------------------------------

_NOUNS = {
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "values, each true or false"),
    "str": ("text", "texts"),
    "null": ("null", "nulls"),
    "mapping": ("a mapping", "mappings"),
    "list": ("a list", "lists"),
    "any": ("a value", "values"),
}


def describe(tp: Any) -> str:
    """Return what a type and its constraints expect: ``an integer of at least 1 or null``."""
    return _describe(tp, plural=False)


def _describe(tp: Any, *, plural: bool) -> str:
    constraints = _constraints(tp)
    bare = _bare(tp)
    if get_origin(bare) in _UNIONS:
        args = get_args(bare)
        # Constraints around a union (Annotated[float | None, Gt(0)]) hold for each of its members.
        members = [Annotated[(m, *constraints)] if constraints else m for m in args]
        parts = [_describe(m, plural=plural) for m in members if _bare(m) is not types.NoneType]
        null = ["null"] if types.NoneType in args else []
        if null and len(parts) == 1 and "list" in parts[0]:
            return f"{parts[0]}, or null"  # a bare "or null" would speak of its items
        return _listed(parts + null)
    choices = _choices(bare)
    if choices:
        return _listed([_literal(choice) for choice in choices])
    family = _family(bare)
    if family == "list":
        return _describe_list(bare, constraints, plural=plural)
    return _NOUNS[family][plural] + _bounds(constraints, family)


def _describe_list(bare: Any, constraints: list[Any], *, plural: bool) -> str:
    args = get_args(bare)
    low, high = _limit(constraints, "min_length") or 0, _limit(constraints, "max_length")
    if get_origin(bare) is tuple and args and args[-1] is not Ellipsis:
        low = high = len(args)
    items = _describe(args[0], plural=True) if args else "values"
    if high is not None:
        count = f"{low} " if low == high else f"{low} to {high} "
    else:
        count = f"{low} or more " if low > 1 else ""
    filled = "non-empty " if low == 1 and high is None else ""
    return f"{filled}lists of {count}{items}" if plural else f"a {filled}list of {count}{items}"


def _bounds(constraints: list[Any], family: str) -> str:
    if family == "str":
        low, high = _limit(constraints, "min_length"), _limit(constraints, "max_length")
        words = [f"at least {low}" if low else "", f"at most {high}" if high is not None else ""]
        words = [word for word in words if word]
        return f" of {' and '.join(words)} characters" if words else ""
    ge, le = _limit(constraints, "ge"), _limit(constraints, "le")
    gt, lt = _limit(constraints, "gt"), _limit(constraints, "lt")
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    words = [
        f"of at least {ge}" if ge is not None else "",
        f"greater than {gt}" if gt is not None else "",
    ]
    words += [
        f"of at most {le}" if le is not None else "",
        f"less than {lt}" if lt is not None else "",
    ]
    multiple = _limit(constraints, "multiple_of")
    words.append(f"that is a multiple of {multiple}" if multiple is not None else "")
    return "".join(f"{' and ' if i else ' '}{w}" for i, w in enumerate(filter(None, words)))


def _constraints(tp: Any) -> list[Any]:
    found: list[Any] = []
    while get_origin(tp) is Annotated:
        tp, *extra = get_args(tp)
        # pydantic.Field keeps the constraints it was given in a list of its own.
        found += [c for e in extra for c in (e, *getattr(e, "metadata", ()))]
    return found


def _limit(constraints: list[Any], name: str) -> Any:
    limit = next((v for c in constraints if (v := getattr(c, name, None)) is not None), None)
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _choices(tp: Any) -> Sequence[Any]:
    bare = _bare(tp)
    if get_origin(bare) is Literal:
        return get_args(bare)
    return [m.value for m in bare] if inspect.isclass(bare) and issubclass(bare, enum.Enum) else ()


def _family(tp: Any) -> str:
    bare = _bare(tp)
    origin = get_origin(bare) or bare
    if origin in _LISTS:
        return "list"
    if origin in _MAPPINGS or _is_dataclass(origin):
        return "mapping"
    if origin is types.NoneType or origin is None:
        return "null"
    if inspect.isclass(origin) and issubclass(origin, os.PathLike):
        return "str"
    name = getattr(origin, "__name__", "")
    return name if name in _NOUNS else "any"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def in_words(value: Any) -> str:
    """Return what was found: ``the text 'abc'``, ``nothing (null)``, ``-1``."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"an integer of {len(str(abs(value)))} digits"
    if value is None:
        return "nothing (null)"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:57]!r}…"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        text = json.dumps(value, ensure_ascii=False)
        if not value:
            return "an empty list"
        return f"the list {text}" if len(text) <= 60 else f"a list of {len(value)} items"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return _literal(value)
