"""A run's specification: from YAML to a `RunSpec`, or to every problem in it.

Nothing is computed here and nothing is trusted: the names under ``use:`` are looked up in the
registry, the values under ``with:`` become that factory's params, and what concerns several keys
at once is checked last, wherever the parts it needs are sound.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicfw.errors import Mark, Problem, SpecError, one_of
from musicfw.expected import in_words
from musicfw.params import build_params, validate
from musicfw.sections import (
    ID_PATTERN,
    TARGET_KINDS,
    ControlSpec,
    DataSpec,
    InvertSpec,
    MapSpec,
    PluginsSpec,
    ReportSpec,
    RunSpec,
    SpecRegistry,
    StartSpec,
    TargetSpec,
)
from musicfw.spec_paths import with_located_paths
from musicfw.yamlpos import Document, format_path, load, overlay
from musicfw.yamlpos import Path as TreePath

__all__ = [
    "ControlSpec",
    "DataSpec",
    "InvertSpec",
    "MapSpec",
    "PluginsSpec",
    "ReportSpec",
    "RunSpec",
    "SpecRegistry",
    "StartSpec",
    "TargetSpec",
    "load_spec",
    "parse_spec",
]


def load_spec(
    source: str | Path, *, registry: SpecRegistry, overrides: Sequence[str] = ()
) -> RunSpec:
    """Return the specification in a YAML file.

    Parameters
    ----------
    source : path
        Of a UTF-8 file.
    registry : Registry
        What ``use:`` may name.
    overrides : sequence of str
        ``PATH=VALUE``, applied in this order.

    Returns
    -------
    RunSpec
        Paths of data are absolute (see `musicfw.spec_paths`).

    Raises
    ------
    SpecError
        With every problem, sorted by position.
    """
    try:
        raw = Path(source).read_bytes()
    except OSError as err:
        message = f"expected a readable spec file, got {err.strerror or err}: {source}"
        raise SpecError([Problem("no-file", "", message, hint="check the path")]) from err
    try:
        text = raw.decode()
    except UnicodeDecodeError as err:
        before = raw[: err.start].decode().split("\n")
        line = (before[-1] + raw[err.start :].decode(errors="replace")).partition("\n")[0]
        mark = Mark(str(source), len(before), len(before[-1]) + 1, line.rstrip("\r"))
        message = f"expected UTF-8, got the byte 0x{raw[err.start]:02X}"
        hint = "save the file as UTF-8"
        raise SpecError([Problem("bad-encoding", "", message, mark, hint)]) from err
    folder = Path(source).parent
    return parse_spec(
        text, source=str(source), registry=registry, overrides=overrides, folder=folder
    )


def parse_spec(
    text: str,
    *,
    source: str,
    registry: SpecRegistry,
    overrides: Sequence[str] = (),
    folder: Path | None = None,
) -> RunSpec:
    """Return the specification in a YAML text; as `load_spec`.

    Relative paths of data start at ``folder``; without one they stay relative.
    """
    document, problems = load(text, source=source)
    if document is None:
        raise SpecError(problems)
    for override in overrides:
        document, more = overlay(document, override)
        problems += more
    draft = _Draft(document, problems, _tidy(document))
    spec = _read(draft, registry)
    if spec is None or draft.problems:
        raise SpecError(draft.problems)
    return spec if folder is None else with_located_paths(spec, document, folder=folder)


# --- checking ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Draft:
    """A spec that is being checked: the text, what is wrong so far, and the tidied tree."""

    document: Document
    problems: list[Problem]
    tree: dict[str, Any]

    def add(
        self, code: str, path: TreePath, message: str, hint: str | None = None, *, key: bool = False
    ) -> None:
        mark = self.document.mark(path, key=key)
        self.problems.append(Problem(code, format_path(path), message, mark, hint))

    def at(self, *path: str | int) -> Any:
        """Return the value at a path, None if there is none."""
        value: Any = self.tree
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def part(self, tp: Any, *path: str | int) -> Any:
        """Return a part as a typed value, None if it is not sound; that is reported elsewhere."""
        value, problems = validate(tp, self.at(*path))
        return None if problems else value

    def items(self, section: str) -> Iterator[tuple[TreePath, dict[str, Any]]]:
        """Return the items of a list section that are mappings, with their paths."""
        listed = self.at(section)
        for position, item in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(item, dict):
                yield (section, position), item


def _read(draft: _Draft, registry: SpecRegistry) -> RunSpec | None:
    garbled = list(draft.problems)
    usable = _check_plugins(draft, registry)
    spec, problems = validate(RunSpec, draft.tree, document=draft.document)
    # `_check_use` knows which names there are.
    draft.problems.extend(p for p in problems if (p.code, p.path[-4:]) != ("missing-key", ".use"))
    params = {path: _check_use(draft, usable, kind, path) for kind, path in _places(draft)}
    for section in ("invert", "control"):
        _check_ids(draft, section)
    _check_clusters(draft)
    _check_compared(draft, usable)
    for path, item in draft.items("control"):
        _check_target(draft, (*path, "target"))
        _check_start(draft, (*path, "start"), item.get("start"))
    # What the text got wrong in the first place is not wrong a second time.
    places = {_place(problem) for problem in garbled}
    draft.problems[:] = garbled + [
        p for p in draft.problems[len(garbled) :] if _place(p) not in places
    ]
    return None if draft.problems or not isinstance(spec, RunSpec) else _with_params(spec, params)


def _place(problem: Problem) -> tuple[str, int, int] | None:
    mark = problem.mark
    return None if mark is None else (mark.source, mark.line, mark.column)


def _with_params(spec: RunSpec, params: dict[TreePath, Any]) -> RunSpec:
    replace = dataclasses.replace
    return replace(
        spec,
        data=replace(spec.data, with_=params[("data",)]),
        map=replace(spec.map, with_=params[("map",)]),
        invert=tuple(
            replace(item, with_=params[("invert", i)]) for i, item in enumerate(spec.invert)
        ),
        control=tuple(
            replace(item, with_=params[("control", i)]) for i, item in enumerate(spec.control)
        ),
    )


def _tidy(document: Document) -> dict[str, Any]:
    """Return the tree with default ids, numbers as labels, and without empty optional sections."""
    tree = copy.deepcopy(document.tree)
    draft = _Draft(document, [], tree)
    # "report:" with every line below it commented out is what people write: it means the default.
    for section in ("invert", "control", "report", "plugins"):
        if section in tree and tree[section] is None:
            del tree[section]
    for section in ("invert", "control"):
        for path, item in draft.items(section):
            if item.get("start", ...) is None:
                del item["start"]
            if "id" not in item and isinstance(use := item.get("use"), str):
                item["id"] = _as_id(use)
            for key in ("target", "start"):
                label = draft.at(*path, key, "label")
                if isinstance(label, int | float) and not isinstance(label, bool):
                    item[key]["label"] = _as_written(document, (*path, key, "label"), label)
    return tree


def _as_id(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9._-]+", "-", plain).strip("._-")[:100]


def _as_written(document: Document, path: TreePath, number: float) -> str:
    # A label 007 is the text "007", though YAML reads it as 7.
    mark = document.mark(path)
    written = mark.text[mark.column - 1 : mark.column - 1 + mark.width]
    return written if re.fullmatch(r"[-+.\w]+", written) else str(number)


def _places(draft: _Draft) -> Iterator[tuple[str, TreePath]]:
    """Return where factories are named: their kind and the path of the section."""
    for section, kind in (("data", "dataset"), ("map", "backend")):
        if isinstance(draft.at(section), dict):
            yield kind, (section,)
    for section, kind in (("invert", "solver"), ("control", "policy")):
        for path, _ in draft.items(section):
            yield kind, path


def _check_use(draft: _Draft, registry: SpecRegistry, kind: str, path: TreePath) -> Any:
    """Return the params of what a section names under ``use:``, None if there are problems."""
    use = draft.at(*path, "use")
    if use is None and path == ("map",):
        use = MapSpec.__dataclass_fields__["use"].default
    values = draft.at(*path, "with")
    if not isinstance(values, dict | None):
        message = f"expected a mapping of options, got {in_words(values)}"
        draft.add("wrong-type", (*path, "with"), message, "write {} for none")
    where = (*path, "use")
    if use is None and "use" not in draft.at(*path):
        hint = f"add 'use: …' with {one_of(registry.names(kind))}"
        draft.add("missing-key", where, f"expected the name of a {kind}, got nothing", hint)
    if not isinstance(use, str):
        return None
    factory = registry.lookup(kind, use)
    if isinstance(factory, Problem):
        mark = draft.document.mark(where)
        draft.problems.append(dataclasses.replace(factory, path=format_path(where), mark=mark))
        return None
    if not isinstance(values, dict | None):
        return None
    where = (*path, "with")
    params, problems = build_params(factory, values or {}, path=where, document=draft.document)
    draft.problems.extend(problems)
    return params


def _check_plugins(draft: _Draft, registry: SpecRegistry) -> SpecRegistry:
    """Return the registry without the blocked plugins, after checking block and require."""
    plugins = draft.part(PluginsSpec, "plugins") or PluginsSpec()
    for position, name in enumerate(plugins.block):
        if not registry.known_plugin(name):
            message = f"expected an installed plugin, got {name!r}, which blocks nothing"
            hint = "`musicfw plugins` lists what is installed"
            draft.add("unknown-plugin", ("plugins", "block", position), message, hint)
    usable = registry.without([name for name in plugins.block if registry.known_plugin(name)])
    for position, name in enumerate(plugins.require):
        problem = usable.requirement(name)
        if problem is not None:
            where: TreePath = ("plugins", "require", position)
            mark = draft.document.mark(where)
            draft.problems.append(dataclasses.replace(problem, path=format_path(where), mark=mark))
    return usable


def _check_ids(draft: _Draft, section: str) -> None:
    seen: dict[str, TreePath] = {}
    for path, item in draft.items(section):
        name, where = item.get("id"), (*path, "id")
        if where not in draft.document.marks:
            where = (*path, "use")  # without an id of its own it has the name under use
        if not isinstance(name, str):
            continue
        if not re.fullmatch(ID_PATTERN, name):
            message = (
                f"expected a file name of lower-case letters, digits, '.', '_' and '-' that "
                f"starts with a letter or digit, got {name!r}"
            )
            proposal = _as_id(name)
            draft.add("bad-id", where, message, f"for instance {proposal!r}" if proposal else None)
        elif name in seen:
            first = draft.document.mark(seen[name]).line
            hint = f"{name!r} stands in line {first} already; add 'id: {name}-2', say"
            message = f"expected an id that is not used in {section} yet, got {name!r}"
            draft.add("duplicate-id", where, message, hint)
        else:
            seen[name] = where


def _check_compared(draft: _Draft, registry: SpecRegistry) -> None:
    """Check that each of evaluate.policies is a walk under control or a policy."""
    named = draft.at("evaluate", "policies")
    walks = [item.get("id") for _, item in draft.items("control")]
    for position, name in enumerate(named if isinstance(named, list) else []):
        if not isinstance(name, str) or name in walks:
            continue
        found = registry.lookup("policy", name)
        if isinstance(found, Problem):
            where: TreePath = ("evaluate", "policies", position)
            mark = draft.document.mark(where)
            draft.problems.append(dataclasses.replace(found, path=format_path(where), mark=mark))


def _check_clusters(draft: _Draft) -> None:
    size, clusters = _lattice_size(draft), draft.at("map", "clusters")
    if size and _is_index(clusters) and clusters > size[0] * size[1]:
        message = f"expected at most {size[0] * size[1]}, the number of units, got {clusters}"
        draft.add("out-of-range", ("map", "clusters"), message)


def _lattice_size(draft: _Draft) -> tuple[int, int] | None:
    """Return rows and columns if they are sound, whatever the rest of the lattice is."""
    rows, columns = (draft.at("map", "lattice", key) for key in ("rows", "columns"))
    return (rows, columns) if _is_index(rows) and _is_index(columns) and rows * columns else None


def _check_target(draft: _Draft, path: TreePath) -> None:
    given = draft.at(*path)
    if not isinstance(given, dict):
        return
    kinds = [kind for kind in TARGET_KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        got = "none" if not kinds else " and ".join(kinds)
        message = f"expected exactly one of {', '.join(TARGET_KINDS)}, got {got}"
        hint = 'for instance label: "3"' if not kinds else f"keep {one_of(kinds)}"
        if not set(given) - {*TARGET_KINDS, "away"}:  # else the unknown key says it all
            draft.add("bad-target", path, message, hint, key=True)
    size = _lattice_size(draft)
    if size is not None:
        _check_units(draft, path, size)
    cluster, clusters = given.get("cluster"), draft.at("map", "clusters")
    if isinstance(cluster, int) and isinstance(clusters, int) and cluster >= clusters > 1:
        message = f"expected a cluster 0 … {clusters - 1} (map.clusters is {clusters})"
        draft.add("out-of-range", (*path, "cluster"), f"{message}, got {cluster}")


def _check_units(draft: _Draft, path: TreePath, size: tuple[int, int]) -> None:
    rows, columns = size
    lattice, units = f"the lattice is {rows} × {columns}", rows * columns
    listed = draft.at(*path, "units")
    for position, unit in enumerate(listed if isinstance(listed, list) else []):
        where = (*path, "units", position)
        if not _is_index(unit):
            continue
        if unit >= units:
            message = f"expected a unit 0 … {units - 1} ({lattice}), got {unit}"
            draft.add("out-of-range", where, message)
        elif unit in listed[:position]:
            draft.add("bad-value", where, f"expected each unit once, got {unit} again")
    cell = draft.at(*path, "cell")
    if not isinstance(cell, list) or len(cell) != 2:
        return
    for position, (name, count) in enumerate((("row", rows), ("column", columns))):
        number = cell[position]
        if _is_index(number) and number >= count:
            message = f"expected a {name} 0 … {count - 1} ({lattice}), got {number}"
            draft.add("out-of-range", (*path, "cell", position), message)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_start(draft: _Draft, path: TreePath, given: Any) -> None:
    if not isinstance(given, dict) or given.get("rows") is None:
        return
    others = [key for key in ("count", "label") if given.get(key) is not None]
    if others:
        message = f"expected either rows or count and label, got rows and {' and '.join(others)}"
        draft.add("bad-start", (*path, "rows"), message, "remove one", key=True)
