"""Laws of walks where every unit measures with relevances of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import SteeringProblem
from musicfw.control.metric_hull import hull_of
from musicfw.control.music import Music, MusicParams
from musicfw.control.routes import routes
from musicfw.control.weighted_walk import weighted_units

seeds = st.integers(0, 2**32 - 1)
LATTICE = mf.Lattice(rows=5, columns=5)

WALKS = {
    "local": {},
    "local, lattice route": {"route": "lattice"},
    "local, all of the hidden part kept": {"detail": 1.0},
    "local, hidden part moved": {"detail": None},
    "local, all units at once": {"selection": "all"},
    "local, two units": {"route": "direct", "selected_units": 2},
    "all": {"scope": "all"},
    "all, direct": {"scope": "all", "route": "direct", "selected_units": 2},
    "all, all at once": {"scope": "all", "selection": "all"},
    "all, fixed": {"scope": "all", "step_control": "fixed", "rate": 0.05, "damping": 1.0},
    "local, short steps": {"max_step": 0.05},
    "all, short steps": {"scope": "all", "max_step": 0.05},
}
walks = pytest.mark.parametrize("params", WALKS.values(), ids=WALKS.keys())


def drawn(seed, *, dimension=6, points=5, least=0.05):
    rng = np.random.default_rng(seed)
    codebook = mf.Codebook(
        prototypes=rng.normal(size=(25, dimension)),
        relevances=rng.uniform(least, 2.0, size=(25, dimension)),
        lattice=LATTICE,
    )
    return codebook, rng.normal(size=(points, dimension))


def problem_on(codebook, points, *, direction=1.0, goals=None, bound=None, steps=12, cost=None):
    units = np.array([0, 1, 5]) if goals is None else np.arange(25)
    shape = (points.shape[0], units.size)
    limit = None if bound is None else np.full(points.shape[1], bound)
    return SteeringProblem(
        codebook=codebook,
        points=points,
        units=units,
        goals=np.zeros(shape) if goals is None else np.broadcast_to(goals, shape),
        directions=np.full(units.size, direction),
        weights=np.ones(units.size),
        waypoints=np.empty(0, dtype=np.intp),
        steps=steps,
        lower=None if limit is None else -limit,
        upper=limit,
        cost=cost,
    )


def frames(problem, params):
    steering = Music(MusicParams(**params)).begin(problem)
    active = np.ones(problem.points.shape[0], dtype=bool)
    return np.stack([steering.advance(active).points for _ in range(problem.steps)])


@walks
@pytest.mark.parametrize(
    "rest",
    [{}, {"direction": -1.0}, {"bound": 2.5}, {"dimension": 40}],
    ids=["towards", "away", "bounds", "more features than units"],
)
def test_with_relevances_of_one_by_unit_the_walk_is_the_euclidean_one(params, rest):
    rest = dict(rest)
    weighted, points = drawn(1, dimension=rest.pop("dimension", 6))
    ones = np.ones(weighted.relevances.shape)
    points = np.clip(points, -2.5, 2.5)
    # Given as they are: `steer` would see that they are shared, and walk the Euclidean way.
    problem = problem_on(replace(weighted, relevances=ones), points, **rest)
    euclidean = replace(problem, codebook=replace(weighted, relevances=None))
    np.testing.assert_allclose(
        frames(problem, params), frames(euclidean, params), rtol=0, atol=1e-9
    )


def test_so_it_is_for_activations_as_a_target():
    weighted, points = drawn(2)
    goals = mf.Codebook(prototypes=weighted.prototypes).squared_distances(points[:1])[0]
    ones = replace(weighted, relevances=np.ones(weighted.relevances.shape))
    problem = problem_on(ones, points[1:], goals=goals)
    euclidean = replace(problem, codebook=replace(weighted, relevances=None))
    np.testing.assert_allclose(frames(problem, {}), frames(euclidean, {}), rtol=0, atol=1e-9)


@walks
def test_steer_takes_relevances_of_one_for_what_they_are(params):
    weighted, points = drawn(3)
    target = mf.Target.units([0, 1, 5])
    plain = replace(weighted, relevances=None)
    ones = replace(weighted, relevances=np.ones(weighted.relevances.shape))
    expected = mf.steer(plain, points, target=target, **params)
    found = mf.steer(ones, points, target=target, **params)
    np.testing.assert_array_equal(expected.points, found.points)


@walks
def test_no_wanted_change_moves_nothing(params):
    codebook, points = drawn(4)
    kept = {**params, "rate": 0.0}
    if params.get("detail", 0.0) is None or "scope" in params:
        path = mf.steer(codebook, points, target=mf.Target.units([0]), steps=5, **kept)
    else:
        path = mf.steer(
            codebook, points, target=mf.Target.units([0]), steps=5, **{**kept, "detail": 1.0}
        )
    for frame in path.points:
        np.testing.assert_array_equal(frame, points)


@pytest.mark.parametrize("params", [{}, {"scope": "all"}, {"route": "direct"}], ids=str)
@pytest.mark.parametrize("least", [0.05, 0.5])
def test_points_arrive_whatever_the_relevances(params, least):
    reached = []
    for seed in range(5):
        codebook, points = drawn(seed, points=20, least=least)
        path = mf.steer(codebook, points, target=mf.Target.units([7, 8, 12]), **params)
        winners = codebook.best_matching_units(path.points[-1])
        np.testing.assert_array_equal(path.reached, np.isin(winners, [7, 8, 12]))
        reached.append(path.reached.mean())
    assert np.mean(reached) >= (0.9 if "scope" in params else 0.99)


@walks
def test_bounds_and_frozen_features_hold_exactly(params):
    codebook, points = drawn(5, points=10)
    points = np.clip(points, -1.0, 1.0)
    path = mf.steer(
        codebook,
        points,
        target=mf.Target.units([7, 8]),
        lower=-1.0,
        upper=1.0,
        frozen=[2],
        **params,
    )
    assert path.points.min() >= -1.0
    assert path.points.max() <= 1.0
    np.testing.assert_array_equal(path.points[:, :, 2], np.tile(points[:, 2], (101, 1)))


@given(seed=seeds)
@settings(max_examples=20)
def test_the_normal_matrix_is_that_of_the_jacobians(seed):
    codebook, points = drawn(seed)
    weights = np.random.default_rng(seed).uniform(size=25)
    W, R = codebook.prototypes, codebook.relevances
    system = weighted_units(W, R, weights)
    u = points - system.centre
    J = 2.0 * R * (points[:, np.newaxis] - W)
    expected = np.einsum("nmk,m,nml->nkl", J, weights, J)
    np.testing.assert_allclose(system.normal(u), expected, rtol=0, atol=1e-11)
    units = np.tile(np.arange(25), (points.shape[0], 1))
    np.testing.assert_allclose(system.jacobian(u, units), J, rtol=0, atol=1e-12)


@given(seed=seeds)
@settings(max_examples=20)
def test_a_change_of_distances_is_known_exactly(seed):
    codebook, points = drawn(seed)
    moves = np.random.default_rng(seed).normal(size=points.shape)
    system = weighted_units(codebook.prototypes, codebook.relevances, np.ones(25))
    expected = codebook.squared_distances(points + moves) - codebook.squared_distances(points)
    found = system.linear(points - system.centre, moves) + system.curved(moves)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@given(seed=seeds, dimension=st.sampled_from([3, 6, 30]))
@settings(max_examples=20)
def test_so_it_is_within_the_hull_of_the_active_units(seed, dimension):
    codebook, points = drawn(seed, dimension=dimension)
    rng = np.random.default_rng(seed)
    units = np.stack([rng.permutation(25)[:7] for _ in points])
    hull = hull_of(codebook, units, points)
    place = points - hull.hidden
    step = rng.normal(size=(points.shape[0], 7))
    there = place + np.einsum("na,nad->nd", step, hull.basis)
    pick = np.arange(points.shape[0])[:, np.newaxis], units
    before = codebook.squared_distances(place)[pick]
    after = codebook.squared_distances(there)[pick]
    np.testing.assert_allclose(hull.squared_distances, before, rtol=0, atol=1e-10)
    change = np.einsum("nad,nd->na", hull.jacobian, step) + hull.curved(step)
    np.testing.assert_allclose(change, after - before, rtol=0, atol=1e-10)


@pytest.mark.parametrize("selection", ["all", "nearest"])
def test_one_plain_step_is_the_dense_least_squares_solution(selection):
    codebook, points = drawn(6)
    W, R = codebook.prototypes, codebook.relevances
    problem = problem_on(codebook, points, steps=1)
    params = {"scope": "all", "selection": selection, "route": "direct", "step_control": "fixed"}
    found = frames(problem, {**params, "rate": 0.1, "selected_weight": 7.0, "damping": 0.3})[0]
    for x, moved in zip(points, found, strict=True):
        d = (R * (x - W) ** 2).sum(axis=1)
        weights, wanted = np.ones(25), np.zeros(25)
        selected = problem.units
        if selection == "nearest":
            selected = selected[[d[selected].argmin()]]
        weights[selected], wanted[selected] = 7.0, -0.1 * d[selected]
        own = weights if selection == "all" else np.ones(25)
        centred = R * (W - weighted_units(W, R, own).centre)
        scale = 4.0 * np.linalg.eigvalsh((own[:, np.newaxis] * centred).T @ centred)[-1]
        J = 2.0 * R * (x - W)
        system = J.T @ (weights[:, np.newaxis] * J) + 0.3 * scale * np.eye(6)
        step = np.linalg.solve(system, J.T @ (weights * wanted))
        np.testing.assert_allclose(moved - x, step, rtol=0, atol=1e-12)


@walks
def test_where_the_map_lies_and_how_features_are_ordered_do_not_matter(params):
    codebook, points = drawn(7)
    order, shift = np.array([3, 0, 5, 1, 2, 4]), np.linspace(-3.0, 3.0, 6)
    moved = mf.Codebook(
        prototypes=(codebook.prototypes + shift)[:, order],
        relevances=codebook.relevances[:, order],
        lattice=LATTICE,
    )
    target = mf.Target.units([0, 1, 5])
    expected = mf.steer(codebook, points, target=target, steps=20, **params).points + shift
    found = mf.steer(moved, (points + shift)[:, order], target=target, steps=20, **params).points
    np.testing.assert_allclose(found, expected[:, :, order], rtol=0, atol=1e-8)


@pytest.mark.parametrize("policy", ["straight-line", "cluster-mean", "kmeans-line"])
def test_lines_end_where_the_units_own_distances_say(policy):
    codebook, points = drawn(8, points=30)
    reference = np.random.default_rng(0).normal(size=(200, 6))
    target = mf.Target.units([7, 8])
    path = mf.steer(codebook, points, target=target, policy=policy, reference=reference)
    if policy == "straight-line":
        nearest = codebook.squared_distances(points, [7, 8]).argmin(axis=1)
        np.testing.assert_allclose(path.points[-1], codebook.prototypes[[7, 8]][nearest])
        assert path.reached.all()
    wanted = mf.Target.activations(codebook.squared_distances(reference[0])[0])
    if policy == "straight-line":
        path = mf.steer(codebook, points, target=wanted, policy=policy)
        np.testing.assert_allclose(path.points[-1], np.tile(reference[0], (30, 1)), atol=1e-9)


def test_activations_are_walked_to():
    codebook, points = drawn(9)
    target = mf.Target.activations(codebook.squared_distances(points[0])[0])
    path = mf.steer(codebook, points[1:], target=target, rate=1.0)
    np.testing.assert_allclose(path.points[-1], np.tile(points[0], (4, 1)), rtol=0, atol=1e-6)


def test_a_policy_that_does_not_heed_relevances_is_refused():
    from musicfw.api import NoParams, PolicyFactory

    factory = PolicyFactory(name="blind", params=NoParams, build=lambda p: None, summary="")
    codebook, points = drawn(10)
    with pytest.raises(mf.UsageError, match="codebook: the policy 'blind' does not heed"):
        mf.steer(codebook, points, target=mf.Target.units([0]), policy=factory)


def test_freezing_all_that_matters_to_a_unit_is_refused():
    codebook, points = drawn(11)
    relevances = codebook.relevances.copy()
    relevances[4] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    codebook = replace(codebook, relevances=relevances)
    with pytest.raises(mf.UsageError, match="frozen: every feature that matters to unit 4 is"):
        mf.steer(codebook, points, target=mf.Target.units([0]), frozen=[2])


def test_what_a_point_carries_along_holds_it_up_at_no_waypoint():
    rng = np.random.default_rng(0)
    codebook, points = drawn(0, dimension=40, points=20)
    relevances = rng.choice([0.05, 2.0], size=(25, 40))
    codebook = replace(codebook, relevances=relevances)
    target = mf.Target.path([0, 6, 12, 18, 24])
    path = mf.steer(codebook, 3.0 * points, target=target, steps=300, max_step=1.0)
    assert path.reached.all()


@pytest.mark.parametrize("route", ["core", "lattice", "direct"])
def test_nor_does_it_keep_a_point_from_arriving(route):
    reached = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        codebook, points = drawn(seed, dimension=40, points=20)
        relevances = rng.choice([0.05, 2.0], size=(25, 40))
        codebook = replace(codebook, relevances=relevances)
        target = mf.Target.units([7, 8, 12])
        path = mf.steer(codebook, 3.0 * points, target=target, route=route)
        reached.append(path.reached.mean())
    assert np.mean(reached) >= 0.95


def test_a_route_goes_by_what_units_find_relevant():
    # Two rows of three units; the middle one of the first row is far off in feature 1 only.
    W = np.array([[0, 0, 0], [1, 10, 0], [2, 0, 0], [0, 0, 1], [1, 0, 1], [2, 0, 1]], dtype=float)
    lattice = mf.Lattice(rows=2, columns=3)
    plain = mf.Codebook(prototypes=W, lattice=lattice)
    relevances = np.tile([1.0, 1e-4, 1.0], (6, 1))
    relevances[5, 1] = 2e-4
    weighted = replace(plain, relevances=relevances)
    for codebook, through in ((plain, 4), (weighted, 1)):
        start = codebook.squared_distances(W[:1])
        (way,) = routes(codebook, start, np.array([2]), "lattice")
        assert way.tolist() == [through, 2]


def test_goals_are_met_in_the_features_that_are_not_frozen():
    codebook, points = drawn(12)
    there = points[0].copy()
    there[[1, 4]] = points[1][[1, 4]]  # what is frozen is the same in both
    target = mf.Target.activations(codebook.squared_distances(there)[0])
    path = mf.steer(codebook, points[1], target=target, frozen=[1, 4], rate=1.0)
    np.testing.assert_allclose(path.points[-1][0], there, rtol=0, atol=1e-6)
