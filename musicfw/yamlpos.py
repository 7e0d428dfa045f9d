"""YAML text -> a plain tree, with the position of every key and value.

PyYAML's stock loader reads ``1e-3`` as text, ``yes`` as true and ``1:30`` as 90, and silently drops
all but the last of duplicate keys. Here scalars follow the core schema of YAML 1.2, and whatever
would be lost or guessed is a `Problem` with its place in the text.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from musicfw.errors import Mark, Problem
from musicfw.yaml12 import CORE_SCALARS, TAG, Loader, dump, explain

__all__ = ["Document", "Path", "dump", "format_path", "load", "overlay"]

Path = tuple[str | int, ...]
Marks = dict[Path, tuple[Mark | None, Mark]]

# Far beyond any real spec; an alias bomb (each level repeating the one before) passes it at once.
_MAX_VALUES = 100_000

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_COMMENT = re.compile(r"\s+#.*$|\s+$")


@dataclass(frozen=True, slots=True)
class Document:
    """A plain tree and where everything in it stands.

    Parameters
    ----------
    tree : dict
        Mappings with text keys, lists, text, numbers, booleans and None.
    marks : mapping of path to (key mark or None, value mark)
        A path is a tuple of keys and list positions; the empty path is the whole. Where a value
        is empty or a block below its key, its mark is the key's, which is what a reader looks for.
    source : str
        Name of the text, for messages.
    """

    tree: dict[str, Any]
    marks: Mapping[Path, tuple[Mark | None, Mark]]
    source: str

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Return the mark of a value (or its key); of the nearest parent if it is not there."""
        while path and path not in self.marks:
            path, key = path[:-1], True
        key_mark, value_mark = self.marks[path]
        return key_mark if key and key_mark is not None else value_mark


def format_path(path: Path) -> str:
    """Return ``invert[1].with.alpha`` for a path."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def load(text: str, *, source: str) -> tuple[Document | None, list[Problem]]:
    """Return the document in a text, and everything that is wrong with it.

    Parameters
    ----------
    text : str
        YAML.
    source : str
        Name of the text, for messages.

    Returns
    -------
    document : Document or None
        None if the text cannot be read at all. Otherwise whatever is sound, so that its values can
        be checked as well and every problem is reported at once.
    problems : list of Problem
        Empty if the text is fine.
    """
    text = text.removeprefix("\ufeff")
    reader = _Reader(text, _LINE_BREAK.split(text), source)
    value = reader.read()
    if reader.is_fatal:
        return None, reader.problems
    if not isinstance(value, dict):
        got = "nothing (it is empty)" if value is None else _kind(value)
        mark = reader.marks[()][1]
        hint = "start with lines of the form 'key: value'"
        problem = Problem("not-a-mapping", "", f"expected a mapping, got {got}", mark, hint)
        return None, [*reader.problems, problem]
    return Document(tree=value, marks=reader.marks, source=source), reader.problems


# --- overrides -----------------------------------------------------------------------------------

_SET_SOURCE = "<--set>"
_SET_PATH = re.compile(r"\s*[^\s.\[\]=]+(?:\.[^\s.\[\]=]+|\[[0-9]+\])*\s*")
_SET_STEP = re.compile(r"\[([0-9]+)\]|[^\s.\[\]]+")


class _OverrideError(Exception):
    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def overlay(document: Document, override: str) -> tuple[Document, list[Problem]]:
    """Return the document with one value replaced, as ``--set PATH=VALUE`` asks.

    Parameters
    ----------
    document : Document
        Stays as it is.
    override : str
        For instance ``map.with.epochs=5`` or ``invert[1].with.alpha=1e-3`` (``invert.1.with.alpha``
        is the same). The value is YAML. Missing mappings on the way are made.

    Returns
    -------
    document : Document
        With marks in the override itself for all it says; unchanged if there are problems.
    problems : list of Problem
        Empty if the override is fine.
    """
    path_text, equals, value_text = override.partition("=")
    lines = _LINE_BREAK.split(override)
    if not equals or not _SET_PATH.fullmatch(path_text):
        mark = Mark(_SET_SOURCE, 1, 1, _visible(lines[0]), max(1, len(path_text)))
        message = f"expected PATH=VALUE, got {override!r}"
        hint = "for instance --set map.with.epochs=20 or --set 'invert[0].count=5'"
        return document, [Problem("bad-override", "", message, mark, hint)]
    steps = list(_steps(path_text, lines[0]))
    tree, marks = copy.deepcopy(document.tree), dict(document.marks)
    try:
        container, path = _descend(tree, marks, steps)
    except _OverrideError as err:
        mark = _span(steps[0][2], steps[-1][2])
        return document, [Problem("bad-override", path_text.strip(), str(err), mark, err.hint)]
    # Blanks instead of the path keep every column where it is in the override.
    reader = _Reader(" " * (len(path_text) + 1) + value_text, lines, _SET_SOURCE, base=path)
    value = container[path[-1]] = reader.read()
    if reader.is_fatal:
        return document, reader.problems
    marks = {p: m for p, m in marks.items() if p[: len(path)] != path} | reader.marks
    marks[path] = (steps[-1][2], steps[-1][2] if value is None else reader.marks[path][1])
    return Document(tree=tree, marks=marks, source=document.source), reader.problems


_Step = tuple[str, int | None, Mark]


def _steps(path: str, line: str) -> Iterator[_Step]:
    for match in _SET_STEP.finditer(path):
        mark = Mark(_SET_SOURCE, 1, match.start() + 1, _visible(line), len(match[0]))
        yield match[0], None if match[1] is None else int(match[1]), mark


def _descend(tree: Any, marks: Marks, steps: list[_Step]) -> tuple[Any, Path]:
    """Return what holds the value and the value's path, making mappings on the way."""
    path: Path = ()
    for text, index, mark in steps[:-1]:
        key = _key_in(tree, text, index, path)
        path = (*path, key)
        if isinstance(tree, dict) and tree.get(key) is None:
            tree[key] = {}
            marks[path] = (mark, mark)
        tree = tree[key]
    text, index, _ = steps[-1]
    return tree, (*path, _key_in(tree, text, index, path))


def _key_in(tree: Any, text: str, index: int | None, path: Path) -> str | int:
    where = format_path(path) or "the spec"
    if isinstance(tree, dict):
        if index is None:
            return text
        raise _OverrideError(f"expected a list at {where}, got a mapping", "use .KEY, not [N]")
    if not isinstance(tree, list):
        raise _OverrideError(f"expected a mapping or a list at {where}, got {_kind(tree)}")
    number = index if index is not None else int(text) if text.isdecimal() else None
    if number is None or number >= len(tree):
        count = f"0 … {len(tree) - 1}" if tree else "none: it is empty"
        hint = "items are counted from 0 and cannot be added by --set; set the whole list"
        raise _OverrideError(f"expected an item of {where} ({count}), got {text.strip('[]')}", hint)
    return number


def _span(first: Mark, last: Mark) -> Mark:
    width = last.column + last.width - first.column
    return Mark(first.source, first.line, first.column, first.text, width)


def _visible(line: str) -> str:
    # A tab would shift the caret below it.
    return line.replace("\t", " ")


# --- reading -------------------------------------------------------------------------------------


class _TooLargeError(Exception):
    pass


class _Reader:
    """Reads one text: composes nodes, then turns them into values, marks and problems."""

    def __init__(self, text: str, lines: list[str], source: str, *, base: Path = ()) -> None:
        self.text, self.lines, self.source, self.base = text, lines, source, base
        self.marks: Marks = {base: (None, Mark(source, 1, 1, _visible(lines[0])))}
        self.problems: list[Problem] = []
        self.is_fatal = False
        self._count = 0
        self._open: list[int] = []

    def read(self) -> Any:
        """Return the tree; sets `is_fatal` if there is none."""
        try:
            node = yaml.compose(self.text, Loader=Loader)
            return None if node is None else self._value(node, self.base, None)
        except yaml.reader.ReaderError as err:
            before = _LINE_BREAK.split(self.text[: err.position])
            mark = self._mark_at(len(before) - 1, len(before[-1]))
            message = (
                f"expected printable text, got the character U+{ord(self.text[err.position]):04X}"
            )
            self._add("bad-character", (), message, mark, "remove it")
        except yaml.MarkedYAMLError as err:
            code, message, hint, place = explain(err)
            mark = self._mark_at(place.line, place.column) if place else self.marks[self.base][1]
            self._add(code, (), message, mark, hint)
        except _TooLargeError as err:
            mark = self.marks[err.args[0][: len(self.base) + 1]][1]
            message = f"expected at most {_MAX_VALUES} values after following the aliases, got more"
            self._add("too-large", (), message, mark, "use fewer aliases")
        self.is_fatal = True
        return None

    def _value(self, node: yaml.Node, path: Path, key_mark: Mark | None) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _TooLargeError(path)
        mark = self._mark(node)
        is_empty = node.start_mark.index == node.end_mark.index
        is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
        self.marks[path] = (key_mark, key_mark if key_mark and (is_empty or is_block) else mark)
        if id(node) in self._open:
            hint = "write the value out instead of the alias"
            message = "expected a value that does not contain itself, got an alias to its parent"
            self._add("recursive-alias", path, message, key_mark or mark, hint)
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, mark)
        self._check_tag(node, path, mark)
        self._open.append(id(node))
        value = (
            self._mapping(node, path)
            if isinstance(node, yaml.MappingNode)
            else [self._value(item, (*path, i), None) for i, item in enumerate(node.value)]
        )
        self._open.pop()
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark, key = self._mark(key_node), key_node.value
            if key_node.tag != TAG + "str":
                self._refuse_key(key_node, path, mark)
            elif key == "<<" and key_node.style is None:
                message = (
                    "expected a plain key, got the merge key '<<', which YAML 1.2 does not have"
                )
                self._add("merge-key", path, message, mark, "write the merged keys out")
            elif key in mapping:
                first = self.marks[(*path, key)][0]
                message = f"expected each key once, got {key!r} again"
                hint = f"it stands in line {first.line} already; remove one" if first else None
                self._add("duplicate-key", (*path, key), message, mark, hint)
            else:
                mapping[key] = None  # so that a repetition inside its own value is not missed
                mapping[key] = self._value(value_node, (*path, key), mark)
        return mapping

    def _refuse_key(self, node: yaml.Node, path: Path, mark: Mark) -> None:
        if isinstance(node, yaml.ScalarNode):
            got, hint = (
                f"{_KINDS.get(node.tag.removeprefix(TAG), 'the value')} {node.value}",
                f'write it as "{node.value}"',
            )
        else:
            got = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            hint = "put text that holds brackets or braces into quotes"
        self._add("non-string-key", path, f"expected a key that is text, got {got}", mark, hint)

    def _scalar(self, node: yaml.ScalarNode, path: Path, mark: Mark) -> Any:
        text, kind = node.value, node.tag.removeprefix(TAG)
        if kind == "str":
            return text
        if not self._check_tag(node, path, mark) or kind == "null":
            return None
        if kind == "bool":
            return text[0] in "tT"
        if kind == "float":
            return float(re.sub(r"\.(?=[iInN])", "", text))
        try:
            return int(text, 0 if text[:2] in ("0x", "0o") else 10)
        except ValueError:  # Python's limit on the digits of an integer
            self._add("bad-number", path, f"expected a number, got one of {len(text)} digits", mark)
            return None

    def _check_tag(self, node: yaml.Node, path: Path, mark: Mark) -> bool:
        """Whether the node is what its tag says; core tags are fine, though nothing needs them."""
        if isinstance(node, yaml.ScalarNode):
            pattern = CORE_SCALARS.get(node.tag.removeprefix(TAG))
            fits = pattern is not None and re.fullmatch(pattern, node.value) is not None
        else:
            fits = node.tag == TAG + ("map" if isinstance(node, yaml.MappingNode) else "seq")
        if not fits:
            tag = node.tag.replace(TAG, "!!")
            hint = "remove the tag; put text that starts with '!' into quotes"
            self._add("bad-tag", path, f"expected a value without a tag, got {tag}", mark, hint)
        return fits

    def _add(
        self, code: str, path: Path, message: str, mark: Mark | None, hint: str | None = None
    ) -> None:
        where = format_path(path if path else self.base)
        self.problems.append(Problem(code, where, message, mark, hint))

    def _mark(self, node: yaml.Node) -> Mark:
        start, end = node.start_mark, node.end_mark
        if start.line == end.line:
            return self._mark_at(start.line, start.column, end.column - start.column)
        shown = _COMMENT.sub("", self.lines[start.line])
        return self._mark_at(start.line, start.column, len(shown) - start.column)

    def _mark_at(self, line: int, column: int, width: int = 1) -> Mark:
        text = _visible(self.lines[min(line, len(self.lines) - 1)])
        return Mark(self.source, line + 1, column + 1, text, max(1, width))


_KINDS = {"null": "nothing", "bool": "the boolean", "int": "the number", "float": "the number"}


def _kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    return f"the text {value!r}" if isinstance(value, str) else f"{value!r}"
