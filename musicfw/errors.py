"""Everything musicfw raises, and how it is printed.

::

    MusicfwError                    every error musicfw raises on purpose
    ├── UsageError (ValueError)     a call, option or file that cannot be used   exit 2
    │   ├── DataError               data that cannot be used: row and column     exit 2
    │   ├── SpecError               every problem of a spec, with positions      exit 2
    │   └── StoreError              a file or folder that cannot be read/written exit 2
    ├── PluginError                 a plugin failed                              exit 3
    └── NumericalError              a result is unusable (raise_for_status)      exit 1

A message says what is wrong, where, what was expected, what was got and what to do next. Mistakes
of the user are printed without a traceback; any other exception is a bug and keeps it (exit 70).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class MusicfwError(Exception):
    """Base of every error that musicfw raises on purpose."""

    exit_code = 2


class UsageError(MusicfwError, ValueError):
    """A call, an option or a file that cannot be used as given."""


class DataError(UsageError):
    """Data that cannot be used; the message names the row and the column."""


class StoreError(UsageError):
    """A file or folder that cannot be read or written as asked."""


class PluginError(MusicfwError):
    """A plugin failed; the message names distribution, version and call."""

    exit_code = 3


class NumericalError(MusicfwError):
    """A numerical result that is unusable, raised only on request (``raise_for_status``)."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text: where a problem is.

    Parameters
    ----------
    source : str
        File name, or a description such as ``<--set>``.
    line, column : int
        1-based position.
    text : str
        The whole line, without its line ending.
    width : int
        How many characters the caret underlines (at least 1).
    """

    source: str
    line: int
    column: int
    text: str
    width: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a spec.

    Parameters
    ----------
    code : str
        Stable identifier, for instance ``unknown-key``.
    path : str
        Where in the tree, for instance ``invert[1].with.alpha``.
    message : str
        "expected …, got …" in one line.
    mark : Mark or None
        Position in the text; None if the tree did not come from a text.
    hint : str or None
        What to do next ("did you mean …").
    """

    code: str
    path: str
    message: str
    mark: Mark | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = f" {self.path}" if self.path else ""
        head = f"error[{self.code}]{where}: {self.message}"
        lines = [head]
        if self.mark is not None:
            mark = self.mark
            lines[0] = f"{mark.source}:{mark.line}:{mark.column}: {head}"
            lines.append(f"    {mark.text}")
            lines.append("    " + " " * (mark.column - 1) + "^" * max(1, mark.width))
        if self.hint is not None:
            lines.append(f"    help: {self.hint}")
        return "\n".join(lines)


class SpecError(UsageError):
    """All problems of a spec at once, sorted by position.

    ``exit_code`` is 3 if nothing but failed plugins is to blame, else 2.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=_position))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """Exit code of the command line: 3 for failed plugins only, else 2."""
        return 3 if all(problem.code == "plugin-failed" for problem in self.problems) else 2


def _position(problem: Problem) -> tuple[bool, str, int, int, str]:
    mark = problem.mark
    if mark is None:
        return (True, "", 0, 0, problem.path)
    return (False, mark.source, mark.line, mark.column, problem.path)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the nearest known word, else None."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


def one_of(words: Sequence[str]) -> str:
    """Return ``'a', 'b' or 'c'`` for a message."""
    quoted = [repr(word) for word in words]
    if len(quoted) < 2:
        return "".join(quoted) or "(none installed)"
    return ", ".join(quoted[:-1]) + " or " + quoted[-1]


CODES: dict[str, str] = {
    # the text
    "no-file": "the spec file is missing or cannot be read",
    "bad-encoding": "the spec file is not UTF-8",
    "bad-character": "a character that YAML does not allow",
    "tab-character": "a tab where YAML wants spaces",
    "yaml-syntax": "text that is not YAML",
    "unknown-alias": "an alias *name without an anchor &name before it",
    "recursive-alias": "an alias inside the very value it stands for",
    "too-large": "more values, after following the aliases, than a spec may have",
    "too-deep": "values nested deeper than a spec may be",
    "several-documents": "more than one document in a file",
    "not-a-mapping": "a spec that is not a mapping of keys to values",
    "duplicate-key": "a key that stands twice in one mapping",
    "non-string-key": "a key that is not text",
    "merge-key": "the key <<, which YAML 1.2 does not have",
    "bad-tag": "a tag other than the plain ones of YAML",
    "bad-number": "a number that is too long to be read",
    "bad-override": "a --set that is not PATH=VALUE, or whose path leads nowhere",
    # the values
    "unknown-key": "a key that nothing reads",
    "missing-key": "a key that is required",
    "wrong-type": "a value of another type than expected",
    "out-of-range": "a value outside its bounds",
    "unknown-choice": "a value that is not one of the choices",
    "bad-value": "a value that its owner refuses",
    "bad-id": "an id that cannot be a file name",
    "duplicate-id": "an id that stands twice in one list",
    "bad-target": "a target with no kind, or with several",
    "bad-start": "a start that says both which rows and how many",
    # the plugins
    "unknown-name": "a name under use: that nothing installed has",
    "ambiguous-name": "a name under use: that several plugins have",
    "plugin-blocked": "a name or plugin that was blocked on request",
    "plugin-failed": "a name or plugin that is installed but broken",
    "plugin-missing": "a required plugin that is not installed",
    "unknown-plugin": "a blocked plugin that is not installed",
}
"""Every code of a `Problem` and what it stands for."""
