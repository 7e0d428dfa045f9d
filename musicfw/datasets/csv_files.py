"""The data source ``csv``: a table of numbers as text."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from musicfw.api import Dataset, DatasetFactory, FloatArray, param
from musicfw.datasets.categories import Categories, with_one_hot
from musicfw.datasets.csv_records import records_of
from musicfw.datasets.sources import existing_path, listed
from musicfw.errors import DataError, UsageError, did_you_mean
from musicfw.missing import MissingValues

__all__ = ["FACTORY", "CsvParams", "CsvSource"]

_GAPS = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvParams:
    """Params of ``csv``. A column is named by the header, or numbered from 0 without one."""

    path: str = param("", help="The file, in UTF-8.", is_path=True)
    header: bool = param(True, help="Whether the first line holds the names of the columns.")
    delimiter: Literal[",", ";", "\t", "|"] = param(",", help="What separates two cells.")
    label_column: str | int | None = param(
        None, help="Column that holds the class of each row; null for none."
    )
    weight_column: str | int | None = param(
        None,
        help="Column of numbers that tell as how many rows each row counts in the training; null "
        "for none.",
    )
    columns: tuple[str | int, ...] = param(
        (),
        help="Columns to use as features, in this order; empty for all but the label's and the "
        "weight's.",
    )
    drop: tuple[str | int, ...] = param(
        (), help="Columns to leave out of the features; not together with columns."
    )
    categorical: tuple[str | int, ...] = param(
        (),
        help="Columns of text that become one feature per category, named COLUMN=CATEGORY: 1 where "
        "it holds, else 0. Two categories are as far apart as √2 units of a number.",
    )
    missing: MissingValues = param(
        "refuse",
        help="What an empty cell, NA, N/A, NaN, null, None or ? in a feature is: an error, or a "
        "missing value (the backend native trains on the known ones).",
    )


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A table with one row per point; every column but the label's is a feature.

    Numbers are written with a decimal point; blanks around a cell are ignored and empty lines
    skipped. Quoting is that of RFC 4180. Nothing is guessed: text, an infinity and, unless
    ``missing`` says otherwise, an empty cell or NaN in a feature is an error.
    """

    params: CsvParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the table (N, D); no randomness.

        Raises
        ------
        UsageError
            If no path is given, or ``columns`` and ``drop`` both are.
        DataError
            If the file is not such a table; the message is ``file:line: row, column …``, lines
            counted from 1, rows of data and columns from 0.
        """
        asked = self.params
        path = existing_path(asked.path, option="csv.path", kind="file")
        records = records_of(path, asked.delimiter)
        first = next(records, None)
        if first is None:
            raise DataError(f"{path}: the file is empty, expected a table of numbers")
        layout = _layout(asked, path, *first)
        categories = {i: Categories() for i in layout.categorical}
        rows = records if asked.header else chain([first], records)
        points, labels, weights = _rows(layout, categories, rows)
        names = tuple(layout.names[i] for i in layout.features)
        if categories:
            codes = {layout.features.index(i): found for i, found in categories.items()}
            points, names = with_one_hot(points, names, codes)
        return Dataset(
            points=points,
            labels=None if layout.label is None else np.array(labels, dtype=np.str_),
            feature_names=names if asked.header or categories else None,
            description=f"{path}: {points.shape[0]} rows of {points.shape[1]} features",
            missing=asked.missing,
            weights=None if layout.weight is None else np.array(weights),
        )


# --- columns ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Which columns a table has, and what each is used for."""

    path: Path
    names: tuple[str, ...]
    has_header: bool
    features: tuple[int, ...]
    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    label: int | None
    weight: int | None
    keeps_gaps: bool

    def place(self, line: int, row: int, position: int) -> str:
        """Return ``file:line: row …, column …`` for a message."""
        name = f" ({self.names[position]!r})" if self.has_header else ""
        return f"{self.path}:{line}: row {row}, column {position}{name}"


def _layout(asked: CsvParams, path: Path, line: int, first: list[str]) -> _Layout:
    names = tuple(cell.strip() if asked.header else str(i) for i, cell in enumerate(first))
    if asked.header:
        _refuse_bad_header(names, f"{path}:{line}")
    label, weight = (
        None if wanted is None else _positions([wanted], names, path, option)[0]
        for option, wanted in (
            ("label_column", asked.label_column),
            ("weight_column", asked.weight_column),
        )
    )
    if asked.columns and asked.drop:
        raise UsageError("csv: expected csv.columns or csv.drop, got both; keep one of them")
    if asked.columns:
        features = _positions(asked.columns, names, path, "columns")
        for position, kind in ((label, "label"), (weight, "weight")):
            if position is not None and position in features:
                raise UsageError(
                    f"csv.columns: column {names[position]!r} is the {kind} column, expected "
                    f"features; take it out of csv.columns"
                )
    else:
        left_out = {*_positions(asked.drop, names, path, "drop"), label, weight}
        features = [i for i in range(len(names)) if i not in left_out]
    if not features:
        raise DataError(
            f"{path}: expected at least one feature column, and no column is left of "
            f"{listed(names)}; check csv.delimiter, csv.label_column and csv.drop"
        )
    nameless = [i for i in features if not names[i]]
    if nameless:
        raise DataError(
            f"{path}:{line}: column {nameless[0]} has no name in the header (a row number, or a "
            f"delimiter too many?); name it, or leave it out with csv.drop: ['']"
        )
    categorical = _positions(asked.categorical, names, path, "categorical")
    for i in categorical:
        if i not in features:
            raise UsageError(
                f"csv.categorical: column {names[i]!r} is no feature (csv.columns, csv.drop and "
                f"csv.label_column tell which are); take it out"
            )
    return _Layout(
        path=path,
        names=names,
        has_header=asked.header,
        features=tuple(features),
        numeric=tuple(i for i in features if i not in categorical),
        categorical=tuple(categorical),
        label=label,
        weight=weight,
        keeps_gaps=asked.missing == "keep",
    )


def _refuse_bad_header(names: tuple[str, ...], where: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DataError(
                f"{where}: columns {names.index(name)} and {i} have the same name {name!r}, "
                f"expected different names; rename one in the header"
            )
    # Names such as 2019,2020 are possible, names such as 5.1,3.5 are data.
    if all(map(_is_number, names)) and not all(map(str.isdigit, names)):
        raise DataError(
            f"{where}: expected the names of the columns, got the numbers {listed(names, most=4)}; "
            f"if the file has no header, set csv.header to false"
        )


def _positions(
    wanted: Sequence[str | int], names: tuple[str, ...], path: Path, option: str
) -> list[int]:
    positions: list[int] = []
    for name in map(str, wanted):
        if name not in names:
            near = did_you_mean(name, names)
            raise DataError(
                f"{path}: there is no column {name!r} (csv.{option}), expected one of "
                f"{listed(names)}" + (f"; {near}" if near else "")
            )
        if names.index(name) in positions:
            raise UsageError(f"csv.{option}: expected each column once, got {name!r} twice")
        positions.append(names.index(name))
    return positions


# --- rows ---------------------------------------------------------------------------------------


def _rows(
    layout: _Layout,
    categories: Mapping[int, Categories],
    records: Iterable[tuple[int, list[str]]],
) -> tuple[FloatArray, list[str], list[float]]:
    """Return the feature columns (N, C), categories as codes, and N labels and weights, if any."""
    # One flat array of doubles: a list of lists of floats would take five times the memory.
    numbers, lines, labels, weights = array("d"), array("q"), [], []
    for row, (line, cells) in enumerate(records):
        if len(cells) != len(layout.names):
            raise _ragged(layout, line, row, cells)
        numbers.extend(_values(layout, categories, line, row, cells))
        if layout.label is not None:
            labels.append(_label(layout, line, row, cells[layout.label]))
        if layout.weight is not None:
            weights.append(_weight(layout.place(line, row, layout.weight), cells[layout.weight]))
        lines.append(line)
    if not lines:
        raise DataError(
            f"{layout.path}: expected rows of numbers below the header, got the header only; if "
            f"its first line is data, set csv.header to false"
        )
    points = np.frombuffer(numbers, dtype=np.float64).reshape(len(lines), -1)
    _refuse_non_finite(layout, points, lines)
    _refuse_unknown_rows(layout, points, lines)
    return points, labels, weights


def _values(
    layout: _Layout, categories: Mapping[int, Categories], line: int, row: int, cells: list[str]
) -> list[float]:
    """Return the features of a row: numbers, and codes of categories."""
    texts = [cells[i] for i in layout.numeric]
    try:
        numbers = list(map(_number_or_gap if layout.keeps_gaps else float, texts))
    except ValueError as err:
        raise _not_a_number(layout, line, row, cells) from err
    # float() reads 1_000 as Python does; in a table it is text.
    if "_" in "".join(texts):
        raise _not_a_number(layout, line, row, cells)
    if not categories:
        return numbers
    values = dict(zip(layout.numeric, numbers, strict=True))
    for i, found in categories.items():
        values[i] = _code(layout, found, line, row, i, cells[i].strip())
    return [values[i] for i in layout.features]


def _ragged(layout: _Layout, line: int, row: int, cells: list[str]) -> DataError:
    return DataError(
        f"{layout.path}:{line}: row {row} has {len(cells)} cell{'s' if len(cells) > 1 else ''}, "
        f"expected {len(layout.names)} as in the {'header' if layout.has_header else 'first row'} "
        f"(ragged rows); check csv.delimiter and the quotes"
    )


def _not_a_number(layout: _Layout, line: int, row: int, cells: list[str]) -> DataError:
    position = next(
        i
        for i in layout.numeric
        if not (_is_number(cells[i]) or (layout.keeps_gaps and _is_gap(cells[i])))
    )
    cell = cells[position].strip()
    hint = (
        "turn the text into numbers, name its column in csv.categorical, or leave the column out "
        "(csv.drop, csv.label_column)"
    )
    if _is_gap(cell):
        hint = "fill it, remove the row, leave the column out (csv.drop), or set csv.missing: keep"
    elif _is_number(cell.replace(",", ".", 1)):
        hint = "write numbers with a decimal point"
    elif len(layout.names) == 1:
        hint = "check csv.delimiter"
    elif row == 0 and not layout.has_header:
        hint = "if this line holds the names of the columns, set csv.header to true"
    return DataError(
        f"{layout.place(line, row, position)} "
        f"{f'holds {cell!r}' if cell else 'is empty'}, expected a number; {hint}"
    )


def _code(
    layout: _Layout, found: Categories, line: int, row: int, position: int, text: str
) -> float:
    if layout.keeps_gaps and _is_gap(text):
        return math.nan
    if not text:
        raise DataError(
            f"{layout.place(line, row, position)} is empty, expected a category; fill it, remove "
            f"the row, or set csv.missing: keep"
        )
    return found.code(text)


def _label(layout: _Layout, line: int, row: int, cell: str) -> str:
    text = cell.strip()
    if not text:
        place = layout.place(line, row, layout.label or 0)
        raise DataError(f"{place} is empty, expected a label; fill it or remove the row")
    return text


def _weight(place: str, cell: str) -> float:
    if not _is_number(cell) or not 0.0 <= float(cell) < math.inf:
        held = f"holds {cell.strip()!r}" if cell.strip() else "is empty"
        raise DataError(
            f"{place} {held}, expected a weight, a number of at least 0; write 0 for a row that "
            f"does not count"
        )
    return float(cell)


def _refuse_unknown_rows(layout: _Layout, points: FloatArray, lines: Sequence[int]) -> None:
    unknown = np.flatnonzero(np.isnan(points).all(axis=1))
    if unknown.size:
        raise DataError(
            f"{layout.path}:{lines[unknown[0]]}: row {unknown[0]} has no known value in any "
            f"feature ({unknown.size} such row{'s' if unknown.size > 1 else ''}), expected at "
            f"least one; remove it"
        )


def _refuse_non_finite(layout: _Layout, points: FloatArray, lines: Sequence[int]) -> None:
    bad = np.isinf(points) if layout.keeps_gaps else ~np.isfinite(points)
    if not bad.any():
        return
    row, feature = (int(i) for i in np.argwhere(bad)[0])
    count = int(bad.sum())
    raise DataError(
        f"{layout.place(lines[row], row, layout.features[feature])} holds {points[row, feature]}, "
        f"expected a finite number ({count} such value{'s' if count > 1 else ''} in "
        f"{int(bad.any(axis=1).sum())} of {len(points)} rows); remove or impute those rows"
        + ("" if np.isinf(points[row, feature]) else ", or set csv.missing: keep")
    )


def _is_gap(cell: str) -> bool:
    return cell.strip().lower() in _GAPS


def _number_or_gap(cell: str) -> float:
    return math.nan if _is_gap(cell) else float(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


FACTORY = DatasetFactory(
    name="csv",
    params=CsvParams,
    build=CsvSource,
    summary="A table of numbers from a CSV file, with an optional column of labels.",
)
