"""The verb *run*: a run directory that is whole or not there, and the same numbers every time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import musicfw as mf
from musicfw import store
from musicfw.api import Move, NoParams, PolicyFactory, hookimpl
from musicfw.rows import split_rows
from musicfw.run_directory import load_run
from musicfw.spec import load_spec

SPEC = """
seed: 3
report: {figures: false}
data:
  use: gaussian-mixture
  with: {points: 60, dimension: 3}
  holdout: 0.25
map:
  use: native
  lattice: {rows: 3, columns: 3}
  with: {epochs: 3}
invert:
  - {id: exact, use: exact}
  - {id: noisy, use: ridge, noise: 0.01, count: 4, with: {alpha: 0.1}}
control:
  - {id: units, use: music, target: {units: [3]}, start: {count: 2}, steps: 4}
  - id: away
    use: straight-line
    target: {label: "0", away: true}
    start: {rows: [5, 1]}
    steps: 4
  - {id: sample, use: music, target: {sample: 0}, start: {label: "1"}, steps: 4, until: arrived}
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def files(directory):
    return {str(p.relative_to(directory)): p for p in directory.rglob("*") if p.is_file()}


def bytes_of(directory):
    return {name: p.read_bytes() for name, p in files(directory).items() if name.endswith(".npz")}


# --- the directory -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    drawn = ["report.figures=true", "report.title=All of it"]
    return mf.run(folder / "spec.yaml", out=folder / "runs" / "out", overrides=drawn)


def test_a_run_directory_is_complete(whole):
    found = files(whole.directory)
    assert {
        "spec.yaml",
        "result.json",
        "map.npz",
        "inversions/exact.npz",
        "inversions/noisy.npz",
        "trajectories/units.npz",
        "trajectories/away.npz",
        "trajectories/sample.npz",
        "report.html",
    } == {name for name in found if not name.startswith("figures/")}
    assert any(name.startswith("figures/") and name.endswith(".png") for name in found)
    assert [p.name for p in whole.directory.parent.iterdir()] == ["out"]


def test_the_result_file_holds_metrics_statuses_provenance_and_timings(whole):
    facts = json.loads((whole.directory / "result.json").read_text(encoding="utf-8"))
    assert facts["metrics"] == whole.metrics
    assert facts["statuses"]["invert"]["exact"] == {"EXACT": 15}
    assert sum(facts["statuses"]["control"]["units"].values()) == 2
    assert facts["provenance"]["seed"] == 3
    assert {"python", "numpy", "musicfw"} <= set(facts["provenance"]["versions"])
    assert {p["distribution"] for p in facts["provenance"]["plugins"]} >= {"musicfw"}
    stages = ["data", "map", "invert.exact", "invert.noisy", "control.units", "control.away"]
    assert list(facts["timings_s"]) == [*stages, "control.sample", "report"]
    assert facts["warnings"] == list(whole.warnings)


def test_the_metrics_are_those_of_the_stored_arrays(whole):
    metrics, found = whole.metrics, files(whole.directory)
    assert (metrics["map"]["training_points"], metrics["map"]["held_out_points"]) == (45, 15)
    assert metrics["map"]["units"] == 9
    arrays = store.load_arrays(found["inversions/exact.npz"], needs=("rows", "originals"))
    errors = np.linalg.norm(arrays["points"] - arrays["originals"], axis=1)
    errors /= np.linalg.norm(arrays["originals"], axis=1)
    assert metrics["invert"]["exact"]["max_relative_error"] == errors.max() < 1e-12
    assert metrics["invert"]["noisy"]["points"] == 4
    path = whole.trajectories["units"]
    assert metrics["control"]["units"]["reached"] == int(path.reached.sum())
    assert metrics["control"]["units"]["median_path_length"] == pytest.approx(
        np.median(path.step_norm.sum(axis=0))
    )


def test_control_starts_from_the_rows_that_the_spec_names(whole):
    found = files(whole.directory)
    held_out = store.load_arrays(found["inversions/exact.npz"], needs=("rows",))
    rows = {
        name: store.load_arrays(found[f"trajectories/{name}.npz"], needs=("rows",))["rows"]
        for name in whole.trajectories
    }
    assert rows["units"].tolist() == held_out["rows"][:2].tolist()
    assert rows["away"].tolist() == held_out["rows"][[5, 1]].tolist()
    np.testing.assert_array_equal(
        whole.trajectories["away"].points[0], held_out["originals"][[5, 1]]
    )
    target = whole.map.best_matching_units(held_out["originals"][0])
    assert whole.trajectories["sample"].target_units.tolist() == target.tolist()


def test_a_run_directory_can_be_read_again(whole):
    back = load_run(str(whole.directory))
    assert back.metrics == whole.metrics
    assert back.provenance == whole.provenance
    for name, inversion in whole.inversions.items():
        np.testing.assert_array_equal(inversion.points, back.inversions[name].points)
    for name, path in whole.trajectories.items():
        np.testing.assert_array_equal(path.points, back.trajectories[name].points)
    assert back.warnings == whole.warnings


def test_the_resolved_spec_gives_the_same_run(whole, tmp_path):
    resolved = whole.directory / "spec.yaml"
    registry = mf.load_registry()
    first = load_spec(resolved, registry=registry).sha256()
    assert first == whole.provenance["spec_sha256"]
    again = mf.run(resolved, out=tmp_path / "again", overrides=["report.figures=false"])
    assert again.metrics == whole.metrics
    assert bytes_of(again.directory) == bytes_of(whole.directory)


def test_another_seed_gives_other_numbers(whole, spec, tmp_path):
    other = mf.run(spec, out=tmp_path / "other", overrides=["seed=4"])
    assert other.metrics != whole.metrics
    assert other.provenance["seed"] == 4


def test_adding_a_stage_leaves_the_numbers_of_the_others_alone(whole, tmp_path):
    longer = tmp_path / "longer.yaml"
    longer.write_text(
        SPEC.replace("invert:\n", "invert:\n  - {id: more, use: exact, noise: 0.01}\n"),
        encoding="utf-8",
    )
    again = bytes_of(mf.run(longer, out=tmp_path / "out").directory)
    again.pop("inversions/more.npz")
    assert again == bytes_of(whole.directory)


def test_solvers_with_the_same_noise_level_get_the_same_noise(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.split("invert:")[0]
        + "invert:\n  - {id: a, use: exact, noise: 0.01}\n  - {id: b, use: exact, noise: 0.01}\n"
        + "  - {id: c, use: exact, noise: 0.02}\n",
        encoding="utf-8",
    )
    found = mf.run(spec, out=tmp_path / "out").inversions
    np.testing.assert_array_equal(found["a"].points, found["b"].points)
    assert (found["a"].points != found["c"].points).any()


def test_noise_within_the_tolerance_of_a_section_counts_as_none(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.split("invert:")[0]
        + "invert:\n  - {id: a, use: maximum-likelihood, noise: 0.001}\n"
        + "  - {id: b, use: maximum-likelihood, noise: 0.001, tolerance: 0.01}\n",
        encoding="utf-8",
    )
    found = mf.run(spec, out=tmp_path / "out").inversions
    np.testing.assert_array_equal(found["a"].points, found["b"].points)
    assert (found["a"].status == mf.Status.INCONSISTENT).all()
    assert (found["b"].status == mf.Status.EXACT).all()


def test_every_use_of_randomness_has_a_stream_of_its_own(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.split("invert:")[0]
        + "invert:\n  - {id: a, use: exact, noise: 0.001}\n  - {id: b, use: exact, noise: 0.002}\n",
        encoding="utf-8",
    )
    result = mf.run(spec, out=tmp_path / "out")
    arrays = store.load_arrays(files(result.directory)["inversions/a.npz"], needs=("originals",))
    once, twice = ((result.inversions[name].points - arrays["originals"]).ravel() for name in "ab")
    # The answer is linear in the noise: of one stream, the one would be twice the other.
    assert abs(np.corrcoef(once, twice)[0, 1]) < 0.8


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_with_a_scaling_all_results_are_in_original_units(spec, tmp_path, scaling):
    result = mf.run(spec, out=tmp_path / "out", overrides=[f"data.scaling={scaling}"])
    assert not result.map.scaling.is_identity
    assert result.metrics["invert"]["exact"]["max_relative_error"] < 1e-10
    found = files(result.directory)
    arrays = store.load_arrays(found["inversions/exact.npz"], needs=("originals",))
    for name, rows in (("units", [0, 1]), ("away", [5, 1])):
        start = result.trajectories[name].points[0]
        assert start.tobytes() == arrays["originals"][rows].tobytes()


def test_the_minisom_backend_runs_through_the_spec(spec, tmp_path):
    result = mf.run(
        spec, out=tmp_path / "out", overrides=["map.use=minisom", "map.with={epochs: 1}"]
    )
    assert result.map.backend == "minisom"
    assert result.metrics["invert"]["exact"]["max_relative_error"] < 1e-10


def test_feature_weights_of_the_spec_measure_everything_in_the_run(spec, tmp_path):
    weights = ["map.feature_weights=[4.0, 1.0, 0.25]"]
    result = mf.run(spec, out=tmp_path / "out", overrides=weights)
    np.testing.assert_array_equal(
        [4.0, 1.0, 0.25], mf.load_map(tmp_path / "out").codebook.relevances
    )
    assert result.metrics["invert"]["exact"]["max_relative_error"] < 1e-12
    assert result.inversions["exact"].counts() == {mf.Status.EXACT: 15}
    again = mf.run(tmp_path / "out" / "spec.yaml", out=tmp_path / "again")
    assert again.metrics == result.metrics


def test_without_a_holdout_results_are_on_the_training_rows(spec, tmp_path):
    result = mf.run(spec, out=tmp_path / "out", overrides=["data.holdout=0"])
    about = result.metrics["map"]
    assert about["training_points"] == about["held_out_points"] == 60
    assert about["quantization_error"] == about["held_out_quantization_error"]


# --- who is told ---------------------------------------------------------------------------------


def test_the_progress_callback_hears_of_every_slow_stage(spec, tmp_path):
    told = {}
    mf.run(
        spec,
        out=tmp_path / "out",
        progress=lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )
    assert list(told) == ["map", "control.units", "control.away", "control.sample", "report"]
    for counts in told.values():
        assert counts[-1][0] == counts[-1][1]
        assert counts == sorted(counts)


def watcher(name="musicfw-watcher", **hooks):
    return SimpleNamespace(
        __name__=name, **{hook: hookimpl(function) for hook, function in hooks.items()}
    )


def test_observers_see_the_spec_every_stage_and_the_result(spec, tmp_path):
    seen = []
    module = watcher(
        musicfw_before_run=lambda spec: seen.append(("before", spec.seed)),
        musicfw_after_stage=lambda stage, value: seen.append((stage, type(value).__name__)),
        musicfw_after_run=lambda result: seen.append(("after", result.directory.exists())),
    )
    mf.run(spec, out=tmp_path / "out", registry=mf.Registry.from_modules(module))
    assert seen == [
        ("before", 3),
        ("data", "Dataset"),
        ("map", "TrainedMap"),
        ("invert.exact", "Inversion"),
        ("invert.noisy", "Inversion"),
        ("control.units", "Trajectory"),
        ("control.away", "Trajectory"),
        ("control.sample", "Trajectory"),
        ("report", "tuple"),
        ("after", True),
    ]


def test_a_failing_observer_is_a_warning_and_changes_no_number(spec, whole, tmp_path):
    def fail(stage):
        raise OSError("disk full")

    registry = mf.Registry.from_modules(watcher(musicfw_after_stage=fail))
    result = mf.run(spec, out=tmp_path / "out", registry=registry)
    assert result.metrics == whole.metrics
    assert result.warnings == (
        "plugin musicfw-watcher (in memory) failed in musicfw_after_stage: OSError: disk full",
    )


def test_a_plugin_that_failed_to_load_is_a_warning(spec, tmp_path):
    registry = mf.Registry.from_modules(SimpleNamespace(__name__="musicfw-empty"))
    result = mf.run(spec, out=tmp_path / "out", registry=registry)
    (warning,) = result.warnings
    assert warning.startswith(
        "plugin musicfw-empty (in memory) failed to load: musicfw-empty implements no hook"
    )


def test_a_plugin_that_the_spec_blocks_hears_nothing(spec, tmp_path):
    seen = []
    registry = mf.Registry.from_modules(watcher(musicfw_before_run=lambda: seen.append(1)))
    mf.run(
        spec,
        out=tmp_path / "out",
        registry=registry,
        overrides=["plugins={block: [musicfw-watcher]}"],
    )
    assert seen == []


# --- interruption and resumption -----------------------------------------------------------------


class Fussy:
    """A policy that fails until it is allowed to work."""

    def __init__(self):
        self.fault = RuntimeError("out of luck")

    def begin(self, problem):
        if self.fault is not None:
            raise self.fault
        points = problem.points
        return SimpleNamespace(
            advance=lambda active: Move(points=points + 0.5, settled=np.ones_like(active))
        )


@pytest.fixture
def fussy():
    return Fussy()


@pytest.fixture
def counting(fussy):
    """A registry with the fussy policy that counts the stages that are made."""
    made = []
    factory = PolicyFactory(
        name="fussy", params=NoParams, build=lambda params: fussy, summary="Fails once."
    )
    module = watcher(
        musicfw_policies=lambda: [factory],
        musicfw_after_stage=lambda stage: made.append(stage),
    )
    registry = mf.Registry.from_modules(module)
    return SimpleNamespace(registry=registry, made=made)


@pytest.fixture
def fussy_spec(spec):
    spec.write_text(
        SPEC + "  - {id: last, use: fussy, target: {units: [0]}, steps: 3}\n", encoding="utf-8"
    )
    return spec


@pytest.mark.parametrize("fault", [RuntimeError("out of luck"), KeyboardInterrupt()])
def test_a_resumed_run_takes_what_was_finished_and_equals_an_uninterrupted_one(
    fussy_spec, fussy, counting, tmp_path, fault
):
    out, registry = tmp_path / "out", counting.registry
    fussy.fault = fault
    with pytest.raises(mf.PluginError if isinstance(fault, RuntimeError) else KeyboardInterrupt):
        mf.run(fussy_spec, out=out, registry=registry)
    assert not out.exists()
    partial = tmp_path / "out.partial"
    assert "trajectories/units.npz" in files(partial)
    assert "trajectories/last.npz" not in files(partial)
    before = bytes_of(partial)
    fussy.fault = None
    counting.made.clear()
    resumed = mf.run(fussy_spec, out=out, registry=registry, resume=True)
    assert counting.made == ["data", "control.last", "report"]
    assert not partial.exists()
    assert before.items() <= bytes_of(out).items()
    assert "state.json" not in files(out)
    straight = mf.run(fussy_spec, out=tmp_path / "straight", registry=registry)
    assert straight.metrics == resumed.metrics
    assert bytes_of(straight.directory) == bytes_of(out)


def test_resuming_a_complete_run_computes_nothing(fussy_spec, fussy, counting, tmp_path):
    fussy.fault = None
    out = tmp_path / "out"
    first = mf.run(fussy_spec, out=out, registry=counting.registry)
    counting.made.clear()
    again = mf.run(fussy_spec, out=out, registry=counting.registry, resume=True)
    assert counting.made == []
    assert again.metrics == first.metrics


def test_resuming_where_nothing_is_starts_from_the_beginning(spec, whole, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        result = mf.run(spec, out=tmp_path / name, resume=True)
        assert result.metrics == whole.metrics


def test_a_run_that_died_while_it_wrote_its_map_can_be_resumed(spec, whole, tmp_path, monkeypatch):
    def die(path, trained):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["musicfw.run"], "save_map", die)
        with pytest.raises(KeyboardInterrupt):
            mf.run(spec, out=tmp_path / "out")
    result = mf.run(spec, out=tmp_path / "out", resume=True)
    assert result.metrics == whole.metrics


def test_a_directory_that_exists_is_refused_and_left_as_it_is(spec, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(
        mf.StoreError,
        match=r"out: exists already, expected a new run directory; choose another --out, or remove",
    ):
        mf.run(spec, out=out)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(mf.StoreError, match="file: exists already"):
        mf.run(spec, out=tmp_path / "file")


def test_an_empty_directory_may_be_filled(spec, whole, tmp_path):
    (tmp_path / "out").mkdir()
    assert mf.run(spec, out=tmp_path / "out").metrics == whole.metrics


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_the_current_directory_and_those_above_are_no_run_directories(
    spec, tmp_path, monkeypatch, out
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for resume in (False, True):
        with pytest.raises(
            mf.StoreError,
            match=r"expected a new run directory, got the current one or one above it; name a",
        ):
            mf.run(spec, out=out, resume=resume)


def test_what_is_left_of_an_unfinished_run_is_refused_without_resume(
    fussy_spec, counting, tmp_path
):
    with pytest.raises(mf.PluginError):
        mf.run(fussy_spec, out=tmp_path / "out", registry=counting.registry)
    with pytest.raises(
        mf.StoreError,
        match=r"out\.partial: an unfinished run is there; continue it with --resume, or remove it",
    ):
        mf.run(fussy_spec, out=tmp_path / "out", registry=counting.registry)


def test_the_run_of_another_spec_is_never_resumed(fussy_spec, fussy, counting, tmp_path):
    out, registry = tmp_path / "out", counting.registry
    message = r": holds a run of another spec \(hash [0-9a-f]{12}, this one has [0-9a-f]{12}\)"
    with pytest.raises(mf.PluginError):
        mf.run(fussy_spec, out=out, registry=registry)
    with pytest.raises(mf.StoreError, match=r"out\.partial" + message):
        mf.run(fussy_spec, out=out, registry=registry, resume=True, overrides=["seed=4"])
    fussy.fault = None
    mf.run(fussy_spec, out=out, registry=registry, resume=True)
    with pytest.raises(mf.StoreError, match="out" + message):
        mf.run(fussy_spec, out=out, registry=registry, resume=True, overrides=["seed=4"])


def test_the_default_directory_has_the_name_of_the_spec_and_a_number(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [mf.run(spec).directory for _ in range(3)]
    assert [str(name) for name in names] == ["runs/spec", "runs/spec-2", "runs/spec-3"]


# --- nothing is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("seed: [", mf.SpecError, "yaml-syntax"),
        (SPEC.replace("use: native", "use: natvie"), mf.SpecError, "did you mean 'native'"),
        (SPEC.replace("points: 60", "points: 2"), mf.DataError, "2 rows with holdout 0.25 leave"),
        (
            SPEC.replace('label: "1"', 'label: "9"'),
            mf.UsageError,
            "control 'sample', start.label: expected the label of a held-out row",
        ),
        (
            SPEC.replace("rows: [5, 1]", "rows: [5, 15]"),
            mf.UsageError,
            r"control 'away', start.rows: expected numbers of held-out rows, 0 … 14, got 15",
        ),
    ],
)
def test_mistakes_that_are_known_beforehand_leave_nothing_behind(
    spec, tmp_path, text, error, message
):
    spec.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        mf.run(spec, out=tmp_path / "runs" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yaml"]


def test_broken_data_leave_nothing_behind(spec, tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,four\n", encoding="utf-8")
    spec.write_text(
        f"data: {{use: csv, with: {{path: '{tmp_path / 'data.csv'}'}}}}\n"
        "map: {lattice: {rows: 2, columns: 2}}\n",
        encoding="utf-8",
    )
    with pytest.raises(mf.DataError, match="four"):
        mf.run(spec, out=tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.csv", "spec.yaml"]


def test_a_spec_that_was_loaded_before_runs_too_but_takes_no_overrides(spec, whole, tmp_path):
    registry = mf.load_registry()
    loaded = load_spec(spec, registry=registry)
    assert mf.run(loaded, out=tmp_path / "out", registry=registry).metrics == whole.metrics
    with pytest.raises(mf.UsageError, match="overrides: expected none with a loaded RunSpec"):
        mf.run(loaded, out=tmp_path / "other", overrides=["seed=1"])


def test_who_asks_for_a_holdout_gets_at_least_one_row():
    rng = np.random.default_rng(0)
    for count in range(3, 12):
        train, held_out = split_rows(count, holdout=0.01, rng=rng)
        assert held_out.size == 1
        assert sorted([*train, *held_out]) == list(range(count))


@pytest.mark.parametrize("holdout", [0.1, 0.25, 0.5, 0.9])
def test_the_rows_are_split_in_two_without_overlap(holdout):
    train, held_out = split_rows(100, holdout=holdout, rng=np.random.default_rng(0))
    assert held_out.size == round(100 * holdout)
    assert sorted([*train, *held_out]) == list(range(100))
    assert train.tolist() == sorted(train)
    assert held_out.tolist() != sorted(held_out)


def test_the_spec_names_the_page_and_can_leave_the_figures_out(whole, spec, tmp_path):
    page = (whole.directory / "report.html").read_text(encoding="utf-8")
    assert "<h1>All of it</h1>" in page
    assert "<figure>" in page
    bare = mf.run(spec, out=tmp_path / "out")
    assert "<figure>" not in (bare.directory / "report.html").read_text(encoding="utf-8")
    assert not list(bare.directory.rglob("*.png"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sample: 0", "sample: 15", r"'sample', target.sample: expected numbers of held-out rows"),
        (
            'label: "0", away',
            'label: "7", away',
            r"'away', target.label: expected a label of the data \('0', '1' or '2'\), got '7'",
        ),
    ],
)
def test_a_target_that_the_data_do_not_have_is_told_before_training(
    spec, tmp_path, monkeypatch, old, new, message
):
    monkeypatch.setattr(sys.modules["musicfw.run"], "train", None)
    spec.write_text(SPEC.replace(old, new), encoding="utf-8")
    with pytest.raises(mf.UsageError, match="control " + message):
        mf.run(spec, out=tmp_path / "runs" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_folder_that_cannot_be_written_is_told_before_training(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["musicfw.run"], "train", None)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(mf.StoreError, match=r"file/out.partial/state.json: cannot be written"):
        mf.run(spec, out=tmp_path / "file" / "out")
    with pytest.raises(mf.StoreError, match=r": cannot be used: File name too long; choose"):
        mf.run(spec, out=tmp_path / ("x" * 300))


def test_a_run_that_fails_before_its_first_stage_is_finished_leaves_nothing(
    spec, tmp_path, monkeypatch
):
    def fail(*args, **rest):
        assert (tmp_path / "runs" / "out.partial" / "state.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["musicfw.run"], "train", fail)
    with pytest.raises(KeyboardInterrupt):
        mf.run(spec, out=tmp_path / "runs" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yaml"]


@pytest.fixture
def from_file(tmp_path, monkeypatch):
    """A spec whose data are in a file beside it, run from elsewhere."""
    folder = tmp_path / "project"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(30, 2))
    np.savetxt(folder / "d.csv", rows, delimiter=",", header="a,b", comments="")
    (folder / "spec.yaml").write_text(
        "report: {figures: false}\ndata: {use: csv, with: {path: d.csv}}\n"
        "map: {lattice: {rows: 2, columns: 2}, with: {epochs: 1}}\ninvert: [{use: exact}]\n",
        encoding="utf-8",
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder / "spec.yaml"


def test_a_relative_path_of_data_starts_at_the_folder_of_the_spec(from_file):
    first = mf.run(from_file, out="out")
    again = mf.run(first.directory / "spec.yaml", out="again")
    assert again.provenance["data_sha256"] == first.provenance["data_sha256"]
    assert again.provenance["spec_sha256"] == first.provenance["spec_sha256"]


def test_a_relative_path_that_is_not_there_or_was_set_starts_at_the_working_directory(from_file):
    registry = mf.load_registry()
    here = Path.cwd()
    (here / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (here / "d.csv").write_text("a,b\n1,2\n", encoding="utf-8")

    def path(*overrides):
        return load_spec(from_file, registry=registry, overrides=overrides).data.with_.path

    assert path() == str(from_file.parent / "d.csv")
    assert path("data.with.path=d.csv") == str(here / "d.csv")
    assert path("data.with.path=~/d.csv") == "~/d.csv"
    from_file.write_text(from_file.read_text().replace("d.csv", "other.csv"), encoding="utf-8")
    assert path() == str(here / "other.csv")


def test_a_run_on_other_data_is_never_resumed(from_file, monkeypatch):
    message = r": holds a run on other data \(hash [0-9a-f]{12}, this one has [0-9a-f]{12}\)"

    def interrupt(*args, **rest):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["musicfw.run"], "invert", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mf.run(from_file, out="out")
    data = from_file.parent / "d.csv"
    text = data.read_text(encoding="utf-8")
    data.write_text(text + "9,9\n", encoding="utf-8")
    with pytest.raises(mf.StoreError, match=r"out\.partial" + message):
        mf.run(from_file, out="out", resume=True)
    data.write_text(text, encoding="utf-8")
    mf.run(from_file, out="out", resume=True)
    data.write_text(text + "9,9\n", encoding="utf-8")
    with pytest.raises(mf.StoreError, match="out" + message):
        mf.run(from_file, out="out", resume=True)


def test_another_version_of_what_made_a_part_is_a_warning(spec, tmp_path):
    out = mf.run(spec, out=tmp_path / "out").directory
    facts = store.load_json(out / "result.json")
    facts["provenance"]["plugins_used"]["musicfw"] = "0.0.1"
    store.save_json(out / "result.json", facts)
    (warning,) = mf.run(spec, out=out, resume=True).warnings
    assert f"was made with musicfw 0.0.1, the rest with {mf.__version__}" in warning


@pytest.mark.parametrize("gone", ["metrics", "provenance", "warnings"])
def test_a_result_file_that_lacks_something_is_refused(spec, tmp_path, gone):
    out = mf.run(spec, out=tmp_path / "out").directory
    facts = store.load_json(out / "result.json")
    del facts[gone]
    store.save_json(out / "result.json", facts)
    with pytest.raises(mf.StoreError, match=rf"result.json: cannot be used: KeyError: '{gone}'"):
        load_run(out)


def test_provenance_does_without_the_metadata_of_a_library(spec, tmp_path, monkeypatch):
    monkeypatch.setattr("musicfw.provenance._LIBRARIES", ("musicfw", "surely-not-installed"))
    versions = mf.run(spec, out=tmp_path / "out").provenance["versions"]
    assert versions["surely-not-installed"] == "unknown"


def test_a_policy_that_looks_at_data_is_given_the_training_rows(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("{id: units, use: music,", "{id: units, use: kmeans-line,"))
    path = mf.run(spec, out=tmp_path / "out").trajectories["units"]
    # Lines to centres of the data, not to prototypes.
    ends = path.scaling.to_map(path.points[-1])
    assert (path.codebook.squared_distances(ends).min(axis=1) > 0.0).any()


def test_constraints_of_a_walk_are_kept(tmp_path):
    spec = tmp_path / "spec.yaml"
    limits = "{id: units, use: music, frozen: [1], lower: -40.0, upper: 40.0, off_manifold: 5.0,"
    spec.write_text(SPEC.replace("{id: units, use: music,", limits))
    path = mf.run(spec, out=tmp_path / "out").trajectories["units"]
    assert not np.ptp(path.points[:, :, 1], axis=0).any()
    assert np.ptp(path.points[:, :, 0], axis=0).any()
    assert np.abs(path.points).max() <= 40.0


TABLE = """
report: {figures: false}
data: {use: csv, with: {path: t.csv}, holdout: 0.2}
map: {use: native, lattice: {rows: 5, columns: 5}}
control: [{id: walk, use: music, target: {units: [0]}, start: {count: 4}, LIMITS}]
"""


def table_with(tmp_path, limits):
    points = np.random.default_rng(0).normal(size=(100, 3))
    rows = [",".join(map(repr, row)) for row in points.tolist()]
    (tmp_path / "t.csv").write_text("\n".join(["age,dose,mass", *rows]))
    spec = tmp_path / "spec.yaml"
    spec.write_text(TABLE.replace("LIMITS", limits))
    return spec


def test_bounds_and_costs_are_given_by_name(tmp_path):
    limits = "with: {detail: 0.0}, lower: {age: -9.0, dose: -8.0}, upper: {dose: 8.0}"
    free = mf.run(table_with(tmp_path, limits), out=tmp_path / "free").trajectories["walk"]
    priced = table_with(tmp_path, limits + ", cost: {age: 100.0}")
    dear = mf.run(priced, out=tmp_path / "dear").trajectories["walk"]
    moved = [np.abs(path.points[1] - path.points[0])[:, 0] for path in (free, dear)]
    assert np.all(moved[1] < moved[0])
    held = table_with(tmp_path, "lower: {age: -9.0, dose: -2.5}, upper: {dose: 2.5}")
    path = mf.run(held, out=tmp_path / "held").trajectories["walk"]
    assert np.abs(path.points[:, :, 1]).max() <= 2.5


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("frozen: [dosis]", r"control 'walk': frozen: .*got 'dosis'; did you mean 'dose'"),
        ("cost: {agee: 2.0}", r"control 'walk': cost: .*got 'agee'; did you mean 'age'"),
        ("lower: {mass: 99.0}", r"control 'walk': bounds: point 0 starts at .* 'mass'"),
    ],
)
def test_constraints_that_do_not_fit_are_refused_before_the_training(tmp_path, limits, message):
    with pytest.raises(mf.UsageError, match=message):
        mf.run(table_with(tmp_path, limits), out=tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


# --- missing values ------------------------------------------------------------------------------


def test_a_run_on_data_with_gaps_fills_them_after_training_and_says_so(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(80, 3)) + 5 * rng.integers(2, size=(80, 1))
    gaps = np.where(rng.random((80, 3)) < 0.2, np.nan, points)
    gaps[:, 0] = points[:, 0]
    lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in gaps]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines]))
    (tmp_path / "spec.yaml").write_text(
        """
report: {figures: false}
data: {use: csv, with: {path: t.csv, missing: keep}, scaling: standard, holdout: 0.5}
map: {use: native, lattice: {rows: 3, columns: 3}}
invert: [{use: exact}]
control: [{use: music, target: {units: [0]}, steps: 3}]
"""
    )
    result = mf.run(tmp_path / "spec.yaml", out=tmp_path / "out")
    count, rows = int(np.isnan(gaps).sum()), int(np.isnan(gaps).any(axis=1).sum())
    (warning,) = result.warnings
    assert warning.startswith(f"{count} values are missing, in {rows} of 80 rows.")
    assert np.isfinite(result.metrics["map"]["held_out_quantization_error"])
    with np.load(tmp_path / "out" / "inversions" / "exact.npz") as file:
        held_out, originals = file["rows"], file["originals"]
    expected = result.map.impute(gaps[held_out])
    np.testing.assert_array_equal(expected, originals)
    inverted = result.inversions["exact"].points
    np.testing.assert_allclose(expected, inverted, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(
        result.map.impute(gaps[held_out[:6]]), result.trajectories["music"].points[0]
    )


@pytest.mark.parametrize("source", ["csv", "npy", "npz"])
def test_weights_of_the_data_count_in_the_training_of_a_run(tmp_path, source):
    rng = np.random.default_rng(1)
    points, weights = rng.normal(size=(60, 2)), rng.integers(0, 3, 60)
    cells = np.column_stack([points, weights]).tolist()
    table = "\n".join(",".join(map(repr, row)) for row in cells)
    (tmp_path / "t.csv").write_text(f"a,b,w\n{table}")
    np.save(tmp_path / "t.npy", points)
    np.save(tmp_path / "w.npy", weights)
    np.savez(tmp_path / "t.npz", points=points, w=weights)
    given = {"csv": "weight_column: w", "npy": "weights_path: w.npy", "npz": "weights: w"}[source]
    (tmp_path / "spec.yaml").write_text(
        f"report: {{figures: false}}\n"
        f"data: {{use: {source}, with: {{path: t.{source}, {given}}}, holdout: 0}}\n"
        f"map: {{use: native, lattice: {{rows: 3, columns: 3}}}}\n"
    )
    found = mf.run(tmp_path / "spec.yaml", out=tmp_path / "out").map.codebook.prototypes
    options = {"lattice": mf.Lattice(rows=3, columns=3), "seed": 0}
    expected = mf.train(points, weights=weights, **options).codebook.prototypes
    np.testing.assert_array_equal(expected, found)
    assert (found != mf.train(points, **options).codebook.prototypes).any()


def test_a_run_is_not_resumed_with_other_weights(tmp_path):
    def prepare(weight):
        (tmp_path / "t.csv").write_text(f"a,w\n1,1\n2,{weight}\n4,1\n8,1\n")

    (tmp_path / "spec.yaml").write_text(
        "report: {figures: false}\n"
        "data: {use: csv, with: {path: t.csv, weight_column: w}, holdout: 0}\n"
        "map: {lattice: {rows: 2, columns: 2}}\n"
    )
    prepare(1)
    mf.run(tmp_path / "spec.yaml", out=tmp_path / "out")
    prepare(2)
    with pytest.raises(mf.StoreError, match="holds a run on other data"):
        mf.run(tmp_path / "spec.yaml", out=tmp_path / "out", resume=True)


def test_a_table_with_gaps_gives_the_same_numbers_from_every_source(tmp_path):
    rng = np.random.default_rng(1)
    gaps = np.where(rng.random((60, 3)) < 0.2, np.nan, rng.normal(size=(60, 3)))
    gaps[:, 0] = rng.normal(size=60)
    lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in gaps]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines]))
    np.save(tmp_path / "t.npy", gaps)
    np.savez(tmp_path / "t.npz", points=gaps)
    results = []
    for source in ("csv", "npy", "npz"):
        (tmp_path / f"{source}.yaml").write_text(
            f"report: {{figures: false}}\n"
            f"data: {{use: {source}, with: {{path: t.{source}, missing: keep}}, holdout: 0.5}}\n"
            f"map: {{use: native, lattice: {{rows: 3, columns: 3}}}}\n"
            f"invert: [{{use: exact}}]\n"
        )
        results.append(mf.run(tmp_path / f"{source}.yaml", out=tmp_path / source))
    for result in results[1:]:
        assert results[0].warnings == result.warnings
        np.testing.assert_array_equal(
            results[0].map.codebook.prototypes, result.map.codebook.prototypes
        )
        np.testing.assert_array_equal(
            results[0].inversions["exact"].points, result.inversions["exact"].points
        )


def test_a_run_refuses_gaps_with_a_backend_that_needs_every_value(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n,3\n4,5\n6,7\n")
    (tmp_path / "spec.yaml").write_text(
        """
data: {use: csv, with: {path: t.csv, missing: keep}, holdout: 0}
map: {use: minisom, lattice: {rows: 2, columns: 2}}
"""
    )
    with pytest.raises(mf.DataError, match="'minisom' needs every value"):
        mf.run(tmp_path / "spec.yaml", out=tmp_path / "out")
