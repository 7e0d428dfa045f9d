"""Data and their units: points with what is known about them, and a change of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from musicfw.arrays import FloatArray, as_matrix, frozen, refuse_unknown_rows
from musicfw.errors import UsageError
from musicfw.frames import names_of
from musicfw.missing import MissingValues, keeps_gaps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """An affine change of units per feature: ``scaled = (original − offset) / scale``.

    Parameters
    ----------
    offset, scale : array_like, shape (D,)
        In the units of the data; ``scale`` is positive.
    """

    offset: FloatArray
    scale: FloatArray

    def __post_init__(self) -> None:
        for name in ("offset", "scale"):
            try:
                object.__setattr__(self, name, frozen(getattr(self, name)))
            except (TypeError, ValueError) as err:
                raise UsageError(f"Scaling.{name}: expected numbers (D,): {err}") from err
        if self.offset.ndim != 1 or self.offset.shape != self.scale.shape:
            raise UsageError(
                f"Scaling: expected offset and scale of one shape (D,), got {self.offset.shape} "
                f"and {self.scale.shape}"
            )
        if not (np.isfinite(self.offset).all() and np.isfinite(self.scale).all()):
            raise UsageError("Scaling: expected finite offset and scale")
        if not (self.scale > 0).all():
            raise UsageError("Scaling.scale: expected positive numbers")

    @classmethod
    def identity(cls, dimension: int) -> Scaling:
        """Return the scaling that changes nothing."""
        return cls(offset=np.zeros(dimension), scale=np.ones(dimension))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing, so that points pass through bit for bit."""
        return not self.offset.any() and bool((self.scale == 1.0).all())

    def to_map(self, points: FloatArray) -> FloatArray:
        """Return points (…, D) in the map's units."""
        return points if self.is_identity else (points - self.offset) / self.scale

    def to_original(self, points: FloatArray) -> FloatArray:
        """Return points (…, D) in the units of the data."""
        return points if self.is_identity else points * self.scale + self.offset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Points with what is known about them.

    Parameters
    ----------
    points : array_like or DataFrame, shape (N, D)
        Numbers in original units, finite but for what ``missing`` allows. A frame gives the names.
    labels : array_like of str, shape (N,), optional
        Class of each point; other types are turned into text.
    feature_names : sequence of str, optional
        Names of the D features.
    image_shape : tuple of int, optional
        (height, width) if each point is a grey image with ``height · width = D``.
    description : str
        One line for the report: what the data are and where they come from.
    missing : {"refuse", "keep"}
        What NaN in ``points`` is: an error, or a missing value. No row may be wholly missing.
    weights : array_like, shape (N,), optional
        As how many rows each row counts in the training, not negative; measures and what is
        inverted or steered do not regard them.
    """

    points: FloatArray
    labels: npt.NDArray[np.str_] | None = None
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None
    description: str = ""
    missing: MissingValues = "refuse"
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        given = names_of(self.points) if self.feature_names is None else self.feature_names
        names = None if given is None else tuple(str(n) for n in given)
        keeps = keeps_gaps(self.missing)
        points = frozen(as_matrix(self.points, name="points", column_names=names, missing=keeps))
        if keeps:
            refuse_unknown_rows(points, name="points")
        object.__setattr__(self, "points", points)
        count, dimension = points.shape
        if count == 0:
            raise UsageError("Dataset.points: expected at least one row, got none")
        names = checked_names(names, dimension, name="Dataset.feature_names")
        object.__setattr__(self, "feature_names", names)
        if self.labels is not None:
            labels = frozen(self.labels, np.str_)
            if labels.shape != (count,):
                raise UsageError(
                    f"Dataset.labels: expected shape ({count},), one per row, got {labels.shape}"
                )
            object.__setattr__(self, "labels", labels)
        if self.weights is not None:
            weights = as_weights(self.weights, rows=count, name="Dataset.weights")
            object.__setattr__(self, "weights", frozen(weights))
        shape = checked_image_shape(self.image_shape, dimension, name="Dataset.image_shape")
        object.__setattr__(self, "image_shape", shape)


def as_weights(weights: npt.ArrayLike, *, rows: int, name: str = "weights") -> FloatArray:
    """Return as how many rows each row counts, shape (rows,); refuse what is negative."""
    column = as_matrix(np.reshape(np.asarray(weights), (-1, 1)), name=name)[:, 0]
    if column.shape != (rows,):
        raise UsageError(f"{name}: expected {rows}, one per row, got {column.size}")
    if (column < 0.0).any():
        row = int(np.argmin(column))
        raise UsageError(f"{name}: expected numbers of at least 0, got {column[row]} in row {row}")
    return column


def checked_names(
    names: Sequence[str] | None, dimension: int, *, name: str
) -> tuple[str, ...] | None:
    """Return the names of D features as text; refuse another number of them."""
    if names is None:
        return None
    if len(names) != dimension:
        raise UsageError(f"{name}: expected {dimension} names, got {len(names)}")
    return tuple(str(each) for each in names)


def checked_image_shape(
    shape: tuple[int, int] | None, dimension: int, *, name: str
) -> tuple[int, int] | None:
    """Return (height, width) of images with D pixels; refuse what does not fit."""
    if shape is None:
        return None
    try:
        height, width = (int(n) for n in shape)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{name}: expected (height, width), got {shape!r}") from err
    if height * width != dimension:
        raise UsageError(
            f"{name}: expected height · width = {dimension} features, got "
            f"{height} × {width} = {height * width}"
        )
    return height, width
