"""The terms of the loss; each is free of the data's and of the codes' unit, or sets it."""

from __future__ import annotations

import torch
from torch import Tensor

from musicfw_torch.relevance import weighted_squared_distances

# Keeps the logarithm of a distance between equal codes, and the ratio to no variance, finite.
_NEAR, _TINY = 1e-3, 1e-12


def reconstruction_loss(rows: Tensor, decoded: Tensor, scale: Tensor) -> Tensor:
    """Return the mean squared error of decoded rows (N, D) over the data's mean variance."""
    return ((decoded - rows) / scale).square().mean()


def neighbour_loss(heads: Tensor, tails: Tensor, *, repulsion: float) -> Tensor:
    """Return what it costs that neighbours lie apart and others together.

    ``mean −log φ_ij`` over neighbours ``+ repulsion · mean −log(1 − φ_ij)`` over the other pairs of
    a head and a tail of the batch, with ``φ = 1 / (1 + ||z_i − z_j||²)``: the cross-entropy of
    UMAP (McInnes et al. 2018) with its curve at a = b = 1. It sets the unit of the codes.

    Parameters
    ----------
    heads, tails : Tensor, shape (B, d)
        Codes; row i of both are neighbours.
    repulsion : float
        Weight of the second mean.
    """
    attraction = torch.log1p((heads - tails).square().sum(dim=1)).mean()
    count = heads.shape[0]
    if count < 2 or repulsion == 0.0:
        return attraction
    apart = (
        heads.square().sum(dim=1)[:, None] + tails.square().sum(dim=1) - 2.0 * (heads @ tails.T)
    ).clamp_min(0.0)
    costs = torch.log1p(apart) - torch.log(apart + _NEAR)
    others = (costs.sum() - costs.diagonal().sum()) / (count * (count - 1))
    return attraction + repulsion * others


def map_loss(
    codes: Tensor, prototypes: Tensor, relevances: Tensor, neighbourhood: Tensor
) -> Tensor:
    """Return the share of the codes' variance that the map leaves unexplained.

    ``mean_x Σ_i h_i(x) D_i(x) / Σ_i h_i(x)`` over the codes' total variance, D the weighted squared
    distances: of every point, not of batch means, so that it tightens what a unit holds. The
    gradient also runs through the variance: moving all codes and prototypes away from their centre
    changes nothing, so there is nothing to gain by shrinking them.

    Parameters
    ----------
    codes : Tensor, shape (N, d)
    prototypes, relevances : Tensor, shape (M, d)
        Rows of relevances sum to d.
    neighbourhood : Tensor, shape (N, M)
        h_i(x), of the point's best unit.
    """
    squared = weighted_squared_distances(codes, prototypes, relevances)
    error = (neighbourhood * squared).sum(dim=1) / neighbourhood.sum(dim=1)
    variance = codes.var(dim=0, correction=0).sum()
    return error.mean() / variance.clamp_min(_TINY)
