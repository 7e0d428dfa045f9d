"""A file that keeps the state of a training until it ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.atomic import write_atomic
from musicfw.errors import StoreError, UsageError

_Arrays = Mapping[str, npt.NDArray[Any]]
_FINGERPRINT, _VERSIONS = "fingerprint", "versions"


def fingerprint(*arrays: npt.NDArray[Any] | None, **facts: Any) -> str:
    """Return a hash of arrays and plain values: equal for equal trainings only."""
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in arrays:
        shape = None if array is None else (array.shape, array.dtype.str)
        digest.update(repr(shape).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class FileCheckpoint:
    """A `musicfw.api.Checkpoint` in an .npz file, written atomically, now and then.

    Parameters
    ----------
    path : path-like
        The file; it need not exist.
    fingerprint : str
        Of the training. A file of another one is refused rather than overwritten.
    versions : mapping of str to str
        Of the distributions that the numbers depend on. A file of others is refused: what is left
        of the training would not continue what was done.
    every_s : float
        Seconds between two writes, at least.

    Raises
    ------
    UsageError
        If the file belongs to another training, or to other versions.
    StoreError
        If there is a file that is no checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fingerprint: str,
        versions: Mapping[str, str],
        every_s: float,
    ) -> None:
        if not every_s >= 0.0:
            raise UsageError(f"checkpoint_every_s: expected at least 0 seconds, got {every_s!r}")
        self._path = Path(path)
        self._fingerprint, self._versions = fingerprint, dict(versions)
        self._every_s = every_s
        self._written_s = time.monotonic()
        self._latest: Callable[[], _Arrays] | None = None
        self._kept = self._read() if self._path.exists() else None

    def load(self) -> _Arrays | None:
        """Return what an earlier process kept, or None."""
        return self._kept

    def offer(self, state: Callable[[], _Arrays]) -> None:
        """Keep the state if the last one was kept long enough ago."""
        self._latest = state
        if time.monotonic() - self._written_s >= self._every_s:
            self.keep()

    def keep(self) -> None:
        """Write the state offered last."""
        if self._latest is not None:
            buffer = io.BytesIO()
            made = {_FINGERPRINT: self._fingerprint, _VERSIONS: json.dumps(self._versions)}
            arrays: dict[str, Any] = {**self._latest(), **made}
            np.savez(buffer, **arrays)
            write_atomic(self._path, buffer.getvalue())
            self._latest, self._written_s = None, time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training has ended."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> _Arrays:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            found, versions = str(arrays.pop(_FINGERPRINT)), json.loads(str(arrays.pop(_VERSIONS)))
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise StoreError(
                f"{self._path}: expected a checkpoint that musicfw wrote, got something else "
                f"({err}); move it away or name another file"
            ) from err
        if found != self._fingerprint:
            raise UsageError(
                f"checkpoint: {self._path} belongs to a training with other data, lattice, seed, "
                f"scaling or params; delete it to begin anew, or name another file"
            )
        self._refuse_others(versions)
        return arrays

    def _refuse_others(self, found: Mapping[str, str]) -> None:
        other = [name for name in self._versions if found.get(name) != self._versions[name]]
        if other:
            then = ", ".join(f"{name} {found.get(name, '(not there)')}" for name in other)
            now = ", ".join(f"{name} {self._versions[name]}" for name in other)
            raise UsageError(
                f"checkpoint: {self._path} was kept by {then}, and this is {now}: the whole would "
                f"have the numbers of neither; go on with {then}, or delete the file to begin anew"
            )
