from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from musicfw_torch.latent_map import (
    LatentMap,
    Neighbourhood,
    batch_epoch,
    lattice_squared_distances,
    moved,
)
from musicfw_torch.losses import map_loss
from musicfw_torch.params import SomrlParams
from torch import Tensor

from musicfw.lattice import Lattice

LATTICE = Lattice(rows=4, columns=3)


def codes(seed: int = 0, count: int = 200, dimension: int = 8) -> Tensor:
    spread = torch.linspace(0.3, 3.0, dimension, dtype=torch.float64)
    values = np.random.default_rng(seed).normal(size=(count, dimension))
    return torch.from_numpy(values) * spread


def near(radius: float, z: Tensor) -> Neighbourhood:
    return Neighbourhood(squared=lattice_squared_distances(LATTICE, z), radius=radius)


def started(z: Tensor) -> LatentMap:
    return LatentMap.on_principal_plane(z, torch.from_numpy(LATTICE.coordinates().copy()))


def energy(state: LatentMap, z: Tensor, h: Tensor, params: SomrlParams) -> float:
    """The map's energy of the module `relevance`, for the law entropy (its v̄ held fixed)."""
    d = z.shape[1]
    distances = (h * state.squared_distances(z)).sum() / (d * len(z))
    share = h.sum(dim=0) / len(z)
    r = state.relevances
    entropy = (r * r.log()).sum(dim=1) * state.dispersions.mean(dim=1) * params.temperature / d
    return float(distances + (share * entropy).sum())


def plain_moving_average(
    w: np.ndarray, z: np.ndarray, radius: float, memory: float
) -> tuple[np.ndarray, np.ndarray]:
    """A plain SOM's step, written point by point."""
    g = LATTICE.squared_distances()
    winners = ((z[:, None] - w) ** 2).sum(axis=2).argmin(axis=1)
    h = np.exp(-g[winners] / (2 * radius**2))
    after = w.copy()
    for unit in range(len(w)):
        mass = h[:, unit].sum()
        mean = (h[:, unit, None] * z).sum(axis=0) / mass
        after[unit] += (1 - (1 - memory) ** min(mass, 50.0)) * (mean - w[unit])
    return after, winners


def test_without_a_law_the_steps_are_those_of_a_plain_map() -> None:
    z, params = codes(), SomrlParams(law="none")
    state = started(z)
    expected = state.prototypes.numpy()
    for radius in (2.0, 1.0, 0.5):
        expected, winners = plain_moving_average(expected, z.numpy(), radius, params.memory)
        hood = near(radius, z)
        found = hood.winners(state.squared_distances(z), params)
        assert winners.tolist() == found.tolist()
        state = moved(state, z, hood.weights[found], found, params)
        assert np.allclose(expected, state.prototypes.numpy(), atol=1e-12)
        assert (state.relevances == 1.0).all()


def test_relevances_of_one_change_no_bit() -> None:
    # At an endless temperature the law gives 1 exactly (d is a power of two): the same numbers.
    z = codes()
    endless, none = SomrlParams(temperature=1e30), SomrlParams(law="none")
    one = other = started(z)
    for radius in (2.0, 1.0, 0.5):
        one = batch_epoch(one, z, near(radius, z), endless)
        other = batch_epoch(other, z, near(radius, z), none)
    assert torch.equal(one.prototypes, other.prototypes)
    assert torch.equal(one.relevances, other.relevances)


def test_learnt_relevances_change_winners() -> None:
    z, params = codes(), SomrlParams(temperature=0.3)
    state = started(z)
    for radius in (2.0, 1.0, 0.5, 0.3):
        state = batch_epoch(state, z, near(radius, z), params)
    euclidean = replace(state, relevances=torch.ones_like(state.relevances))
    changed = state.squared_distances(z).argmin(1) != euclidean.squared_distances(z).argmin(1)
    assert changed.double().mean() > 0.05


def test_the_prototype_step_and_the_relevance_step_lower_the_energy() -> None:
    z, params = codes(), SomrlParams(pooling=0.0, floor=0.0)
    hood = near(0.8, z)
    before = batch_epoch(started(z), z, hood, params)
    h = hood.weights[hood.winners(before.squared_distances(z), params)]

    after = batch_epoch(before, z, hood, params)
    moved_only = replace(before, prototypes=after.prototypes)
    dispersed = replace(moved_only, dispersions=after.dispersions)

    def of(state: LatentMap) -> float:
        # v̄_i, the unit of the temperature, is held fixed in each comparison.
        return energy(replace(state, dispersions=after.dispersions), z, h, params)

    assert of(moved_only) <= of(before) + 1e-12
    assert of(replace(dispersed, relevances=after.relevances)) <= of(dispersed) + 1e-12
    assert of(replace(dispersed, relevances=after.relevances)) < of(before) - 1e-6


def test_the_winner_of_heskes_minimises_the_neighbourhood_weighted_distance() -> None:
    z, hood = codes(), near(1.0, codes())
    distances = started(z).squared_distances(z)
    h = hood.weights
    expected = [
        int(np.argmin([float((h[i] * row).sum()) for i in range(len(h))])) for row in distances
    ]
    assert expected == hood.winners(distances, SomrlParams(winner="heskes")).tolist()
    assert expected != hood.winners(distances, SomrlParams()).tolist()


def test_the_unexplained_share_does_not_depend_on_the_unit_of_the_codes() -> None:
    z, state = codes(), started(codes())
    h = near(0.7, z).weights[state.squared_distances(z).argmin(1)]
    expected = map_loss(z, state.prototypes, state.relevances, h)
    for factor in (1e-3, 1e3):
        found = map_loss(factor * z, factor * state.prototypes, state.relevances, h)
        assert torch.allclose(expected, found, rtol=1e-10)


def test_there_is_nothing_to_gain_by_shrinking_codes_and_prototypes() -> None:
    # The derivative along z → c z, w → c w about the origin of both is 0: the guard of the scale.
    z = codes().requires_grad_()
    w = started(codes()).prototypes.requires_grad_()
    h = near(0.7, codes()).weights[torch.zeros(200, dtype=torch.int64)]
    loss = map_loss(z, w, torch.ones_like(w), h)
    along_z, along_w = torch.autograd.grad(loss, (z, w))
    radial = (along_z * z).sum() + (along_w * w).sum()
    size = (along_z * z).abs().sum() + (along_w * w).abs().sum()
    assert size > 0.0
    assert abs(radial) < 1e-12 * size


def test_the_loss_is_of_points_and_tightens_what_a_unit_holds() -> None:
    # Points lie about prototypes that are their means: a loss on batch means would be 0 and still.
    prototypes = torch.tensor([[0.0, 0.0], [10.0, 0.0]], dtype=torch.float64)
    about = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    z = torch.cat([about, about + prototypes[1]]).requires_grad_()
    own = torch.eye(2, dtype=torch.float64).repeat_interleave(2, dim=0)

    loss = map_loss(z, prototypes, torch.ones_like(prototypes), own)
    (gradient,) = torch.autograd.grad(loss, z)

    assert loss > 0.0
    outward = (gradient * (z - prototypes.repeat_interleave(2, dim=0))).sum(dim=1)
    assert (outward > 0.0).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_map_of_scaled_codes_is_the_scaled_map(scale: float) -> None:
    z, params = codes(), SomrlParams()
    one, other = started(z), started(scale * z)
    for radius in (2.0, 1.0, 0.5):
        one = batch_epoch(one, z, near(radius, z), params)
        other = batch_epoch(other, scale * z, near(radius, z), params)
    assert torch.allclose(one.prototypes * scale, other.prototypes, rtol=1e-8)
    assert torch.allclose(one.relevances, other.relevances, rtol=1e-8)


def test_permuting_dimensions_permutes_the_map() -> None:
    z, params = codes(), SomrlParams()
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    one, other = started(z), started(z[:, order])
    for radius in (2.0, 1.0, 0.5):
        one = batch_epoch(one, z, near(radius, z), params)
        other = batch_epoch(other, z[:, order], near(radius, z), params)
    assert torch.allclose(one.relevances[:, order], other.relevances, rtol=1e-8)
    assert torch.allclose(one.prototypes[:, order], other.prototypes, atol=1e-8)


def test_units_that_nothing_reaches_stay_and_all_stays_finite() -> None:
    z = torch.cat([torch.zeros((5, 3)), torch.ones((5, 3))]).double()
    state = started(z)
    far = replace(state, prototypes=state.prototypes.clone())
    far.prototypes[5] = 1e3
    after = batch_epoch(far, z, near(0.01, z), SomrlParams())
    assert torch.equal(far.prototypes[5], after.prototypes[5])
    for part in (after.prototypes, after.dispersions, after.relevances):
        assert torch.isfinite(part).all()


def test_a_map_begins_on_the_principal_plane_with_its_longer_side_along_the_first() -> None:
    z = codes()
    state = started(z)
    offsets = state.prototypes - z.mean(dim=0)
    assert torch.linalg.matrix_rank(offsets) == 2
    rows, columns = np.divmod(np.arange(12), 3)
    along_rows = offsets[rows == 3].mean(0) - offsets[rows == 0].mean(0)
    along_columns = offsets[columns == 2].mean(0) - offsets[columns == 0].mean(0)
    assert along_rows.norm() > along_columns.norm()


def test_codes_of_one_dimension_make_a_map_too() -> None:
    z = codes(dimension=1)
    state = batch_epoch(started(z), z, near(1.0, z), SomrlParams())
    assert state.prototypes.shape == (12, 1)
    assert torch.isfinite(state.prototypes).all()
