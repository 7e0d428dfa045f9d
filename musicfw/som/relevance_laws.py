"""Relevance laws: from how a unit's points disperse to how much each feature matters to it.

With the dispersions ``v_ik``, the mean of ``(x_k − w_ik)²`` over the points of unit i, training
lowers (K the units, π_i the unit's share of the points, b(x) its winner)::

    E = 1/N Σ_x 1/D Σ_k r_bk (x_k − w_bk)²  +  1/D Σ_i π_i Ω(r_i)

Every law is the minimiser of E over r_i, so that learning relevances is one more block of a
descent. A law's result is a direction: `scaled_relevances` gives every row the sum D, so that units
compete on equal terms, and a floor. Source: H. F. Bassani and A. F. R. Araujo, "Dimension selective
self-organizing maps with time-varying structure for subspace and projected clustering" (LARFDSSOM),
IEEE TNNLS 26 (2015), for the logistic law and the idea of normalising by the sum of relevances.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from musicfw.arrays import FloatArray

LawName = Literal["entropy", "logistic", "volume"]
# A feature may be this much narrower than a unit's mean dispersion before the law `volume` takes it
# for even narrower: without a limit the sum goes to features that do not vary at all.
_NARROWEST = 1e-3


def relevances(
    dispersions: FloatArray, *, law: LawName, temperature: float | FloatArray, floor: float
) -> FloatArray:
    """Return the relevances of every unit by a law, scaled and with a floor, shape (M, D).

    Parameters
    ----------
    dispersions : ndarray, shape (M, D)
        v, not negative.
    law : {"entropy", "logistic", "volume"}
        `entropy_law`, `logistic_law` or `volume_law`.
    temperature : float or ndarray, shape (M, 1)
        τ of `entropy_law`, s of `logistic_law`; not used by `volume_law`. Infinite: all alike.
    floor : float
        As in `scaled_relevances`.
    """
    if law == "entropy":
        raw = entropy_law(dispersions, temperature=temperature)
    elif law == "logistic":
        raw = logistic_law(dispersions, slope=temperature)
    else:
        raw = volume_law(dispersions)
    return scaled_relevances(raw, floor=floor)


def entropy_law(dispersions: FloatArray, *, temperature: float | FloatArray) -> FloatArray:
    """Return ``r_i = D softmax_k(−v_ik / (τ v̄_i))``, shape (M, D).

    The minimiser for ``Ω = τ v̄_i Σ_k r_k ln r_k`` under ``Σ_k r_k = D``, with the unit's mean
    dispersion v̄_i held fixed. With a temperature that is not relative to v̄_i it is the weighting
    of L. Jing, M. K. Ng and J. Z. Huang, "An entropy weighting k-means algorithm for subspace
    clustering of high-dimensional sparse data", IEEE TKDE 19 (2007); relative, one τ serves every
    scale. Where nothing disperses all features are alike.

    Parameters
    ----------
    dispersions : ndarray, shape (M, D)
        v, not negative.
    temperature : float or ndarray, shape (M, 1)
        τ, positive: small singles out the narrowest features, large treats all alike.
    """
    exponent = -dispersions / (temperature * _positive(dispersions.mean(axis=1, keepdims=True)))
    exponent -= exponent.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        weights = np.exp(exponent)
    return np.asarray(weights * (weights.shape[1] / weights.sum(axis=1, keepdims=True)))


def logistic_law(dispersions: FloatArray, *, slope: float | FloatArray) -> FloatArray:
    """Return LARFDSSOM's relevances, ``1 / (1 + exp((v_ik − v̄_i) / (s (max − min))))``, (M, D).

    max and min are those of the unit's dispersions; 1 if they are equal. The minimiser for
    ``Ω = −v̄_i Σ r + τ_i Σ [r ln r + (1 − r) ln(1 − r)]`` with ``τ_i = s (max − min)``. About half
    of the features count as relevant whatever the truth is: it suits dense subspaces.

    Parameters
    ----------
    dispersions : ndarray, shape (M, D)
        v, not negative.
    slope : float or ndarray, shape (M, 1)
        s, positive.
    """
    lowest = dispersions.min(axis=1, keepdims=True)
    spread = dispersions.max(axis=1, keepdims=True) - lowest
    offset = dispersions - dispersions.mean(axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):
        law = 1.0 / (1.0 + np.exp(offset / (slope * _positive(spread))))
    return np.asarray(np.where(spread > 0.0, law, 1.0))


def volume_law(dispersions: FloatArray) -> FloatArray:
    """Return ``r_ik = (Π_j v_ij)^(1/D) / v_ik``, shape (M, D).

    The minimiser under ``Π_k r_k = 1``: D. E. Gustafson and W. C. Kessel, "Fuzzy clustering with a
    fuzzy covariance matrix", CDC 1978, with diagonal matrices. A dispersion counts as at least a
    thousandth of the unit's mean.
    """
    mean = dispersions.mean(axis=1, keepdims=True)
    logarithms = np.log(np.maximum(dispersions, _NARROWEST * mean) / _positive(mean) + _still(mean))
    return np.asarray(np.exp(logarithms.mean(axis=1, keepdims=True) - logarithms))


def scaled_relevances(raw: FloatArray, *, floor: float) -> FloatArray:
    """Return ``f + (1 − f) D r_ik / Σ_k r_ik``: rows of sum D, no entry below f, shape (M, D).

    A floor keeps every feature observable, for the inversion. As a mixture with equal relevances it
    leaves the laws minimisers: of the share 1 − f that is free.

    Parameters
    ----------
    raw : ndarray, shape (M, D)
        Not negative, each row with a positive sum.
    floor : float
        f, from 0 to 1.
    """
    share = (1.0 - floor) * raw.shape[1] / raw.sum(axis=1, keepdims=True)
    return np.asarray(floor + share * raw)


def shrunk(dispersions: FloatArray, counts: FloatArray, *, strength: float) -> FloatArray:
    """Return ``(n_i v_ik + n₀ v̂_k) / (n_i + n₀)``, v̂ the mean over all points, shape (M, D).

    A few points seem narrow in some feature by chance; units without points get v̂.

    Parameters
    ----------
    dispersions : ndarray, shape (M, D)
        v.
    counts : ndarray, shape (M,)
        n, the points of each unit; not all 0.
    strength : float
        n₀, as how many points v̂ counts.
    """
    n = counts[:, np.newaxis]
    pooled = (n * dispersions).sum(axis=0) / counts.sum()
    total = n + strength
    return np.asarray(
        np.where(total > 0.0, n * dispersions + strength * pooled, pooled)
        / np.where(total > 0.0, total, 1.0)
    )


def _positive(values: FloatArray) -> FloatArray:
    """Return the values with 1 in place of 0."""
    return np.where(values > 0.0, values, 1.0)


def _still(mean: FloatArray) -> FloatArray:
    """Return 1 for units that nothing disperses about, whose logarithms are then 0."""
    return np.where(mean > 0.0, 0.0, 1.0)
