"""Relevance-weighted distances and the three laws that make relevances of dispersions.

Every law is the minimiser over the relevances ``r_i`` of the map's energy

    E = (1/N) Σ_x Σ_i h_i(x) (1/d) Σ_k r_ik (z_k − w_ik)²  +  Σ_i π_i Ω(r_i),

``h_i(x)`` the neighbourhood of the point's best unit, ``π_i`` a unit's share of it, with another
regulariser Ω; so training is a block-coordinate descent. ``v_ik`` is the dispersion of unit i along
k: the h-weighted mean of ``(z_k − w_ik)²``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musicfw_torch.params import LawName

# Dispersions of units that hold equal points; far below any that could be told apart.
_TINY = 1e-30


def weighted_squared_distances(points: Tensor, prototypes: Tensor, relevances: Tensor) -> Tensor:
    """Return ``D_i = Σ_k r_ik (x_k − w_ik)²`` of every point, shape (N, M), differentiable.

    ``D = (X∘X) Rᵀ − 2 X (R∘W)ᵀ + 1 rowsum(R∘W∘W)ᵀ``: two matrix products in place of N·M·d
    differences. A common shift changes no distance, so both are first moved by the prototypes'
    mean: what cancels is then of the size of the map, not of its place. Never negative.

    Parameters
    ----------
    points : Tensor, shape (N, d)
    prototypes, relevances : Tensor, shape (M, d)
    """
    centre = prototypes.mean(dim=0).detach()
    x, w = points - centre, prototypes - centre
    weighted = relevances * w
    constant = (weighted * w).sum(dim=1)
    return ((x * x) @ relevances.T - 2.0 * (x @ weighted.T) + constant).clamp_min(0.0)


def pooled(dispersions: Tensor, counts: Tensor, *, pooling: float) -> Tensor:
    """Return dispersions (M, d) drawn towards their mean over the units.

    ``v_ik ← (n_i v_ik + n₀ v̄_k) / (n_i + n₀)``, v̄ the mean weighted by the counts n (M,) and n₀
    ``pooling``: units of few points do not invent a subspace.
    """
    n = counts[:, None]
    total = counts.sum()
    if float(total) <= 0.0:
        return dispersions
    mean = (n * dispersions).sum(dim=0) / total
    shrunk = (n * dispersions + pooling * mean) / (n + pooling).clamp_min(_TINY)
    return torch.where(n + pooling > 0.0, shrunk, mean.expand_as(shrunk))


def relevances_of(dispersions: Tensor, *, law: LawName, temperature: float, floor: float) -> Tensor:
    """Return the relevances (M, d) that a law gives to dispersions (M, d); every row sums to d.

    =========  ==========================================================================
    law        relevances, before the floor
    =========  ==========================================================================
    entropy    ``d softmax_k(−v_ik / (τ v̄_i))``, v̄_i the mean of the row (EWKM of L. Jing, M. Ng
               and J. Huang, IEEE TKDE 19 (2007), with a temperature in the unit's own dispersion)
    logistic   ``1 / (1 + exp((v_ik − v̄_i) / (τ (max_k v_ik − min_k v_ik))))`` (LARFDSSOM)
    volume     ``(Π_k v_ik)^(1/d) / v_ik`` (D. Gustafson and W. Kessel, 1979, diagonal)
    none       1
    =========  ==========================================================================

    Rows of equal dispersions get 1 everywhere.
    """
    if law == "none":
        return torch.ones_like(dispersions)
    v = dispersions.clamp_min(0.0)
    mean = v.mean(dim=1, keepdim=True).clamp_min(_TINY)
    if law == "entropy":
        raw = v.shape[1] * torch.softmax(-v / (temperature * mean), dim=1)
    elif law == "logistic":
        spread = v.amax(dim=1, keepdim=True) - v.amin(dim=1, keepdim=True)
        raw = torch.sigmoid((mean - v) / (temperature * spread).clamp_min(_TINY))
    else:
        # A feature that does not vary within a unit has no logarithm: a thousandth of the mean
        # stands in.
        logs = torch.log(torch.maximum(v, 1e-3 * mean))
        raw = torch.exp(logs.mean(dim=1, keepdim=True) - logs)
    return floored(raw, floor=floor)


def floored(raw: Tensor, *, floor: float) -> Tensor:
    """Return relevances (M, d) of at least ``floor`` in rows that sum to d, in the same order.

    ``floor + (1 − floor) r`` of the rows scaled to the sum d: both conditions hold exactly, and
    where all are equal they stay 1.
    """
    scaled = raw * (raw.shape[1] / raw.sum(dim=1, keepdim=True))
    return floor + (1.0 - floor) * scaled
