"""What a check is, how one is run, and how its failure is told.

A check is a law with a name. It is given a `Subject`, the plugin as the host would build it, and
raises `ViolationError` where the law does not hold. What becomes of that is the same for all checks
and doors: `run_check` turns it into a `CheckFailure` whose message names the plugin, the check,
the law, the smallest failing example and what to do.
"""

from __future__ import annotations

import inspect
import time
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from musicfw.api import Factory
from musicfw.discovery import EntryPoint
from musicfw.errors import PluginError, UsageError, did_you_mean, one_of
from musicfw.params import params_from_keywords
from musicfw.plugins import Provided

CheckStatus = Literal["passed", "failed", "skipped", "expected-failure", "unexpected-pass"]

_PACKAGE = Path(__file__).parent


class ViolationError(Exception):
    """A law that does not hold; the text is "expected …, got …"."""


class FalsifiedError(Exception):
    """A law failed on an example; ``cause`` tells how, ``example`` is Python that makes it."""

    def __init__(self, cause: BaseException, example: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.example = example


class CheckFailure(AssertionError):  # noqa: N818 - what a test runner calls a failure
    """A check that a plugin fails; the message is for the plugin's author."""


class CheckSkipped(unittest.SkipTest):
    """A check that does not concern the plugin; pytest and unittest count it as skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """What became of one check.

    Parameters
    ----------
    name : str
        Of the check.
    status : {"passed", "failed", "skipped", "expected-failure", "unexpected-pass"}
        ``unexpected-pass``: a failure was announced and did not come, which is no success: the
        announcement is out of date.
    message : str
        Why, for a reader; empty for ``passed``.
    elapsed_s : float
        Seconds.
    """

    name: str
    status: CheckStatus
    message: str
    elapsed_s: float

    @property
    def good(self) -> bool:
        """Whether nothing needs to be done."""
        return self.status not in ("failed", "unexpected-pass")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """The plugin that is checked.

    Parameters
    ----------
    provided : Provided
        Its factory, with the distribution it comes from if it is an installed one.
    options : mapping of str
        Values of its params that differ from the defaults.
    """

    provided: Provided
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def factory(self) -> Factory[Any]:
        """The factory."""
        return self.provided.factory

    @property
    def params(self) -> Any:
        """An instance of the factory's params."""
        return params_from_keywords(self.factory, self.options)

    def build(self) -> Any:
        """Return a fresh object of the factory."""
        return self.factory.build(self.params)

    def __str__(self) -> str:
        record = self.provided.record
        name = f"{self.factory.kind} {self.factory.name!r}"
        if record.version == "(in memory)":
            return name
        return f"{name} of plugin {record.distribution} {record.version}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Check:
    """A law that plugins of some kinds must keep.

    Parameters
    ----------
    name : str
        Lower case with underscores.
    kinds : frozenset of str
        Kinds of plugins it concerns.
    advice : str
        What an author should do who sees it fail.
    function : callable
        ``function(subject)``; raises ViolationError, or CheckSkipped.
    needs : str or None
        A trait that selects the check.
    without : tuple of str
        Traits that rule it out.
    """

    name: str
    kinds: frozenset[str]
    advice: str
    function: Callable[[Subject], None]
    needs: str | None = None
    without: tuple[str, ...] = ()

    @property
    def law(self) -> str:
        """The law in one line."""
        return (inspect.getdoc(self.function) or "").partition("\n\n")[0].replace("\n", " ")

    def why_not(self, factory: Factory[Any]) -> str | None:
        """Return why the traits of a factory rule the check out; None if they do not."""
        if self.needs is not None and self.needs not in factory.traits:
            return f"only for the trait {self.needs!r}"
        for trait in self.without:
            if trait in factory.traits:
                return f"not for the trait {trait!r}"
        return None


def check(
    *kinds: str, advice: str, needs: str | None = None, without: str | tuple[str, ...] = ()
) -> Callable[[Callable[[Subject], None]], Check]:
    """Make a `Check` of a function; its docstring tells the law, the tolerance and why."""

    def decorate(function: Callable[[Subject], None]) -> Check:
        return Check(
            name=function.__name__,
            kinds=frozenset(kinds),
            advice=advice,
            function=function,
            needs=needs,
            without=(without,) if isinstance(without, str) else without,
        )

    return decorate


def checks_in(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks of some modules in the order in which they stand there."""
    return tuple(v for m in modules for v in vars(m).values() if isinstance(v, Check))


def subject_of(
    kind: str, factory: Factory[Any] | Provided, options: Mapping[str, Any] | None
) -> Subject:
    """Return the subject of a factory, or of what a registry found."""
    if isinstance(factory, Provided):
        owned = factory
    elif isinstance(factory, Factory):
        # Not by `musicfw.plugins.provided`, which refuses what the first check is there to tell.
        owned = Provided(factory=factory, record=EntryPoint.of_object(factory).record("loaded"))
    else:
        raise UsageError(f"expected a factory of a {kind}, got {type(factory).__name__}")
    if owned.factory.kind != kind:
        raise UsageError(f"expected a factory of a {kind}, got one of a {owned.factory.kind}")
    return Subject(provided=owned, options=dict(options or {}))


def run_check(check: Check, subject: Subject) -> None:
    """Run a check on a plugin.

    Raises
    ------
    CheckFailure
        If the law does not hold, or the plugin raises.
    CheckSkipped
        If the law does not concern it.
    """
    reason = check.why_not(subject.factory)
    if reason is not None:
        raise CheckSkipped(reason)
    try:
        check.function(subject)
    except CheckSkipped:
        raise
    except FalsifiedError as found:
        raise CheckFailure(_message(check, subject, found.cause, found.example)) from found.cause
    except (Exception, SystemExit) as err:
        raise CheckFailure(_message(check, subject, err, None)) from err


def record_of(check: Check, subject: Subject, reason: str | None) -> CheckRecord:
    """Run a check and return its record; ``reason`` tells why a failure is expected, if it is."""
    started = time.perf_counter()
    status: CheckStatus = "passed" if reason is None else "unexpected-pass"
    message = "" if reason is None else f"passes, though a failure was expected ({reason})"
    try:
        run_check(check, subject)
    except CheckSkipped as skipped:
        status, message = "skipped", str(skipped)
    except CheckFailure as failure:
        status = "failed" if reason is None else "expected-failure"
        message = str(failure) if reason is None else reason
    return CheckRecord(
        name=check.name, status=status, message=message, elapsed_s=time.perf_counter() - started
    )


def known_only(expected_failures: Mapping[str, str] | None, names: Iterator[str]) -> dict[str, str]:
    """Return the expected failures if each names a check and says why."""
    expected, known = dict(expected_failures or {}), list(names)
    for name, reason in expected.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"the checks are {one_of(known)}"
            raise UsageError(f"expected_failures: there is no check {name!r}; {hint}")
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f"expected_failures[{name!r}]: expected the reason as text")
    return expected


def _message(check: Check, subject: Subject, cause: BaseException, example: str | None) -> str:
    what = str(cause) if isinstance(cause, ViolationError) else _crash(cause)
    lines = [f"{subject} fails the check {check.name!r}: {what}", f"  law: {check.law}"]
    if example is not None:
        lines.append(f"  smallest failing example: {example}")
    lines.append(f"  what to do: {check.advice}")
    return "\n".join(lines)


def _crash(cause: BaseException) -> str:
    """Return what was raised and the line of the plugin's own code that raised it."""
    if isinstance(cause, PluginError) and cause.__cause__ is not None:
        cause = cause.__cause__  # what the host wraps around it says nothing new here
    frames = traceback.extract_tb(cause.__traceback__)
    own = [f for f in frames if not Path(f.filename).is_relative_to(_PACKAGE)]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"it raised {type(cause).__name__}: {cause}{where}"
