"""Laws over many examples: Hypothesis looks for one that breaks the law and makes it small."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import HypothesisException
from hypothesis.strategies import SearchStrategy

from musicfw.codebook import Codebook
from musicfw.testing.kit import CheckSkipped, FalsifiedError

__all__ = ["for_all", "show"]

# After the first failure, how many more examples may be tried to find a smaller one.
_SHRINKING = 250


# The same examples every time, whatever the machine; a deadline would time it, not the plugin.
_SETTINGS = settings(
    phases=(Phase.generate, Phase.shrink),
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.quiet,
)


class _EnoughError(unittest.SkipTest):
    """Ends the search: Hypothesis lets what skips a test through at once."""


def for_all(
    law: Callable[..., None], cases: SearchStrategy[Mapping[str, Any]], *, examples: int = 25
) -> None:
    """Try a law on examples; the same ones every time.

    Parameters
    ----------
    law : callable
        ``law(**case)`` raises where it does not hold.
    cases : SearchStrategy
        Of mappings from the law's arguments to values.
    examples : int
        How many.

    Raises
    ------
    FalsifiedError
        With the smallest example that was found, as Python text.
    """
    failures: list[tuple[str, BaseException]] = []
    tried = 0

    @settings(_SETTINGS, max_examples=examples)
    @given(cases)
    def run(case: Mapping[str, Any]) -> None:
        nonlocal tried
        tried += bool(failures)
        if tried > _SHRINKING:
            raise _EnoughError("no smaller example is looked for")
        # Shown before the law runs: a broken plugin may write into its input.
        shown = show(case)
        try:
            law(**case)
        except (CheckSkipped, HypothesisException):
            raise
        except (Exception, SystemExit) as err:
            failures.append((shown, err))
            raise

    try:
        run()
    except CheckSkipped:
        raise
    except (Exception, SystemExit):
        # Also if it did not fail again when repeated: then what was seen once is what is known.
        if not failures:
            raise
        example, cause = min(reversed(failures), key=lambda failure: len(failure[0]))
        raise FalsifiedError(cause, example) from cause


def show(case: Mapping[str, Any]) -> str:
    """Return a case as Python that makes it again, digit for digit."""
    named = sorted(case.items(), key=lambda item: not isinstance(item[1], Codebook))
    return "; ".join(f"{name} = {_literal(value)}" for name, value in named)


def _literal(value: Any) -> str:
    if isinstance(value, Codebook):
        rest = "" if value.lattice is None else f", lattice={value.lattice!r}"
        if value.relevances is not None:
            rest += f", relevances={_literal(value.relevances)}"
        return f"Codebook(prototypes={_literal(value.prototypes)}{rest})"
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size else f"np.empty({value.shape})"
    return repr(value.item() if isinstance(value, np.generic) else value)
