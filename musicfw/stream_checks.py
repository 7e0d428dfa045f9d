"""What a stream is given, checked: params, rows to learn, rows to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import WorkArray, as_matrix, known_range, refuse_unknown_rows
from musicfw.errors import DataError, UsageError
from musicfw.som.native_params import NativeParams
from musicfw.sparse import as_csr, is_sparse

__all__ = ["check_stream_params", "refuse_unknown_columns", "rows_of_stream", "rows_to_judge_by"]


def rows_of_stream(
    rows: npt.ArrayLike,
    *,
    name: str,
    columns: int | None,
    names: Sequence[str] | None,
    missing: bool,
) -> WorkArray:
    """Return rows (n, D) as a matrix, float32 or float64, that may have gaps if ``missing``."""
    matrix: WorkArray = as_matrix(
        rows,
        name=name,
        columns=columns,
        column_names=names,
        missing=missing,
        keep_float32=True,
        gap_advice="remove or impute those rows, or learn with missing='keep'",
    )
    if missing:
        refuse_unknown_rows(matrix, name=name)
    return matrix


def rows_to_judge_by(
    validation: npt.ArrayLike, *, names: Sequence[str] | None, missing: bool
) -> Any:
    """Return validation rows (V, D), at least one, as an array or a CSR array."""
    if is_sparse(validation):
        rows: Any = as_csr(validation, name="validation", keep_float32=True)
    else:
        rows = rows_of_stream(
            validation, name="validation", columns=None, names=names, missing=missing
        )
    if rows.shape[0] == 0:
        raise DataError("validation: expected at least one row to judge by, got none")
    return rows


def refuse_unknown_columns(rows: WorkArray) -> None:
    """Refuse first rows (n, D) in which a feature is never known."""
    unknown = np.flatnonzero(np.isnan(known_range(rows)[0]))
    if unknown.size:
        raise DataError(
            f"rows: column {int(unknown[0])} has no known value in the first {rows.shape[0]} rows, "
            f"which give the first prototypes; shuffle the rows, raise chunk_size, or leave the "
            f"column out"
        )


def check_stream_params(params: NativeParams, updates: int | None) -> None:
    """Refuse params of the backend ``native`` that have no meaning where rows come once."""
    if params.mode != "minibatch":
        raise UsageError(f"mode: expected 'minibatch' for a stream, got {params.mode!r}")
    advice = "leave it out, or train on an array"
    others = {"epochs": advice, "full_epochs": advice}
    others["validation_share"] = "give rows of their own as validation"
    for name, instead in others.items():
        if getattr(params, name):
            raise UsageError(
                f"{name}: expected none for a stream (its rows come once), got "
                f"{getattr(params, name)}; {instead}"
            )
    if params.listed_radii is not None:
        raise UsageError(
            "radius_decay: expected a name for a stream (it has no epochs to list radii for), got "
            "a list; leave it out, or train on an array"
        )
    if updates is not None and updates < 1:
        raise UsageError(f"updates: expected at least 1, got {updates}")
