"""The section *evaluate* of a spec, from the text to the table of a run."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import musicfw as mf
from musicfw import comparison
from musicfw.api import Dataset
from musicfw.comparison import check_comparison, compare_policies, evaluation_metrics
from musicfw.evaluate import Evaluation
from musicfw.rows import generator, load_data
from musicfw.sections import EvaluateSpec
from musicfw.spec import load_spec

SPEC = """
seed: 3
report: {figures: false}
data:
  use: gaussian-mixture
  with: {points: 120, dimension: 3}
  holdout: 0.25
map:
  use: native
  lattice: {rows: 4, columns: 4}
  with: {epochs: 3}
control:
  - id: hasty
    use: music
    with: {rate: 0.4}
    target: {label: "1"}
    start: {count: 2}
    steps: 4
evaluate:
  policies: [music, hasty, straight-line, cluster-mean, kmeans-line]
  pairs: 20
  steps: 12
"""
POLICIES = ["music", "hasty", "straight-line", "cluster-mean", "kmeans-line"]


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    told = []
    result = mf.run(
        folder / "spec.yaml",
        out=folder / "out",
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    return result, told


def compared(spec_path, trained, *, overrides=()):
    """What the run compares, without the run."""
    registry = mf.load_registry()
    spec = load_spec(spec_path, registry=registry, overrides=list(overrides))
    data = load_data(spec, registry)
    found = compare_policies(
        spec.evaluate,
        spec,
        trained,
        data.dataset,
        train_rows=data.train_rows,
        held_out=data.held_out,
        rng=generator(spec, "evaluate"),
        registry=registry,
        progress=lambda done, total: None,
    )
    return found, data


# --- a run ---------------------------------------------------------------------------------------


def test_a_run_holds_the_evaluation_and_its_table(whole):
    result, _ = whole
    assert list(result.evaluation.values) == POLICIES
    table = result.metrics["evaluate"]
    assert list(table) == POLICIES
    for policy in POLICIES:
        assert tuple(table[policy]) == result.evaluation.measures
        for measure, numbers in table[policy].items():
            found = result.evaluation.interval(policy, measure)
            assert numbers == {"mean": found.mean, "low": found.low, "high": found.high}
            assert numbers["low"] <= numbers["mean"] <= numbers["high"]
    assert "target_probability at 50%" in table["music"]
    assert "distance_to_data at 50%" in table["music"]


def test_the_table_is_in_the_result_file(whole):
    result, _ = whole
    facts = json.loads((result.directory / "result.json").read_text(encoding="utf-8"))
    assert facts["metrics"]["evaluate"] == result.metrics["evaluate"]
    assert "evaluate" in facts["timings_s"]


def test_progress_of_the_comparison_ends_when_all_is_done(whole):
    _, told = whole
    seen = [(done, total) for stage, done, total in told if stage == "evaluate"]
    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]


def test_every_policy_of_a_run_starts_from_the_same_held_out_rows(whole, spec):
    result, _ = whole
    found, data = compared(spec, result.map)
    starts = found.paths["music"][:, 0]
    half = data.held_out.size // 2
    held_out = data.dataset.points[data.held_out[:half]]
    assert {p.tobytes() for p in starts} <= {p.tobytes() for p in held_out}
    for policy in POLICIES:
        assert result.evaluation.paths[policy][:, 0].tobytes() == starts.tobytes()


def test_the_real_data_that_frames_are_compared_with_are_not_where_pairs_start(whole):
    result, _ = whole
    for policy in POLICIES:
        assert (result.evaluation.values[policy]["distance_to_data at 0%"] > 1e-3).all()


def test_the_same_spec_gives_the_same_table_and_another_seed_another(whole, spec, tmp_path):
    result, _ = whole
    again = mf.run(spec, out=tmp_path / "again")
    other = mf.run(spec, out=tmp_path / "other", overrides=["seed=4"])
    assert again.metrics["evaluate"] == result.metrics["evaluate"]
    assert other.metrics["evaluate"] != result.metrics["evaluate"]


def test_a_walk_under_control_is_compared_with_its_own_options(whole):
    result, _ = whole
    paths = result.evaluation.paths
    assert (paths["hasty"] != paths["music"]).any()


def test_without_a_classifier_a_run_has_no_probabilities(whole, spec):
    result, _ = whole
    off = ["evaluate.classifier=null", "evaluate.policies=[straight-line]"]
    found, _ = compared(spec, result.map, overrides=off)
    assert not [m for m in found.measures if "probability" in m or "confidence" in m]


def test_no_pair_is_steered_to_the_label_it_has(whole, spec):
    result, _ = whole
    found, data = compared(spec, result.map, overrides=["evaluate.policies=[straight-line]"])
    labels = {p.tobytes(): x for p, x in zip(data.dataset.points, data.dataset.labels, strict=True)}
    paths = found.paths["straight-line"]
    ends = result.map.codebook.labels[result.map.best_matching_units(paths[:, -1])]
    own = np.array([labels[p.tobytes()] for p in paths[:, 0]])
    assert found.values["straight-line"]["arrived"].all()
    assert (own != ends).all()


def test_few_held_out_rows_are_used_again_for_many_pairs(whole, spec):
    result, _ = whole
    few = ["evaluate.policies=[straight-line]", "evaluate.pairs=50"]
    found, data = compared(spec, result.map, overrides=few)
    assert found.paths["straight-line"].shape[0] == 50 > data.held_out.size // 2


def test_the_classifier_knows_all_labels_of_data_that_are_sorted_by_them(whole, spec, monkeypatch):
    monkeypatch.setattr(comparison, "_CLASSIFIER_ROWS", 30)
    result, _ = whole
    registry = mf.load_registry()
    loaded = load_spec(spec, registry=registry, overrides=["evaluate.policies=[straight-line]"])
    data = load_data(loaded, registry)
    order = np.argsort(data.dataset.labels, kind="stable")
    ordered = Dataset(points=data.dataset.points[order], labels=data.dataset.labels[order])
    place = np.argsort(order)
    found = compare_policies(
        loaded.evaluate,
        loaded,
        result.map,
        ordered,
        train_rows=np.sort(place[data.train_rows]),
        held_out=place[data.held_out],
        rng=np.random.default_rng(0),
        registry=registry,
        progress=lambda done, total: None,
    )
    assert np.isfinite(found.values["straight-line"]["target_probability at 100%"]).all()


def test_a_map_whose_units_carry_one_label_is_refused(spec):
    codebook = mf.Codebook(prototypes=np.eye(3), labels=["1", "1", ""])
    trained = mf.TrainedMap(
        codebook=codebook, scaling=mf.Scaling.identity(3), backend="", params={}, seed=0
    )
    with pytest.raises(
        mf.UsageError, match="evaluate: the map's units carry one label only; use a larger map"
    ):
        compared(spec, trained)


def test_a_mean_that_has_no_meaning_is_null_in_the_metrics():
    values = {"p": {"m": np.full(3, np.nan), "n": np.ones(3)}}
    found = evaluation_metrics(Evaluation(values=values, paths={}, fractions=(0.5,)))
    nothing = {"mean": None, "low": None, "high": None}
    assert found == {"p": {"m": nothing, "n": {"mean": 1.0, "low": 1.0, "high": 1.0}}}
    json.dumps(found, allow_nan=False)


# --- refused before training ---------------------------------------------------------------------


def refused(spec, match, *overrides):
    folder = spec.parent / "runs"
    folder.mkdir()
    with pytest.raises(mf.UsageError, match=match):
        mf.run(spec, out=folder / "out", overrides=list(overrides))
    assert list(folder.iterdir()) == []


def test_data_without_labels_are_refused_before_training(spec, tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).standard_normal((40, 3)))
    text = SPEC.replace("use: gaussian-mixture", "use: npy").replace(
        "{points: 120, dimension: 3}", f"{{path: {tmp_path / 'points.npy'}}}"
    )
    spec.write_text(text.replace('label: "1"', "units: [1]"), encoding="utf-8")
    refused(spec, "evaluate: the data have no labels to steer to; leave the section out")


def test_data_with_one_label_are_refused_before_training(spec):
    one = ["data.with.components=1", 'control[0].target={label: "0"}']
    refused(spec, "evaluate: expected data with at least two labels, got one", *one)


def test_too_few_held_out_rows_are_refused_before_training(spec):
    match = "evaluate: expected at least 4 held-out rows, got 3; raise data.holdout"
    refused(spec, match, "data.holdout=0.025")


def test_an_unknown_classifier_is_refused_before_training(spec):
    match = (
        "evaluate.classifier: expected a classifier of scikit-learn with probabilities, got "
        "'LogisticRegresion'; did you mean 'LogisticRegression'"
    )
    refused(spec, match, "evaluate.classifier=LogisticRegresion")


@pytest.mark.parametrize(
    "name",
    [
        "LinearRegression",  # no classifier
        "RidgeClassifier",  # no probabilities
        "SVC",  # none with its defaults
        "VotingClassifier",  # needs arguments
    ],
)
def test_a_classifier_without_probabilities_of_its_own_is_refused_before_training(spec, name):
    refused(
        spec,
        f"evaluate.classifier: expected a classifier .* with probabilities, got '{name}'; ",
        f"evaluate.classifier={name}",
    )


def test_a_classifier_that_resembles_none_is_told_an_example(spec):
    refused(spec, "got 'x'; for instance 'LogisticRegression'", "evaluate.classifier=x")


def test_without_scikit_learn_a_classifier_is_refused_and_the_way_out_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.utils", None)
    data = Dataset(points=np.eye(4), labels=["0", "1", "0", "1"])
    with pytest.raises(mf.UsageError, match=r"needs scikit-learn; pip install .* classifier: null"):
        check_comparison(EvaluateSpec(), data, np.arange(4))
    found = check_comparison(EvaluateSpec(classifier=None), data, np.arange(4))
    assert found.tolist() == ["0", "1", "0", "1"]


# --- the section of the spec ---------------------------------------------------------------------


def test_the_section_is_optional_and_has_defaults(spec):
    registry = mf.load_registry()
    assert load_spec(spec, registry=registry, overrides=["evaluate=null"]).evaluate is None
    found = load_spec(spec, registry=registry, overrides=["evaluate={}"]).evaluate
    assert found == EvaluateSpec()
    assert found.policies == ("music", "straight-line")


def test_a_loaded_section_is_the_same_when_written_and_read_again(spec):
    registry = mf.load_registry()
    first = load_spec(spec, registry=registry)
    spec.write_text(first.to_yaml(), encoding="utf-8")
    assert load_spec(spec, registry=registry).evaluate == first.evaluate


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("evaluate.policies=[musik]", "unknown-name"),
        ("evaluate.policies=[]", "out-of-range"),
        ("evaluate.policies=[3]", "wrong-type"),
        ("evaluate.policies=[{music: 1}]", "wrong-type"),
        ("evaluate.policies=[[music]]", "wrong-type"),
        ("evaluate.pairs=0", "out-of-range"),
        ("evaluate.steps=0", "out-of-range"),
        ("evaluate.classifer=null", "unknown-key"),
        ("control[0].id=[1]", "wrong-type"),
    ],
)
def test_a_section_that_cannot_be_used_is_told_by_its_code(spec, override, code):
    with pytest.raises(mf.SpecError) as caught:
        load_spec(spec, registry=mf.load_registry(), overrides=[override])
    codes = {problem.code for problem in caught.value.problems}
    assert code in codes
    assert "unknown-name" not in codes - {code} or override.startswith("control")
