"""Training the autoencoder and its map together: one loss, one loop, one state to keep."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from musicfw.api import TrainingProblem
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw_torch.gradients import compared
from musicfw_torch.graph import NeighbourGraph, neighbour_graph
from musicfw_torch.latent_map import (
    LatentMap,
    Neighbourhood,
    batch_epoch,
    lattice_squared_distances,
    moved,
)
from musicfw_torch.losses import map_loss, neighbour_loss, reconstruction_loss
from musicfw_torch.networks import Architecture, Autoencoder
from musicfw_torch.params import SomrlParams

_TERMS = ("loss", "reconstruction", "neighbours", "map", "radius")
_LAST_RATE = 0.01  # of the learning rate, at the end
_WORTH_HAVING = 1e-3  # relative fall of the loss that counts as one
_MAP = ("prototypes", "dispersions", "relevances", "counts")


class Pairs:
    """Draws pairs of neighbours: every point once per epoch, with a neighbour by weight."""

    def __init__(self, graph: NeighbourGraph) -> None:
        self._starts = torch.from_numpy(graph.starts)
        self._neighbours = torch.from_numpy(graph.neighbours)
        self._upto = torch.from_numpy(np.append(0.0, np.cumsum(graph.weights)))

    def epoch(self, generator: torch.Generator, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield heads and tails, (B,) each."""
        heads = torch.randperm(self._starts.numel() - 1, generator=generator)
        draws = torch.rand(heads.numel(), generator=generator, dtype=torch.float64)
        first, end = self._starts[heads], self._starts[heads + 1]
        below, above = self._upto[first], self._upto[end]
        edge = torch.searchsorted(self._upto, below + draws * (above - below), right=True) - 1
        tails = self._neighbours[torch.minimum(torch.maximum(edge, first), end - 1)]
        return zip(torch.split(heads, batch_size), torch.split(tails, batch_size), strict=True)


@dataclass(kw_only=True, eq=False)
class Progress:
    """How far a training has come: all that a checkpoint keeps beside network and optimiser."""

    epoch: int = 0
    map: LatentMap | None = None
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _TERMS})


class Trainer:
    """Trains; `run` can be called once.

    Parameters
    ----------
    problem : TrainingProblem
        Of the host.
    params : SomrlParams
        Of the backend.
    """

    def __init__(self, problem: TrainingProblem, params: SomrlParams) -> None:
        self.params, self._problem = params, problem
        seed, graph_seed = (int(value) for value in problem.rng.integers(2**62, size=2))
        self._generator = torch.Generator().manual_seed(seed)
        self._device = chosen_device(params)
        dtype = getattr(torch, params.dtype)
        self._points = torch.tensor(problem.points, dtype=dtype, device=self._device)
        architecture = Architecture(
            features=self._points.shape[1],
            codes=params.code_dimension,
            encoder=params.encoder,
            hidden=params.hidden,
            image_size=params.image_size,
        )
        self.network = Autoencoder(architecture).to(dtype)
        self.network.draw_weights(self._generator)
        self.network.to(self._device).fit_scale(self._points)
        self._adam = torch.optim.Adam(self.network.parameters(), lr=params.learning_rate)
        self._map_adam: torch.optim.Adam | None = None
        self._squared = lattice_squared_distances(problem.lattice, self._points)
        positions = problem.lattice.coordinates()
        self._positions = torch.as_tensor(np.asarray(positions)).to(self._points)
        self._graph_seed = graph_seed
        self.epochs = params.epochs_for(self._points.shape[0])
        self._first_map_epoch = math.floor(params.warm_up * self.epochs)
        self.reached = Progress()

    def run(self) -> bool:
        """Train to the end, or until the user interrupts; return whether he did.

        Raises
        ------
        KeyboardInterrupt
            If he did before the first epoch was over.
        """
        self._resume()
        shown = compared(self._problem.points, self.params)
        graph = neighbour_graph(shown, neighbours=self.params.neighbours, seed=self._graph_seed)
        pairs = Pairs(graph)
        try:
            while self.reached.epoch < self.epochs and not self._has_settled():
                self._epoch(pairs)
                self._offer()
                self._problem.progress(self.reached.epoch, self.epochs)
        except KeyboardInterrupt:
            if not self.reached.epoch:
                raise
            return True
        return False

    def finished_map(self) -> LatentMap:
        """Return the map after the final batch epochs on the codes of all points."""
        params, codes = self.params, self.codes()
        with torch.no_grad():
            state = self.reached.map or LatentMap.on_principal_plane(codes, self._positions)
            start = self._radius(self.reached.epoch, 0.0)
            for number in range(params.final_epochs):
                share = (number + 1) / params.final_epochs
                radius = start * (params.radius_end / start) ** share
                state = batch_epoch(state, codes, self._neighbourhood(radius), params)
        return state

    def codes(self) -> Tensor:
        """Return the codes (N, d) of all points, as the network is now."""
        with torch.no_grad():
            blocks = torch.split(self._points, 4096)
            return torch.cat([self.network.encode(block) for block in blocks])

    def history(self) -> dict[str, FloatArray]:
        """Return one entry per epoch: the mean loss and its terms, and the last radius.

        Terms of the map are NaN before it begins.
        """
        return {name: np.array(values) for name, values in self.reached.history.items()}

    def _epoch(self, pairs: Pairs) -> None:
        number = self.reached.epoch
        with_map = number >= self._first_map_epoch
        if with_map and self.reached.map is None:
            self._begin_map()
        batches = list(pairs.epoch(self._generator, self.params.batch_size))
        totals = torch.zeros(4, dtype=torch.float64)
        radius = math.nan
        for index, (heads, tails) in enumerate(batches):
            share = index / len(batches)
            self._set_rates((number + share) / self.epochs)
            if with_map:
                radius = self._radius(number, share)
            terms = self._update(heads.to(self._device), tails.to(self._device), radius)
            totals += terms * (heads.numel() / self._points.shape[0])
        values = [*totals.tolist(), radius]
        if not with_map:
            values[3] = math.nan
        if not math.isfinite(values[0]):
            raise UsageError(
                f"learning_rate: the loss is no longer finite in epoch {number + 1}; lower "
                f"learning_rate (got {self.params.learning_rate:g}), or scale the data"
            )
        for name, value in zip(_TERMS, values, strict=True):
            self.reached.history[name].append(value)
        self.reached.epoch += 1

    def _update(self, heads: Tensor, tails: Tensor, radius: float) -> Tensor:
        """Do one step of Adam and of the map; return the loss and its three terms."""
        params, rows = self.params, self._points[heads]
        codes = self.network.encode(torch.cat([rows, self._points[tails]]))
        head_codes, tail_codes = torch.split(codes, heads.numel())
        reconstruction = neighbours = unexplained = torch.zeros((), device=self._device)
        if params.reconstruction_weight:
            noise = torch.randn(head_codes.shape, generator=self._generator).to(head_codes)
            decoded = self.network.decode(head_codes + params.code_noise * noise)
            reconstruction = reconstruction_loss(rows, decoded, self.network.scale)
        if params.neighbour_weight:
            neighbours = neighbour_loss(head_codes, tail_codes, repulsion=params.repulsion)
        if self.reached.map is not None:
            unexplained = self._follow(codes, radius)
        loss = (
            params.reconstruction_weight * reconstruction
            + params.neighbour_weight * neighbours
            + params.map_weight * unexplained
        )
        optimisers = [self._adam] + ([self._map_adam] if self._map_adam else [])
        for optimiser in optimisers:
            optimiser.zero_grad()
        if loss.requires_grad:
            torch.autograd.backward(loss)
        for optimiser in optimisers:
            optimiser.step()
        terms = torch.stack([loss, reconstruction, neighbours, unexplained])
        return terms.detach().double().cpu()

    def _follow(self, codes: Tensor, radius: float) -> Tensor:
        """Let the map follow the codes of a batch, and return what it leaves unexplained."""
        state = self.reached.map
        assert state is not None
        near = self._neighbourhood(radius)
        with torch.no_grad():
            still = codes.detach()
            winners = near.winners(state.squared_distances(still), self.params)
            weights = near.weights[winners]
            state = moved(state, still, weights, winners, self.params)
        self.reached.map = state
        return map_loss(codes, state.prototypes, state.relevances, weights)

    def _begin_map(self) -> None:
        state = LatentMap.on_principal_plane(self.codes(), self._positions)
        self._set_map({name: getattr(state, name) for name in _MAP})

    def _set_map(self, parts: Mapping[str, Tensor]) -> None:
        parts = {name: value.to(self._points) for name, value in parts.items()}
        if self.params.prototypes == "gradient":
            prototypes = torch.nn.Parameter(parts["prototypes"].clone())
            parts["prototypes"] = prototypes
            rate = self.params.prototype_learning_rate
            self._map_adam = torch.optim.Adam([prototypes], lr=rate)
        self.reached.map = LatentMap(**parts)

    def _neighbourhood(self, radius: float) -> Neighbourhood:
        return Neighbourhood(squared=self._squared, radius=radius)

    def _radius(self, epoch: int, share: float) -> float:
        """Return the radius: from start to end along an exponential, while there is a map."""
        done = epoch + share - self._first_map_epoch
        part = min(1.0, max(0.0, done / max(1, self.epochs - self._first_map_epoch)))
        start, end = self.params.radius_start, self.params.radius_end
        return float(start * (end / start) ** part)

    def _set_rates(self, part: float) -> None:
        fall = _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * part))
        self._adam.param_groups[0]["lr"] = self.params.learning_rate * fall
        if self._map_adam:
            self._map_adam.param_groups[0]["lr"] = self.params.prototype_learning_rate * fall

    def _has_settled(self) -> bool:
        """Whether the loss with the map has not fallen for ``patience`` epochs."""
        patience = self.params.patience
        losses = self.reached.history["loss"][self._first_map_epoch :]
        if patience is None or len(losses) <= patience:
            return False
        before = min(losses[:-patience])
        return min(losses[-patience:]) > before - _WORTH_HAVING * abs(before)

    # --- checkpoints -----------------------------------------------------------------------------

    def _offer(self) -> None:
        if self._problem.checkpoint is not None:
            kept = self._arrays()
            self._problem.checkpoint.offer(lambda: kept)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all that the rest of the training depends on."""
        tensors: dict[str, Tensor] = {"generator": self._generator.get_state()}
        tensors |= {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= _adam_tensors("adam", self._adam)
        if self._map_adam:
            tensors |= _adam_tensors("map_adam", self._map_adam)
        if self.reached.map is not None:
            tensors |= {f"map.{name}": getattr(self.reached.map, name) for name in _MAP}
        arrays = {name: value.detach().cpu().numpy().copy() for name, value in tensors.items()}
        arrays |= {f"history.{name}": values for name, values in self.history().items()}
        return arrays | {"epoch": np.array(self.reached.epoch)}

    def _resume(self) -> None:
        """Take up what an earlier process kept, if there is something."""
        kept = None if self._problem.checkpoint is None else self._problem.checkpoint.load()
        if kept is None:
            return

        def part(prefix: str) -> dict[str, Tensor]:
            start = f"{prefix}."
            return {
                name.removeprefix(start): torch.from_numpy(np.array(value))
                for name, value in kept.items()
                if name.startswith(start)
            }

        self._generator.set_state(torch.from_numpy(np.array(kept["generator"])))
        self.network.load_state_dict(part("network"))
        _load_adam(self._adam, part("adam"))
        if latent := part("map"):
            self._set_map(latent)
        if self._map_adam:
            _load_adam(self._map_adam, part("map_adam"))
        self.reached.epoch = int(kept["epoch"])
        for name, values in part("history").items():
            self.reached.history[name] = values.tolist()


def chosen_device(params: SomrlParams) -> torch.device:
    """Return the device to compute on.

    Raises
    ------
    UsageError
        If the one asked for is not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    name = params.device
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there[name]:
        found = ", ".join(device for device, is_there in there.items() if is_there)
        raise UsageError(f"device: expected one that PyTorch finds here ({found}), got {name!r}")
    return torch.device(name)


def _adam_tensors(prefix: str, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    states = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{number}.{name}": torch.as_tensor(value)
        for number, values in states.items()
        for name, value in values.items()
    }


def _load_adam(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, entry = name.partition(".")
        state.setdefault(int(number), {})[entry] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
