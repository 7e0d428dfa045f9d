"""Every way in which a plugin fails ends in one clear message and leaves everything else usable.

With distributions on the path of a process of its own: nothing is imported, patched or caught here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SPEC = """seed: 3
data: {use: gaussian-mixture, with: {points: 40}}
map: {lattice: {rows: 2, columns: 3}, with: {epochs: 2}}
invert: [{use: SOLVER, id: it}]
report: {figures: false}
"""

SOLVER = """
class Solver:
    def factorise(self, system):
        FACTORISE
        self.inverse = np.linalg.pinv(system.matrix)
        return self

    def solve(self, rhs):
        u = self.inverse @ rhs
        SOLVE
        return RawSolution(coordinates=u)

@hookimpl
def musicfw_solvers():
    build = lambda params: Solver()
    return [SolverFactory(name="NAME", params=NoParams, build=build, summary="A solver.")]
"""


def solver(name, *, factorise="pass", solve="pass"):
    return SOLVER.replace("NAME", name).replace("FACTORISE", factorise).replace("SOLVE", solve)


# Distribution: its code, what `plugins` says, and what `run` says if the spec uses its solver.
UNLOADABLE = {
    "musicfw-unimportable": (
        "import surely_not_installed",
        "ModuleNotFoundError: No module named 'surely_not_installed'",
    ),
    "musicfw-wrongtype": (
        "@hookimpl\ndef musicfw_solvers(): return ['a solver']",
        "musicfw_solvers[0]: expected a SolverFactory, got str ('a solver')",
    ),
    "musicfw-misspelt": (
        "@hookimpl\ndef musicfw_solver(): return []",
        "there is no hook called 'musicfw_solver'; did you mean 'musicfw_solvers'?",
    ),
}
AT_WORK = {
    "crashing": ({"factorise": "1 / 0"}, "factorise: ZeroDivisionError: division by zero"),
    "misshapen": (
        {"solve": "u = u[:1]"},
        "solve: expected coordinates (D, B) of shape (2, 8), got (1, 8)",
    ),
}


@pytest.fixture
def musicfw(site, tmp_path):
    """Run the command in a process that sees the site; also a good plugin is there."""
    site.add("musicfw-good", solver("good"), version="0.9")

    def call(*words, solver="good"):
        (tmp_path / "spec.yaml").write_text(SPEC.replace("SOLVER", solver), encoding="utf-8")
        done = subprocess.run(command(words), **process(site, tmp_path), check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


def command(words):
    return [sys.executable, "-W", "error", "-m", "musicfw", *words]


def process(site, folder):
    path = os.pathsep.join(filter(None, [str(site.folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return {"env": environment, "cwd": folder, "capture_output": True, "text": True}


def one_message(done, code, *parts):
    """Assert the exit code and a message that is told once."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("error") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_plugins_that_do_not_load_are_listed_and_cost_the_others_nothing(site, musicfw):
    for distribution, (code, _) in UNLOADABLE.items():
        site.add(distribution, code, version="1.2")
    listed = json.loads(musicfw("plugins", "--json").stdout)
    records = {record["distribution"]: record for record in listed}
    for distribution, (_, cause) in UNLOADABLE.items():
        assert records[distribution]["state"] == "failed"
        assert records[distribution]["version"] == "1.2"
        assert records[distribution]["error"] == cause
    assert records["musicfw-good"]["state"] == "loaded"
    done = musicfw("run", "spec.yaml", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    for distribution, (_, cause) in UNLOADABLE.items():
        assert f"warning  plugin {distribution} 1.2 failed to load: {cause}\n" in done.stdout


@pytest.mark.parametrize("distribution", UNLOADABLE)
def test_to_use_a_plugin_that_did_not_load_is_one_message_with_its_cause(
    site, musicfw, distribution
):
    code, cause = UNLOADABLE[distribution]
    site.add(distribution, code, version="1.2")
    done = musicfw("run", "spec.yaml", solver=distribution.removeprefix("musicfw-"))
    told = f"spec.yaml:4:16: error[plugin-failed] invert[0].use: plugin {distribution} 1.2 failed"
    one_message(done, 3, told, cause)


def test_a_name_with_two_owners_is_one_message_and_each_is_usable_by_its_distribution(
    site, musicfw
):
    site.add("musicfw-other", solver("good"))
    one_message(
        musicfw("run", "spec.yaml"),
        2,
        "error[ambiguous-name] invert[0].use: expected one solver called 'good', got 2 owners",
        "musicfw-good:good",
        "musicfw-other:good",
    )
    done = musicfw("run", "spec.yaml", "--out", "out", solver="'musicfw-other:good'")
    assert (done.returncode, done.stderr) == (0, "")
    assert musicfw("run", "spec.yaml", "--out", "exact", solver="exact").returncode == 0


@pytest.mark.parametrize("name", AT_WORK)
def test_a_plugin_that_fails_at_work_is_named_with_its_version_and_the_call(site, musicfw, name):
    wrong, told = AT_WORK[name]
    site.add("musicfw-broken", solver(name, **wrong), version="1.2")
    one_message(
        musicfw("run", "spec.yaml", "--out", "out", solver=name),
        3,
        f"error: solver '{name}' of plugin musicfw-broken 1.2 (entry point 'musicfw_broken') "
        f"failed in {told}.",
        "What was finished is kept in out.partial: go on with --resume.",
    )
    done = musicfw("run", "spec.yaml", "--out", "good")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_plugin_that_returns_nan_is_named_and_the_run_is_whole(site, musicfw):
    site.add("musicfw-broken", solver("hollow", solve="u = u * np.nan"), version="1.2")
    done = musicfw("run", "spec.yaml", "--out", "out", solver="hollow")
    assert (done.returncode, done.stderr) == (0, "")
    assert "invert   it: 8 points, no usable point (8 failed)\n" in done.stdout
    assert (
        "warning  solver 'hollow' of plugin musicfw-broken 1.2 (entry point 'musicfw_broken') "
        "failed in solve: 8 of 8 points are not finite." in done.stdout
    )
    done = musicfw("run", "spec.yaml", "--out", "strict", "--strict", solver="hollow")
    assert done.returncode == 1
    assert done.stderr.startswith("strict: inversion 'it' has points that are 8 failed")


def test_a_plugin_that_never_returns_is_named_when_it_is_interrupted(site, musicfw, tmp_path):
    endless = "open('entered', 'w').close()\n        while True: pass"
    site.add("musicfw-broken", solver("endless", factorise=endless), version="1.2")
    musicfw("check", "spec.yaml", solver="endless")
    words = command(["run", "spec.yaml", "--out", "out"])
    how = process(site, tmp_path)
    del how["capture_output"]
    running = subprocess.Popen(words, **how, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        patience = time.monotonic() + 60.0
        while not (tmp_path / "entered").exists() and time.monotonic() < patience:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30.0)
    finally:
        running.kill()
    assert (running.returncode, out) == (130, "")
    assert err.strip() == (
        "interrupted. It came in factorise of solver 'endless' of plugin musicfw-broken 1.2. "
        "What was finished is kept in out.partial: go on with --resume."
    )
    done = musicfw("run", "spec.yaml", "--out", "good")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.partial" / "map.npz").exists()
