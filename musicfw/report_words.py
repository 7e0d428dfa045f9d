"""The words, numbers and tables of a report: plain values in, plain text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.evaluate import Evaluation
from musicfw.status import Status, StopReason
from musicfw.types import Inversion, Trajectory

EXACT_WITHIN = 1e-8
_WITHIN = "1e-8"
_LONGEST_LIST = 6
_READABLE = {
    "points": "points",
    "quantization_error": "quantization error",
    "topographic_error": "topographic error",
    "topographic_product": "topographic product (0 is best)",
    "trustworthiness": "trustworthiness (1 is best)",
    "continuity": "continuity (1 is best)",
    "neighborhood_preservation": "share of the 10 nearest points kept near",
    "median_relative_error": "median relative error",
    "max_relative_error": "largest relative error",
    "median_residual": "median residual",
    "reached": "reached the target",
    "median_arrival": "median arrival step",
    "path_over_chord": "path length / chord",
    "dead_units": "units without training points",
    "is_exact": "every point determined uniquely",
    "max_hidden_radius": "largest hidden radius",
    "longest_step_over_mean": "longest step / mean step",
    "stops": "how paths ended",
    "statuses": "statuses",
    "spec_sha256": "SHA-256 of the spec",
    "spec_hash": "hash of the spec",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; the first column names the row.

    Parameters
    ----------
    header : sequence of str
        One per column, or none at all.
    rows : sequence of sequence of str
        As many cells as the header has.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: Any) -> str:
    """Return a number (or anything else) as short text: four digits, ``–`` for none."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if not isinstance(value, Real):
        return str(value)
    real = float(value)
    if np.isnan(real):
        return "–"
    if np.isinf(real):
        return "∞" if real > 0 else "−∞"
    text = f"{real:.4g}" if real == 0.0 or 1e-3 <= abs(real) < 1e5 else f"{real:.1e}"
    return text.replace("-", "−", 1) if real < 0 else text


def readable(key: str) -> str:
    """Return a metric's key as words."""
    if key in _READABLE:
        return _READABLE[key]
    words = key[:-2] + " (s)" if key.endswith("_s") else key
    return words.replace("held_out", "held-out").replace("_", " ")


def leaves(tree: Mapping[str, Any], *, known: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield (readable name, text) of everything in a nested mapping that fits a table cell.

    Parameters
    ----------
    tree : mapping
        Plain values; counts by an upper-case name (``{"EXACT": 7}``) make one cell, lists of more
        than six numbers are left out.
    known : iterable of str
        Keys of the first level to leave out.
    """
    skipped = set(known)
    for key, value in tree.items():
        name = readable(str(key))
        if key in skipped:
            continue
        if isinstance(value, Mapping):
            if value and all(str(inner).isupper() for inner in value):
                yield name, counts_text(value)
            else:
                yield from ((f"{name}: {inner}", text) for inner, text in leaves(value))
        elif isinstance(value, list | tuple):
            if len(value) <= _LONGEST_LIST or not all(isinstance(v, Real) for v in value):
                yield name, "; ".join(_item(item) for item in value) or "–"
        else:
            yield name, number(value)


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in leaves(value))
    return number(value)


def counts_text(counts: Mapping[Any, int]) -> str:
    """Return ``EXACT 7, PROJECTED 1`` (names as words) for counts by name or enumeration."""
    parts = (f"{_name(key)} {number(value)}" for key, value in counts.items() if value)
    return ", ".join(parts) or "–"


def _name(key: Any) -> str:
    return str(getattr(key, "name", key)).replace("_", " ")


def share(part: int, whole: int) -> str:
    """Return ``7 of 8 (88 %)``."""
    if whole == 0:
        return "0 of 0"
    return f"{part:,} of {whole:,} ({100.0 * part / whole:.0f} %)"


def counted(count: int, thing: str) -> str:
    """Return ``1 point``, ``2,000 points``."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def joined(words: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# --- inversion -----------------------------------------------------------------------------------


def bare(name: str) -> str:
    """Return a registered name without its distribution: ``exact`` for ``musicfw:exact``."""
    return name.rsplit(":", 1)[-1]


def inversion_table(
    inversions: Mapping[str, Inversion],
    errors: Mapping[str, FloatArray],
    metrics: Mapping[str, Any],
) -> Table:
    """Return a row per inversion; numbers come from the metrics, else from the values."""
    fixed = ("median_relative_error", "max_relative_error", "median_residual")
    columns: dict[str, dict[str, str]] = {}
    for key, inversion in inversions.items():
        given = metrics.get(key, {})
        finite = errors[key][np.isfinite(errors[key])] if key in errors else np.empty(0)
        residual = inversion.residual[np.isfinite(inversion.residual)]
        made = {
            fixed[0]: float(np.median(finite)) if finite.size else None,
            fixed[1]: float(finite.max()) if finite.size else None,
            fixed[2]: float(np.median(residual)) if residual.size else None,
        }
        columns[key] = {
            "solver": inversion.solver,
            "points": number(inversion.status.size),
            "statuses": counts_text(inversion.counts()),
            **{readable(name): number(given.get(name, made[name])) for name in fixed},
            **dict(leaves(given, known=("points", "statuses", *fixed))),
        }
    return _by_row("inversion", columns)


def _by_row(first: str, columns: Mapping[str, Mapping[str, str]]) -> Table:
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    rows = [[key, *(cells.get(name, "–") for name in names)] for key, cells in columns.items()]
    return Table([first, *names], rows)


def exactness(
    key: str, inversion: Inversion, errors: FloatArray | None, *, noise: float | None = None
) -> str | None:
    """Return a sentence: did the exact solver return the points to within 1e-8, or None."""
    if noise and bare(inversion.solver) == "exact":
        return (
            f"“{key}”: relative noise of {number(noise)} was added to the distances on purpose, so "
            f"the exact solver cannot return the points."
        )
    if bare(inversion.solver) != "exact" or errors is None or errors.size == 0:
        return None
    within = int(np.count_nonzero(errors <= EXACT_WITHIN))
    finite = errors[np.isfinite(errors)]
    largest = f"the largest relative error is {number(float(finite.max()))}" if finite.size else ""
    if within == errors.size:
        what = "the point" if within == 1 else f"all {within:,} points"
        return (
            f"“{key}”: the exact solver returned {what} to within {_WITHIN}, relative to "
            f"the length of each; {largest}."
        )
    why = "; the statuses say why" if set(inversion.counts()) - {Status.EXACT} else ""
    return (
        f"“{key}”: the exact solver returned {share(within, errors.size)} to within "
        f"{_WITHIN}, relative to the length of each; {largest or 'no point came back'}{why}."
    )


def status_advice(inversions: Mapping[str, Inversion]) -> list[tuple[str, str]]:
    """Return (``PROJECTED: 3 points of "exact"``, advice) for statuses that need it."""
    advice = []
    for key, inversion in inversions.items():
        for status, count in inversion.counts().items():
            if status not in (Status.EXACT, Status.REGULARISED):
                head = f"{_name(status)}: {counted(count, 'point')} of “{key}”"
                advice.append((head, status.advice))
    return advice


# --- control -------------------------------------------------------------------------------------


def median_arrival(trajectory: Trajectory) -> float | None:
    """Return the median first step inside the target of the points that got there."""
    arrived = trajectory.arrival[trajectory.arrival >= 0]
    return float(np.median(arrived)) if arrived.size else None


def control_table(trajectories: Mapping[str, Trajectory], metrics: Mapping[str, Any]) -> Table:
    """Return a row per measure and a column per trajectory."""
    columns: dict[str, dict[str, str]] = {}
    for key, trajectory in trajectories.items():
        given = metrics.get(key, {})
        reached = int(np.count_nonzero(trajectory.reached))
        arrival = given.get("median_arrival", median_arrival(trajectory))
        columns[key] = {
            "policy": trajectory.policy,
            readable("reached"): share(reached, trajectory.stop.size),
            readable("median_arrival"): number(arrival),
            readable("stops"): counts_text(trajectory.counts()),
            **dict(leaves(given, known=("points", "reached", "median_arrival", "stops"))),
        }
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    rows = [[name, *(cells.get(name, "–") for cells in columns.values())] for name in names]
    return Table(["", *columns], rows)


def stop_advice(trajectories: Mapping[str, Trajectory]) -> list[tuple[str, str]]:
    """Return (``STALLED: 3 paths of "music"``, advice) for paths that did not arrive."""
    paths: dict[StopReason, list[str]] = {}
    for key, trajectory in trajectories.items():
        for reason, count in trajectory.counts().items():
            if reason is not StopReason.REACHED:
                paths.setdefault(reason, []).append(f"{counted(count, 'path')} of “{key}”")
    return [(f"{_name(reason)}: {joined(of)}", reason.advice) for reason, of in paths.items()]


def evaluation_table(evaluation: Evaluation) -> Table:
    """Return means and intervals: a row per measure, a column per policy."""
    rows = []
    for measure in evaluation.measures:
        cells = [measure.replace("_", " ")]
        for policy in evaluation.values:
            found = evaluation.interval(policy, measure)
            cells.append(f"{number(found.mean)} ({number(found.low)} … {number(found.high)})")
        rows.append(cells)
    return Table(["measure", *evaluation.values], rows)
