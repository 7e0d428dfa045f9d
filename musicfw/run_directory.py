"""The run directory: where it goes, whether a run may use it, and reading it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from musicfw.errors import StoreError
from musicfw.store import load_inversion, load_json, load_map, load_trajectory
from musicfw.types import RunResult

if TYPE_CHECKING:
    from musicfw.spec import RunSpec


def fresh_directory(wanted: Path) -> Path:
    """Return ``wanted``, or the first of ``wanted-2``, ``wanted-3``, … that does not exist."""
    candidate, number = wanted, 2
    while candidate.exists():
        candidate = wanted.with_name(f"{wanted.name}-{number}")
        number += 1
    return candidate


def is_finished(directory: Path, spec: RunSpec, resume: bool) -> bool:
    """Whether a resumed run is complete already; refuse what must not be overwritten or mixed."""
    here = Path.cwd()
    if directory.resolve() in (here, *here.parents):
        # It is renamed into place, which would leave the caller in a folder that is no more.
        raise StoreError(
            f"{directory}: expected a new run directory, got the current one or one above it; "
            f"name a folder in it, such as {directory / 'out'}"
        )
    partial = partial_directory(directory)
    if not resume:
        if directory.exists() and not _is_empty(directory):
            raise StoreError(
                f"{directory}: exists already, expected a new run directory; choose another --out, "
                f"or remove it"
            )
        if partial.exists():
            raise StoreError(
                f"{partial}: an unfinished run is there; continue it with --resume, or remove it"
            )
        return False
    if directory.exists() and not _is_empty(directory):
        found = load_json(directory / "result.json")["provenance"]["spec_sha256"]
        _same_spec(directory, found, spec)
        return True
    if partial.exists():
        _same_spec(partial, load_json(partial / "state.json")["spec_sha256"], spec)
    return False


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())


def _same_spec(directory: Path, found: str, spec: RunSpec) -> None:
    if found != spec.sha256():
        raise StoreError(
            f"{directory}: holds a run of another spec (hash {found[:12]}, this one has "
            f"{spec.sha256()[:12]}); choose another --out, or run without --resume"
        )


def partial_directory(directory: Path) -> Path:
    """Return where a run works until it is whole."""
    return directory.with_name(directory.name + ".partial")


def load_run(directory: str | Path) -> RunResult:
    """Return the result of a complete run directory.

    Raises
    ------
    StoreError
        If there is none.
    """
    directory = Path(directory)
    facts = load_json(directory / "result.json")
    trained = load_map(directory)
    metrics = facts["metrics"]
    return RunResult(
        directory=directory,
        map=trained,
        inversions={
            name: load_inversion(directory / "inversions" / f"{name}.npz")
            for name in metrics["invert"]
        },
        trajectories={
            name: load_trajectory(directory / "trajectories" / f"{name}.npz", trained)
            for name in metrics["control"]
        },
        metrics=metrics,
        provenance=facts["provenance"],
        timings_s=facts["timings_s"],
        warnings=tuple(facts["warnings"]),
    )
