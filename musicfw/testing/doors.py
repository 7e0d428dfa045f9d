"""Three doors to one set of checks: records, a pytest decorator, and a generator of callables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from musicfw.api import Factory
from musicfw.plugins import Provided
from musicfw.testing import (
    backend_laws,
    backend_trait_laws,
    dataset_laws,
    factory_laws,
    policy_laws,
    solver_accuracy,
    solver_contract,
    solver_equivariance,
    sparse_laws,
)
from musicfw.testing.kit import (
    Check,
    CheckFailure,
    CheckRecord,
    checks_in,
    known_only,
    record_of,
    run_check,
    subject_of,
)

CHECKS: tuple[Check, ...] = (
    *checks_in(factory_laws, solver_accuracy, solver_equivariance, solver_contract),
    *checks_in(backend_laws, backend_trait_laws, sparse_laws, policy_laws, dataset_laws),
)
"""Every check of the kit."""

Checkable = Factory[Any] | Provided
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks that concern a kind of plugin, in the order in which they run."""
    return tuple(check for check in CHECKS if kind in check.kinds)


def check_plugin(
    kind: str,
    factory: Checkable,
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> tuple[CheckRecord, ...]:
    """Run every check of a kind on a plugin and return what became of each.

    Parameters
    ----------
    kind : {"solver", "backend", "policy", "dataset"}
        What the factory makes.
    factory : Factory or Provided
        What is checked: a factory, or what ``registry.find(kind, name)`` returns.
    options : mapping of str, optional
        Values of its params that differ from the defaults.
    expected_failures : mapping of str to str, optional
        Reasons by the names of the checks that are known to fail. A check of them that passes is an
        ``unexpected-pass``, which is not good either.

    Returns
    -------
    tuple of CheckRecord
        One per check; those that the traits rule out are ``skipped``.

    Raises
    ------
    UsageError
        For options the factory refuses, an unknown check, or a reason that is missing.
    """
    checks, subject = checks_of(kind), subject_of(kind, factory, options)
    expected = known_only(expected_failures, (check.name for check in checks))
    _ = subject.params  # options that are refused are the caller's mistake, not the plugin's
    return tuple(record_of(check, subject, expected.get(check.name)) for check in checks)


def plugin_checks(
    kind: str, factory: Checkable, *, options: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield (name, callable) of every check that the traits of a factory select.

    The callable raises `CheckFailure` with a message for the author, or `CheckSkipped`.
    """
    subject = subject_of(kind, factory, options)
    for check in checks_of(kind):
        if check.why_not(subject.factory) is None:
            yield check.name, lambda check=check: run_check(check, subject)  # type: ignore[misc]


def parametrize_plugin(
    kind: str,
    factory: Checkable,
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Decorator:
    """Return a pytest decorator that gives a test every check of a plugin, one at a time.

    ::

        @parametrize_solver(LSMR, expected_failures={"thread_safe": "keeps its last answer"})
        def test_lsmr_keeps_the_laws(check):
            check()

    The test takes an argument ``check`` and calls it. A check under ``expected_failures`` must
    fail: pytest reports it as xfailed, and as failed if it passes.
    """
    import pytest

    cases: Sequence[tuple[str, Callable[[], None]]] = list(
        plugin_checks(kind, factory, options=options)
    )
    expected = known_only(expected_failures, (check.name for check in checks_of(kind)))
    parameters = []
    for name, call in cases:
        marks = ()
        if name in expected:
            marks = (pytest.mark.xfail(reason=expected[name], strict=True, raises=CheckFailure),)  # type: ignore[assignment]
        parameters.append(pytest.param(call, id=name, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def check_solver(factory: Checkable, **rest: Any) -> tuple[CheckRecord, ...]:
    """Run every check of solvers; arguments as of `check_plugin`."""
    return check_plugin("solver", factory, **rest)


def solver_checks(factory: Checkable, **rest: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield (name, callable) of the checks of solvers; arguments as of `plugin_checks`."""
    return plugin_checks("solver", factory, **rest)


def parametrize_solver(factory: Checkable, **rest: Any) -> Decorator:
    """Give a test every check of solvers; arguments as of `parametrize_plugin`."""
    return parametrize_plugin("solver", factory, **rest)


def check_backend(factory: Checkable, **rest: Any) -> tuple[CheckRecord, ...]:
    """Run every check of backends; arguments as of `check_plugin`."""
    return check_plugin("backend", factory, **rest)


def backend_checks(factory: Checkable, **rest: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield (name, callable) of the checks of backends; arguments as of `plugin_checks`."""
    return plugin_checks("backend", factory, **rest)


def parametrize_backend(factory: Checkable, **rest: Any) -> Decorator:
    """Give a test every check of backends; arguments as of `parametrize_plugin`."""
    return parametrize_plugin("backend", factory, **rest)


def check_policy(factory: Checkable, **rest: Any) -> tuple[CheckRecord, ...]:
    """Run every check of policies; arguments as of `check_plugin`."""
    return check_plugin("policy", factory, **rest)


def policy_checks(factory: Checkable, **rest: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield (name, callable) of the checks of policies; arguments as of `plugin_checks`."""
    return plugin_checks("policy", factory, **rest)


def parametrize_policy(factory: Checkable, **rest: Any) -> Decorator:
    """Give a test every check of policies; arguments as of `parametrize_plugin`."""
    return parametrize_plugin("policy", factory, **rest)


def check_dataset(factory: Checkable, **rest: Any) -> tuple[CheckRecord, ...]:
    """Run every check of data sources; arguments as of `check_plugin`."""
    return check_plugin("dataset", factory, **rest)


def dataset_checks(factory: Checkable, **rest: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield (name, callable) of the checks of data sources; arguments as of `plugin_checks`."""
    return plugin_checks("dataset", factory, **rest)


def parametrize_dataset(factory: Checkable, **rest: Any) -> Decorator:
    """Give a test every check of data sources; arguments as of `parametrize_plugin`."""
    return parametrize_plugin("dataset", factory, **rest)
