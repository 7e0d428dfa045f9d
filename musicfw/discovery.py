"""Find plugins and judge each one alone, so that a broken one never costs another its place.

pluggy validates the hook implementations. The discovery loop is our own: pluggy's aborts at the
first plugin that fails, and silently skips the second of two entry points with the same name.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import pluggy

from musicfw import api, hookspecs
from musicfw.errors import did_you_mean, one_of

GROUP = "musicfw"
BUILTIN = "musicfw"
State = Literal["loaded", "blocked", "failed", "conflict"]

_COLLECTING: Mapping[str, type[api.Factory[Any]]] = {
    "musicfw_backends": api.BackendFactory,
    "musicfw_solvers": api.SolverFactory,
    "musicfw_policies": api.PolicyFactory,
    "musicfw_datasets": api.DatasetFactory,
    "musicfw_embeddings": api.EmbeddingFactory,
}
KINDS = tuple(factory.kind for factory in _COLLECTING.values())
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """What became of one plugin.

    Parameters
    ----------
    distribution, version : str
        The installed distribution that declares it.
    entry_point : str
        Its name in the entry-point group ``musicfw``.
    module : str
        What the entry point names.
    state : {"loaded", "blocked", "failed", "conflict"}
        ``conflict``: loaded, but something it provides has a second owner (see ``error``).
    provides : tuple of str
        ``kind:name`` of its factories, and the names of the hooks it observes with.
    error : str or None
        The cause of any state but ``loaded``.
    """

    distribution: str
    version: str
    entry_point: str
    module: str
    state: State
    provides: tuple[str, ...] = ()
    error: str | None = None

    @property
    def usable(self) -> bool:
        """Whether what it provides can be used."""
        return self.state in ("loaded", "conflict")

    def matches(self, name: str) -> bool:
        """Whether ``name`` means this plugin: distribution, entry point or both with a colon."""
        qualified = f"{self.distribution}:{self.entry_point}"
        return normal_name(name) in map(
            normal_name, (self.distribution, self.entry_point, qualified)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observer:
    """One implementation of an observing hook."""

    hook: str
    function: Callable[..., object]
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A plugin with what it provides; empty unless its record is usable."""

    record: PluginRecord
    factories: tuple[api.Factory[Any], ...] = ()
    observers: tuple[Observer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntryPoint:
    """A plugin before it is imported."""

    distribution: str
    version: str
    name: str
    value: str
    load: Callable[[], Any]

    @classmethod
    def of_object(cls, plugin: Any) -> EntryPoint:
        """Return the entry point of a module or object that is not installed."""
        name = getattr(plugin, "__name__", type(plugin).__name__)
        version = str(getattr(plugin, "__version__", "(in memory)"))
        return cls(distribution=name, version=version, name=name, value=name, load=lambda: plugin)

    def record(self, state: State, **rest: Any) -> PluginRecord:
        """Return the record of this plugin in a state."""
        return PluginRecord(
            distribution=self.distribution,
            version=self.version,
            entry_point=self.name,
            module=self.value,
            state=state,
            **rest,
        )


def installed_version(distribution: str) -> str:
    """Return the version of an installed distribution, "unknown" if nothing tells it."""
    try:
        return importlib.metadata.version(distribution) or "unknown"
    except Exception:
        # Libraries that are bundled or vendored have no metadata, some have broken ones.
        return "unknown"


def entry_points() -> Iterator[EntryPoint]:
    """Yield the entry points of every installed distribution, none imported yet."""
    seen = set()
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        # A distribution can be found twice on the path; the first hides the others, as on import.
        if name is None or normal_name(name) in seen:
            continue
        seen.add(normal_name(name))
        yield from _entry_points_of(distribution, name)


def _entry_points_of(
    distribution: importlib.metadata.Distribution, name: str
) -> Iterator[EntryPoint]:
    version = distribution.version or "(no version)"
    try:
        points = list(distribution.entry_points)
    except Exception as err:
        # Any distribution's file may be garbled; it concerns us only if it means to be a plugin.
        if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
            cause = RefusedError(f"entry_points.txt cannot be read: {type(err).__name__}: {err}")

            def refuse() -> Any:
                raise cause

            yield EntryPoint(distribution=name, version=version, name="?", value="?", load=refuse)
        return
    for point in points:
        if point.group == GROUP:
            yield EntryPoint(
                distribution=name,
                version=version,
                name=point.name,
                value=point.value,
                load=point.load,
            )


def load(point: EntryPoint) -> Loaded:
    """Import a plugin and collect what it provides; whatever goes wrong becomes its record."""
    try:
        plugin = point.load()
        factories, observers = _collect(point, plugin)
    except (Exception, SystemExit) as err:
        cause = str(err) if isinstance(err, RefusedError) else f"{type(err).__name__}: {err}"
        return Loaded(record=point.record("failed", error=cause))
    provides = tuple(f"{factory.kind}:{factory.name}" for factory in factories)
    record = point.record("loaded", provides=provides + tuple(o.hook for o in observers))
    return Loaded(record=record, factories=factories, observers=observers)


class RefusedError(Exception):
    """A plugin that does not keep to the rules; the text says which and where."""


def _collect(
    point: EntryPoint, plugin: Any
) -> tuple[tuple[api.Factory[Any], ...], tuple[Observer, ...]]:
    """Return the factories and observers of one plugin, each in a manager of its own."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as err:
        raise RefusedError(f"hook does not match its specification: {err}") from err
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise RefusedError(
            f"{point.value} implements no hook; expected a function such as musicfw_solvers "
            f"marked with @musicfw.api.hookimpl"
        )
    factories: list[api.Factory[Any]] = []
    observers: list[Observer] = []
    for caller in callers:
        _check_hook(caller)
        for impl in caller.get_hookimpls():
            if caller.name in _COLLECTING:
                factories += _call_collecting(caller.name, impl.function)
            else:
                observers.append(
                    Observer(
                        hook=caller.name,
                        function=impl.function,
                        arguments=tuple(impl.argnames),
                    )
                )
    _refuse_repeats(factories)
    return tuple(factories), tuple(observers)


def _check_hook(caller: pluggy.HookCaller) -> None:
    known = [name for name in vars(hookspecs) if name.startswith("musicfw_")]
    if not caller.has_spec():
        hint = did_you_mean(caller.name, known) or f"the hooks are {one_of(known)}"
        raise RefusedError(f"there is no hook called {caller.name!r}; {hint}")
    if any(impl.wrapper or impl.hookwrapper for impl in caller.get_hookimpls()):
        raise RefusedError(f"{caller.name}: hook wrappers are not supported; return a list instead")


def _call_collecting(hook: str, function: Callable[..., Any]) -> list[api.Factory[Any]]:
    expected = _COLLECTING[hook]
    returned = function()
    if isinstance(returned, str | bytes) or not isinstance(returned, Iterable):
        raise RefusedError(
            f"{hook}: expected a list of {expected.__name__}, got {type(returned).__name__} "
            f"({returned!r})"
        )
    factories = list(returned)
    for position, factory in enumerate(factories):
        where = f"{hook}[{position}]"
        if not isinstance(factory, expected):
            raise RefusedError(
                f"{where}: expected a {expected.__name__}, got {type(factory).__name__} "
                f"({factory!r})"
            )
        check_factory(factory, where)
    return factories


def check_factory(factory: api.Factory[Any], where: str) -> None:
    """Raise RefusedError for a factory that does not keep to the rules; ``where`` it stands."""
    if not isinstance(factory.name, str) or not _NAME.fullmatch(factory.name):
        raise RefusedError(
            f"{where}.name: expected lower-case words joined by hyphens, got {factory.name!r}"
        )
    if not (isinstance(factory.params, type) and is_dataclass(factory.params)):
        raise RefusedError(
            f"{where}.params: expected a dataclass (its fields are the options), got "
            f"{factory.params!r}; use musicfw.api.NoParams for none"
        )
    if not callable(factory.build):
        raise RefusedError(f"{where}.build: expected a callable, got {factory.build!r}")
    unknown = sorted(set(factory.traits) - factory.known_traits)
    if unknown:
        raise RefusedError(
            f"{where}.traits: expected some of {sorted(factory.known_traits)}, got {unknown}"
        )
    taken = sorted({f.name for f in fields(factory.params)} & factory.reserved_params)
    if taken:
        raise RefusedError(
            f"{where}.params: the option {taken[0]!r} has the name of an argument that every "
            f"{factory.kind} is called with; give it another name"
        )
    try:
        factory.params()
    except TypeError as err:
        raise RefusedError(f"{where}.params: every option needs a default ({err})") from err


def _refuse_repeats(factories: Sequence[api.Factory[Any]]) -> None:
    seen = set()
    for factory in factories:
        key = (factory.kind, factory.name)
        if key in seen:
            raise RefusedError(f"the {factory.kind} {factory.name!r} is provided twice")
        seen.add(key)


def normal_name(name: str) -> str:
    """Return a name as PEP 503 compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()
