"""Hypothesis strategies for the options of a plugin, from the declaration of its params."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from musicfw.api import Factory
from musicfw.params import params_to_tree

__all__ = ["options_of"]

# Options count points, epochs, centres: a large number would be slow, not telling.
_LARGEST_INTEGER = 20
_LARGEST_FLOAT = 1e3


def options_of(factory: Factory[Any]) -> SearchStrategy[dict[str, Any]]:
    """Return mappings from some options of a factory to values that its declaration allows.

    Each value by itself is allowed; that they go together is not promised (`build_params` tells).
    An option whose type is not one of bool, int, float, Literal, None and unions of them is left
    out.
    """
    hints = typing.get_type_hints(factory.params, include_extras=True)
    defaults = params_to_tree(factory.params())
    fields = {}
    for field in dataclasses.fields(factory.params):
        key = field.name.rstrip("_")
        values = _values(hints[field.name], (), defaults[key])
        if values is not None:
            fields[key] = values
    return st.fixed_dictionaries({}, optional=fields)


def _values(
    annotation: Any, constraints: tuple[Any, ...], default: Any
) -> SearchStrategy[Any] | None:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _values(arguments[0], (*constraints, *arguments[1:]), default)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        either = [_values(each, constraints, default) for each in arguments]
        return st.one_of(*(st.just(default) if each is None else each for each in either))
    if annotation is type(None):
        return st.none()
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return _integers(constraints)
    if annotation is float:
        return _floats(constraints)
    return None


def _bounds(constraints: Iterable[Any]) -> tuple[float | None, float | None, bool, bool]:
    """Return the lower and upper bound, and whether each is excluded."""
    low = high = None
    open_low = open_high = False
    for each in constraints:
        parts = list(each) if isinstance(each, Interval) else [each]
        for part in parts:
            if isinstance(part, Ge | Gt):
                low, open_low = _number(part), isinstance(part, Gt)
            elif isinstance(part, Le | Lt):
                high, open_high = _number(part), isinstance(part, Lt)
    return low, high, open_low, open_high


def _number(bound: Any) -> float:
    value = next(getattr(bound, n) for n in ("ge", "gt", "le", "lt") if hasattr(bound, n))
    return float(value)


def _integers(constraints: Iterable[Any]) -> SearchStrategy[int]:
    low, high, open_low, open_high = _bounds(constraints)
    least = 0 if low is None else int(low) + open_low
    most = max(least, _LARGEST_INTEGER) if high is None else int(high) - open_high
    return st.integers(least, min(most, max(least, _LARGEST_INTEGER)))


def _floats(constraints: Iterable[Any]) -> SearchStrategy[float]:
    low, high, open_low, open_high = _bounds(constraints)
    least = 0.0 if low is None else low
    most = max(least, _LARGEST_FLOAT) if high is None else min(high, max(least, _LARGEST_FLOAT))
    return st.floats(
        least,
        most,
        exclude_min=open_low and most > least,
        exclude_max=open_high and most > least and most == high,
        allow_subnormal=False,
    )
