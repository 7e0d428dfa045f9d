"""Constraints on a walk: frozen features, bounds and costs, for every policy."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import Move, NoParams, PolicyFactory
from musicfw.control import musicfw_policies
from musicfw.control.local_hull import local_hull, local_step

seeds = st.integers(0, 2**32 - 1)
NAMES = ("age", "height", "income", "rooms", "width", "depth")
FACTORIES = {factory.name: factory for factory in musicfw_policies()}
MUSIC_FORMS = [
    {"scope": scope, "selection": selection, "route": route}
    for scope in ("local", "all")
    for selection, route in (("nearest", "core"), ("nearest", "direct"), ("all", "direct"))
]
POLICIES = [("music", form) for form in MUSIC_FORMS] + [
    (name, {}) for name in FACTORIES if name != "music"
]
policies = st.sampled_from(POLICIES)
BOUNDED = [
    ("music", form | {"step_control": control, "detail": detail})
    for form in MUSIC_FORMS
    for control in ("levenberg-marquardt", "fixed")
    for detail in (0.5, None)
] + [(name, {}) for name, f in FACTORIES.items() if name != "music" and "bounds" in f.traits]


def scene(seed, *, scaled=True, units=20, dimension=6):
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(units, dimension))
    scaling = mf.Scaling.identity(dimension)
    if scaled:
        scaling = mf.Scaling(
            offset=rng.normal(size=dimension), scale=rng.uniform(0.01, 100.0, size=dimension)
        )
    trained = mf.TrainedMap(
        codebook=mf.Codebook(prototypes=prototypes, lattice=mf.Lattice(rows=4, columns=units // 4)),
        scaling=scaling,
        backend="",
        params={},
        seed=0,
        feature_names=NAMES[:dimension],
    )
    starts = scaling.to_original(1.5 * rng.normal(size=(4, dimension)))
    selected = rng.choice(units, size=3, replace=False)
    return rng, trained, starts, mf.Target.units(selected)


def extras(name, trained, rng):
    if "reference" not in FACTORIES[name].traits:
        return {}
    data = np.repeat(trained.codebook.prototypes, 3, axis=0)
    data = data + 0.01 * rng.normal(size=data.shape)
    return {"reference": trained.scaling.to_original(data)}


@given(seed=seeds, policy=policies, scaled=st.booleans())
def test_frozen_features_keep_their_bits_in_every_frame(seed, policy, scaled):
    rng, trained, starts, target = scene(seed, scaled=scaled)
    starts[0, 1] = -0.0
    name, form = policy
    path = mf.steer(
        trained,
        starts,
        target=target,
        policy=name,
        steps=12,
        frozen=["height", 4],
        **extras(name, trained, rng),
        **form,
    )
    for frame in path.points:
        assert frame[:, [1, 4]].tobytes() == starts[:, [1, 4]].tobytes()
    moved = (path.points[-1] != starts).any(axis=0)
    assert moved.tolist() == [True, False, True, True, False, True]


@given(seed=seeds, form=st.sampled_from(MUSIC_FORMS))
def test_with_equal_frozen_parts_a_frozen_walk_is_the_walk_of_the_reduced_codebook(seed, form):
    rng, trained, starts, target = scene(seed, scaled=False)
    prototypes = trained.codebook.prototypes.copy()
    prototypes[:, [1, 4]] = rng.normal(size=2)
    free = [0, 2, 3, 5]
    whole = mf.Codebook(prototypes=prototypes, lattice=trained.codebook.lattice)
    reduced = mf.Codebook(prototypes=prototypes[:, free], lattice=trained.codebook.lattice)
    here = mf.steer(whole, starts, target=target, frozen=[1, 4], steps=12, **form)
    there = mf.steer(reduced, starts[:, free], target=target, steps=12, **form)
    np.testing.assert_allclose(here.points[:, :, free], there.points, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(here.arrival, there.arrival)


@settings(max_examples=15)
@given(seed=seeds)
def test_activations_are_met_as_well_as_frozen_features_allow(seed):
    rng, trained, starts, _ = scene(seed, scaled=False)
    codebook = trained.codebook
    goal = starts[0].copy()
    goal[[0, 2]] += rng.normal(size=2)
    path = mf.steer(
        codebook,
        starts[0],
        target=mf.Target.activations(codebook.squared_distances(goal)[0]),
        frozen=[1, 3, 4, 5],
        steps=300,
        rate=0.3,
    )
    np.testing.assert_allclose(path.points[-1, 0], goal, rtol=0, atol=1e-6)


@given(seed=seeds, policy=st.sampled_from(BOUNDED), scaled=st.booleans(), away=st.booleans())
def test_bounds_are_never_crossed_in_any_frame(seed, policy, scaled, away):
    rng, trained, starts, target = scene(seed, scaled=scaled)
    name, form = policy
    if name not in ("music", "straight-line"):
        away = False
    # So tight that the target lies outside; one feature may only fall, one is free.
    room = 0.2 * trained.scaling.scale
    lower, upper = starts.min(axis=0) - room, starts.max(axis=0) + room
    upper[2] = starts[:, 2].max()
    lower[3], upper[3] = -np.inf, np.inf
    path = mf.steer(
        trained,
        starts,
        target=mf.Target.units(target.value, away=away),
        policy=name,
        steps=12,
        # Neither frozen nor scaled, no change of units afterwards can mend a policy's frames.
        frozen=["depth"] if scaled else [],
        lower=lower,
        upper=upper,
        **extras(name, trained, rng),
        **form,
    )
    assert (path.points >= lower).all()
    assert (path.points <= upper).all()
    assert np.isfinite(path.points).all()
    assert (path.points[-1] != starts).any()


@given(seed=seeds, form=st.sampled_from(MUSIC_FORMS), detail=st.sampled_from([0.5, None]))
def test_bounds_far_away_change_nothing(seed, form, detail):
    _, trained, starts, target = scene(seed)
    options = {"target": target, "steps": 12, "detail": detail, **form}
    here = mf.steer(trained, starts, **options)
    there = mf.steer(trained, starts, lower=-1e9, upper={"age": 1e9}, **options)
    size = trained.scaling.scale + np.abs(trained.scaling.offset)
    np.testing.assert_allclose(there.points / size, here.points / size, rtol=0, atol=1e-8)


def test_a_box_of_one_point_lets_nothing_move():
    _, trained, starts, target = scene(1)
    for form in MUSIC_FORMS:
        path = mf.steer(
            trained, starts[0], target=target, lower=starts[0], upper=starts[0], steps=40, **form
        )
        for frame in path.points:
            assert frame.tobytes() == starts[:1].tobytes()


@given(seed=seeds, form=st.sampled_from(MUSIC_FORMS[3:]))
def test_with_bounds_every_step_still_lowers_the_true_objective(seed, form):
    _, trained, starts, target = scene(seed, scaled=False)
    codebook = trained.codebook
    path = mf.steer(
        codebook,
        starts,
        target=mf.Target.units(target.value[:1]),
        lower=starts.min(axis=0) - 0.1,
        upper=starts.max(axis=0) + 0.1,
        steps=20,
        rate=0.5,
        selected_weight=50.0,
        **form,
    )
    unit = target.value[0]
    omega = np.ones(codebook.units)
    omega[unit] = 50.0
    d = path.squared_distances()
    for t in range(20):
        wanted = np.zeros_like(d[t])
        wanted[:, unit] = -0.5 * d[t, :, unit]
        before = np.sqrt((omega * wanted**2).sum(axis=1))
        after = np.sqrt((omega * (d[t + 1] - d[t] - wanted) ** 2).sum(axis=1))
        moved = (path.points[t + 1] != path.points[t]).any(axis=1)
        assert (after[moved] <= before[moved] + 1e-10 * d[t].max()).all()


@given(seed=seeds, feature=st.integers(0, 4), damping=st.sampled_from([0.01, 1.0]))
def test_a_dearer_feature_moves_less_in_every_step(seed, feature, damping):
    rng = np.random.default_rng(seed)
    hull = local_hull(rng.normal(size=(1, 5)), rng.normal(size=(1, 9, 5)))
    change = np.zeros((1, 9))
    change[0, 0] = -1.0
    slopes = 2.0 * (hull.inside[:, np.newaxis] - hull.corners)
    lam = damping * (slopes**2).sum() / 9
    moves = []
    for price in (0.1, 1.0, 10.0, 1e4):
        cost = np.ones(5)
        cost[feature] = price
        step = local_step(
            hull, weights=np.ones((1, 9)), change=change, damping=np.array([damping]), cost=cost
        )
        moves.append(abs((step[0] @ hull.basis[0])[feature]))
        # The price paid, λ c Δ², is at most what standing still would cost, Σ ω δ² = 1.
        assert moves[-1] <= 1.0 / np.sqrt(lam * price) * (1.0 + 1e-9)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(moves))


@pytest.mark.parametrize("feature", NAMES)
def test_raising_the_price_of_a_feature_lowers_its_share_of_the_move(feature):
    _, trained, starts, target = scene(5)
    shares = []
    for price in (0.1, 1.0, 10.0, 1000.0):
        path = mf.steer(
            trained, starts, target=target, cost={feature: price}, damping=10.0, steps=5
        )
        shares.append(
            np.mean([c.share for n in range(4) for c in path.changes(n) if c.feature == feature])
        )
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.1 * shares[0]


@settings(max_examples=25)
@given(seed=seeds, price=st.sampled_from([1.0, 3.0, 1e-6]), detail=st.sampled_from([0.5, None]))
def test_equal_costs_are_no_costs_and_only_their_ratios_matter(seed, price, detail):
    rng, trained, starts, target = scene(seed)
    cost = rng.uniform(0.5, 2.0, size=6)
    size = trained.scaling.scale + np.abs(trained.scaling.offset)

    def end(given):
        path = mf.steer(trained, starts, target=target, cost=given, detail=detail, steps=8)
        return path.points / size

    np.testing.assert_allclose(end(price), end(None), rtol=0, atol=1e-9)
    np.testing.assert_allclose(end(price * cost), end(cost), rtol=0, atol=1e-9)
    named = dict(zip(NAMES, cost, strict=True))
    np.testing.assert_array_equal(end(named), end(cost))


def test_the_price_of_a_frozen_feature_counts_for_nothing():
    _, trained, starts, target = scene(2)
    paths = [
        mf.steer(trained, starts, target=target, frozen=["age"], cost=cost, steps=5).points
        for cost in ({"age": 1e6, "rooms": 3.0}, {"rooms": 3.0})
    ]
    np.testing.assert_array_equal(paths[0], paths[1])


class Still:
    def begin(self, problem):
        self.problem = problem
        return self

    def advance(self, active):
        return Move(points=self.problem.points.copy(), settled=np.ones(active.shape, dtype=bool))


STILL = PolicyFactory(name="still", params=NoParams, build=lambda params: Still(), summary="Stays.")


@pytest.mark.parametrize(
    ("policy", "given", "message"),
    [
        (STILL, {"lower": -99.0}, "lower, upper: the policy 'still' does not heed them"),
        (STILL, {"upper": 99.0}, "lower, upper: the policy 'still' does not heed them"),
        (STILL, {"cost": 2.0}, "cost: the policy 'still' does not heed"),
        ("straight-line", {"cost": 2.0}, "cost: the policy 'straight-line' does not heed"),
    ],
)
def test_a_policy_without_the_trait_refuses_what_it_would_not_heed(policy, given, message):
    _, trained, starts, target = scene(0, scaled=False)
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.steer(trained, starts, target=target, policy=policy, steps=2, **given)


def test_every_policy_heeds_frozen_features_whatever_its_traits():
    _, trained, starts, target = scene(0)
    path = mf.steer(trained, starts, target=target, policy=STILL, steps=2, frozen=[0])
    assert path.points[-1].tobytes() == starts.tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": ["hight"]}, "frozen: expected the name of a feature, got 'hight'; did you"),
        ({"frozen": ["zzz"]}, "frozen: expected the name of a feature, got 'zzz'; see feature_na"),
        ({"frozen": "heigh"}, "frozen: expected the name of a feature, got 'heigh'; did you"),
        ({"frozen": [6]}, "frozen: expected feature numbers in 0 … 5, got 6"),
        ({"frozen": [-1]}, "frozen: expected feature numbers in 0 … 5, got -1"),
        ({"frozen": [True]}, "frozen: expected names or numbers of features, got True"),
        ({"frozen": [1.0]}, "frozen: expected names or numbers of features, got 1.0"),
        ({"frozen": 3}, "frozen: expected a list of names or numbers of features, got 3"),
        ({"frozen": range(6)}, "frozen: every feature is frozen, so no point can move; free at"),
        ({"lower": {"hight": 0}}, "lower: expected the name of a feature, got 'hight'; did you"),
        ({"upper": {9: 0}}, "upper: expected feature numbers in 0 … 5, got 9"),
        ({"lower": [1.0, 2.0]}, "lower: expected one number, a mapping of features to numbers, or"),
        ({"upper": np.ones((2, 6))}, "or an array of shape (6,), got shape (2, 6)"),
        ({"lower": {"age": [1, 2]}}, "lower: expected one number, a mapping of features to"),
        ({"lower": np.nan}, "lower: expected numbers, got NaN"),
        ({"lower": {"age": "low"}}, "lower: expected numbers, got 'low'"),
        ({"upper": "high"}, "upper: expected numbers, got 'high'"),
        (
            {"lower": {"rooms": 2.0}, "upper": {"rooms": 1.0}},
            "bounds: expected lower ≤ upper, got 2 > 1 for feature 'rooms'",
        ),
        (
            {"lower": {"income": 5.0}},
            "bounds: point 0 starts at 0.5 in feature 'income', expected a value within 5 … inf; "
            "widen the bounds or clip the point first",
        ),
        ({"upper": 0.0}, "bounds: point 0 starts at 0.5 in feature 'age', expected a value within"),
        ({"cost": 0.0}, "cost: expected positive finite numbers; to forbid a change use frozen"),
        ({"cost": {"age": -1.0}}, "cost: expected positive finite numbers; to forbid a change"),
        ({"cost": np.inf}, "cost: expected positive finite numbers; to forbid a change use frozen"),
        ({"cost": np.nan}, "cost: expected numbers, got NaN"),
        (
            {"cost": 2.0, "scope": "all"},
            "cost: the policy 'music' heeds it with scope 'local' only",
        ),
    ],
)
def test_constraints_that_make_no_sense_are_refused_before_anything_moves(settings, message):
    _, trained, _, target = scene(0, scaled=False)
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.steer(trained, np.full(6, 0.5), target=target, steps=2, **settings)


def test_a_codebook_has_no_feature_names_and_says_so():
    _, trained, starts, target = scene(0, scaled=False)
    with pytest.raises(mf.UsageError, match="the map has no feature names; use numbers"):
        mf.steer(trained.codebook, starts, target=target, steps=2, frozen=["age"])
    message = "bounds: point 0 starts at .* in feature 0, expected"
    with pytest.raises(mf.UsageError, match=message):
        mf.steer(trained.codebook, starts, target=target, steps=2, lower=99.0)
