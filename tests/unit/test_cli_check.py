"""``musicfw plugins --check``: the kit on what is installed."""

from __future__ import annotations

import json
import sys

import pytest

from musicfw import cli

GOOD = """
class Source:
    def load(self, rng):
        return Dataset(points=rng.normal(size=(5, 2)), description="Noise.")

@hookimpl
def musicfw_datasets():
    build = lambda params: Source()
    return [DatasetFactory(name="good", params=NoParams, build=build, summary="Noise.")]
"""
BAD = """
class Solver:
    def factorise(self, system):
        self.inverse = (system.right / system.singular_values) @ system.left.T
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.inverse @ rhs[::-1])

@hookimpl
def musicfw_solvers():
    build = lambda params: Solver()
    return [SolverFactory(name="bad", params=NoParams, build=build, summary="Bad.")]
"""


@pytest.fixture
def call(capsys, monkeypatch):
    """Call the command line in this process: exit code, what it printed, what it complained."""

    def musicfw(*words):
        monkeypatch.setattr(sys, "argv", ["musicfw", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = 0 if end.code is None else end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return musicfw


@pytest.mark.parametrize("name", ["good", "musicfw-good:good", "musicfw-good", "musicfw_good"])
def test_a_good_plugin_ends_with_0_and_a_table(call, site, name):
    site.add("musicfw-good", GOOD, version="0.3")
    code, out, err = call("plugins", "--check", name)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    head = "dataset 'good' of plugin musicfw-good 0.3: "
    assert lines[0].startswith(head)
    assert lines[0].endswith(" checks, all passed")
    assert lines[1].split() == ["check", "status", "s"]
    assert any(line.split()[:2] == ["data_are_described", "passed"] for line in lines)
    skipped = next(line for line in lines if line.startswith("unusable_files_are_data_errors"))
    assert skipped.split(maxsplit=3)[1] == "skipped"
    assert skipped.rstrip().endswith("none of its options is a path")


def test_a_bad_plugin_ends_with_3_and_says_what_to_do(call, site):
    site.add("musicfw-bad", BAD)
    code, out, err = call("plugins", "--check", "bad")
    assert (code, err) == (3, "")
    assert "solver 'bad' of plugin musicfw-bad 1.0 fails the check 'round_trip': expected" in out
    assert "\n  smallest failing example: codebook = Codebook(prototypes=[[" in out
    assert "\n  what to do: " in out


def test_all_that_a_plugin_provides_is_checked_and_can_be_had_as_json(call, site):
    site.add("musicfw-two", BAD + GOOD)
    code, out, _ = call("plugins", "--check", "musicfw-two", "--json")
    assert code == 3
    found = {f"{each['kind']}:{each['name']}": each for each in json.loads(out)}
    assert set(found) == {"solver:bad", "dataset:good"}
    assert found["dataset:good"]["distribution"] == "musicfw-two"
    assert found["dataset:good"]["version"] == "1.0"
    statuses = {check["name"]: check["status"] for check in found["dataset:good"]["checks"]}
    assert statuses["data_are_described"] == "passed"
    assert "failed" not in statuses.values()
    assert all(
        set(check) == {"name", "status", "message", "elapsed_s"}
        for check in found["solver:bad"]["checks"]
    )


def test_a_built_in_can_be_checked(call):
    code, out, _ = call("plugins", "--check", "straight-line")
    assert code == 0
    assert out.startswith("policy 'straight-line' of plugin musicfw ")


def test_what_is_not_installed_ends_with_2_and_the_nearest_name(call, site):
    site.add("musicfw-good", GOOD)
    code, out, err = call("plugins", "--check", "godo")
    assert (code, out) == (2, "")
    assert err == (
        "error: --check: expected the name of a plugin or of something it provides, got 'godo'; "
        "did you mean 'good'?\n"
    )


def test_a_plugin_that_does_not_load_ends_with_3_and_its_cause(call, site):
    site.add("musicfw-broken", "import surely_not_installed")
    code, out, err = call("plugins", "--check", "musicfw-broken")
    assert (code, out) == (3, "")
    assert "plugin musicfw-broken 1.0 failed to load: ModuleNotFoundError: No module" in err


def test_without_hypothesis_the_message_says_what_to_install(call, monkeypatch):
    for module in [m for m in sys.modules if m.startswith("musicfw.testing")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    code, out, err = call("plugins", "--check", "exact")
    assert (code, out) == (2, "")
    assert err == (
        "error: --check: needs hypothesis, which is not installed; pip install 'musicfw[testing]'\n"
    )
