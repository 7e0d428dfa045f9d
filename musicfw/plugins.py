"""The registry: every plugin that is installed, what became of it, and what it provides.

`load_registry` makes a `Registry`, an immutable value. What a plugin raises while it is in use is
attributed to it by `Provided.calling`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw import api
from musicfw.conflicts import choice_between, with_conflicts
from musicfw.discovery import (
    BUILTIN,
    KINDS,
    EntryPoint,
    Loaded,
    PluginRecord,
    RefusedError,
    State,
    check_factory,
    entry_points,
    load,
    normal_name,
)
from musicfw.errors import MusicfwError, PluginError, Problem, UsageError, did_you_mean, one_of

__all__ = ["PluginRecord", "Provided", "Registry", "default_registry", "load_registry", "provided"]

ALLOW_LIST = "MUSICFW_PLUGINS"
# A failure whose words change with every call would flood the result.
_MOST_COMPLAINTS = 3


class _CallersError(BaseException):
    """An error of the caller's own function on its way out through a plugin.

    Not an Exception, so that a plugin that catches those does not swallow it.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(error)


def unblamed(function: Callable[..., None]) -> Callable[..., None]:
    """Return the caller's function so that what it raises is not blamed on the plugin it is in."""

    def call(*arguments: Any) -> None:
        try:
            function(*arguments)
        except (Exception, SystemExit) as err:
            raise _CallersError(err) from err

    return call


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provided:
    """A factory with the plugin that owns it."""

    factory: api.Factory[Any]
    record: PluginRecord

    def build(self, params: Any) -> Any:
        """Return what the factory builds."""
        with self.calling("build"):
            return self.factory.build(params)

    @contextmanager
    def calling(self, call: str) -> Iterator[None]:
        """Attribute whatever the plugin raises to it.

        Raises
        ------
        PluginError
            Naming kind, name, distribution, version and call; the original error is its cause.

        Notes
        -----
        musicfw's own errors keep their type. A UsageError says whose it is, unless it is that of a
        data source, whose messages name the file. What the caller's own function raised (see
        `unblamed`) is raised as it is. Ctrl-C gets a note that tells where it came.
        """
        try:
            yield
        except _CallersError as passing:
            raise passing.error from passing.error.__cause__
        except UsageError as err:
            owner = f"{self.factory.kind} {self.factory.name!r} of plugin"
            said = f"{owner} {self.record.distribution}: "
            if self.factory.kind != "dataset" and not str(err).startswith(owner):
                err.args = (f"{said}{err}", *err.args[1:])
            raise
        except MusicfwError:
            raise
        except KeyboardInterrupt as err:
            owner = f"plugin {self.record.distribution} {self.record.version}"
            err.add_note(
                f"It came in {call} of {self.factory.kind} {self.factory.name!r} of {owner}."
            )
            raise
        except (Exception, SystemExit) as err:
            raise self.error(call, f"{type(err).__name__}: {err}") from err

    def checked(
        self, value: Any, *, call: str, name: str, shape: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        """Return what ``call`` gave as ``name`` if it is an array of real numbers of this shape."""
        if not isinstance(value, np.ndarray) or value.shape != shape:
            got = getattr(value, "shape", type(value).__name__)
            raise self.error(call, f"expected {name} of shape {shape}, got {got}")
        if value.dtype.kind not in "fiub":
            raise self.error(call, f"expected {name} of real numbers, got {value.dtype}")
        return value

    def error(self, call: str, what: str) -> PluginError:
        """Return the error that says that ``call`` of this plugin went wrong."""
        record = self.record
        return PluginError(
            f"{self.factory.kind} {self.factory.name!r} of plugin {record.distribution} "
            f"{record.version} (entry point {record.entry_point!r}) failed in {call}: {what}. "
            f"Report it to the plugin's authors, or use another {self.factory.kind}."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registry:
    """Every plugin and what it provides. A value: nothing is global.

    Parameters
    ----------
    plugins : tuple
        Internal; use `load_registry` or `from_modules`.
    """

    plugins: tuple[Loaded, ...] = field(repr=False)

    @classmethod
    def from_modules(cls, *modules: Any) -> Registry:
        """Return the built-ins and the given modules (or any objects with hooks), for tests."""
        builtin = [load(point) for point in entry_points() if point.distribution == BUILTIN]
        given = [load(EntryPoint.of_object(module)) for module in modules]
        return cls(plugins=with_conflicts([*builtin, *given]))

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """One record per plugin, sorted by distribution and entry point."""
        records = (plugin.record for plugin in self.plugins)
        return tuple(sorted(records, key=lambda r: (r.distribution, r.entry_point)))

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of a kind that can be used as they stand."""
        owners = self._owners(kind)
        return tuple(sorted(name for name, provided in owners.items() if len(provided) == 1))

    def factories(self, kind: str) -> tuple[api.Factory[Any], ...]:
        """Return the factories behind `names`."""
        owners = self._owners(kind)
        return tuple(owners[name][0].factory for name in self.names(kind))

    def find(self, kind: str, name: str) -> Provided:
        """Return the factory called ``name`` or ``distribution:name``, with its owner.

        Raises
        ------
        UsageError
            If there is none or more than one.
        PluginError
            If the plugin that seems to provide it failed to load.
        """
        found = self._find(kind, name)
        if isinstance(found, Provided):
            return found
        failed = found.code == "plugin-failed"
        message = found.message + (f" ({found.hint})" if found.hint else "")
        raise (PluginError if failed else UsageError)(message)

    def lookup(self, kind: str, name: str) -> api.Factory[Any] | Problem:
        """Return the factory called ``name``, or the problem with it (for the spec)."""
        found = self._find(kind, name)
        return found.factory if isinstance(found, Provided) else found

    def known_plugin(self, name: str) -> bool:
        """Whether ``name`` means an installed plugin."""
        return any(record.matches(name) for record in self.records)

    def requirement(self, name: str) -> Problem | None:
        """Return None if the plugin is loaded, else the problem (for the spec)."""
        records = [record for record in self.records if record.matches(name)]
        if not records:
            known = sorted({r.distribution for r in self.records})
            return Problem(
                "plugin-missing",
                "",
                f"expected an installed plugin, got {name!r}",
                hint=did_you_mean(name, known)
                or f"install it: pip install {name}; `musicfw plugins` lists what is installed",
            )
        for record in records:
            if not record.usable:
                return _unusable(record)
        return None

    def without(self, names: Sequence[str]) -> Registry:
        """Return the registry with some plugins blocked."""
        plugins = []
        for plugin in self.plugins:
            record = plugin.record
            if any(record.matches(name) for name in names):
                cause = "blocked by name (--no-plugin or plugins.block)"
                blocked = replace(record, state="blocked", error=cause)
                plugins.append(Loaded(record=blocked))
            else:
                state: State = "loaded" if record.state == "conflict" else record.state
                error = None if state == "loaded" else record.error
                plugins.append(replace(plugin, record=replace(record, state=state, error=error)))
        return Registry(plugins=with_conflicts(plugins))

    def notify(self, hook: str, **arguments: Any) -> list[str]:
        """Call every observer of a hook; return a sentence for each that failed.

        `add_complaints` collects them.
        """
        complaints = []
        for plugin in self.plugins:
            for observer in plugin.observers:
                if observer.hook != hook:
                    continue
                try:
                    observer.function(**{name: arguments[name] for name in observer.arguments})
                except (Exception, SystemExit) as err:
                    record = plugin.record
                    complaints.append(
                        f"plugin {record.distribution} {record.version} failed in {hook}: "
                        f"{type(err).__name__}: {err}"
                    )
        return complaints

    def _owners(self, kind: str) -> dict[str, list[Provided]]:
        if kind not in KINDS:
            raise UsageError(f"kind: expected {one_of(KINDS)}, got {kind!r}")
        owners: dict[str, list[Provided]] = {}
        for plugin in self.plugins:
            for factory in plugin.factories:
                if factory.kind == kind:
                    provided = Provided(factory=factory, record=plugin.record)
                    owners.setdefault(factory.name, []).append(provided)
        return owners

    def _find(self, kind: str, name: str) -> Provided | Problem:
        owners = self._owners(kind)
        distribution, _, bare = name.rpartition(":")
        candidates = owners.get(bare, [])
        if distribution:
            candidates = [
                p
                for p in candidates
                if normal_name(p.record.distribution) == normal_name(distribution)
            ]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            return Problem(
                "ambiguous-name",
                "",
                f"expected one {kind} called {name!r}, got {len(candidates)} owners",
                hint=choice_between([p.record for p in candidates], bare),
            )
        return self._absent(kind, name, sorted(owners))

    def _absent(self, kind: str, name: str, known: Sequence[str]) -> Problem:
        for record in self.records:
            if not record.usable and (f"{kind}:{name}" in record.provides or _akin(record, name)):
                return _unusable(record)
        hint = did_you_mean(name, known) or f"installed: {one_of(known)}"
        failed = [r.distribution for r in self.records if r.state == "failed"]
        if failed:
            hint += f"; {', '.join(failed)} failed to load (see `musicfw plugins`)"
        article = "an" if kind[0] in "aeiou" else "a"
        message = f"expected the name of {article} {kind}, got {name!r}"
        return Problem("unknown-name", "", message, hint=hint)


def load_registry(*, block: Sequence[str] = ()) -> Registry:
    """Return the registry of everything installed.

    Parameters
    ----------
    block : sequence of str
        Plugins not to load: distribution, entry point or ``distribution:entry_point``.

    Notes
    -----
    If the environment variable ``MUSICFW_PLUGINS`` is set, only the plugins it names (separated by
    commas) are loaded beside the built-ins.
    """
    allow = os.environ.get(ALLOW_LIST)
    allowed = None if allow is None else [name.strip() for name in allow.split(",")]
    plugins = []
    for point in entry_points():
        record = point.record("blocked")
        if any(record.matches(name) for name in block):
            cause = "blocked by name (--no-plugin or plugins.block)"
            plugins.append(Loaded(record=replace(record, error=cause)))
        elif (
            allowed is not None
            and point.distribution != BUILTIN
            and not any(record.matches(name) for name in allowed)
        ):
            cause = f"not named in the environment variable {ALLOW_LIST}"
            plugins.append(Loaded(record=replace(record, error=cause)))
        else:
            plugins.append(load(point))
    return Registry(plugins=with_conflicts(plugins))


def default_registry() -> Registry:
    """Return what `load_registry` found when it was first asked, for calls that name no registry.

    Python calls in a loop would otherwise scan every installed distribution each time.
    """
    return _registry_for(os.environ.get(ALLOW_LIST))


@functools.lru_cache(maxsize=4)
def _registry_for(allow_list: str | None) -> Registry:
    return load_registry()


def provided(kind: str, use: str | api.Factory[Any], registry: Registry | None) -> Provided:
    """Return what ``use`` names; a factory itself is taken as it is (for authors and tests)."""
    if isinstance(use, api.Factory):
        if use.kind != kind:
            raise UsageError(f"{kind}: expected a {kind} factory, got a {use.kind} factory")
        try:
            check_factory(use, f"{kind} factory {use.name!r}")
        except RefusedError as err:
            raise UsageError(str(err)) from err
        return Provided(factory=use, record=EntryPoint.of_object(use).record("loaded"))
    if not isinstance(use, str):
        raise UsageError(
            f"{kind}: expected the name of a {kind} or a factory, got {type(use).__name__}"
        )
    return (registry or default_registry()).find(kind, use)


def add_complaints(known: list[str], complaints: Iterable[str]) -> None:
    """Add what `Registry.notify` returned, each once and few of each plugin and hook."""
    for complaint in complaints:
        # What comes before the error names the plugin and the hook.
        head = complaint.partition(": ")[0]
        same = sum(other.startswith(head) for other in known)
        if complaint in known or same > _MOST_COMPLAINTS:
            continue
        if same == _MOST_COMPLAINTS:
            complaint = f"{head} again and again; only the first {same} messages are kept"
        known.append(complaint)


def failures_to_load(registry: Registry) -> list[str]:
    """Return a sentence for every plugin that failed to load."""
    return [
        f"plugin {record.distribution} {record.version} failed to load: {record.error}"
        for record in registry.records
        if record.state == "failed"
    ]


def _unusable(record: PluginRecord) -> Problem:
    code = "plugin-blocked" if record.state == "blocked" else "plugin-failed"
    became = "is blocked" if record.state == "blocked" else "failed to load"
    return Problem(
        code,
        "",
        f"plugin {record.distribution} {record.version} {became}: {record.error}",
        hint="`musicfw plugins` lists every plugin with its cause",
    )


def _akin(record: PluginRecord, name: str) -> bool:
    """Whether a plugin that did not load was probably meant by ``name``."""
    asked = _words(name.rpartition(":")[2])
    names = [_words(record.distribution), _words(record.entry_point)]
    shared = (min(len(asked), len(words)) for words in names)
    return record.distribution != BUILTIN and any(
        count and asked[:count] == words[:count] for count, words in zip(shared, names, strict=True)
    )


def _words(name: str) -> list[str]:
    return [word for word in normal_name(name).removeprefix("musicfw-").split("-") if word]
