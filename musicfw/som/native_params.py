"""The options of the backend `native`, and the radii that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen

from musicfw.api import param
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som.initialization import InitializationName
from musicfw.som.neighbourhoods import NeighbourhoodName
from musicfw.som.schedules import DecayName, chunks_of, decay

# Rows per matrix product where the result does not depend on it, and per update in a mini-batch.
_ROWS_PER_PRODUCT = 4096
_ROWS_PER_UPDATE = 1000
_LEAST_UPDATES, _POINTS_PER_UNIT = 24, 64
_PATIENCE = 5
_DEFAULT_EPOCHS = {"batch": 30, "progressive": 40, "online": 1}

Radius = Annotated[float, Ge(0.01), Le(1e6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeParams:
    """Options of the backend ``native``.

    The radius falls over the updates; the last one has ``radius_end``.

    Raises
    ------
    UsageError
        If ``radius_start`` is below ``radius_end``, or params contradict each other.
    """

    mode: Literal["minibatch", "batch", "progressive", "online"] = param(
        "minibatch",
        help="How points are taken: minibatch updates after every chunk, batch after every pass "
        "(with no more points than one chunk they are the same), progressive from more and more "
        "points, online after every point (Kohonen's rule).",
    )
    epochs: Annotated[int, Ge(1)] | None = param(
        None,
        help="Passes over the data; in mode progressive, updates. Null takes 30 (batch), 40 "
        "(progressive), 1 (online); in mode minibatch at least 24 updates, and as many as one pass "
        "or 64 points per unit need, whichever is less; if they make no more than a pass, the "
        "first takes a quarter of chunk_size, and the others grow evenly to all of it.",
    )
    full_epochs: Annotated[int, Ge(0)] = param(
        0, help="Batch epochs over all points with the last radius that are added at the end."
    )
    radius_start: Radius | None = param(
        None,
        help="Neighbourhood radius of the first update, in distances between nearest units; null "
        "takes 1 + 0.15 times the lattice's larger side.",
    )
    radius_end: Radius = param(
        1.0,
        help="Radius of the last update: smaller fits the data closer, larger keeps the map "
        "smooth.",
    )
    radius_decay: DecayName | Annotated[tuple[Radius, ...], MinLen(1)] = param(
        "linear",
        help="How the radius falls from radius_start to radius_end; or the radius of every epoch "
        "as a list, instead of radius_start, radius_end and epochs.",
    )
    neighborhood: NeighbourhoodName = param(
        "gaussian",
        help="Weight of a unit at lattice distance d and radius r: exp(-d²/2r²); the same, 0 "
        "beyond r; 1 up to r; 1 - d/r; (1 - d²/4r²)·exp(-d²/2r²), which repels beyond 2r "
        "(mexican-hat, mode online only).",
    )
    initialization: InitializationName = param(
        "pca",
        help="First prototypes: a plane through the principal components, data rows, or data rows "
        "far from each other. Not used where prototypes are given (`train(initial=…)`).",
    )
    learning_rate: Annotated[float, Gt(0), Le(1)] = param(
        0.5, help="Share of the way to a point that its unit moves, at the start (mode online)."
    )
    learning_rate_end: Annotated[float, Gt(0), Le(1)] = param(
        0.01,
        help="The same at the end; it falls as the radius does, exponentially if the radii are "
        "listed (mode online).",
    )
    dtype: Literal["float64", "float32"] | None = param(
        None,
        help="Precision of the distances; float32 takes about half the time. Null takes that of "
        "the data: float32 for float32, else float64.",
    )
    search: Literal["plain", "compiled"] = param(
        "plain",
        help="How best matching units are found: by one matrix product, or (musicfw[fast]) by a "
        "compiled loop that skips what a projection rules out, which pays in many epochs over "
        "points with dozens of features, or hundreds. Not used in mode online, nor for sparse data "
        "and data with missing values: they are searched plainly, and the log (level info) says "
        "so.",
    )
    validation_share: Annotated[float, Ge(0), Lt(1)] = param(
        0.0,
        help="Share of the points that is held out to tell when to stop: the map with the least "
        "quantization error on them is returned. 0 for none.",
    )
    patience: Annotated[int, Ge(1)] | None = param(
        None,
        help="Measurements of the held-out error in a row without improvement that end the "
        "training. There is one per update; in mode minibatch one whenever as many rows were "
        "learnt as are held out, in mode online one per pass. Null takes 5; in mode online a third "
        "of the passes if that is more, for the error is rough until the learning rate has fallen.",
    )
    tolerance: Annotated[float, Ge(0), Lt(1)] = param(
        0.001, help="A held-out error lower by this share, or less, is no improvement."
    )
    chunk_size: Annotated[int, Ge(1)] | None = param(
        None,
        help="Points per update (minibatch) or per matrix product (the others, to whose result it "
        "does not matter); bounds the memory beside the data. Null takes 1000 or 4096.",
    )

    def __post_init__(self) -> None:
        if self.listed_radii is not None:
            self._check_listed(self.listed_radii)
        elif self.radius_start is not None and self.radius_start < self.radius_end:
            raise UsageError(
                f"radius_start: expected at least radius_end = {self.radius_end:g} (the radius "
                f"falls), got {self.radius_start:g}; raise it or lower radius_end"
            )
        if self.learning_rate < self.learning_rate_end:
            raise UsageError(
                f"learning_rate: expected at least learning_rate_end = {self.learning_rate_end:g} "
                f"(the rate falls), got {self.learning_rate:g}"
            )
        if self.neighborhood == "mexican-hat" and self.mode != "online":
            raise UsageError(
                f"neighborhood: expected 'mexican-hat' only with mode: online (its weights are "
                f"partly negative, and have no weighted mean), got mode: {self.mode}; use "
                f"'gaussian', or mode: online"
            )

    def _check_listed(self, radii: tuple[float, ...]) -> None:
        given = {"radius_start": self.radius_start, "epochs": self.epochs}
        for name, fits in (("radius_start", radii[0]), ("epochs", len(radii))):
            if given[name] not in (None, fits):
                raise UsageError(
                    f"{name}: expected null or {fits:g} with the {len(radii)} radii listed under "
                    f"radius_decay, got {given[name]:g}; leave it out"
                )
        if self.radius_end not in (1.0, radii[-1]):
            raise UsageError(
                f"radius_end: expected the last radius listed under radius_decay, {radii[-1]:g}, "
                f"got {self.radius_end:g}; leave it out"
            )

    @property
    def listed_radii(self) -> tuple[float, ...] | None:
        """The radius of every epoch, if ``radius_decay`` lists them."""
        return None if isinstance(self.radius_decay, str) else self.radius_decay

    def updates(self, *, points: int, units: int) -> int:
        """Return how many updates ``epochs``, or its default, makes (without ``full_epochs``).

        The default of mode minibatch stops where more points no longer pay: on 60,000 rows of
        Fashion-MNIST and a map of 20 × 20, half a pass ends within 0.3 % of the quantization error
        of a whole one, on rows held out.
        """
        listed = None if self.listed_radii is None else len(self.listed_radii)
        wanted = self.epochs or listed
        if self.mode == "minibatch":
            chunks = chunks_of(points, self.rows_per_chunk)
            if wanted is None:
                enough = -(-_POINTS_PER_UNIT * units // self.rows_per_chunk)
                return max(_LEAST_UPDATES, min(enough, chunks))
            return wanted * chunks
        epochs = wanted or _DEFAULT_EPOCHS[self.mode]
        return epochs * points if self.mode == "online" else epochs

    @property
    def judgements_to_wait(self) -> int:
        """``patience``, or its default for the mode."""
        if self.patience is not None:
            return self.patience
        passes = self.updates(points=1, units=1) if self.mode == "online" else 0
        return max(_PATIENCE, passes // 3)

    @property
    def rows_per_chunk(self) -> int:
        """``chunk_size``, or its default for the mode."""
        if self.chunk_size is not None:
            return self.chunk_size
        return _ROWS_PER_UPDATE if self.mode == "minibatch" else _ROWS_PER_PRODUCT


def radius_schedule(params: NativeParams, lattice: Lattice, *, updates: int) -> FloatArray:
    """Return the radius of every update, shape (updates,).

    A single update uses ``radius_end``. Listed radii last an epoch each.

    The default start is enough to unfold a map that begins as a plane or a sample. Falling linearly
    from it ended with a topographic error a tenth lower than falling exponentially from a quarter
    of the side (Fashion-MNIST, blobs, a uniform cube, normal features; about the same on digits and
    a swiss roll), at a quantization error up to 1 % higher on 10 × 10 units, 2.7 % on 20 × 20 and
    3.5 % on 32 × 32.
    """
    if not isinstance(params.radius_decay, str):
        listed = np.array(params.radius_decay, dtype=np.float64)
        return np.repeat(listed, updates // listed.size)
    end = params.radius_end
    start = params.radius_start
    if start is None:
        start = max(end, 1.0 + 0.15 * max(lattice.columns, lattice.rows * lattice.row_height))
    return decay(start, end, steps=updates, name=params.radius_decay)
