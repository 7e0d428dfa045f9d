"""The trained autoencoder as an embedding of musicfw: safetensors and JSON, never pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor

from musicfw.arrays import FloatArray
from musicfw.errors import StoreError
from musicfw_torch.networks import Architecture, Autoencoder

_WEIGHTS, _CONFIG = "weights.safetensors", "config.json"
_FORMAT = 1
# Rows per pass through the network: bounds the memory of its layers.
_BLOCK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class AutoencoderEmbedding:
    """An encoder and a decoder that no longer change.

    Parameters
    ----------
    network : Autoencoder
        In the precision it was trained in; on the CPU.
    """

    network: Autoencoder

    @property
    def name(self) -> str:
        """Name of the factory that reads it."""
        return "autoencoder"

    def encode(self, points: FloatArray) -> FloatArray:
        """Return the codes (N, d) of points (N, D)."""
        return self._through(self.network.encode, points)

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return points (N, D) for codes (N, d)."""
        return self._through(self.network.decode, codes)

    def files(self) -> Mapping[str, bytes]:
        """Return the weights as safetensors and the architecture as JSON."""
        dtype = str(self.network.scale.dtype).removeprefix("torch.")
        config = {
            "format": _FORMAT,
            "dtype": dtype,
            "architecture": self.network.architecture.to_tree(),
        }
        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        return {_WEIGHTS: save(state), _CONFIG: json.dumps(config, indent=1).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> AutoencoderEmbedding:
        """Return the embedding that `files` gave.

        Raises
        ------
        StoreError
            If they are not what `files` gives.
        """
        try:
            config = json.loads(files[_CONFIG])
            if config["format"] != _FORMAT:
                raise StoreError(
                    f"autoencoder: expected format {_FORMAT}, got {config['format']!r}; it was "
                    f"written by a newer musicfw-torch: update it"
                )
            network = Autoencoder(Architecture.from_tree(config["architecture"]))
            network = network.to(getattr(torch, config["dtype"]))
            network.load_state_dict(load(files[_WEIGHTS]))
        except StoreError:
            raise
        except Exception as err:  # safetensors, json and torch each have errors of their own
            raise StoreError(
                f"autoencoder: expected {_WEIGHTS} and {_CONFIG} as musicfw-torch writes them, got "
                f"something else ({type(err).__name__}: {err})"
            ) from err
        return cls(network.eval().requires_grad_(False))

    def _through(self, way: Callable[[Tensor], Tensor], rows: FloatArray) -> FloatArray:
        dtype = self.network.scale.dtype
        with torch.no_grad():
            # No rows are one block of none.
            blocks = [
                way(torch.tensor(rows[start : start + _BLOCK], dtype=dtype)).double()
                for start in range(0, max(1, rows.shape[0]), _BLOCK)
            ]
        return torch.cat(blocks).numpy()
