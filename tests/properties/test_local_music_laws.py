"""Laws of the local and the reselected form, and of every walk of ``music`` at any setting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import PolicyFactory
from musicfw.control.global_walk import GlobalWalk
from musicfw.control.local_hull import local_hull, local_step
from musicfw.control.local_walk import LocalWalk
from musicfw.control.music import MusicParams
from musicfw.control.reselected import reselected_step
from musicfw.control.spectral import spectral_system, to_spectral

EPS = np.finfo(np.float64).eps

seeds = st.integers(0, 2**32 - 1)
weights = st.sampled_from([1.0, 20.0, 1e3, 1e6])
dampings = st.sampled_from([1e-12, 1e-6, 1e-3, 1.0, 1e3])
rates = st.sampled_from([1e-3, 0.05, 0.5, 1.0])
details = st.sampled_from([0.0, 0.5, 1.0, None])
forms = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["local", "all"]),
        "selection": st.sampled_from(["nearest", "all"]),
        "route": st.sampled_from(["core", "lattice", "direct"]),
    }
)
# (units, features): hulls that fill the space, and hulls that are flat in it.
shapes = st.sampled_from([(24, 4), (24, 15)])


def scene(seed, *, shape=(24, 6), selected=4, points=4, lattice=None):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=shape)
    starts = 1.5 * rng.normal(size=(points, shape[1]))
    chosen = np.sort(rng.choice(shape[0], size=selected, replace=False))
    if lattice is None:
        lattice = bool(rng.integers(2))
    board = mf.Lattice(rows=4, columns=shape[0] // 4) if lattice else None
    return rng, mf.Codebook(prototypes=prototypes, lattice=board), starts, chosen


def stacked_solution(J, omega, change, penalty):
    """Return argmin Σ ω (J z − δ)² + ||penalty z||² and the condition of the stacked system."""
    root = np.sqrt(omega)
    system = np.vstack([root[:, np.newaxis] * J, penalty])
    wanted = np.concatenate([root * change, np.zeros(len(penalty))])
    return np.linalg.lstsq(system, wanted, rcond=None)[0], np.linalg.cond(system)


def hull_directions(prototypes):
    """Return an orthonormal basis (D, r) of the prototypes' affine hull, and its condition."""
    _, sigma, right = np.linalg.svd(prototypes - prototypes.mean(axis=0), full_matrices=False)
    rank = int((sigma > 1e-8 * sigma[0]).sum())
    return right[:rank].T, sigma[0] / sigma[rank - 1]


# --- one step ------------------------------------------------------------------------------------


@given(
    seed=seeds,
    shape=st.sampled_from([(5, 12), (9, 4), (2, 3), (1, 3)]),
    damping=st.sampled_from([1e-3, 0.1, 10.0]),
    weight=st.sampled_from([1.0, 100.0]),
    priced=st.booleans(),
)
def test_a_local_step_equals_the_dense_solve_within_the_hull(seed, shape, damping, weight, priced):
    rng = np.random.default_rng(seed)
    active = rng.normal(size=(3, *shape))
    points = 1.5 * rng.normal(size=(3, shape[1]))
    omega = np.ones((3, shape[0]))
    omega[:, 0] = weight
    change = rng.normal(size=omega.shape)
    cost = rng.uniform(0.1, 10.0, size=shape[1]) if priced else None
    hull = local_hull(points, active)
    step = local_step(hull, weights=omega, change=change, damping=np.full(3, damping), cost=cost)
    for n in range(3):
        if shape[0] == 1:
            assert not step[n].any()
            continue
        Q, hull_condition = hull_directions(active[n])
        J = 2.0 * (points[n] - active[n]) @ Q
        lam = damping * (omega[n] @ (J**2).sum(axis=1)) / shape[0]
        metric = np.ones(shape[1]) if cost is None else cost
        penalty = np.sqrt(lam * metric)[:, np.newaxis] * Q
        z, condition = stacked_solution(J, omega[n], change[n], penalty)
        # Both the hull (by its Gram matrix) and the step (by normal equations) square a condition.
        tolerance = 50 * EPS * (condition**2 + hull_condition**2)
        moved = step[n] @ hull.basis[n]
        assert np.linalg.norm(moved - Q @ z) <= tolerance * np.linalg.norm(z)
        np.testing.assert_allclose(
            ((hull.centre + hull.hidden)[n] + hull.inside[n] @ hull.basis[n]),
            points[n],
            atol=50 * EPS * hull_condition**2 * np.linalg.norm(points[n]),
        )


@given(
    seed=seeds,
    shape=st.sampled_from([(5, 12), (9, 4)]),
    damping=st.sampled_from([1e-3, 0.1, 10.0]),
)
def test_with_the_hidden_direction_a_local_step_is_the_dual_solution(seed, shape, damping):
    rng = np.random.default_rng(seed)
    active = rng.normal(size=(1, *shape))
    point = 1.5 * rng.normal(size=(1, shape[1]))
    omega = rng.uniform(0.5, 20.0, size=(1, shape[0]))
    change = rng.normal(size=omega.shape)
    hull = local_hull(point, active).including_hidden()
    step = local_step(hull, weights=omega, change=change, damping=np.array([damping]))
    # math.md 3c: Δ = Jᵀ y, (J Jᵀ + λ Ω⁻¹) y = δ, from distances alone.
    J = 2.0 * (point - active[0])
    d = ((point - active[0]) ** 2).sum(axis=1)
    E = ((active[0][:, np.newaxis] - active[0]) ** 2).sum(axis=2)
    gram = 2.0 * (d[:, np.newaxis] + d - E)
    lam = damping * (omega[0] @ (4.0 * d)) / (shape[0] + 1)
    system = gram + lam * np.diag(1.0 / omega[0])
    expected = J.T @ np.linalg.solve(system, change[0])
    _, hull_condition = hull_directions(active[0])
    tolerance = 50 * EPS * (np.linalg.cond(system) + hull_condition**2)
    moved = step[0] @ hull.basis[0]
    assert np.linalg.norm(moved - expected) <= tolerance * np.linalg.norm(expected)


@given(seed=seeds)
def test_a_point_in_the_hull_gets_a_direction_orthogonal_to_it_or_none(seed):
    rng = np.random.default_rng(seed)
    active = rng.normal(size=(1, 5, 12))
    share = rng.dirichlet(np.ones(5))
    offset = 10.0 ** -rng.integers(0, 18) * rng.normal(size=12)
    hull = local_hull(share @ active[0] + offset[np.newaxis], active).including_hidden()
    basis = hull.basis[0][hull.basis[0].any(axis=1)]
    _, condition = hull_directions(active[0])
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=50 * EPS * condition**2)


@given(seed=seeds, weight=st.sampled_from([1.0, 100.0]))
def test_a_unit_of_weight_zero_in_the_hull_is_ignored(seed, weight):
    rng = np.random.default_rng(seed)
    active = rng.normal(size=(1, 6, 3))  # four of them span the space already
    point = rng.normal(size=(1, 3))
    omega = np.array([[weight, 1.0, 1.0, 1.0, 1.0, 0.0]])
    change = np.array([[-0.5, 0.0, 0.0, 0.0, 0.0, 7.0]])
    steps = []
    for kept in (5, 6):
        hull = local_hull(point, active[:, :kept])
        # λ is relative to a mean over the active units.
        damping = np.array([0.1 * kept])
        step = local_step(hull, weights=omega[:, :kept], change=change[:, :kept], damping=damping)
        steps.append(step[0] @ hull.basis[0])
    np.testing.assert_allclose(steps[0], steps[1], rtol=0, atol=1e-9 * np.linalg.norm(steps[0]))


@given(
    seed=seeds,
    shape=st.sampled_from([(30, 10), (8, 20), (12, 12), (40, 1)]),
    kept=st.sampled_from([1, 3]),
    preserve=st.sampled_from([0.5, 1.0]),
    damping=st.sampled_from([1e-3, 1e-1, 1.0, 1e3]),
    cap=st.sampled_from([None, 1e-2]),
)
def test_a_reselected_step_equals_the_dense_solve(seed, shape, kept, preserve, damping, cap):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=shape)
    points = 1.5 * rng.normal(size=(4, shape[1]))
    units = np.array([rng.choice(shape[0], size=kept, replace=False) for _ in points])
    # Each point has weights of its own; some are below the preserve weight.
    strength = 10.0 ** rng.uniform(-1, 3, size=units.shape)
    system = spectral_system(
        prototypes, weights=np.full(shape[0], preserve), selected=np.array([0])
    )
    state = to_spectral(system, points)
    d = ((points[:, np.newaxis] - prototypes) ** 2).sum(axis=2)
    change = -0.05 * np.take_along_axis(d, units, axis=1)
    lam = np.full(4, damping * system.scale)
    corners = ((prototypes - system.centroid) @ system.directions)[units]
    step = reselected_step(
        system,
        state.a,
        state.s,
        corners=corners,
        weights=strength,
        change=change,
        damping=lam,
        max_step=None if cap is None else np.full(4, cap),
    )
    moved = step.da @ system.directions.T + step.ds[:, np.newaxis] * state.normal
    for n, point in enumerate(points):
        omega, wanted = np.full(shape[0], preserve), np.zeros(shape[0])
        omega[units[n]], wanted[units[n]] = strength[n], change[n]
        J = 2.0 * (point - prototypes)
        penalty = np.sqrt(lam[n]) * np.eye(point.size)
        expected, condition = stacked_solution(J, omega, wanted, penalty)
        # Woodbury's formula solves the normal equations, which square the condition.
        tolerance = max(1e-10, EPS * condition**2)
        if cap is not None:
            expected *= min(1.0, cap / np.linalg.norm(expected))
        error = np.linalg.norm(moved[n] - expected)
        assert error <= tolerance * max(np.linalg.norm(expected), 1e-12)
        before = omega @ wanted**2
        predicted = omega @ (J @ moved[n] - wanted) ** 2
        after = omega @ (((point + moved[n] - prototypes) ** 2).sum(axis=1) - d[n] - wanted) ** 2
        size = 1e-10 * max(before, predicted, after)
        assert step.before[n] == pytest.approx(before, abs=size)
        assert step.predicted[n] == pytest.approx(predicted, abs=size)
        assert step.after[n] == pytest.approx(after, abs=size)
        assert step.norm[n] == pytest.approx(np.linalg.norm(moved[n]), rel=1e-9)


# --- whole walks at any setting ------------------------------------------------------------------


class Watched:
    """A walk that keeps what each step wanted, to be judged by distances alone."""

    def __init__(self, params, problem, log):
        kind = GlobalWalk if params.scope == "all" else LocalWalk
        self.walk, self.log, self.local = kind(problem, params), log, params.scope == "local"
        self.problem, self.params = problem, params
        self.here = problem.points.copy()
        propose = self.walk._propose

        def watched(rows):
            proposal = propose(rows)
            self.seen = (rows, proposal)
            return proposal

        self.walk._propose = watched

    def advance(self, active):
        self.seen = None
        move = self.walk.advance(active)
        if self.seen is not None:
            rows, proposal = self.seen
            read = self.read_local if self.local else self.read_global
            for k, n in enumerate(rows):
                self.log.append((self.here[n], move.points[n], *read(proposal, k)))
        self.here = move.points
        return move

    def read_local(self, proposal, k):
        hull = proposal[0].hull
        active = hull.centre[k] + hull.corners[k] @ hull.basis[k]
        return active, proposal[0].weights[k], proposal[0].change[k], self.params.detail is None

    def read_global(self, proposal, k):
        _, change, units = proposal
        count = self.problem.codebook.units
        omega, wanted = np.full(count, self.params.preserve_weight), np.zeros(count)
        chosen = self.problem.units if units is None else units[k]
        omega[chosen], wanted[chosen] = self.params.selected_weight, change[k]
        return self.problem.codebook.prototypes, omega, wanted, True


def watched(log):
    class Policy:
        def __init__(self, params):
            self.params = params

        def begin(self, problem):
            return Watched(self.params, problem, log)

    return PolicyFactory(
        name="watched",
        params=MusicParams,
        build=Policy,
        summary="MUSIC, looked over the shoulder.",
        traits=frozenset({"bounds", "cost"}),
    )


def within(points, prototypes, everywhere):
    """Return squared distances, of the parts within the hull unless ``everywhere``."""
    if not everywhere:
        Q, _ = hull_directions(prototypes)
        points, prototypes = points @ Q, prototypes @ Q
    return ((points - prototypes) ** 2).sum(axis=1)


@settings(max_examples=150)
@given(
    seed=seeds,
    shape=shapes,
    form=forms,
    weight=weights,
    damping=dampings,
    rate=rates,
    detail=details,
    away=st.booleans(),
    several=st.booleans(),
)
def test_every_step_lowers_the_true_objective_at_any_setting(
    seed, shape, form, weight, damping, rate, detail, away, several
):
    _, codebook, starts, selected = scene(seed, shape=shape)
    log: list = []
    path = mf.steer(
        codebook,
        starts,
        target=mf.Target.units(selected, away=away),
        policy=watched(log),
        steps=20,
        selected_weight=weight,
        damping=damping,
        rate=rate,
        detail=detail,
        selected_units=3 if several else 1,
        active_units=5,
        **form,
    )
    assert np.isfinite(path.points).all()
    assert np.isfinite(path.squared_distances()).all()
    assert not (path.stop == mf.StopReason.DIVERGED).any()
    assert log
    for here, there, prototypes, omega, wanted, everywhere in log:
        if (here == there).all():
            continue
        distances = within(here, prototypes, everywhere)
        fall = within(there, prototypes, everywhere) - distances
        before = np.sqrt(omega @ wanted**2)
        after = np.sqrt(omega @ (fall - wanted) ** 2)
        # A step of nearly nothing changes distances by less than their rounding.
        assert after <= before + 1e-10 * np.sqrt(omega.max()) * distances.max()


@given(
    seed=seeds,
    shape=shapes,
    form=forms,
    detail=details,
    damping=dampings,
    weight=weights,
    step_control=st.sampled_from(["levenberg-marquardt", "fixed"]),
    away=st.booleans(),
    scaled=st.booleans(),
    bounded=st.booleans(),
)
def test_no_perturbation_returns_the_input_bit_for_bit_in_every_form(
    seed, shape, form, detail, damping, weight, step_control, away, scaled, bounded
):
    _, codebook, starts, selected = scene(seed, shape=shape)
    starts = np.abs(starts)
    starts[0, 0] = -0.0  # at the bound, and with a sign that clipping would lose
    scaling = mf.Scaling.identity(shape[1])
    if scaled:
        scaling = mf.Scaling(offset=np.full(shape[1], 0.3), scale=np.full(shape[1], 1.7))
    trained = mf.TrainedMap(codebook=codebook, scaling=scaling, backend="", params={}, seed=0)
    path = mf.steer(
        trained,
        starts,
        target=mf.Target.units(selected, away=away),
        steps=4,
        rate=0.0,
        detail=detail,
        damping=damping,
        selected_weight=weight,
        step_control=step_control,
        lower=0.0 if bounded else None,
        **form,
    )
    for frame in path.points:
        assert frame.tobytes() == starts.tobytes()
    assert not path.step_norm.any()


@given(
    seed=seeds,
    shape=shapes,
    form=forms,
    detail=details,
    cap=st.sampled_from([1e-3, 0.1, 3.0]),
    bounded=st.booleans(),
)
def test_no_step_is_longer_than_max_step_in_any_form(seed, shape, form, detail, cap, bounded):
    rng, codebook, starts, selected = scene(seed, shape=shape)
    starts[0] = rng.dirichlet(np.ones(4)) @ codebook.prototypes[selected]
    path = mf.steer(
        codebook,
        starts,
        target=mf.Target.units(selected),
        steps=15,
        max_step=cap,
        detail=detail,
        lower=starts.min() - 0.1 if bounded else None,
        **form,
    )
    # The directions of a local hull are orthonormal to eps times its condition squared.
    assert path.step_norm.max() <= cap * (1 + 1e-8)
    assert path.step_norm.max() > 0.0


@pytest.mark.parametrize("control", ["levenberg-marquardt", "fixed"])
@pytest.mark.parametrize("preserve", [0.0, 1.0])
@pytest.mark.parametrize("detail", [0.0, None])
@pytest.mark.parametrize("damping", [1e-300, 1e-30, 1e-12])
def test_no_damping_that_is_allowed_and_no_detail_breaks_a_local_walk(
    control, preserve, detail, damping
):
    _, codebook, starts, selected = scene(3, shape=(24, 15))
    path = mf.steer(
        codebook,
        np.vstack([starts, codebook.prototypes[selected[:1]]]),
        target=mf.Target.units(selected),
        route="direct",
        steps=40,
        rate=1.0,
        damping=damping,
        preserve_weight=preserve,
        detail=detail,
        active_units=1,
        max_step=10.0,
        step_control=control,
    )
    assert not (path.stop == mf.StopReason.DIVERGED).any()
    assert np.isfinite(path.points).all()


@pytest.mark.parametrize("control", ["levenberg-marquardt", "fixed"])
def test_without_detail_a_point_that_has_nothing_left_to_lose_stays_finite(control):
    codebook = mf.Codebook(prototypes=[[-1.0, 0.0], [1.0, 0.0]])
    path = mf.steer(
        codebook,
        [[1.0, 0.0], [1.0, 3.0], [-1.0, 2.0]],
        target=mf.Target.units([1]),
        detail=0.0,
        step_control=control,
        steps=60,
    )
    assert path.counts() == {mf.StopReason.REACHED: 3}
    np.testing.assert_allclose(path.points[-1, 0], [1.0, 0.0], atol=1e-12)


@given(
    seed=seeds,
    shape=st.sampled_from([(24, 15), (24, 8)]),
    kept=st.sampled_from([1, 3]),
    detail=st.sampled_from([1.0, None]),
    away=st.booleans(),
)
def test_the_plain_local_rule_takes_exactly_the_dense_step_among_the_nearest(
    seed, shape, kept, detail, away
):
    _, codebook, starts, selected = scene(seed, shape=shape)
    path = mf.steer(
        codebook,
        starts,
        target=mf.Target.units(selected, away=away),
        steps=1,
        route="direct",
        selected_units=kept,
        active_units=4,
        selected_weight=5.0,
        rate=0.1,
        damping=0.2,
        detail=detail,
        step_control="fixed",
        max_step=1e6,
    )
    W = codebook.prototypes
    d = ((starts[:, np.newaxis] - W) ** 2).sum(axis=2)
    for n, point in enumerate(starts):
        chosen = selected[np.argsort(d[n, selected])[:kept]]
        others = [unit for unit in np.argsort(d[n]) if unit not in chosen][:4]
        active = np.concatenate([chosen, others])
        omega = np.where(np.isin(active, chosen), 5.0, 1.0)
        Q, condition = hull_directions(W[active])
        if detail is None:
            Q = np.eye(point.size)
        near = (((point - W[active]) @ Q) ** 2).sum(axis=1)
        wanted = np.where(np.isin(active, chosen), (0.1 if away else -0.1) * near, 0.0)
        J = 2.0 * (point - W[active]) @ Q
        directions = active.size + (detail is None)
        lam = 0.2 * (omega @ (J**2).sum(axis=1)) / directions
        z, stacked = stacked_solution(J, omega, wanted, np.sqrt(lam) * np.eye(Q.shape[1]))
        tolerance = 50 * EPS * (stacked**2 + condition**2)
        off = path.points[1, n] - point - Q @ z
        assert np.linalg.norm(off) <= tolerance * (np.linalg.norm(z) + np.linalg.norm(point))


@given(
    seed=seeds,
    scope=st.sampled_from(["local", "all"]),
    kept=st.sampled_from([1, 3]),
    damping=st.sampled_from([1e-300, 1e-12, 1e-6]),
    control=st.sampled_from(["levenberg-marquardt", "fixed"]),
)
def test_a_walk_that_runs_away_is_a_stop_reason_of_its_point_and_no_error(
    seed, scope, kept, damping, control
):
    _, codebook, starts, selected = scene(seed, shape=(20, 4))
    path = mf.steer(
        codebook,
        3.0 * starts,
        target=mf.Target.units(selected),
        scope=scope,
        route="direct",
        selected_units=kept,
        damping=damping,
        selected_weight=1e6,
        rate=1.0,
        max_step=1e300,
        step_control=control,
        steps=60,
    )
    assert np.isfinite(path.points).all()
    if control == "levenberg-marquardt":
        assert not (path.stop == mf.StopReason.DIVERGED).any()


# --- symmetries of whole walks -------------------------------------------------------------------


@given(seed=seeds, form=forms, detail=details, factor=st.sampled_from([0.25, 1.0, 100.0]))
def test_rotating_shifting_and_scaling_does_the_same_to_every_walk(seed, form, detail, factor):
    rng, codebook, starts, selected = scene(seed, shape=(24, 6))
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    shift = rng.normal(size=6)
    moved = mf.Codebook(
        prototypes=factor * codebook.prototypes @ q.T + shift, lattice=codebook.lattice
    )
    options = {"target": mf.Target.units(selected), "steps": 12, "detail": detail, **form}
    here = mf.steer(codebook, starts, **options)
    there = mf.steer(moved, factor * starts @ q.T + shift, **options)
    back = (there.points - shift) @ q / factor
    np.testing.assert_allclose(back, here.points, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(there.arrival, here.arrival)


@given(seed=seeds, form=forms, detail=details, away=st.booleans())
def test_the_order_of_the_units_does_not_matter_to_any_walk(seed, form, detail, away):
    rng, codebook, starts, selected = scene(seed, lattice=False)
    order = rng.permutation(24)
    options = {"steps": 12, "detail": detail, **form}
    here = mf.steer(codebook, starts, target=mf.Target.units(selected, away=away), **options)
    there = mf.steer(
        mf.Codebook(prototypes=codebook.prototypes[order]),
        starts,
        target=mf.Target.units(rng.permutation(np.argsort(order)[selected]), away=away),
        **options,
    )
    np.testing.assert_allclose(there.points, here.points, rtol=0, atol=1e-8)


@settings(max_examples=30)
@given(seed=seeds, form=forms, detail=details)
def test_a_batch_equals_its_points_one_by_one_in_every_form(seed, form, detail):
    _, codebook, starts, selected = scene(seed)
    options = {"target": mf.Target.units(selected), "steps": 12, "detail": detail, **form}
    together = mf.steer(codebook, starts, **options).points
    alone = [mf.steer(codebook, x, **options).points for x in starts]
    np.testing.assert_allclose(together, np.concatenate(alone, axis=1), rtol=0, atol=1e-9)


def test_a_batch_of_more_than_a_block_equals_its_points_one_by_one():
    _, codebook, starts, selected = scene(0, points=130)
    for scope in ("local", "all"):
        # Rash steps, so that some are refused and every point gets a damping of its own.
        options = {
            "target": mf.Target.units(selected),
            "steps": 8,
            "scope": scope,
            "rate": 1.0,
            "damping": 1e-6,
            "max_step": 10.0,
        }
        together = mf.steer(codebook, starts, **options).points
        for n in (0, 63, 64, 127, 128, 129):
            alone = mf.steer(codebook, starts[n], **options).points[:, 0]
            np.testing.assert_allclose(together[:, n], alone, rtol=0, atol=1e-9)


@given(seed=seeds)
def test_units_of_weight_zero_do_not_move_a_point_that_may_leave_the_hull(seed):
    rng, codebook, starts, selected = scene(seed, shape=(24, 8), lattice=False)
    rest = np.setdiff1d(np.arange(24), selected)
    shuffled = codebook.prototypes.copy()
    shuffled[rest] += rng.normal(size=(rest.size, 8))
    paths = [
        mf.steer(
            mf.Codebook(prototypes=prototypes),
            starts,
            target=mf.Target.units(selected),
            steps=3,
            route="direct",
            preserve_weight=0.0,
            detail=None,
            rate=0.1,
        ).points
        for prototypes in (codebook.prototypes, shuffled)
    ]
    assert np.abs(paths[0][-1] - paths[0][0]).max() > 0.0
    np.testing.assert_allclose(paths[0], paths[1], rtol=0, atol=1e-9)
