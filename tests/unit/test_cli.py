"""The command line: one readable message per mistake, and exit codes that scripts can rely on."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import musicfw as mf
from musicfw import cli

SPEC = """seed: 3
data:
  use: gaussian-mixture
  with: {points: 60, dimension: 3}
map:
  lattice: {rows: 3, columns: 3}
  with: {epochs: 3}
invert:
  - {use: exact}
control:
  - {use: straight-line, target: {units: [3]}, start: {count: 2}, steps: 4}
report: {figures: false}
"""

CRASHING = """
def crash(system):
    raise ZeroDivisionError("by design")

class Solver:
    factorise = staticmethod(crash)

@hookimpl
def musicfw_solvers():
    return [SolverFactory(name="crash", params=NoParams, build=lambda p: Solver(), summary="s")]
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture
def call(capsys, monkeypatch):
    """Call the command line in this process: exit code, what it printed, what it complained."""

    def musicfw(*words):
        monkeypatch.setattr(sys, "argv", ["musicfw", *(str(word) for word in words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return musicfw


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    return mf.run(folder / "spec.yaml", out=folder / "out").directory


def complains(outcome, code, *parts):
    """Assert the exit code and one message with these parts, without a traceback."""
    found, out, err = outcome
    assert found == code, err
    assert out == ""
    assert "Traceback" not in err
    assert err.count("error") == 1, err
    for part in parts:
        assert part in err


# --- run -----------------------------------------------------------------------------------------


def test_a_run_that_is_fine_ends_with_0_and_says_what_it_made(call, spec, tmp_path):
    code, out, err = call("run", spec, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("map      9 units on 48 points of 3 features; quantization error ")
    assert lines[1].startswith("invert   exact: 12 points, relative error at most ")
    assert lines[1].endswith("(12 exact)")
    assert lines[2] == "control  straight-line: 2 points (2 reached)"
    assert lines[3] == f"report   {tmp_path / 'out' / 'report.html'}"


def test_the_result_can_be_had_as_json(call, spec, tmp_path):
    code, out, _ = call("run", spec, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(out)["metrics"]["map"]["units"] == 9
    assert out == (tmp_path / "out" / "result.json").read_text(encoding="utf-8")


def test_strict_ends_with_1_only_if_something_is_unusable(call, spec, tmp_path):
    assert call("run", spec, "--out", tmp_path / "a", "--strict")[0] == 0
    noisy = ("--set", "invert.0.noise=0.1")
    assert call("run", spec, "--out", tmp_path / "b", *noisy)[0] == 0
    code, out, err = call("run", spec, "--out", tmp_path / "c", "--strict", *noisy)
    assert code == 1
    assert "12 inconsistent" in out
    assert err == "strict: inversion 'exact' has points that are 12 inconsistent\n"
    away = ("--set", "control.0.until=arrived", "--set", "control.0.steps=1")
    away += ("--set", "control.0.target={units: [0, 1, 2, 3, 4, 5, 6, 7, 8], away: true}")
    code, _, err = call("run", spec, "--out", tmp_path / "d", "--strict", *away)
    assert code == 1
    assert err.startswith("strict: walk 'straight-line' has points that are 2 ")


def test_settings_override_the_file(call, spec, tmp_path):
    assert call("run", spec, "--out", tmp_path / "o", "--set", "map.lattice.rows=2")[0] == 0
    assert mf.load_map(tmp_path / "o").codebook.units == 6


def test_an_unfinished_run_is_resumed_on_request_only(call, spec, tmp_path, monkeypatch):
    def crash(inputs, *, progress):
        raise mf.StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("musicfw.report.write_report", crash)
        complains(call("run", spec, "--out", tmp_path / "o"), 2, "error: no room")
    complains(call("run", spec, "--out", tmp_path / "o"), 2, "unfinished run is there", "--resume")
    assert call("run", spec, "--out", tmp_path / "o", "--resume")[0] == 0
    complains(call("run", spec, "--out", tmp_path / "o"), 2, "exists already", "--out")


def test_every_problem_of_a_spec_is_told_with_its_place(call, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("rows: 3", "rows: 0").replace("steps", "stebs"), encoding="utf-8")
    for command in (["run", spec, "--out", tmp_path / "o"], ["check", spec]):
        code, out, err = call(*command)
        assert (code, out) == (2, "")
        heads = [line for line in err.splitlines() if "error[" in line]
        assert len(heads) == 2
        assert heads[0].startswith(f"{spec}:6:19: error[")
        assert heads[1].startswith(f"{spec}:11:")
        assert "did you mean 'steps'?" in err
        assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_spec_without_problems_is_checked_without_computing_anything(call, spec, tmp_path):
    assert call("check", spec) == (0, f"{spec}: no problems\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yaml"]
    complains(call("check", spec, "--set", "seed=-1"), 2, "<--set", "error[out-of-range] seed")


def test_a_missing_spec_is_one_message(call, tmp_path):
    complains(call("run", tmp_path / "no.yaml"), 2, "error[no-file]", "no.yaml")


def test_text_in_a_cell_of_the_data_is_told_with_row_and_column(call, tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,four\n5,6\n", encoding="utf-8")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"data: {{use: csv, with: {{path: '{tmp_path / 'data.csv'}'}}}}\n"
        "map: {lattice: {rows: 2, columns: 2}}\n",
        encoding="utf-8",
    )
    complains(call("run", spec, "--out", tmp_path / "o"), 2, "data.csv", "four", "'b'")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.csv", "spec.yaml"]


# --- plugins -------------------------------------------------------------------------------------


def test_a_required_plugin_that_does_not_load_ends_with_3(call, spec, site, tmp_path):
    site.add("musicfw-broken", "import surely_not_installed")
    required = ("--set", "plugins={require: [musicfw-broken]}")
    complains(
        call("run", spec, "--out", tmp_path / "o", *required),
        3,
        "error[plugin-failed] plugins.require[0]",
        "musicfw-broken 1.0 failed to load: ModuleNotFoundError",
    )


def test_a_plugin_that_crashes_at_work_ends_with_3_and_is_named(call, spec, site, tmp_path):
    site.add("musicfw-crash", CRASHING, version="0.4")
    complains(
        call("run", spec, "--out", tmp_path / "o", "--set", "invert.0.use=crash"),
        3,
        "solver 'crash' of plugin musicfw-crash 0.4",
        "failed in factorise: ZeroDivisionError: by design",
    )


def test_a_plugin_that_exits_does_not_end_the_run_as_if_all_were_well(call, spec, site, tmp_path):
    site.add("musicfw-crash", CRASHING.replace('ZeroDivisionError("by design")', "SystemExit(0)"))
    complains(
        call("run", spec, "--out", tmp_path / "o", "--set", "invert.0.use=crash"),
        3,
        "failed in factorise: SystemExit: 0",
    )


def test_a_blocked_plugin_is_not_imported_and_its_names_are_unknown(call, spec, site, tmp_path):
    site.add("musicfw-crash", CRASHING)
    words = ("--set", "invert.0.use=crash", "--no-plugin", "musicfw-crash")
    complains(call("check", spec, *words), 2, "error[plugin-blocked]", "musicfw-crash")
    assert call("check", spec, *words[:2])[0] == 0


def test_every_plugin_is_listed_with_its_cause(call, site):
    site.add("musicfw-crash", CRASHING, version="0.4")
    site.add("musicfw-broken", "raise RuntimeError('no [red]licence[/red]')")
    code, out, _ = call("plugins", "--json", "--no-plugin", "musicfw:som")
    assert code == 0
    records = {(r["distribution"], r["entry_point"]): r for r in json.loads(out)}
    assert records["musicfw-crash", "musicfw_crash"] == {
        "distribution": "musicfw-crash",
        "version": "0.4",
        "entry_point": "musicfw_crash",
        "module": "musicfw_crash",
        "state": "loaded",
        "provides": ["solver:crash"],
        "error": None,
    }
    assert records["musicfw-broken", "musicfw_broken"]["state"] == "failed"
    assert records["musicfw", "som"]["state"] == "blocked"
    code, out, _ = call("plugins")
    assert code == 0
    assert "musicfw-broken:musicfw_broken is failed: RuntimeError: no [red]licence[/red]" in out
    assert "musicfw:solvers" in out


def test_the_schema_is_json_that_knows_what_is_installed(call, site):
    site.add("musicfw-crash", CRASHING)
    code, out, _ = call("schema")
    assert code == 0
    text = json.dumps(json.loads(out))
    assert '"crash"' in text
    assert '"truncated-svd"' in text


# --- show, invert, steer -------------------------------------------------------------------------


def test_show_describes_a_run_and_a_map(call, run_directory):
    code, out, err = call("show", run_directory)
    assert (code, err) == (0, "")
    assert out.startswith("map      9 units on 48 points")
    code, out, _ = call("show", run_directory / "map.npz")
    assert code == 0
    assert out.startswith("map        3 × 3 rectangular; backend native, seed 3\n")
    assert "inversion  9 prototypes span 3 of 3 dimensions" in out
    assert "labels     0, 1, 2" in out


def test_show_describes_a_map_from_elsewhere(call, tmp_path):
    np.savez(tmp_path / "w.npz", prototypes=np.eye(3))
    code, out, _ = call("show", tmp_path / "w.npz")
    assert code == 0
    assert out.startswith("map        no lattice; backend unknown, seed 0\n")


@pytest.mark.parametrize("name", ["nowhere", "points.npy", "text.npz", "."])
def test_show_refuses_what_is_no_map(call, tmp_path, name):
    np.save(tmp_path / "points.npy", np.eye(2))
    (tmp_path / "text.npz").write_text("hello", encoding="utf-8")
    complains(call("show", tmp_path / name), 2, str(tmp_path))


def test_invert_recovers_points_from_a_file_of_distances(call, run_directory, tmp_path):
    trained = mf.load_map(run_directory)
    points = np.random.default_rng(0).normal(size=(5, 3))
    distances = trained.squared_distances(points)
    distances[3, 0] = np.nan
    np.save(tmp_path / "d.npy", distances)
    out = tmp_path / "p.npy"
    code, printed, err = call("invert", run_directory, tmp_path / "d.npy", "--out", out)
    assert (code, err) == (0, "")
    assert printed.startswith(f"5 points (4 EXACT, 1 INVALID_INPUT) -> {out}\nINVALID_INPUT: The")
    recovered = np.load(out)
    np.testing.assert_allclose(
        np.delete(recovered, 3, axis=0), np.delete(points, 3, axis=0), rtol=0, atol=1e-11
    )
    words = ("--solver", "ridge", "--with", "alpha=1e1", "--with", "prior=winner", "--out", out)
    assert call("invert", run_directory, tmp_path / "d.npy", *words)[0] == 0
    expected = mf.invert(trained, distances, solver="ridge", alpha=10.0, prior="winner").points
    np.testing.assert_array_equal(np.load(out), expected)
    words = ("--solver", "ridge", "--with", "alpha=1e1", "--tolerance", "10", "--out", out)
    _, printed, _ = call("invert", run_directory, tmp_path / "d.npy", *words)
    assert printed.startswith("5 points (4 EXACT, 1 INVALID_INPUT)")


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--solver", "exat"], 2, ["got 'exat'", "did you mean 'exact'?"]),
        (["--with", "alpha"], 2, ["--with: expected NAME=VALUE, got 'alpha'"]),
        (["--with", "a b=3"], 2, ["--with: expected NAME=VALUE, got 'a b=3'"]),
        (["--with", "alpha=["], 2, ["--with: expected a YAML value after alpha=, got '['"]),
        (["--with", "solver=ridge"], 2, ["--with: expected an option of the solver, got 'solver'"]),
        (["--with", "tolerance=1"], 2, ["--with: expected an option of the solver, got"]),
        (["--solver", "ridge", "--with", "alpha=-1"], 2, ["error[out-of-range] alpha"]),
    ],
)
def test_invert_refuses_a_wrong_call(call, run_directory, tmp_path, words, code, parts):
    np.save(tmp_path / "d.npy", np.ones((1, 9)))
    out = tmp_path / "p.npy"
    complains(call("invert", run_directory, tmp_path / "d.npy", "--out", out, *words), code, *parts)
    assert not out.exists()


def test_invert_refuses_distances_to_another_map(call, run_directory, tmp_path):
    np.save(tmp_path / "d.npy", np.ones((1, 8)))
    words = ("invert", run_directory, tmp_path / "d.npy", "--out", tmp_path / "p.npy")
    complains(call(*words), 2, "squared_distances: expected 9 columns, one per prototype, got 8")


def test_steer_moves_points_from_a_file(call, run_directory, tmp_path):
    starts = np.random.default_rng(0).normal(size=(2, 3))
    np.save(tmp_path / "x.npy", starts)
    out = tmp_path / "t.npz"
    words = ("--target", "units:8", "--steps", "7", "--with", "rate=0.2", "--out", out)
    code, printed, err = call("steer", run_directory, tmp_path / "x.npy", *words)
    assert (code, err) == (0, "")
    assert printed.startswith("2 points (")
    expected = mf.steer(
        mf.load_map(run_directory), starts, target=mf.Target.units([8]), steps=7, rate=0.2
    )
    with np.load(out, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["points"], expected.points)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--target", "unit:3"], ["target: expected units:3,4 or cell:ROW,COLUMN", "'unit:3'"]),
        (["--target", "units:9"], ["Target.units: expected unit numbers in 0 … 8", "got 9"]),
        (["--target", "label:9"], ["no unit's majority label is '9', expected '0', '1' or '2'"]),
        (
            ["--target", "units:1", "--with", "steps=3"],
            ["--with: expected an option of the policy"],
        ),
        (["--target", "units:1", "--steps", "0"], ["steps: expected an integer of at least 1"]),
        (["--target", "units:1", "--policy", "straight"], ["did you mean 'straight-line'?"]),
    ],
)
def test_steer_refuses_a_wrong_call(call, run_directory, tmp_path, words, parts):
    np.save(tmp_path / "x.npy", np.zeros((1, 3)))
    command = ("steer", run_directory, tmp_path / "x.npy", "--out", tmp_path / "t.npz")
    complains(call(*command, *words), 2, *parts)
    assert not (tmp_path / "t.npz").exists()


# --- the command itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing argument 'SPEC'"),
        (["run", "spec.yaml", "--ouput", "x"], "No such option"),
        (["steer", "a", "b", "--out", "c"], "Missing option '--target'"),
        (["steer", "a", "b", "--out", "c", "--target", "x", "--until", "now"], "'now' is not one"),
    ],
)
def test_a_mistyped_command_ends_with_2_and_its_usage(call, words, part):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert part in err
    assert "Usage: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["--help"], ["run", "-h"], ["--version"]])
def test_help_and_version_end_with_0(call, words):
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert out


def test_the_version_is_that_of_the_package(call):
    assert call("--version")[1] == f"musicfw, version {mf.__version__}\n"


def test_a_bug_ends_with_70_and_keeps_its_traceback(call, spec, tmp_path, monkeypatch):
    def bug(*args, **rest):
        raise AssertionError("impossible")

    monkeypatch.setattr(sys.modules["musicfw.run"], "map_metrics", bug)
    code, _, err = call("run", spec, "--out", tmp_path / "o")
    assert code == 70
    assert "Traceback" in err
    assert "AssertionError: impossible" in err
    assert err.endswith("this is a bug in musicfw; please report it with the lines above\n")


def test_an_interrupt_ends_with_130_and_says_what_is_kept(call, spec, tmp_path, monkeypatch):
    def interrupt(inputs, *, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr("musicfw.report.write_report", interrupt)
    code, _, err = call("run", spec, "--out", tmp_path / "o")
    assert code == 130
    kept = f"What was finished is kept in {tmp_path / 'o.partial'}: go on with --resume."
    assert err == f"\ninterrupted. {kept}\n"
    assert (tmp_path / "o.partial" / "map.npz").exists()


def musicfw(*words, **rest):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "musicfw", *(str(word) for word in words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        **rest,
    )


def test_as_a_process_mistakes_end_with_2_and_nothing_is_drawn_where_there_is_no_terminal(
    spec, tmp_path
):
    spec.write_text(SPEC.replace("epochs", "epocs"), encoding="utf-8")
    done = musicfw("run", spec, "--out", tmp_path / "o")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'epochs'?" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_as_a_process_a_run_writes_a_page_and_prints_no_progress(spec, tmp_path):
    done = musicfw("run", spec, "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert (tmp_path / "o" / "report.html").stat().st_size > 1000


def test_as_a_process_a_crashing_plugin_ends_with_3(site, spec, tmp_path):
    site.add("musicfw-crash", CRASHING)
    done = musicfw(
        "run", spec, "--out", tmp_path / "o", "--set", "invert.0.use=crash", env=site.environment
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "failed in factorise: ZeroDivisionError: by design" in done.stderr
    # The map is trained by then, and not lost.
    assert "What was finished is kept in" in done.stderr
    assert (tmp_path / "o.partial" / "map.npz").exists()


def test_a_reader_that_leaves_early_is_no_error():
    piped = subprocess.run(
        f"{sys.executable} -m musicfw schema | head -c 1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout == "{"
    assert piped.stderr == ""


def test_as_a_module_its_name_is_musicfw():
    assert musicfw("--help").stdout.startswith("Usage: musicfw ")
