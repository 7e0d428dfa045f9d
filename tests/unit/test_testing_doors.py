"""The doors of the kit: records, expected failures and pytest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from musicfw.api import EmbeddingFactory, NoParams, RawSolution, SolverFactory
from musicfw.errors import UsageError
from musicfw.solvers import EXACT, RIDGE
from musicfw.testing import check_plugin, check_solver, solver_checks

WRONG = """
import numpy as np
from musicfw.api import EmbeddingFactory, NoParams, RawSolution, SolverFactory
from musicfw.testing import parametrize_solver

class Half:
    def __init__(self, params): pass
    def factorise(self, system):
        self.inverse = np.linalg.pinv(system.matrix)
        return self
    def solve(self, rhs):
        if rhs.shape[1] == 0:
            raise ValueError("nothing to do")
        return RawSolution(coordinates=self.inverse @ rhs)

HALF = SolverFactory(name="half", params=NoParams, build=Half, summary="Half a solver.")

@parametrize_solver(HALF, expected_failures=EXPECTED)
def test_half_keeps_the_laws(check):
    check()
"""


class CrashesOnNothing:
    def factorise(self, system):
        self.system = system
        return self

    def solve(self, rhs):
        system = self.system
        if rhs.shape[1] == 0:
            raise ValueError("nothing to do")
        spectral = (system.left.T @ rhs) / system.singular_values[:, None]
        return RawSolution(coordinates=system.right @ spectral)


CRASHING = SolverFactory(
    name="crashing", params=NoParams, build=lambda p: CrashesOnNothing(), summary="No empty batch."
)


def test_records_tell_what_passed_what_failed_and_what_was_skipped():
    records = {record.name: record for record in check_solver(CRASHING)}
    assert {r.name for r in records.values() if r.status == "failed"} == {"empty_batch"}
    assert records["empty_batch"].message.startswith(
        "solver 'crashing' fails the check 'empty_batch': it raised ValueError: nothing to do ("
    )
    assert not records["empty_batch"].good
    assert records["shrinkage_monotone"].status == "skipped"
    assert records["shrinkage_monotone"].message == "only for the trait 'regularised'"
    assert records["round_trip"].status == "passed"
    assert records["round_trip"].message == ""
    assert all(record.elapsed_s >= 0 for record in records.values())


def test_an_expected_failure_that_comes_is_good_and_one_that_does_not_is_not():
    expected = {"empty_batch": "never empty here", "deterministic": "thought so"}
    records = {r.name: r for r in check_solver(CRASHING, expected_failures=expected)}
    assert records["empty_batch"].status == "expected-failure"
    assert records["empty_batch"].message == "never empty here"
    assert records["empty_batch"].good
    assert records["deterministic"].status == "unexpected-pass"
    assert records["deterministic"].message.endswith("a failure was expected (thought so)")
    assert not records["deterministic"].good


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"empty_bach": "why"}, "there is no check 'empty_bach'; did you mean 'empty_batch'?"),
        ({"xyz": "why"}, "there is no check 'xyz'; the checks are 'factory_is_valid', "),
        ({"empty_batch": " "}, r"expected_failures\['empty_batch'\]: expected the reason as text"),
    ],
)
def test_an_expected_failure_needs_a_check_and_a_reason(expected, told):
    with pytest.raises(UsageError, match=told):
        check_solver(CRASHING, expected_failures=expected)


def test_options_that_the_factory_refuses_are_the_callers_mistake():
    with pytest.raises(UsageError, match=r"ridge: error\[unknown-key\] alfa"):
        check_solver(RIDGE, options={"alfa": 1.0})


def test_traits_select_the_checks():
    assert "shrinkage_monotone" in dict(solver_checks(RIDGE))
    assert "round_trip" not in dict(solver_checks(RIDGE))
    assert "shrinkage_monotone" not in dict(solver_checks(EXACT))
    assert "round_trip" in dict(solver_checks(EXACT))


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        ('{"empty_batch": "never empty here"}', "1 xfailed"),
        ('{"round_trip": "no"}', "2 failed"),
        ("{}", "1 failed"),
    ],
)
def test_in_pytest_expected_failures_are_strict(tmp_path, expected, outcome):
    test = tmp_path / "test_half.py"
    test.write_text(WRONG.replace("EXPECTED", expected), encoding="utf-8")
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "empty_batch or round_trip"]
    done = subprocess.run(
        [sys.executable, *words, str(test)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout, done.stdout
    assert ("XPASS(strict)" in done.stdout) == ("round_trip" in expected)


def test_musicfw_and_its_command_line_do_without_the_kit():
    code = "import musicfw, musicfw.cli, sys; print({'hypothesis', 'pytest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


PLUGIN_TEST = """
import numpy as np
from types import SimpleNamespace
from musicfw.api import NoParams, RawSolution, SolverFactory, hookimpl

class Pinv:
    def factorise(self, system):
        self.inverse = np.linalg.pinv(system.matrix)
        return self

    def solve(self, rhs):
        return RawSolution(coordinates=self.inverse @ rhs)

@hookimpl
def musicfw_solvers():
    build = lambda params: Pinv()
    return [SolverFactory(name="pinv", params=NoParams, build=build, summary="By pinv.")]

PLUGIN = SimpleNamespace(__name__="mine", musicfw_solvers=musicfw_solvers)
SPEC = '''
data: {use: gaussian-mixture, with: {points: 40}}
map: {lattice: {rows: 3, columns: 3}, with: {epochs: 2}}
invert: [{use: pinv}]
report: {figures: false}
'''

def test_a_run_uses_a_solver_that_is_not_installed(registry_of, run_yaml):
    registry = registry_of(PLUGIN)
    first = run_yaml(SPEC, registry=registry)
    again = run_yaml(SPEC, registry=registry, overrides=["seed=1"])
    assert first.metrics["invert"]["pinv"]["max_relative_error"] < 1e-9
    assert again.directory != first.directory
"""


def test_the_fixtures_come_with_one_line(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["musicfw.testing"]', encoding="utf-8")
    (tmp_path / "test_mine.py").write_text(PLUGIN_TEST, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_an_embedding_is_checked_as_a_factory_only():
    codes = EmbeddingFactory(name="codes", build=lambda files: None, summary="Codes.")
    assert [(r.name, r.status) for r in check_plugin("embedding", codes)] == [
        ("factory_is_valid", "passed")
    ]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (EXACT, "expected a factory of a policy, got one of a solver"),
        ("music", "expected a factory of a policy, got str"),
    ],
)
def test_what_is_no_factory_of_the_kind_is_refused(wrong, told):
    with pytest.raises(UsageError, match=told):
        check_plugin("policy", wrong)
