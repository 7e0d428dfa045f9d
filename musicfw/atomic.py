"""Files that are either the old version or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from musicfw.errors import StoreError


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write ``data`` to ``path`` completely or not at all; missing folders are made.

    The bytes go to a temporary file in the same folder, are flushed to the disk (fsync) and take
    the name in one step (rename), so a reader or a crash never meets half a file.

    Parameters
    ----------
    path : path-like
        Where to write; an existing file is replaced.
    data : bytes
        The whole content.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StoreError
        If the folder cannot be made or written; an existing file is then left as it was.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as err:
        raise StoreError(
            f"{target}: cannot be written: {err.strerror or err}; expected a folder that can be "
            f"written and has room for {len(data)} bytes; choose another folder"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target
