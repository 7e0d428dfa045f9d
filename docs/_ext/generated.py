"""The parts of the reference that are made from the code: Markdown texts, without Sphinx.

A page asks for one with a comment ``<!-- generated: NAME -->``; `musicfw_docs` puts it there when
the site is built. The tests read the same texts.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, get_args
from unittest import mock

from musicfw import Registry, Status, StopReason, cli, errors, sections
from musicfw.expected import describe, field_types
from musicfw.lattice import Lattice
from musicfw.params import params_to_tree
from musicfw.schema import spec_schema

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "spec_errors" / "cases"
KINDS = {"dataset": "datasets", "backend": "backends", "solver": "solvers", "policy": "policies"}
_LONGEST_LINE = 100


def spec_reference() -> str:
    """Return the sections of a spec, one table each, in the order of the dataclass."""
    parts = ["### The spec itself\n", options_table(sections.RunSpec)]
    for key, tp in field_types(sections.RunSpec).items():
        for section in dataclasses_in(tp):
            listed = " (a list of these)" if "tuple" in str(tp) else ""
            parts += section_reference(section, path=key, note=listed)
    return "\n".join(parts)


def section_reference(section: type, *, path: str, note: str = "") -> Iterator[str]:
    """Yield the table of a section and of the sections in it."""
    yield f"### `{path}`{note}\n"
    summary = "" if section is Lattice else _summary(section)
    yield f"{summary}\n"
    yield options_table(section)
    for key, tp in field_types(section).items():
        for inner in dataclasses_in(tp):
            yield from section_reference(inner, path=f"{path}.{key}")


def dataclasses_in(tp: Any) -> list[type]:
    """Return the dataclasses that a type is made of."""
    if dataclasses.is_dataclass(tp) and isinstance(tp, type):
        return [tp]
    return [found for arg in get_args(tp) for found in dataclasses_in(arg)]


def factories_reference(kind: str, registry: Registry | None = None) -> str:
    """Return every built-in factory of a kind with its options."""
    registry = registry or Registry.from_modules()
    parts = []
    for name in registry.names(kind):
        factory = registry.find(kind, name).factory
        parts += [f"### `{name}`\n", f"{_cell(factory.summary)}\n"]
        if factory.traits:
            traits = ", ".join(f"`{trait}`" for trait in sorted(factory.traits))
            parts.append(f"Traits: {traits}.\n")
        parts.append(options_table(factory.params) if dataclasses.fields(factory.params) else _NONE)
    return "\n".join(parts)


_NONE = "No options.\n"


def plugins_reference() -> str:
    """Return what the distributions under plugins/ provide, with its options."""
    parts, builtin = [], Registry.from_modules()
    for folder in sorted((ROOT / "plugins").glob("musicfw-*")):
        with mock.patch.object(sys, "path", [str(folder), *sys.path]):
            module = importlib.import_module(folder.name.replace("-", "_"))
        registry = Registry.from_modules(module)
        for kind in KINDS:
            for name in sorted({*registry.names(kind)} - {*builtin.names(kind)}):
                factory = registry.find(kind, name).factory
                parts += [
                    f"### `{name}`\n",
                    f"A {kind} of `{folder.name}`. {_cell(factory.summary)}\n",
                ]
                parts.append(options_table(factory.params))
    return "\n".join(parts)


def options_table(cls: type) -> str:
    """Return the options of a dataclass as a table: name, what is expected, default, meaning."""
    help_texts = _help_texts(cls)
    lines = ["| key | expected | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        key = field.name.rstrip("_")
        expected = "a mapping" if key == "with" else describe(field_types(cls)[key])
        lines.append(
            f"| `{key}` | {_cell(expected)} | {default_of(cls, field)} | {_cell(help_texts[key])} |"
        )
    return "\n".join(lines) + "\n"


def default_of(cls: type, field: dataclasses.Field[Any]) -> str:
    """Return the default as it would be written in YAML, or that the key must be there."""
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "*required*"
    if field.name == "with_":
        return "its defaults"
    if field.name == "id" and field.default == "":
        return "the name under `use`"
    default = field.default
    if default is dataclasses.MISSING:
        default = field.default_factory()  # type: ignore[misc]
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        kept = {k: v for k, v in params_to_tree(default).items() if v is not None}
        return f"`{json.dumps(kept)}`"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _help_texts(cls: type) -> dict[str, str]:
    """Return the help of every field; a lattice has it in the JSON Schema."""
    fields = {f.name.rstrip("_"): f.metadata.get("help") for f in dataclasses.fields(cls)}
    if cls is not Lattice:
        return {key: str(text) for key, text in fields.items()}
    described = spec_schema(Registry.from_modules())["$defs"]["Lattice"]["properties"]
    return {key: described[key]["description"] for key in fields}


def cli_reference() -> str:
    """Return the help of every command, as it is printed."""
    parts = []
    for names in ([], *([name] for name in cli.cli.commands)):
        line = " ".join(["musicfw", *names])
        title = f"`{line}`"
        parts += [f"## {title}\n", f"```console\n$ {line} --help\n{help_of(names)}\n```\n"]
    return "\n".join(parts)


def help_of(names: list[str]) -> str:
    """Return what ``musicfw NAMES --help`` prints in a terminal of 80 columns."""
    out = io.StringIO()
    with redirect_stdout(out), mock.patch.dict(os.environ, COLUMNS="80"):
        cli.cli([*names, "--help"], prog_name="musicfw", standalone_mode=False)
    return out.getvalue().rstrip()


def error_example(code: str) -> str:
    """Return the text that a user sees for a code: the first of the golden cases that shows it."""
    for path in sorted(CASES.glob(f"{code}*.txt")):
        text = path.read_text(encoding="utf-8")
        for problem in re.split(r"\n(?=\S)", text.rstrip("\n")):
            if f"error[{code}]" in problem:
                return "\n".join(_shortened(line) for line in problem.splitlines())
    raise LookupError(f"no case in {CASES} shows {code}")


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def with_error_examples(page: str) -> str:
    """Return the page of errors with meaning and example under the heading of each code."""

    def filled(match: re.Match[str]) -> str:
        code = match[1]
        meaning = errors.CODES.get(code, "")
        return f"{match[0]}\n*{meaning}.*\n\n```text\n{error_example(code)}\n```\n"

    return re.sub(r"^### `([a-z-]+)`\n", filled, page, flags=re.MULTILINE)


def advice_table(of: type[Status] | type[StopReason]) -> str:
    """Return what each status means and what to try."""
    lines = ["| name | number | cause, and what to try |", "|---|---|---|"]
    lines += [f"| `{each.name}` | {int(each)} | {_cell(each.advice)} |" for each in of]
    return "\n".join(lines) + "\n"


def unreleased() -> str:
    """Return the changes since the last release, by kind."""
    parts = []
    for kind in ("added", "changed", "fixed", "removed"):
        found = sorted((ROOT / "docs" / "changelog.d").glob(f"*.{kind}.md"))
        lines = [f"- {path.read_text(encoding='utf-8').strip()}" for path in found]
        parts += [f"**{kind.capitalize()}**", "\n".join(lines)] if lines else []
    return "\n\n".join(parts)


def _summary(cls: type) -> str:
    """Return the first paragraph of a docstring, with its reST literals as Markdown's."""
    text = (cls.__doc__ or "").split("\n\n")[0]
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("`with_`", "`with`")


def _cell(text: str) -> str:
    """Return the text so that Markdown changes nothing in it and it fits a table."""
    kept = re.split(r"(`+[^`]+`+)", text)
    return "".join(
        part.replace("|", "\\|")
        if part.startswith("`")
        else re.sub(r"([|*<>\[\]\\])", r"\\\1", part)
        for part in kept
    )


GENERATED: dict[str, Callable[[], str]] = {
    "spec": spec_reference,
    "cli": cli_reference,
    "plugins": plugins_reference,
    "unreleased": unreleased,
    "statuses": lambda: advice_table(Status),
    "stop-reasons": lambda: advice_table(StopReason),
    **{title: partial(factories_reference, kind) for kind, title in KINDS.items()},
}


def fill(page: str) -> str:
    """Return a page with its generated parts in the places of their comments.

    Raises
    ------
    KeyError
        For a comment that names none of `GENERATED`.
    """
    if "<!-- generated: errors -->" in page:
        page = with_error_examples(page.replace("<!-- generated: errors -->\n", ""))
    return re.sub(r"<!-- generated: ([\w-]+) -->", lambda match: GENERATED[match[1]](), page)
