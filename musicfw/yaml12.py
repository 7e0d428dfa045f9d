"""The YAML that musicfw reads and writes: scalars of YAML 1.2, and syntax errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
MAX_DEPTH = 64

# YAML 1.2.2, section 10.3.2 (core schema).
CORE_SCALARS = {
    "null": r"(?:null|Null|NULL|~|)",
    "bool": r"(?:true|True|TRUE|false|False|FALSE)",
    "int": r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)",
    "float": (
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
    ),
}


class TooDeepError(yaml.MarkedYAMLError):
    """Values are nested deeper than `MAX_DEPTH`."""


class Loader(yaml.SafeLoader):
    """Composes nodes with scalars of YAML 1.2 and a limit on depth, since composing recurses."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - a class attribute is PyYAML's interface
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeepError(problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either YAML 1.1 or YAML 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern in CORE_SCALARS.items():
    # `None` makes it apply whatever the first character is.
    Loader.add_implicit_resolver(TAG + _name, re.compile(_pattern + r"\Z"), None)
    _Dumper.add_implicit_resolver(TAG + _name, re.compile(_pattern + r"\Z"), None)


_UNPLAIN = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Single quotes fold line breaks, and PyYAML folds some of them wrongly (U+0085).
    style = '"' if _UNPLAIN.search(text) else None
    return dumper.represent_scalar(TAG + "str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(tree: Mapping[str, Any]) -> str:
    """Return a tree as YAML that this and any other YAML reader read back as the same tree."""
    text: str = yaml.dump(
        dict(tree),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return text


_CLOSING = {"sequence": ("[", "]", "list"), "mapping": ("{", "}", "mapping")}
_QUOTE_IT = "put text that starts with {0!r} into quotes"


def explain(err: yaml.MarkedYAMLError) -> tuple[str, str, str | None, yaml.Mark | None]:
    """Return code, message, hint and place of a syntax error.

    PyYAML tells what its parser met ("expected <block end>"); a reader wants to know what to
    write. The place is where the mistake is made, not where the parser gave up: for a bracket or
    a quote that is never closed it is the opening one.
    """
    context, problem = err.context or "", err.problem or ""
    here, opened = err.problem_mark, err.context_mark or err.problem_mark
    word = problem.partition("'")[2].rpartition("'")[0]
    if isinstance(err, TooDeepError):
        message = f"expected at most {MAX_DEPTH} levels of nesting, got more"
        return "too-deep", message, "flatten it", here
    if "found another document" in problem:
        message = "expected one document, got the start of a second one"
        return "several-documents", message, "use one file per spec", here
    if "undefined alias" in problem:
        message = f"expected an anchor &{word} before the alias *{word}, got none"
        return "unknown-alias", message, _QUOTE_IT.format("*"), here
    if "scanning an alias" in context:
        message = "expected the name of an anchor after '*', got another character"
        return "yaml-syntax", message, _QUOTE_IT.format("*"), opened
    if "'\\t'" in problem or "\t" in problem:
        message = "expected spaces, got a tab (YAML allows none in indentation)"
        return "tab-character", message, "replace the tab with spaces", here
    if "flow" in context and "expected ','" in problem:
        start, end, name = _CLOSING["sequence" if "sequence" in context else "mapping"]
        got = f"{word.split(chr(39))[-1]!r} in line {here.line + 1 if here else 0}"
        if "stream end" in problem:
            got = "the end of the text"
        message = f"expected ',' or {end!r} to go on or close this {name}, got {got}"
        return "yaml-syntax", message, f"close {start!r} with {end!r}", opened
    if "unexpected end of stream" in problem:
        message = "expected a closing quote, got the end of the text"
        return "yaml-syntax", message, "close the quote", opened
    return "yaml-syntax", *_explain_line(problem, word), opened if "':'" in problem else here


def _explain_line(problem: str, word: str) -> tuple[str, str | None]:
    if "mapping values are not allowed" in problem:
        return (
            "expected one 'key: value' per line, got a ':' where no key can stand",
            "check the indentation and the space after ':' here and in the line above; put text "
            "that holds ': ' into quotes",
        )
    if "could not find expected ':'" in problem:
        return "expected 'key: value', got a line without ':'", "write a space after the ':'"
    if "sequence entries are not allowed" in problem:
        return "expected a value, got the start of a list item", "begin '- ' on a line of its own"
    if "cannot start any token" in problem:
        hint = _QUOTE_IT.format(word)
        return f"expected a value, got {word!r}, which YAML reserves", hint
    if "unknown escape character" in problem:
        hint = "use single quotes, or write \\\\ for a backslash"
        return f"expected a known escape in double quotes, got '\\{word}'", hint
    if "expected <block end>" in problem:
        hint = "give neighbours the same indentation; put text with special characters into quotes"
        return "expected the next key or item at the indentation of the ones before", hint
    if "expected the node content" in problem:
        got = "the end of the text" if "stream end" in problem else repr(word)
        return f"expected a value, got {got}", "close every bracket; quote special characters"
    return f"expected YAML; its reader says: {problem}", None
