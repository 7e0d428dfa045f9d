"""The map in the codes: prototypes, dispersions and relevances, and how they follow the codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from musicfw.lattice import Lattice
from musicfw_torch.params import SomrlParams
from musicfw_torch.relevance import pooled, relevances_of, weighted_squared_distances

# A moving average renews itself from this many points of a batch at most.
_MOST_POINTS = 50.0
# Codes per matrix product.
_BLOCK = 8192
# How far the first prototypes reach along a principal component, in standard deviations: a
# uniform density on ±√3 has the standard deviation 1.
_REACH = 3.0**0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatentMap:
    """A map between two updates; every update makes another.

    Parameters
    ----------
    prototypes, dispersions, relevances : Tensor, shape (M, d)
        w; v, the mean of ``(z − w)²`` over a unit's neighbourhood; r, whose rows sum to d.
    counts : Tensor, shape (M,)
        How many points a unit won of late.
    """

    prototypes: Tensor
    dispersions: Tensor
    relevances: Tensor
    counts: Tensor

    @classmethod
    def on_principal_plane(cls, codes: Tensor, positions: Tensor) -> Self:
        """Return a map on the plane of the two leading principal components of codes (N, d).

        Parameters
        ----------
        positions : Tensor, shape (M, 2)
            Of the units on the lattice; its longer side lies along the first component.
        """
        mean = codes.mean(dim=0)
        offsets = codes - mean
        values, vectors = torch.linalg.eigh(offsets.T @ offsets / codes.shape[0])
        order = values.argsort(descending=True, stable=True)[:2]
        axes = vectors[:, order]
        # The sign of an eigenvector is the library's choice; its largest entry shall be positive.
        largest = axes.abs().argmax(dim=0)
        axes = axes * torch.sign(axes[largest, torch.arange(axes.shape[1], device=axes.device)])
        spread = values[order].clamp_min(0.0).sqrt()
        extent = positions.amax(dim=0) - positions.amin(dim=0)
        longer = extent.argsort(descending=True, stable=True)
        centred = positions - (positions.amax(dim=0) + positions.amin(dim=0)) / 2.0
        unit = (centred / (extent / 2.0).clamp_min(1e-9))[:, longer][:, : axes.shape[1]]
        prototypes = mean + _REACH * (unit * spread) @ axes.T
        variance = offsets.square().mean(dim=0).expand_as(prototypes).clone()
        return cls(
            prototypes=prototypes,
            dispersions=variance,
            relevances=torch.ones_like(prototypes),
            counts=torch.zeros_like(prototypes[:, 0]),
        )

    def squared_distances(self, codes: Tensor) -> Tensor:
        """Return the weighted squared distances (N, M) of codes (N, d)."""
        return weighted_squared_distances(codes, self.prototypes, self.relevances)

    def with_relevances(self, params: SomrlParams) -> Self:
        """Return the map with the relevances that its dispersions call for."""
        shrunk = pooled(self.dispersions, self.counts, pooling=params.pooling)
        relevances = relevances_of(
            shrunk, law=params.law, temperature=params.temperature, floor=params.floor
        )
        return replace(self, relevances=relevances)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbourhood:
    """Gaussian neighbourhood on a lattice.

    Parameters
    ----------
    squared : Tensor, shape (M, M)
        Squared lattice distances.
    radius : float
        In distances of nearest units.
    """

    squared: Tensor
    radius: float

    @property
    def weights(self) -> Tensor:
        """``h_ij = exp(−g_ij² / (2 T²))``, shape (M, M)."""
        return torch.exp(self.squared / (-2.0 * self.radius**2))

    def winners(self, squared_distances: Tensor, params: SomrlParams) -> Tensor:
        """Return the best unit (N,) of each point: of all equally good the first."""
        if params.winner == "heskes":
            return (squared_distances @ self.weights).argmin(dim=1)
        return squared_distances.argmin(dim=1)


def lattice_squared_distances(lattice: Lattice, like: Tensor) -> Tensor:
    """Return the squared distances (M, M) between units, as a tensor of the same kind."""
    return torch.as_tensor(lattice.squared_distances()).to(like)


def moved(
    state: LatentMap, codes: Tensor, neighbourhood: Tensor, winners: Tensor, params: SomrlParams
) -> LatentMap:
    """Return the map after the codes of one batch (N, d): moving averages, then relevances.

    A unit renews ``1 − (1 − memory)^min(Σ_x h_i(x), 50)`` of its averages: as much as if its points
    had come one by one. With ``prototypes: gradient`` only dispersions and relevances follow.
    """
    w = state.prototypes
    mass = neighbourhood.sum(dim=0)
    share = (1.0 - (1.0 - params.memory) ** mass.clamp_max(_MOST_POINTS))[:, None]
    mean, dispersion = _moments(codes, neighbourhood, w)
    gradient = params.prototypes == "gradient"
    won = torch.bincount(winners, minlength=w.shape[0]).to(w)
    after = replace(
        state,
        prototypes=w if gradient else w + share * (mean - w),
        dispersions=state.dispersions + share * (dispersion - state.dispersions),
        counts=(1.0 - params.memory) * state.counts + won,
    )
    return after.with_relevances(params)


def batch_epoch(
    state: LatentMap, codes: Tensor, neighbourhood: Neighbourhood, params: SomrlParams
) -> LatentMap:
    """Return the map after one batch epoch over all codes (N, d).

    Best units, then the prototypes, then the dispersions about them and the relevances: each step
    takes the minimiser of the energy (see `musicfw_torch.relevance`) with the rest fixed. A unit
    that no neighbourhood reaches stays as it is.
    """
    units = state.prototypes.shape[0]
    winners = torch.cat(
        [
            neighbourhood.winners(state.squared_distances(z), params)
            for z in torch.split(codes, _BLOCK)
        ]
    )
    counts = torch.bincount(winners, minlength=units).to(codes)
    sums = torch.zeros_like(state.prototypes).index_add_(0, winners, codes)
    squares = torch.zeros_like(state.prototypes).index_add_(0, winners, codes.square())
    h = neighbourhood.weights
    mass = (h @ counts)[:, None]
    reached = mass > 1e-12
    safe = mass.clamp_min(1e-12)
    mean = torch.where(reached, (h @ sums) / safe, state.prototypes)
    about = ((h @ squares) / safe - mean.square()).clamp_min(0.0)
    dispersions = torch.where(reached, about, state.dispersions)
    after = replace(state, prototypes=mean, dispersions=dispersions, counts=counts)
    return after.with_relevances(params)


def _moments(codes: Tensor, neighbourhood: Tensor, about: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of codes for every unit, and that of their ``(z − about)²``."""
    mass = neighbourhood.sum(dim=0).clamp_min(1e-12)[:, None]
    mean = neighbourhood.T @ codes / mass
    square = neighbourhood.T @ codes.square() / mass
    dispersion = square - 2.0 * about * mean + about.square()
    return mean, dispersion.clamp_min(0.0)
