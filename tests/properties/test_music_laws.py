"""Laws of control: agreement with dense solves, monotone objective, identity, equivariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.control.spectral import (
    music_step,
    selected_squared_distances,
    spectral_system,
    to_spectral,
)

seeds = st.integers(0, 2**32 - 1)
weights = st.sampled_from([1.0, 20.0, 1e3, 1e6])
dampings = st.sampled_from([1e-12, 1e-6, 1e-3, 1.0, 1e3])
rates = st.sampled_from([1e-3, 0.05, 0.5, 1.0])


# Every unit preserved and the whole target at once: the form that the dense solve defines.
GLOBAL = {"scope": "all", "selection": "all"}


def steer_all(codebook, starts, **settings):
    if settings.get("policy", "music") == "music":
        settings = GLOBAL | settings
    return mf.steer(codebook, starts, **settings)


def scene(seed, *, units, dimension, selected=3, points=4):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(units, dimension))
    starts = 1.5 * rng.normal(size=(points, dimension))
    chosen = rng.choice(units, size=min(selected, units), replace=False)
    return rng, prototypes, starts, np.sort(chosen)


def dense_step(prototypes, point, omega, change, damping):
    """The definition, min Σ ω (J Δ − δ)² + λ ||Δ||², solved as one least-squares problem.

    Not by its normal equations: they square the condition number and would be the less exact side.
    """
    root = np.sqrt(omega)
    stacked = np.vstack(
        [root[:, np.newaxis] * 2.0 * (point - prototypes), np.sqrt(damping) * np.eye(point.size)]
    )
    wanted = np.concatenate([root * change, np.zeros(point.size)])
    return np.linalg.lstsq(stacked, wanted, rcond=None)[0]


def true_objective(prototypes, point, step, omega, change):
    before = ((point - prototypes) ** 2).sum(axis=1)
    after = ((point + step - prototypes) ** 2).sum(axis=1)
    return (omega * (after - before - change) ** 2).sum()


@given(
    seed=seeds,
    shape=st.sampled_from([(30, 10), (8, 20), (12, 12), (1, 5), (40, 1)]),
    weight=st.sampled_from([1.0, 20.0, 1e3]),
    damping=st.sampled_from([1e-3, 1e-1, 1.0, 1e3]),
    preserve=st.sampled_from([0.0, 1.0]),
)
def test_a_spectral_step_equals_the_dense_solve(seed, shape, weight, damping, preserve):
    _, prototypes, starts, selected = scene(seed, units=shape[0], dimension=shape[1])
    omega = np.full(shape[0], preserve)
    omega[selected] = weight
    system = spectral_system(prototypes, weights=omega, selected=selected)
    state = to_spectral(system, starts)
    change = -0.05 * selected_squared_distances(system, state.a, state.s)
    lam = np.full(len(starts), damping * system.scale)
    step = music_step(system, state.a, state.s, change=change, damping=lam)
    moved = step.da @ system.directions.T + step.ds[:, np.newaxis] * state.normal
    for n, point in enumerate(starts):
        everywhere = np.zeros(shape[0])
        everywhere[selected] = change[n]
        expected = dense_step(prototypes, point, omega, everywhere, lam[n])
        assert np.linalg.norm(moved[n] - expected) <= 1e-10 * max(np.linalg.norm(expected), 1e-12)
        truth = true_objective(prototypes, point, moved[n], omega, everywhere)
        size = max(step.before[n], truth)
        assert step.after[n] == pytest.approx(truth, abs=1e-10 * size)


@given(seed=seeds, weight=weights, damping=dampings, rate=rates, away=st.booleans())
def test_every_accepted_step_lowers_the_true_objective_at_any_setting(
    seed, weight, damping, rate, away
):
    _, prototypes, starts, selected = scene(seed, units=25, dimension=6)
    codebook = mf.Codebook(prototypes=prototypes)
    path = steer_all(
        codebook,
        starts,
        target=mf.Target.units(selected, away=away),
        steps=30,
        rate=rate,
        selected_weight=weight,
        damping=damping,
    )
    assert np.isfinite(path.points).all()
    omega = np.ones(25)
    omega[selected] = weight
    d = path.squared_distances()
    for t in range(30):
        for n in range(len(starts)):
            step = path.points[t + 1, n] - path.points[t, n]
            if not step.any():
                continue
            wanted = np.zeros(25)
            wanted[selected] = (rate if away else -rate) * d[t, n, selected]
            before = (omega * wanted**2).sum()
            # A step of nearly nothing changes distances by less than their rounding.
            rounding = 1e-10 * np.sqrt(before * omega.max()) * d[t, n].max()
            after = true_objective(prototypes, path.points[t, n], step, omega, wanted)
            assert after <= before + rounding


@given(seed=seeds, shape=st.sampled_from([(30, 10), (8, 20), (1, 5)]), scaled=st.booleans())
def test_no_perturbation_returns_the_input_bit_for_bit(seed, shape, scaled):
    _, prototypes, starts, selected = scene(seed, units=shape[0], dimension=shape[1])
    starts[0, 0] = -0.0
    codebook = mf.Codebook(prototypes=prototypes)
    scaling = mf.Scaling.identity(shape[1])
    if scaled:
        scaling = mf.Scaling(offset=np.full(shape[1], 0.3), scale=np.full(shape[1], 1.7))
    trained = mf.TrainedMap(codebook=codebook, scaling=scaling, backend="", params={}, seed=0)
    path = steer_all(trained, starts, target=mf.Target.units(selected), steps=4, rate=0.0)
    for frame in path.points:
        assert frame.tobytes() == starts.tobytes()
    assert (path.step_norm == 0.0).all()


@given(seed=seeds)
def test_the_activations_of_a_point_itself_leave_it_where_it_is(seed):
    _, prototypes, starts, _ = scene(seed, units=20, dimension=5, points=1)
    codebook = mf.Codebook(prototypes=prototypes)
    target = mf.Target.activations(codebook.squared_distances(starts)[0])
    path = steer_all(codebook, starts, target=target, steps=10)
    np.testing.assert_allclose(path.points[-1], starts, rtol=0, atol=1e-12)


@given(seed=seeds)
def test_the_activations_of_another_point_lead_to_that_point(seed):
    _, prototypes, starts, _ = scene(seed, units=20, dimension=5, points=2)
    codebook = mf.Codebook(prototypes=prototypes)
    target = mf.Target.activations(codebook.squared_distances(starts[1])[0])
    for policy, params in (("music", {"rate": 0.3}), ("straight-line", {})):
        path = steer_all(codebook, starts[0], target=target, policy=policy, steps=300, **params)
        np.testing.assert_allclose(path.points[-1, 0], starts[1], rtol=0, atol=1e-6)


@given(seed=seeds, factor=st.sampled_from([0.25, 1.0, 100.0]))
def test_rotating_shifting_and_scaling_everything_does_the_same_to_the_path(seed, factor):
    rng, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    shift = rng.normal(size=5)
    settings = {"target": mf.Target.units(selected), "steps": 15}
    here = steer_all(mf.Codebook(prototypes=prototypes), starts, **settings)
    there = steer_all(
        mf.Codebook(prototypes=factor * prototypes @ q.T + shift),
        factor * starts @ q.T + shift,
        **settings,
    )
    back = (there.points - shift) @ q / factor
    np.testing.assert_allclose(back, here.points, rtol=0, atol=1e-8)


@given(seed=seeds)
def test_the_order_of_the_units_does_not_matter(seed):
    rng, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    order = rng.permutation(20)
    here = steer_all(
        mf.Codebook(prototypes=prototypes), starts, target=mf.Target.units(selected), steps=15
    )
    renumbered = np.argsort(order)[selected]
    there = steer_all(
        mf.Codebook(prototypes=prototypes[order]),
        starts,
        target=mf.Target.units(renumbered),
        steps=15,
    )
    np.testing.assert_allclose(there.points, here.points, rtol=0, atol=1e-9)


@given(seed=seeds)
def test_a_unit_with_weight_zero_is_ignored(seed):
    _, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    rest = np.setdiff1d(np.arange(20), selected)
    moved = prototypes.copy()
    moved[rest[0]] += 7.0
    paths = [
        steer_all(
            mf.Codebook(prototypes=p),
            starts,
            target=mf.Target.units(selected),
            steps=10,
            preserve_weight=0.0,
        ).points
        for p in (prototypes, moved)
    ]
    np.testing.assert_allclose(paths[0], paths[1], rtol=0, atol=1e-9)


@given(seed=seeds)
def test_a_batch_equals_its_points_one_by_one(seed):
    _, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    codebook = mf.Codebook(prototypes=prototypes)
    target = mf.Target.units(selected)
    together = steer_all(codebook, starts, target=target, steps=15).points
    alone = [steer_all(codebook, x, target=target, steps=15).points for x in starts]
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), rtol=0, atol=1e-9)


@given(seed=seeds, shape=st.sampled_from([(9, 4), (3, 8)]))
def test_the_plain_rule_takes_exactly_the_dense_step(seed, shape):
    _, prototypes, starts, selected = scene(seed, units=shape[0], dimension=shape[1])
    omega = np.ones(shape[0])
    omega[selected] = 5.0
    path = steer_all(
        mf.Codebook(prototypes=prototypes),
        starts,
        target=mf.Target.units(selected),
        steps=1,
        rate=0.1,
        selected_weight=5.0,
        damping=0.2,
        step_control="fixed",
    )
    centred = np.sqrt(omega)[:, np.newaxis] * (prototypes - omega @ prototypes / omega.sum())
    lam = 0.2 * 4.0 * np.linalg.svd(centred, compute_uv=False)[0] ** 2
    d = ((starts[:, np.newaxis, :] - prototypes) ** 2).sum(axis=2)
    for n, point in enumerate(starts):
        wanted = np.zeros(shape[0])
        wanted[selected] = -0.1 * d[n, selected]
        expected = point + dense_step(prototypes, point, omega, wanted, lam)
        np.testing.assert_allclose(path.points[1, n], expected, rtol=1e-10, atol=1e-10)


@given(seed=seeds, cap=st.sampled_from([1e-3, 0.1]))
def test_no_step_is_longer_than_max_step(seed, cap):
    _, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    path = steer_all(
        mf.Codebook(prototypes=prototypes),
        starts,
        target=mf.Target.units(selected),
        steps=20,
        rate=0.5,
        max_step=cap,
    )
    assert path.step_norm.max() <= cap * (1 + 1e-9)
    assert path.step_norm.max() > 0.0


@given(seed=seeds)
def test_the_straight_line_is_straight_and_ends_at_the_nearest_target_prototype(seed):
    _, prototypes, starts, selected = scene(seed, units=20, dimension=5)
    codebook = mf.Codebook(prototypes=prototypes)
    target = mf.Target.units(selected)
    path = steer_all(codebook, starts, target=target, policy="straight-line", steps=7)
    nearest = codebook.squared_distances(starts, selected).argmin(axis=1)
    np.testing.assert_array_equal(path.points[-1], prototypes[selected][nearest])
    np.testing.assert_allclose(np.diff(path.points, 2, axis=0), 0.0, atol=1e-14)
    assert path.reached.all()
