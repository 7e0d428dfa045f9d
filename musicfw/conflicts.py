"""Names that several plugins own, and how to tell the owners apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from musicfw.discovery import Loaded, PluginRecord
from musicfw.errors import one_of

__all__ = ["choice_between", "with_conflicts"]


def with_conflicts(plugins: Iterable[Loaded]) -> tuple[Loaded, ...]:
    """Mark the plugins that share a name, of a factory or of an entry point, with another."""
    loaded = list(plugins)
    claims: dict[str, list[PluginRecord]] = {}
    for plugin in loaded:
        record = plugin.record
        for claim in (f"entry point {record.entry_point}", *record.provides):
            if record.usable and (":" in claim or claim.startswith("entry point ")):
                claims.setdefault(claim, []).append(record)
    marked = []
    for plugin in loaded:
        record = plugin.record
        causes = [
            _shared(claim, record, owners)
            for claim, owners in claims.items()
            if len(owners) > 1 and record in owners
        ]
        if causes:
            plugin = replace(
                plugin, record=replace(record, state="conflict", error="; ".join(causes))
            )
        marked.append(plugin)
    return tuple(marked)


def _shared(claim: str, record: PluginRecord, owners: Sequence[PluginRecord]) -> str:
    what = claim.replace(":", " ")
    name = claim.replace("entry point ", "").rpartition(":")[2]
    twins = [o for o in owners if o is not record and o.distribution == record.distribution]
    if twins:
        others = " and ".join(f"the entry point {twin.entry_point!r}" for twin in twins)
        return (
            f"{what!r} is also declared by {others} of {record.distribution}: "
            f"{choice_between([record, *twins], name)}"
        )
    others = ", ".join(sorted({o.distribution for o in owners if o is not record}))
    return f"{what!r} is also declared by {others}: write {record.distribution}:{name}"


def choice_between(owners: Sequence[PluginRecord], name: str) -> str:
    """Return how to tell the owners of one name apart."""
    distributions = sorted({owner.distribution for owner in owners})
    if len(distributions) == len(owners):
        return "write " + one_of([f"{distribution}:{name}" for distribution in distributions])
    entry_points = sorted(f"{owner.distribution}:{owner.entry_point}" for owner in owners)
    return f"block all but one with --no-plugin or plugins.block: {one_of(entry_points)}"
