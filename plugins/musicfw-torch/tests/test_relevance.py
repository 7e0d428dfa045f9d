from __future__ import annotations

import numpy as np
import pytest
import torch
from musicfw_torch.relevance import floored, pooled, relevances_of, weighted_squared_distances
from torch import Tensor

from musicfw import geometry
from musicfw.som import relevance_laws

LAWS = ("entropy", "logistic", "volume")
EPS = torch.finfo(torch.float64).eps


def drawn(seed: int, *shape: int, positive: bool = False) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(np.exp(values) if positive else values)


def relevances(seed: int, units: int, dimension: int) -> Tensor:
    raw = drawn(seed, units, dimension, positive=True)
    return raw * dimension / raw.sum(dim=1, keepdim=True)


def direct(x: Tensor, w: Tensor, r: Tensor) -> Tensor:
    return (r * (x[:, None] - w).square()).sum(dim=2)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_two_matrix_products_equal_the_direct_sum(offset: float) -> None:
    x, w, r = drawn(0, 50, 7) + offset, drawn(1, 9, 7) + offset, relevances(2, 9, 7)

    found = weighted_squared_distances(x, w, r)

    # Rounding of the shift is relative to the offset, the rest to the size of what cancels.
    expected = direct(x, w, r)
    size = float((r.max() * (x - w.mean(0)).square().sum(1)).max())
    bound = 50 * EPS * (size + offset * float(expected.max()) ** 0.5)
    assert torch.allclose(expected, found, rtol=0.0, atol=bound)


def test_distances_are_those_of_the_host() -> None:
    x, w, r = drawn(0, 30, 6), drawn(1, 8, 6), relevances(2, 8, 6)

    expected = geometry.squared_distances(x.numpy(), w.numpy(), r.numpy())

    assert np.allclose(expected, weighted_squared_distances(x, w, r).numpy(), rtol=1e-12)


def test_the_gradient_of_the_distances_is_that_of_the_direct_sum() -> None:
    x, w, r = drawn(0, 5, 3).requires_grad_(), drawn(1, 4, 3).requires_grad_(), relevances(2, 4, 3)

    expected = torch.autograd.grad(direct(x, w, r).sin().sum(), (x, w))
    found = torch.autograd.grad(weighted_squared_distances(x, w, r).sin().sum(), (x, w))

    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_relevances_decide_who_wins() -> None:
    # A common factor S_i / d per unit, as in earlier code, would leave the Euclidean winners.
    x, w, r = drawn(0, 500, 8), drawn(1, 20, 8), relevances(2, 20, 8)

    weighted = weighted_squared_distances(x, w, r).argmin(dim=1)
    euclidean = weighted_squared_distances(x, w, torch.ones_like(r)).argmin(dim=1)

    assert (weighted != euclidean).double().mean() > 0.2


@pytest.mark.parametrize("law", LAWS)
def test_laws_are_those_of_the_host(law: str) -> None:
    v = drawn(12, 30, 7, positive=True)
    v[3, 2] = 0.0
    expected = relevance_laws.relevances(v.numpy(), law=law, temperature=0.4, floor=0.05)
    found = relevances_of(v, law=law, temperature=0.4, floor=0.05)
    assert np.allclose(expected, found.numpy(), rtol=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_rows_sum_to_the_dimension_and_keep_the_floor(law: str) -> None:
    found = relevances_of(drawn(3, 40, 6, positive=True), law=law, temperature=0.3, floor=0.05)

    assert torch.allclose(found.sum(dim=1), torch.full((40,), 6.0, dtype=found.dtype))
    assert found.min() >= 0.05 * (1 - 10 * EPS)


@pytest.mark.parametrize("law", LAWS)
def test_permuting_dimensions_permutes_relevances(law: str) -> None:
    v = drawn(4, 10, 6, positive=True)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))

    found = relevances_of(v[:, order], law=law, temperature=0.5, floor=0.05)

    expected = relevances_of(v, law=law, temperature=0.5, floor=0.05)[:, order]
    assert torch.allclose(expected, found, rtol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_the_unit_of_the_codes_does_not_matter(law: str) -> None:
    v = drawn(5, 10, 6, positive=True)
    expected = relevances_of(v, law=law, temperature=0.5, floor=0.05)
    assert torch.allclose(
        expected, relevances_of(1e6 * v, law=law, temperature=0.5, floor=0.05), rtol=1e-9
    )


@pytest.mark.parametrize("law", LAWS)
def test_a_smaller_dispersion_is_more_relevant(law: str) -> None:
    v = drawn(6, 30, 5, positive=True)

    found = relevances_of(v, law=law, temperature=0.5, floor=0.0)

    ordered = found.gather(1, v.argsort(dim=1))
    assert (ordered.diff(dim=1) <= 0.0).all()
    assert (found[:, 0] != found[:, 1]).any()


@pytest.mark.parametrize("law", [*LAWS, "none"])
def test_equal_dispersions_and_none_at_all_give_one_everywhere(law: str) -> None:
    v = torch.tensor([[2.0] * 4, [0.0] * 4], dtype=torch.float64)
    found = relevances_of(v, law=law, temperature=0.5, floor=0.05)
    assert torch.allclose(torch.ones_like(found), found)


@pytest.mark.parametrize("law", LAWS)
def test_a_feature_without_dispersion_gives_finite_relevances(law: str) -> None:
    v = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 1e-300]], dtype=torch.float64)
    assert torch.isfinite(relevances_of(v, law=law, temperature=0.5, floor=0.05)).all()


def test_entropy_minimises_its_energy() -> None:
    # Any other row with the same sum has a higher value of Σ r v + τ v̄ Σ r ln r.
    v, tau = drawn(7, 1, 6, positive=True)[0], 0.7

    def energy(r: Tensor) -> Tensor:
        return (r * v).sum() + tau * v.mean() * (r * r.log()).sum()

    best = relevances_of(v[None], law="entropy", temperature=tau, floor=0.0)[0]
    for seed in range(20):
        other = 0.95 * best + 0.05 * relevances(seed, 1, 6)[0]
        assert energy(other) > energy(best)


def test_volume_minimises_its_energy() -> None:
    v = drawn(8, 1, 6, positive=True)[0]
    best = relevances_of(v[None], law="volume", temperature=1.0, floor=0.0)[0]
    best = best / best.log().mean().exp()
    for seed in range(20):
        step = drawn(seed, 6) * 0.1
        other = best * torch.exp(step - step.mean())
        assert (other * v).sum() > (best * v).sum()


def test_logistic_minimises_its_energy() -> None:
    v, slope = drawn(9, 1, 6, positive=True)[0], 0.3
    tau = slope * (v.max() - v.min())

    def energy(r: Tensor) -> Tensor:
        entropy = (r * r.log() + (1 - r) * (1 - r).log()).sum()
        return (r * v).sum() - v.mean() * r.sum() + tau * entropy

    best = torch.sigmoid((v.mean() - v) / tau)
    found = relevances_of(v[None], law="logistic", temperature=slope, floor=0.0)[0]
    assert torch.allclose(best * 6 / best.sum(), found)
    for seed in range(20):
        other = (best + 0.05 * drawn(seed, 6)).clamp(1e-6, 1 - 1e-6)
        assert energy(other) > energy(best)


def test_a_higher_temperature_makes_relevances_more_even() -> None:
    v = drawn(10, 5, 6, positive=True)
    spreads = [
        relevances_of(v, law="entropy", temperature=t, floor=0.0).std() for t in (0.2, 1.0, 5.0)
    ]
    assert spreads[0] > spreads[1] > spreads[2] > 0.0


def test_the_floor_leaves_the_order() -> None:
    raw = drawn(11, 4, 6, positive=True)
    assert torch.equal(raw.argsort(dim=1), floored(raw, floor=0.05).argsort(dim=1))


def test_pooling_draws_units_of_few_points_to_the_mean() -> None:
    v = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    counts = torch.tensor([60.0, 20.0], dtype=torch.float64)

    found = pooled(v, counts, pooling=20.0)

    assert torch.allclose(torch.tensor([[1.125], [2.25]], dtype=torch.float64), found)


def test_pooling_gives_a_unit_without_points_the_mean_and_keeps_all_where_none_has_any() -> None:
    v = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    assert pooled(v, torch.tensor([5.0, 0.0]).double(), pooling=0.0).tolist() == [[1.0], [1.0]]
    assert torch.equal(v, pooled(v, torch.zeros(2).double(), pooling=20.0))
