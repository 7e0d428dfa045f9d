"""The verb *evaluate*: the same pairs for every policy, and what is told about the difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.evaluate import Evaluation, Interval, bootstrap, evaluate_paths
from musicfw.measures import distance_to_data, frames_at_fractions, path_measures, sharpness

CENTRES = np.zeros((3, 9))
CENTRES[1, 0] = CENTRES[2, 1] = 10.0
RNG = np.random.default_rng(4)
LABELS = np.repeat(["0", "1", "2"], 50)
X = np.repeat(CENTRES, 50, axis=0) + RNG.standard_normal((150, 9))
TRAINED = mf.train(
    X, lattice=mf.Lattice(rows=4, columns=4), labels=LABELS, seed=1, epochs=4, image_shape=(3, 3)
)
PAIRS = X[::15]  # rows of every label
TARGETS = np.array(["1", "2", "0", "2", "2", "0", "2", "0", "1", "0"])
POLICIES = ("music", "straight-line", "cluster-mean", "kmeans-line")


class Nearest:
    """A classifier: softmax of the negative squared distances to the centres, in some order."""

    def __init__(self, classes=("0", "1", "2"), order=(0, 1, 2)):
        self.order = list(order)
        self.classes_ = np.asarray(classes)[self.order]

    def predict_proba(self, points):
        squared = ((points[:, np.newaxis] - CENTRES[self.order]) ** 2).sum(axis=2)
        weights = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / 20.0)
        return weights / weights.sum(axis=1, keepdims=True)


def evaluation(**rest):
    settings = {"policies": POLICIES, "steps": 15, "training_points": X, **rest}
    return mf.evaluate(TRAINED, PAIRS, TARGETS, **settings)


@pytest.fixture(scope="module")
def whole():
    return evaluation(
        classifier=Nearest(), reference=X[1::7], fractions=(0.0, 0.5, 1.0), steps=20, seed=8
    )


# --- pairs ---------------------------------------------------------------------------------------


def test_every_policy_starts_every_pair_at_its_point(whole):
    for policy in POLICIES:
        assert whole.paths[policy][:, 0].tobytes() == PAIRS.tobytes()


def test_every_pair_is_steered_to_its_own_label_whatever_the_order_of_the_pairs(whole):
    for n, label in enumerate(TARGETS):
        path = mf.steer(TRAINED, PAIRS[n], target=mf.Target.label(label), steps=20)
        expected = frames_at_fractions(path.points[:, 0], [0.0, 0.5, 1.0])
        np.testing.assert_allclose(whole.paths["music"][n], expected, rtol=0, atol=1e-10)
        assert whole.values["music"]["arrived"][n] == path.reached[0]


def test_shuffling_the_pairs_shuffles_the_values():
    order = np.random.default_rng(0).permutation(TARGETS.size)
    first = evaluation(policies=["straight-line"], classifier=Nearest())
    second = mf.evaluate(
        TRAINED,
        PAIRS[order],
        TARGETS[order],
        policies=["straight-line"],
        steps=15,
        classifier=Nearest(),
    )
    for measure, values in first.values["straight-line"].items():
        np.testing.assert_allclose(
            second.values["straight-line"][measure], values[order], rtol=0, atol=1e-7
        )


def test_the_same_seed_gives_the_same_table_and_another_only_other_intervals(whole):
    first, again, other = (evaluation(steps=5, seed=s) for s in (1, 1, 2))
    assert first.table() == again.table()
    for policy in POLICIES:
        for measure in first.measures:
            one, two = first.interval(policy, measure), other.interval(policy, measure)
            assert one.mean == two.mean or (np.isnan(one.mean) and np.isnan(two.mean))
    assert first.table() != other.table()


def test_the_measures_of_whole_paths_are_those_of_path_measures():
    walks = {
        "line": [
            (
                np.flatnonzero(label == TARGETS),
                mf.steer(
                    TRAINED,
                    PAIRS[label == TARGETS],
                    target=mf.Target.label(label),
                    policy="straight-line",
                    steps=15,
                ),
            )
            for label in "210"
        ]
    }
    found = evaluate_paths(walks)
    for rows, path in walks["line"]:
        for measure, values in path_measures(path).items():
            np.testing.assert_array_equal(found.values["line"][measure][rows], values)
    assert [m for m in found.measures if " at " in m] == [
        f"distance_to_map at {share}" for share in ("25%", "50%", "75%")
    ]


# --- measures along the paths --------------------------------------------------------------------


def test_the_measures_at_a_fraction_are_those_of_its_frames(whole):
    for policy in POLICIES:
        values = whole.values[policy]
        for position, share in enumerate(("0%", "50%", "100%")):
            frames = whole.paths[policy][:, position]
            probability = Nearest().predict_proba(frames)
            expected = {
                "target_probability": probability[np.arange(10), TARGETS.astype(int)],
                "top_confidence": probability.max(axis=1),
                "sharpness": sharpness(frames, (3, 3)),
                "distance_to_data": distance_to_data(frames, X[1::7]),
                "distance_to_map": np.sqrt(TRAINED.squared_distances(frames).min(axis=1)),
            }
            for measure, wanted in expected.items():
                np.testing.assert_allclose(values[f"{measure} at {share}"], wanted, atol=1e-7)


def test_measures_are_in_the_order_of_paths_then_families_then_fractions(whole):
    along = [m for m in whole.measures if " at " in m]
    families = ["target_probability", "top_confidence", "sharpness", "distance_to_data"]
    families.append("distance_to_map")
    assert along == [f"{name} at {share}" for name in families for share in ("0%", "50%", "100%")]
    assert whole.measures[: -len(along)] == (
        "arrived",
        "path_over_chord",
        "longest_step_over_mean",
        "acceleration",
        "preserved_change",
        "monotone_fall",
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("kind", [str, int, np.float32, object])
def test_probabilities_are_read_by_label_whatever_the_order_and_type_of_the_classes(order, kind):
    classes = np.array(["0", "1", "2"], dtype=object if kind is object else None).astype(kind)
    names = [str(c) for c in classes.tolist()]
    book = TRAINED.codebook
    renamed = mf.Codebook(
        prototypes=book.prototypes,
        labels=["" if x == "" else names[int(x)] for x in book.labels],
    )
    trained = mf.TrainedMap(
        codebook=renamed, scaling=TRAINED.scaling, backend="", params={}, seed=0
    )
    settings = {"policies": ["straight-line"], "steps": 8, "fractions": [1.0]}
    wanted = classes[TARGETS.astype(int)]
    found = mf.evaluate(trained, PAIRS, wanted, classifier=Nearest(classes, order), **settings)
    ends = found.paths["straight-line"][:, 0]
    expected = Nearest().predict_proba(ends)[np.arange(10), TARGETS.astype(int)]
    values = found.values["straight-line"]["target_probability at 100%"]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_without_a_classifier_an_image_shape_or_data_their_measures_are_left_out():
    plain = mf.TrainedMap(
        codebook=TRAINED.codebook, scaling=TRAINED.scaling, backend="", params={}, seed=0
    )
    found = mf.evaluate(plain, PAIRS, TARGETS, policies=["straight-line"], steps=3)
    families = {m.split(" at ")[0] for m in found.measures if " at " in m}
    assert families == {"distance_to_map"}


def test_frames_and_distances_are_in_original_units_on_a_scaled_map():
    scaling = mf.Scaling(offset=np.full(9, 2.0), scale=np.full(9, 8.0))
    scaled = mf.TrainedMap(
        codebook=TRAINED.codebook, scaling=scaling, backend="", params={}, seed=0
    )
    settings = {"policies": ["kmeans-line"], "steps": 6}
    plain = evaluation(**settings, reference=X)
    found = mf.evaluate(
        scaled,
        PAIRS * 8 + 2,
        TARGETS,
        reference=X * 8 + 2,
        training_points=X * 8 + 2,
        **settings,
    )
    before, after = plain.values["kmeans-line"], found.values["kmeans-line"]
    for measure in found.measures:
        factor = 8 if measure.startswith("distance_to_data") else 1
        np.testing.assert_allclose(after[measure], factor * before[measure], atol=1e-6)


# --- policies ------------------------------------------------------------------------------------


def test_a_policy_may_have_another_name_and_params_of_its_own():
    chosen = {
        "music": {},
        "hasty": {"use": "music", "rate": 0.4},
        "same": {"use": "music"},
        "centres": {"use": "kmeans-line", "centres": 5},
    }
    found = evaluation(policies=chosen, steps=6)
    assert list(found.values) == list(chosen)
    np.testing.assert_array_equal(found.paths["music"], found.paths["same"])
    assert (found.paths["music"] != found.paths["hasty"]).any()
    assert chosen["hasty"] == {"use": "music", "rate": 0.4}


def test_progress_is_told_after_every_walk_of_a_policy_to_a_label():
    told = []
    evaluation(
        policies=["straight-line", "cluster-mean"],
        steps=2,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(n, 6) for n in range(1, 7)]


# --- intervals -----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 60))
def test_a_bootstrap_interval_contains_the_mean_and_stays_within_the_values(seed, size):
    values = np.random.default_rng(seed).standard_normal(size)
    found = bootstrap(values, seed=seed)
    assert found.mean == pytest.approx(values.mean(), abs=1e-15)
    tolerance = 1e-14
    assert values.min() - tolerance <= found.low <= found.mean + tolerance
    assert found.mean - tolerance <= found.high <= values.max() + tolerance


def test_a_bootstrap_interval_shrinks_with_the_root_of_the_number_of_values():
    values = np.random.default_rng(0).standard_normal(50)
    few, many = bootstrap(values), bootstrap(np.tile(values, 16))
    # Widths of a percentile interval from 2000 resamples scatter by a few per cent.
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4.0, rel=0.15)


def test_a_bootstrap_interval_of_normal_values_is_that_of_the_standard_error():
    values = np.random.default_rng(1).standard_normal(400)
    found = bootstrap(values, confidence=0.9)
    assert found.high - found.low == pytest.approx(2 * 1.645 * values.std() / 20, rel=0.1)


def test_more_confidence_needs_a_wider_interval():
    values = np.random.default_rng(1).standard_normal(40)
    widths = [(i := bootstrap(values, confidence=c)).high - i.low for c in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap(np.full(7, 0.25)) == Interval(mean=0.25, low=0.25, high=0.25)


def test_values_without_meaning_are_left_out_of_a_mean():
    values = np.array([1.0, np.nan, 2.0, np.inf, 4.0])
    assert bootstrap(values, seed=3) == bootstrap(np.array([1.0, 2.0, 4.0]), seed=3)
    nothing = bootstrap(np.full(3, np.nan))
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()


def test_a_policy_against_itself_differs_by_exactly_nothing(whole):
    for policy in POLICIES:
        for measure in whole.measures:
            found = whole.interval(policy, measure, against=policy)
            assert found == Interval(mean=0.0, low=0.0, high=0.0)


def test_the_difference_is_paired_and_turns_round_with_the_policies(whole):
    measure = "distance_to_map at 50%"
    there = whole.interval("music", measure, against="straight-line")
    back = whole.interval("straight-line", measure, against="music")
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    pairs = whole.values["music"][measure] - whole.values["straight-line"][measure]
    assert there == bootstrap(pairs, seed=8)


def test_a_constant_lead_on_scattered_pairs_has_a_certain_difference():
    values = np.random.default_rng(2).integers(0, 100, size=30) / 4.0
    found = Evaluation(
        values={"a": {"m": values + 0.25}, "b": {"m": values}}, paths={}, fractions=(0.5,)
    )
    assert found.interval("a", "m", against="b") == Interval(mean=0.25, low=0.25, high=0.25)
    assert found.interval("a", "m").low < found.interval("b", "m").high


def test_the_table_holds_the_interval_of_every_measure(whole):
    table = whole.table()
    assert list(table) == list(POLICIES)
    assert tuple(table["music"]) == whole.measures
    assert table["music"]["arrived"] == whole.interval("music", "arrived")


def test_the_table_as_markdown_has_a_row_per_measure_and_a_column_per_policy(whole):
    lines = whole.to_markdown().splitlines()
    assert lines[0] == "| measure | music | straight-line | cluster-mean | kmeans-line |"
    assert lines[1] == "|---|---|---|---|---|"
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {m}" for m in whole.measures]
    assert {line.count("|") for line in lines} == {6}
    found = whole.interval("straight-line", "acceleration")
    row = next(line for line in lines if line.startswith("| acceleration"))
    assert f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]" in row.split(" | ")[2]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [["1"], "1", np.full((10, 1), "1")])
def test_labels_of_another_number_than_the_points_are_refused(labels):
    with pytest.raises(mf.UsageError, match=r"target_labels: expected shape \(10,\), one per poin"):
        mf.evaluate(TRAINED, PAIRS, labels)


def test_no_pairs_are_refused():
    with pytest.raises(mf.UsageError, match=r"target_labels: .* and at least one, got \(0,\)"):
        mf.evaluate(TRAINED, np.empty((0, 9)), [])


def test_points_of_another_dimension_are_refused():
    with pytest.raises(mf.UsageError, match=r"points: expected .*9"):
        mf.evaluate(TRAINED, PAIRS[:, :4], TARGETS)


def test_reference_data_of_another_dimension_are_refused():
    with pytest.raises(mf.UsageError, match=r"reference: expected .*9"):
        evaluation(policies=["straight-line"], reference=X[:, :4], steps=2)


def test_a_label_that_no_unit_has_is_refused():
    with pytest.raises(mf.UsageError, match="no unit's majority label is '7', expected '0', '1'"):
        mf.evaluate(TRAINED, PAIRS, ["7"] * 10, steps=2)


def test_a_map_without_labels_is_refused():
    bare = mf.train(X, lattice=mf.Lattice(rows=2, columns=2), epochs=1)
    with pytest.raises(mf.UsageError, match="the codebook has no unit labels; train with labels="):
        mf.evaluate(bare, PAIRS, TARGETS, steps=2)


@pytest.mark.parametrize("policies", ["music", [], {}, ()])
def test_policies_that_are_no_names_are_refused(policies):
    with pytest.raises(mf.UsageError, match="policies: expected names of policies, got"):
        evaluation(policies=policies)


@pytest.mark.parametrize("policies", [["straight-lime"], {"mine": {"use": "straight-lime"}}])
def test_an_unknown_policy_is_refused(policies):
    with pytest.raises(mf.UsageError, match=r"got 'straight-lime'.*did you mean 'straight-line'"):
        evaluation(policies=policies)


def test_an_unknown_param_of_a_policy_is_refused():
    with pytest.raises(mf.UsageError, match=r"(?s)centers.*did you mean 'centres'"):
        evaluation(policies={"kmeans-line": {"centers": 3}})


def test_a_policy_that_looks_at_data_needs_training_points():
    with pytest.raises(mf.UsageError, match="reference: the policy 'kmeans-line' needs data"):
        evaluation(policies=["kmeans-line"], training_points=None)


def test_a_classifier_that_does_not_know_a_target_label_is_refused():
    stranger = Nearest(classes=("0", "1", "z"))
    with pytest.raises(
        mf.UsageError,
        match="classifier: expected one that knows the label '2', got classes 0, 1, z; train it on",
    ):
        evaluation(policies=["straight-line"], steps=2, classifier=stranger)


@pytest.mark.parametrize("fractions", [[], [-0.1], [1.1], [float("nan")], [[0.5]]])
def test_fractions_outside_0_to_1_are_refused(fractions):
    with pytest.raises(mf.UsageError, match="fractions: expected numbers from 0 to 1, got"):
        evaluation(policies=["straight-line"], steps=2, fractions=fractions)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("musik", "arrived"), "policy or measure, got 'musik'; did you mean 'music'"),
        (("music", "arived"), "policy or measure, got 'arived'; did you mean 'arrived'"),
        (
            ("xyz", "arrived"),
            "policy or measure, got 'xyz'; there are music, straight-line",
        ),
    ],
)
def test_an_unknown_policy_or_measure_of_an_evaluation_is_told_with_those_it_has(
    whole, asked, message
):
    with pytest.raises(mf.UsageError, match=f"evaluation: expected a {message}"):
        whole.interval(*asked)


def test_an_unknown_policy_to_compare_with_is_told_too(whole):
    with pytest.raises(mf.UsageError, match="got 'musik'; did you mean 'music'"):
        whole.interval("music", "arrived", against="musik")


def test_the_frames_of_an_evaluation_cannot_be_written(whole):
    with pytest.raises(ValueError, match="read-only"):
        whole.paths["music"][0] = 0.0
