"""What the data sources share: finding files, checking labels, naming a missing package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from musicfw.errors import DataError, UsageError, did_you_mean


def existing_path(path: str, *, option: str, kind: Literal["file", "folder"]) -> Path:
    """Return ``path`` as the path of a file or folder that is there.

    Parameters
    ----------
    path : str
        What the user gave; ``~`` is expanded, a relative path starts at the working directory.
    option : str
        The source and its option, for messages: ``csv.path``.
    kind : {"file", "folder"}
        What it has to be.

    Raises
    ------
    UsageError
        If ``path`` is empty.
    DataError
        If there is nothing of this kind.
    """
    if not path:
        raise UsageError(f"{option}: expected the {kind} to read, got nothing; set {option}")
    try:
        found = Path(path).expanduser()
        got = "folder" if found.is_dir() else "file" if found.is_file() else None
    except (OSError, RuntimeError) as err:
        raise DataError(f"{path}: cannot be read ({err}); check {option}") from err
    if got is None:
        raise DataError(f"{found}: no such {kind}{_where_else(found, option)}")
    if got != kind:
        raise DataError(f"{found}: expected a {kind}, got a {got}; check {option}")
    if not os.access(found, os.R_OK):
        raise DataError(f"{found}: no permission to read this {kind}; check its owner and mode")
    return found


def as_labels(value: npt.NDArray[Any], *, name: str, rows: int) -> npt.NDArray[np.str_]:
    """Return labels as text, one per row.

    Whole numbers become text without a decimal point, also if they were stored as floats (``3.0``
    becomes ``"3"``), so that the target ``label:3`` finds them.

    Parameters
    ----------
    value : ndarray, shape (rows,)
        Numbers, truth values or text.
    name : str
        What they are, for messages.
    rows : int
        Number of points.

    Raises
    ------
    DataError
        For another shape, other types, NaN and infinities, and empty labels.
    """
    if value.shape != (rows,):
        raise DataError(
            f"{name}: expected one label per point, shape ({rows},), got shape {value.shape}"
        )
    if value.dtype.kind not in "fiubUS":
        raise DataError(f"{name}: expected labels as text or numbers, got {value.dtype}")
    if value.dtype.kind == "f":
        unusable = ~np.isfinite(value)
        if not unusable.any() and np.array_equal(value, np.rint(value)):
            value = np.array([int(number) for number in value])
    else:
        value = _as_text(value, name)
        unusable = value == ""
    if unusable.any():
        row = int(np.flatnonzero(unusable)[0])
        got = str(value[row]) or "an empty label"
        raise DataError(f"{name}: row {row} holds {got}, expected a label; remove such rows")
    return value.astype(np.str_)


def _as_text(value: npt.NDArray[Any], name: str) -> npt.NDArray[np.str_]:
    if value.dtype.kind != "S":
        return value.astype(np.str_)
    try:
        return np.array([text.decode("utf-8") for text in value.tolist()], dtype=np.str_)
    except UnicodeDecodeError as err:
        raise DataError(
            f"{name}: expected text in UTF-8, got the bytes {err.object!r}; save labels as text"
        ) from err


def missing_package(source: str, package: str, err: ImportError) -> UsageError:
    """Return the error for an optional package that cannot be imported."""
    return UsageError(
        f"{source}: needs {package}, which cannot be imported ({err}); "
        f"pip install 'musicfw[examples]'"
    )


def listed(names: Sequence[str], *, most: int = 12) -> str:
    """Return names for a message: quoted, separated by commas, not too many."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" … ({len(names)} in all)" if len(names) > most else "")


def _where_else(path: Path, option: str) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = did_you_mean(path.name, siblings)
    if near is not None:
        return f"; {near}"
    start = "" if path.is_absolute() else f" (relative to {Path.cwd()})"
    return f"{start}; check {option}"
