"""The cells of a CSV file, a record at a time, and the lines they stand in."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from musicfw.errors import DataError

__all__ = ["records_of"]


def records_of(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line's number and the cells of every record that is not empty."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as err:
            raise DataError(f"{path}:{line}: not a table ({err}); check the quotes") from err
        except UnicodeDecodeError as err:
            raise _not_utf8(path, err) from err


def _not_utf8(path: Path, err: UnicodeDecodeError) -> DataError:
    # The decoder works in blocks of the file; the line is that of the bad byte in all of it.
    bad = err.object[err.start : err.end]
    line = 1
    with path.open("rb") as file:
        for line, content in enumerate(file, start=1):  # noqa: B007 - the line is what we want
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                break
    return DataError(
        f"{path}:{line}: expected text in UTF-8, got the bytes {bad!r}; save the file as "
        f"UTF-8 text (and unpack it if it is compressed)"
    )
