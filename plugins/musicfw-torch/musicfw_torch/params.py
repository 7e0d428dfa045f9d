"""Options of the backend ``somrl-autoencoder``; without PyTorch, so that listing them is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from musicfw.api import param
from musicfw.errors import UsageError

LawName = Literal["entropy", "logistic", "volume", "none"]

# Enough updates for small data, a bounded number of passes over large ones.
_UPDATES, _FEWEST_EPOCHS, _MOST_EPOCHS = 1100, 15, 150


@dataclass(frozen=True, slots=True, kw_only=True)
class SomrlParams:
    """Options of the backend ``somrl-autoencoder``.

    Raises
    ------
    UsageError
        If a radius would grow, or what needs an image shape has none.
    """

    code_dimension: Annotated[int, Ge(1)] = param(10, help="Coordinates d of a code.")
    encoder: Literal["dense", "convolutional"] = param(
        "dense", help="Layers of the encoder; the decoder mirrors them."
    )
    hidden: tuple[Annotated[int, Ge(1)], ...] = param(
        (256, 128), help="Widths of the hidden layers, or channels of the convolutions."
    )
    image_size: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] | None = param(
        None,
        help="Height and width of a row as an image; for the convolutional encoder, and for "
        "neighbours_by: gradients.",
    )
    epochs: Annotated[int, Ge(1)] | None = param(
        None,
        help="Passes over the data; null takes what makes 1100 updates, at least 15 and at most "
        "150 passes.",
    )
    batch_size: Annotated[int, Ge(1)] = param(256, help="Pairs of neighbours per update.")
    learning_rate: Annotated[float, Gt(0)] = param(
        1e-3, help="Of Adam, at the start; it falls to 1 % of that along a cosine."
    )
    reconstruction_weight: Annotated[float, Ge(0)] = param(
        0.1, help="Of the mean squared reconstruction error over the data's variance."
    )
    code_noise: Annotated[float, Ge(0)] = param(
        0.1,
        help="Standard deviation of normal noise on the codes that are decoded in training, in "
        "their own unit, in which neighbours lie within about 1: it makes the decoder smooth, "
        "beside the data too.",
    )
    neighbour_weight: Annotated[float, Ge(0)] = param(
        1.0, help="Of the term that keeps neighbours in the data together in the codes."
    )
    repulsion: Annotated[float, Ge(0)] = param(
        0.3, help="Weight, in that term, of pairs that are no neighbours beside pairs that are."
    )
    neighbours: Annotated[int, Ge(1)] = param(
        15, help="How many nearest neighbours of a point count."
    )
    neighbours_by: Literal["values", "gradients"] = param(
        "values",
        help="By what points are neighbours: the distance of their values, or of what their "
        "edges show (histograms of oriented gradients, for grey images; needs image_size).",
    )
    map_weight: Annotated[float, Ge(0)] = param(
        0.01, help="Of the share of the codes' variance that the map leaves unexplained."
    )
    warm_up: Annotated[float, Ge(0), Lt(1)] = param(
        0.3, help="Share of the epochs before the map begins, on the codes' principal plane."
    )
    radius_start: Annotated[float, Ge(0.01)] = param(
        3.0, help="Neighbourhood radius when the map begins, in distances of nearest units."
    )
    radius_end: Annotated[float, Ge(0.01)] = param(0.3, help="The same at the end.")
    law: LawName = param(
        "entropy",
        help="How relevances follow from dispersions: entropy, logistic (LARFDSSOM), volume "
        "(Gustafson-Kessel, diagonal), or none (all 1).",
    )
    temperature: Annotated[float, Gt(0)] = param(
        1.0,
        help="How even relevances are: of law entropy in mean dispersions of a unit, of logistic "
        "the slope; volume has none.",
    )
    floor: Annotated[float, Ge(0), Le(1)] = param(0.05, help="Least relevance; their mean is 1.")
    pooling: Annotated[float, Ge(0)] = param(
        20.0, help="As how many points the mean dispersion of all units counts beside a unit's."
    )
    prototypes: Literal["moving-average", "gradient"] = param(
        "moving-average",
        help="How prototypes follow the codes: as weighted means of the batches, or as parameters "
        "of Adam beside the network.",
    )
    memory: Annotated[float, Gt(0), Le(1)] = param(
        0.02, help="Share of a moving average that one point renews."
    )
    prototype_learning_rate: Annotated[float, Gt(0)] = param(
        1e-2, help="Of Adam for prototypes: gradient."
    )
    winner: Literal["nearest", "heskes"] = param(
        "nearest",
        help="Best unit of a point in training: the nearest, or the one whose neighbourhood is "
        "(T. Heskes), for which the map's term is a true energy.",
    )
    final_epochs: Annotated[int, Ge(0)] = param(
        10, help="Batch epochs of the map at radius_end on the finished codes, at the end."
    )
    patience: Annotated[int, Ge(1)] | None = param(
        None,
        help="Stop when the mean loss of an epoch with the map has not fallen by 0.1 % for so many "
        "epochs; null never stops early.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = param(
        "auto", help="Where to compute; auto takes a CUDA device if there is one, else the CPU."
    )
    dtype: Literal["float32", "float64"] = param("float32", help="Precision of the training.")

    def __post_init__(self) -> None:
        if self.radius_start < self.radius_end:
            raise UsageError(
                f"radius_start: expected at least radius_end = {self.radius_end:g} (the radius "
                f"falls), got {self.radius_start:g}; raise it or lower radius_end"
            )
        if not self.hidden:
            raise UsageError("hidden: expected at least one hidden layer, got none")
        if self.encoder == "convolutional" and self.image_size is None:
            raise UsageError(
                "image_size: a convolutional encoder needs the height and width of an image; "
                "give image_size, or take encoder: dense"
            )
        if self.neighbours_by == "gradients" and self.image_size is None:
            raise UsageError(
                "image_size: gradients need the height and width of an image; give image_size, or "
                "take neighbours_by: values"
            )

    def epochs_for(self, points: int) -> int:
        """Return ``epochs``, or its default for so many points."""
        if self.epochs is not None:
            return self.epochs
        enough = -(-_UPDATES * self.batch_size // points)
        return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, enough))
