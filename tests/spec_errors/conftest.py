"""A registry with a plugin in every state, so that texts do not depend on what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, MinLen

from musicfw.api import (
    BackendFactory,
    DatasetFactory,
    NoParams,
    PolicyFactory,
    SolverFactory,
    param,
)
from musicfw.errors import Problem, did_you_mean, one_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeParams:
    """Options of the backend."""

    mode: Literal["batch", "online"] = param("batch", help="How data are fed.")
    epochs: Annotated[int, Ge(1)] = param(30, help="Passes over the data.")
    radius_end: Annotated[float, Gt(0)] = param(1.0, help="Last radius.")
    verbose: bool = param(False, help="Whether to talk.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeParams:
    """Options of the solver."""

    alpha: Annotated[float, Gt(0)] | Literal["auto"] = param(1e-6, help="Strength.")
    prior: Annotated[tuple[float, ...], MinLen(1)] | None = param(None, help="Point to prefer.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClashingParams:
    """Options that must fit together."""

    low: float = param(0.0, help="Lower end.")
    high: float = param(1.0, help="Upper end.")

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise ValueError(f"high: expected at least low ({self.low}), got {self.high}")
        if self.high == self.low:
            raise ZeroDivisionError("float division by zero")


def factory(kind, name, params=NoParams):
    return kind(name=name, params=params, build=lambda params: None, summary=f"The {name}.")


FACTORIES = (
    factory(DatasetFactory, "digits"),
    factory(DatasetFactory, "blobs", ClashingParams),
    factory(BackendFactory, "native", NativeParams),
    factory(SolverFactory, "exact"),
    factory(SolverFactory, "ridge", RidgeParams),
    factory(PolicyFactory, "music"),
)


class FakeRegistry:
    plugins = ("musicfw", "musicfw-nmf", "musicfw-broken")

    def __init__(self, blocked=()):
        self.blocked = tuple(blocked)

    def names(self, kind):
        return tuple(f.name for f in FACTORIES if f.kind == kind)

    def lookup(self, kind, name):
        if name == "nmf" and "musicfw-nmf" in self.blocked:
            return Problem("plugin-blocked", "", "'nmf' comes from musicfw-nmf, which is blocked")
        if name == "broken":
            return self.requirement("musicfw-broken")
        if name == "twice":
            hint = "write 'one:twice' or 'two:twice'"
            return Problem("ambiguous-name", "", "expected one owner of 'twice', got 2", hint=hint)
        for candidate in FACTORIES:
            if (candidate.kind, candidate.name) == (kind, name):
                return candidate
        names = self.names(kind)
        hint = did_you_mean(name, names) or f"there are {one_of(names)}"
        return Problem("unknown-name", "", f"expected a {kind}, got {name!r}", hint=hint)

    def requirement(self, name):
        if name == "musicfw-broken":
            message = "plugin musicfw-broken 1.0 failed: ImportError: no module named 'x'"
            return Problem("plugin-failed", "", message, hint="report it there")
        if name in self.blocked:
            return Problem("plugin-blocked", "", f"plugin {name} is blocked")
        if name not in self.plugins:
            return Problem("plugin-missing", "", f"expected an installed plugin, got {name!r}")
        return None

    def known_plugin(self, name):
        return name in self.plugins

    def without(self, names):
        return FakeRegistry((*self.blocked, *names))


@pytest.fixture
def registry():
    return FakeRegistry()
