"""The run directory: where it goes, whether a run may use it, and reading it again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicfw.errors import StoreError
from musicfw.plugins import Registry
from musicfw.run_result import RunResult
from musicfw.store import (
    content_of,
    load_inversion,
    load_json,
    load_map,
    load_trajectory,
    save_json,
)

if TYPE_CHECKING:
    from musicfw.spec import RunSpec

_PARTIAL = ".partial"
_STATE = "state.json"


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
        if _is_used(directory):
            raise StoreError(
                f"{directory}: exists already, expected a new run directory; choose another --out, "
                f"or remove it"
            )
        if _is_used(partial):
            raise StoreError(
                f"{partial}: an unfinished run is there; continue it with --resume, or remove it"
            )
        return False
    if _is_used(directory):
        _refuse_another("spec", "spec_sha256", directory, spec.sha256())
        return True
    if _is_used(partial):
        _refuse_another("spec", "spec_sha256", partial, spec.sha256())
    return False


def claim(partial: Path, identity: Mapping[str, Any]) -> list[str]:
    """Make the directory of an unfinished run, or check that the one there is of the same run.

    Returns
    -------
    list of str
        Warnings, as of `check_identity`.

    Raises
    ------
    StoreError
        If it cannot be written, or holds a run on other data.
    """
    if _is_used(partial):
        return check_identity(partial, identity)
    save_json(partial / _STATE, identity)
    return []


def check_identity(directory: Path, identity: Mapping[str, Any]) -> list[str]:
    """Refuse to go on with a run on other data; return a warning for every other version."""
    _refuse_another("data", "data_sha256", directory, identity["data_sha256"])
    found = _identity(directory)["plugins_used"]
    return [
        f"{directory}: what was finished before was made with {name} "
        f"{found.get(name, '(not there)')}, the rest with {version}"
        for name, version in identity["plugins_used"].items()
        if found.get(name) != version
    ]


def discard_unfinished(partial: Path) -> None:
    """Remove the directory of a run with nothing to go on from, and folders made for it."""
    if (partial / "map.npz").exists() or training_file(partial).exists() or not partial.exists():
        return
    with contextlib.suppress(OSError):
        shutil.rmtree(partial)
        # Only `runs/` is made without being asked for; a folder that is not empty stays.
        if partial.parent.name == "runs":
            partial.parent.rmdir()


def training_file(partial: Path) -> Path:
    """Return where a training is kept while it lasts."""
    return partial / "training.npz"


def complete(partial: Path, directory: Path) -> None:
    """Give the directory of a run that is whole its name."""
    (partial / _STATE).unlink(missing_ok=True)
    try:
        partial.rename(directory)
    except OSError as err:
        raise StoreError(
            f"{directory}: cannot be made: {err.strerror or err}; the whole run is in {partial}: "
            f"rename it by hand"
        ) from err


def _identity(directory: Path) -> dict[str, Any]:
    """Return what `identity` of musicfw.provenance gave when the run in a directory began."""
    finished = directory.suffix != _PARTIAL
    path = directory / ("result.json" if finished else _STATE)
    facts = load_json(path)
    with content_of(path):
        if finished:
            facts = facts["provenance"]
        return {name: facts[name] for name in ("spec_sha256", "data_sha256", "plugins_used")}


def _refuse_another(what: str, name: str, directory: Path, wanted: str) -> None:
    found = str(_identity(directory)[name])
    if found == wanted:
        return
    kind = "a run of another spec" if what == "spec" else "a run on other data"
    raise StoreError(
        f"{directory}: holds {kind} (hash {found[:12]}, this one has {wanted[:12]}); choose "
        f"another --out, or run without --resume"
    )


def _is_used(directory: Path) -> bool:
    """Whether something is there that must not be overwritten."""
    try:
        return directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    except OSError as err:
        raise StoreError(
            f"{directory}: cannot be used: {err.strerror or err}; choose another --out"
        ) from err


def partial_directory(directory: Path) -> Path:
    """Return where a run works until it is whole."""
    return directory.with_name(directory.name + _PARTIAL)


def load_run(directory: str | Path, *, registry: Registry | None = None) -> RunResult:
    """Return the result of a complete run directory.

    Parameters
    ----------
    directory : path-like
        The run directory.
    registry : Registry, optional
        As in `load_map`.

    Raises
    ------
    StoreError
        If there is none, or its files lack something.
    """
    directory = Path(directory)
    path = directory / "result.json"
    facts = load_json(path)
    with content_of(path):
        metrics = facts["metrics"]
        told = {name: facts[name] for name in ("provenance", "timings_s")}
        warnings, inverted, steered = facts["warnings"], [*metrics["invert"]], [*metrics["control"]]
    trained = load_map(directory, registry=registry)
    return RunResult(
        directory=directory,
        map=trained,
        inversions={
            name: load_inversion(directory / "inversions" / f"{name}.npz") for name in inverted
        },
        trajectories={
            name: load_trajectory(directory / "trajectories" / f"{name}.npz", trained)
            for name in steered
        },
        metrics=metrics,
        warnings=tuple(warnings),
        **told,
    )
