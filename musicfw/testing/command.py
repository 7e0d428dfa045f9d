"""What ``musicfw plugins --check`` runs: the kit on what is installed, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from musicfw.discovery import KINDS
from musicfw.errors import PluginError, UsageError, did_you_mean
from musicfw.plugins import Provided, Registry
from musicfw.testing.doors import check_plugin
from musicfw.testing.kit import CheckRecord, CheckStatus

__all__ = ["Checked", "check_installed", "print_checked", "tell_checked"]

_STYLES: dict[CheckStatus, str] = {"passed": "green", "failed": "bold red", "skipped": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the kit said of one factory.

    Parameters
    ----------
    provided : Provided
        The factory with its plugin.
    records : tuple of CheckRecord
        One per check.
    """

    provided: Provided
    records: tuple[CheckRecord, ...]

    @property
    def good(self) -> bool:
        """Whether no check failed."""
        return all(record.good for record in self.records)

    def to_tree(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        owner, factory = self.provided.record, self.provided.factory
        return {
            "distribution": owner.distribution,
            "version": owner.version,
            "kind": factory.kind,
            "name": factory.name,
            "checks": [asdict(record) for record in self.records],
        }


def check_installed(registry: Registry, name: str) -> Iterator[Checked]:
    """Run the kit on everything that a name means, and yield what it said of each.

    Parameters
    ----------
    registry : Registry
        What is installed.
    name : str
        ``name`` or ``distribution:name`` of something provided (of any kind), or a distribution,
        an entry point or both, for everything the plugin provides.

    Raises
    ------
    UsageError
        If nothing is called so.
    PluginError
        If the plugin of this name is blocked or failed to load.
    """
    for provided in _meant(registry, name):
        records = check_plugin(provided.factory.kind, provided)
        yield Checked(provided=provided, records=records)


def _meant(registry: Registry, name: str) -> Sequence[Provided]:
    found = []
    for kind in KINDS:
        try:
            found.append(registry.find(kind, name))
        except PluginError:
            continue  # told below, by the record
        except UsageError:
            continue
    if found:
        return found
    problem = registry.requirement(name)
    if problem is None:
        return [
            registry.find(kind, f"{record.distribution}:{provided}")
            for record in registry.records
            if record.matches(name)
            for kind, _, provided in (entry.partition(":") for entry in record.provides)
            if provided
        ]
    if problem.code != "plugin-missing":
        raise PluginError(f"{problem.message} ({problem.hint})")
    known = {factory.name for kind in KINDS for factory in registry.factories(kind)}
    known |= {record.distribution for record in registry.records}
    hint = did_you_mean(name, known) or "`musicfw plugins` lists what is installed"
    raise UsageError(
        f"--check: expected the name of a plugin or of something it provides, got {name!r}; {hint}"
    )


def tell_checked(registry: Registry, name: str, *, console: Console, as_json: bool) -> int:
    """Run the kit on what a name means, print what it said, and return the exit code."""
    seen = []
    for checked in check_installed(registry, name):
        seen.append(checked)
        if not as_json:
            print_checked(checked, console)
    if as_json:
        trees = json.dumps([checked.to_tree() for checked in seen], indent=2)
        console.print(trees, markup=False, soft_wrap=True)
    return 0 if all(checked.good for checked in seen) else PluginError.exit_code


def print_checked(checked: Checked, console: Console) -> None:
    """Print a table of the checks, and below it the message of each that failed."""
    owner, factory = checked.provided.record, checked.provided.factory
    count = sum(not record.good for record in checked.records)
    ran = [record for record in checked.records if record.status != "skipped"]
    verdict = "all passed" if not count else f"{count} failed"
    console.print(
        f"{factory.kind} {factory.name!r} of plugin {owner.distribution} {owner.version}: "
        f"{len(ran)} checks, {verdict}",
        markup=False,
        soft_wrap=True,
    )
    table = Table("check", "status", "s", "", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for record in checked.records:
        style = _STYLES.get(record.status, "yellow")
        why = record.message.partition("\n")[0] if record.status == "skipped" else ""
        status = f"[{style}]{record.status}[/{style}]"
        table.add_row(record.name, status, f"{record.elapsed_s:.2f}", f"[dim]{why}[/dim]")
    console.print(table)
    for record in checked.records:
        if not record.good:
            console.print(f"\n{record.message}", markup=False, soft_wrap=True)
