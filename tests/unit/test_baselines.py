"""The baselines: straight lines that end where their names say."""

from __future__ import annotations

import numpy as np
import pytest

import musicfw as mf
from musicfw.control.kmeans_line import KmeansLineParams
from musicfw.geometry import squared_distances

EPS = np.finfo(np.float64).eps
BASELINES = ("straight-line", "cluster-mean", "kmeans-line")
CENTRES = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [0.0, 12.0, 0.0]])
RNG = np.random.default_rng(11)
LABELS = np.repeat(["a", "b", "c"], 60)
X = np.repeat(CENTRES, 60, axis=0) + RNG.standard_normal((180, 3))
TRAINED = mf.train(X, lattice=mf.Lattice(rows=4, columns=4), labels=LABELS, seed=1, epochs=4)
BOOK = TRAINED.codebook
STARTS = X[LABELS == "a"][:6]
TO_B = mf.Target.label("b")
STEPS = 12


def walk(policy, target=TO_B, starts=STARTS, **rest):
    if policy == "kmeans-line":
        rest.setdefault("reference", X)
    return mf.steer(TRAINED, starts, target=target, policy=policy, steps=STEPS, **rest)


def own_kmeans(data, centres, iterations):
    """Lloyd's algorithm, written out; an empty centre stays."""
    for _ in range(iterations):
        nearest = ((data[:, np.newaxis] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.array(
            [data[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k]
             for k in range(len(centres))]
        )  # fmt: skip
    return centres


# --- what all have in common ---------------------------------------------------------------------


@pytest.mark.parametrize("policy", BASELINES)
def test_every_frame_lies_on_the_line_between_the_ends_in_equal_steps(policy):
    path = walk(policy)
    start, end = path.points[0], path.points[-1]
    assert start.tobytes() == STARTS.tobytes()
    for t in range(STEPS + 1):
        expected = start + t / STEPS * (end - start)
        np.testing.assert_allclose(path.points[t], expected, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("policy", BASELINES)
def test_a_point_goes_the_same_way_alone_and_in_a_batch(policy):
    together = walk(policy).points
    for n in range(STARTS.shape[0]):
        alone = walk(policy, starts=STARTS[n]).points
        np.testing.assert_allclose(alone[:, 0], together[:, n], rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("policy", BASELINES)
def test_bounds_are_never_crossed_and_move_the_end_into_the_box(policy):
    free = walk(policy).points[-1]
    path = walk(policy, upper={0: 6.0}, lower={1: STARTS[:, 1].min()})
    assert (path.points[:, :, 0] <= 6.0).all()
    assert (path.points[:, :, 1] >= STARTS[:, 1].min()).all()
    assert (free[:, 0] > 6.0).all()
    assert (path.points[-1, :, 0] == 6.0).all()
    np.testing.assert_allclose(path.points[-1, :, 2], free[:, 2], rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("policy", BASELINES)
def test_frozen_features_do_not_change(policy):
    path = walk(policy, frozen=[2])
    np.testing.assert_array_equal(
        path.points[:, :, 2], np.broadcast_to(STARTS[:, 2], (STEPS + 1, 6))
    )
    assert (path.points[-1, :, 0] > 6.0).all()


@pytest.mark.parametrize("policy", BASELINES)
def test_moving_the_data_and_the_map_moves_the_paths(policy):
    shift = np.array([100.0, -50.0, 7.0])
    rest = {"reference": X + shift} if policy == "kmeans-line" else {}
    moved = mf.Codebook(prototypes=BOOK.prototypes + shift, labels=BOOK.labels)
    found = mf.steer(moved, STARTS + shift, target=TO_B, policy=policy, steps=STEPS, **rest)
    np.testing.assert_allclose(found.points - shift, walk(policy).points, rtol=0, atol=1e-11)


# --- straight-line -------------------------------------------------------------------------------


def test_the_straight_line_ends_at_the_nearest_prototype_of_the_target():
    target = BOOK.prototypes[BOOK.labels == "b"]
    nearest = squared_distances(STARTS, target).argmin(axis=1)
    np.testing.assert_allclose(walk("straight-line").points[-1], target[nearest], rtol=4 * EPS)


# --- cluster-mean --------------------------------------------------------------------------------


def test_the_cluster_mean_ends_at_the_mean_of_the_targets_prototypes():
    mean = BOOK.prototypes[BOOK.labels == "b"].mean(axis=0)
    end = walk("cluster-mean").points[-1]
    np.testing.assert_allclose(end, np.broadcast_to(mean, end.shape), rtol=0, atol=100 * EPS)


def test_with_one_unit_in_the_target_the_cluster_mean_is_the_straight_line():
    target = mf.Target.units([5])
    np.testing.assert_array_equal(
        walk("cluster-mean", target).points, walk("straight-line", target).points
    )


@pytest.mark.parametrize(
    "target",
    [mf.Target.label("a", away=True), mf.Target.activations(BOOK.squared_distances(X[100])[0])],
)
def test_the_cluster_mean_refuses_a_target_without_units_to_approach(target):
    with pytest.raises(
        mf.UsageError, match=r"target: the policy 'cluster-mean' needs units to approach, not"
    ):
        walk("cluster-mean", target)


def test_the_cluster_mean_takes_no_params():
    with pytest.raises(mf.UsageError, match="centres"):
        walk("cluster-mean", centres=3)


# --- kmeans-line ---------------------------------------------------------------------------------


def test_the_kmeans_line_ends_at_the_nearest_centre_of_the_target():
    # With three clear clouds and enough iterations the centres are the clouds' means, unless two
    # first centres fall into one cloud; this seed does not.
    path = walk("kmeans-line", centres=3, iterations=20, seed=2)
    means = np.array([X[name == LABELS].mean(axis=0) for name in "abc"])
    np.testing.assert_allclose(own_kmeans(X, means, 3), means, rtol=0, atol=100 * EPS)
    np.testing.assert_allclose(
        path.points[-1], np.broadcast_to(means[1], (6, 3)), rtol=0, atol=1000 * EPS
    )


@pytest.mark.parametrize("centres", [None, 3, 9, 30])
def test_every_end_of_the_kmeans_line_lies_among_data_of_the_target(centres):
    ends = walk("kmeans-line", centres=centres, iterations=60).points[-1]
    nearest = squared_distances(ends, X).argmin(axis=1)
    assert set(LABELS[nearest]) == {"b"}
    assert set(np.unique(BOOK.labels[BOOK.best_matching_units(ends)])) == {"b"}


def test_as_many_centres_as_rows_are_the_rows_themselves():
    ends = walk("kmeans-line", centres=10_000).points[-1]
    b = X[np.isin(BOOK.best_matching_units(X), np.flatnonzero(BOOK.labels == "b"))]
    expected = b[squared_distances(STARTS, b).argmin(axis=1)]
    np.testing.assert_allclose(ends, expected, rtol=0, atol=100 * EPS)


def test_without_a_centre_of_the_target_the_one_with_the_largest_share_stands_in():
    # One centre, the mean of everything: b is a third of its data.
    ends = walk("kmeans-line", centres=1).points[-1]
    expected = np.broadcast_to(X.mean(axis=0), (6, 3))
    np.testing.assert_allclose(ends, expected, rtol=0, atol=1000 * EPS)


def test_the_default_is_as_many_centres_as_the_map_has_units():
    assert KmeansLineParams().centres is None
    np.testing.assert_array_equal(
        walk("kmeans-line").points, walk("kmeans-line", centres=BOOK.units).points
    )


def test_the_same_seed_gives_the_same_centres_and_another_seed_others():
    first, again, other = (walk("kmeans-line", seed=s, rows=50).points for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first[-1] != other[-1]).any()


def test_the_reference_of_a_scaled_map_is_in_original_units():
    factor = np.array([1000.0, 1.0, 0.01])
    scaling = mf.Scaling(offset=np.zeros(3), scale=factor)
    scaled = mf.TrainedMap(codebook=BOOK, scaling=scaling, backend="", params={}, seed=0)
    found = mf.steer(
        scaled,
        STARTS * factor,
        target=TO_B,
        policy="kmeans-line",
        steps=STEPS,
        reference=X * factor,
    )
    np.testing.assert_allclose(
        found.points / factor, walk("kmeans-line").points, rtol=0, atol=1e-12
    )


def test_the_reference_is_left_as_it_was():
    data = X.copy()
    walk("kmeans-line", reference=data)
    assert data.tobytes() == X.tobytes()


def test_the_kmeans_line_needs_data():
    with pytest.raises(
        mf.UsageError,
        match=r"reference: the policy 'kmeans-line' needs data .* give steer reference=",
    ):
        walk("kmeans-line", reference=None)


def test_the_kmeans_line_refuses_to_move_away():
    with pytest.raises(
        mf.UsageError, match=r"target: the policy 'kmeans-line' needs units to approach"
    ):
        walk("kmeans-line", mf.Target.label("a", away=True))


def test_data_of_another_dimension_are_refused():
    with pytest.raises(mf.UsageError, match="reference"):
        walk("kmeans-line", reference=X[:, :2])


@pytest.mark.parametrize("param", ["centres", "iterations", "rows"])
def test_counts_of_the_kmeans_line_are_at_least_1(param):
    with pytest.raises(mf.UsageError, match=rf"{param}.*at least 1"):
        walk("kmeans-line", **{param: 0})
