"""The encoder and decoder: dense layers, or convolutions that halve an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from musicfw.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What the layers follow from.

    Parameters
    ----------
    features, codes : int
        Width D of a row and d of its code.
    encoder : {"dense", "convolutional"}
        Hidden layers, with ReLU between all layers; the decoder mirrors the encoder.
    hidden : tuple of int
        Their widths, or the channels of 3 × 3 convolutions with stride 2.
    image_size : tuple of int, or None
        Height and width of a row as an image; convolutions need them.
    """

    features: int
    codes: int
    encoder: Literal["dense", "convolutional"]
    hidden: tuple[int, ...]
    image_size: tuple[int, int] | None

    def __post_init__(self) -> None:
        shape = self.image_size
        missing = shape is None and self.encoder == "convolutional"
        if missing or (shape is not None and math.prod(shape) != self.features):
            raise UsageError(
                f"image_size: expected a height and width whose product is the {self.features} "
                f"features, got {None if shape is None else list(shape)}"
            )

    def to_tree(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return asdict(self)

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Architecture:
        """Return what `to_tree` gave."""
        shape = tree["image_size"]
        return cls(
            **tree
            | {"hidden": tuple(tree["hidden"]), "image_size": None if shape is None else (*shape,)}
        )


class Autoencoder(nn.Module):
    """Encoder and decoder, with the scaling of the data inside.

    Rows are centred and divided by one number, the root of their mean variance, before the first
    layer: the network learns at the same pace whatever the data's unit, and their geometry stays.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.register_buffer("offset", torch.zeros(architecture.features))
        self.register_buffer("scale", torch.ones(()))
        layers = _dense if architecture.encoder == "dense" else _convolutional
        with torch.random.fork_rng(devices=[]):  # layers draw weights from the global generator
            self.encoder, self.decoder = layers(architecture)

    def encode(self, points: Tensor) -> Tensor:
        """Return the codes (N, d) of rows (N, D)."""
        codes: Tensor = self.encoder((points - self.offset) / self.scale)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return rows (N, D) for codes (N, d)."""
        rows: Tensor = self.decoder(codes)
        return rows * self.scale + self.offset

    def fit_scale(self, points: Tensor) -> None:
        """Take the offset and the scale from data (N, D), which are not all equal."""
        mean = points.mean(dim=0)
        self.offset.copy_(mean)
        self.scale.copy_((points - mean).square().mean().sqrt())

    def draw_weights(self, generator: Generator) -> None:
        """Draw first weights: uniform, ±1/√(inputs of a unit), as is PyTorch's own choice.

        From a generator of one's own, on the CPU: the same on every device, and nothing global.
        """
        for layer in self.modules():
            if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                continue
            assert layer.bias is not None
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                for values in (layer.weight, layer.bias):
                    drawn = torch.rand(values.shape, generator=generator, dtype=torch.float64)
                    values.copy_((2.0 * drawn - 1.0) * bound)


def _with_relu(layers: Sequence[nn.Module]) -> list[nn.Module]:
    between: list[nn.Module] = []
    for layer in layers:
        between += [layer, nn.ReLU()]
    return between[:-1]


def _dense(architecture: Architecture) -> tuple[nn.Sequential, nn.Sequential]:
    widths = (architecture.features, *architecture.hidden, architecture.codes)

    def stack(sizes: Sequence[int]) -> nn.Sequential:
        return nn.Sequential(*_with_relu([nn.Linear(a, b) for a, b in pairwise(sizes)]))

    return stack(widths), stack(widths[::-1])


def _convolutional(architecture: Architecture) -> tuple[nn.Sequential, nn.Sequential]:
    assert architecture.image_size is not None
    channels = (1, *architecture.hidden)
    shapes = [architecture.image_size]
    for _ in architecture.hidden:
        height, width = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2))
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for level, (a, b) in enumerate(pairwise(channels)):
        down.append(nn.Conv2d(a, b, 3, stride=2, padding=1))
        # An even side was halved, an odd one halved and rounded up: the way back differs by one.
        height, width = shapes[level]
        extra = (1 - height % 2, 1 - width % 2)
        up.append(nn.ConvTranspose2d(b, a, 3, stride=2, padding=1, output_padding=extra))
    flat = channels[-1] * math.prod(shapes[-1])
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, *shapes[0])),
        *_with_relu(down),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, architecture.codes),
    )
    decoder = nn.Sequential(
        nn.Linear(architecture.codes, flat),
        nn.ReLU(),
        nn.Unflatten(1, (channels[-1], *shapes[-1])),
        *_with_relu(up[::-1]),
        nn.Flatten(),
    )
    return encoder, decoder
