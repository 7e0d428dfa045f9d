"""The benchmark of peers, with fake ones: nothing is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "peers"

FAKE = """
REQUIREMENTS = []
RUNS = {
    "first-rows": lambda X, side: (print("noise"), X[: side * side])[1],
    "product": lambda X, side: None,
    "fails": lambda X, side: 1 / 0,
}
"""
ABSENT = """
REQUIREMENTS = ["./no-such-distribution"]
RUNS = {"any": lambda X, side: None}
"""
BROKEN = """
REQUIREMENTS = []
RUNS = {"any": lambda X, side: None}
PREPARE = {"any": lambda X, side: 1 / 0}
"""


@pytest.fixture
def bench(monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    import run

    yield run
    for name in ("run", "environments"):
        sys.modules.pop(name)


@pytest.fixture
def contestants(tmp_path):
    folder = tmp_path / "contestants"
    folder.mkdir()
    for name, text in {"fake": FAKE, "absent": ABSENT, "broken": BROKEN}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def options(contestants, tmp_path, *words):
    common = ["--data", "digits", "--side", "3", "--repeats", "2", "--cache", str(tmp_path)]
    return [*words, *common, "--contestants", str(contestants)]


def test_all_are_measured_by_one_evaluator_and_the_others_are_listed_with_the_reason(
    bench, contestants, tmp_path, capsys, monkeypatch
):
    from environments import subprocess as installer

    def refused(command, **keywords):
        return subprocess.CompletedProcess(command, 1, stdout="ERROR: no such thing\nbye\n")

    monkeypatch.setattr(installer, "run", refused)
    words = ["absent", "broken", "fake:fails", "--ours", "fake:first-rows", "fake:product"]
    bench.main(options(contestants, tmp_path, *words))
    title, heads, rows, product, *absent = capsys.readouterr().out.splitlines()
    assert title == "digits: 1400 x 64 float64, map 3 x 3, threads 1, 2 rounds"
    assert heads.split() == ["time", "ratio", "CPU", "ratio", "least", "MB", "QE", "TE"]
    assert rows.split()[0] == "fake:first-rows"
    assert [rows.split()[k] for k in (2, 4)] == ["1.00", "1.00"]
    assert float(rows.split()[-2]) > 10.0
    assert 0.0 < float(rows.split()[-1]) < 1.0
    assert len(product.split()) == len(rows.split()) - 2
    assert absent[0].split(maxsplit=3) == ["absent:any", "not", "measured:", "ERROR: no such thing"]
    assert absent[1].split(maxsplit=3)[::3] == [
        "broken:any",
        "ended while asked to prepare; it said: ZeroDivisionError: division by zero",
    ]
    assert absent[2].split(maxsplit=3)[::3] == [
        "fake:fails",
        "ended while asked to run; it said: ZeroDivisionError: division by zero",
    ]


def test_an_environment_is_made_once_for_the_same_requirements(bench, tmp_path, monkeypatch):
    import environments

    calls = []

    def noted(command, **keywords):
        calls.append(command)
        (tmp_path / "env").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(environments.subprocess, "run", noted)
    for requirements, build in ((["a==1"], ()), (["a==1"], ()), (["a==2"], ["numpy"])):
        found = environments.python_with(requirements, folder=tmp_path / "env", build=build)
        assert found == str(tmp_path / "env" / "bin" / "python")
    folder = str(tmp_path / "env")
    assert [command[-1] for command in calls] == [folder, "a==1", folder, "numpy", "a==2"]
    assert calls[-1][-2] == "--no-build-isolation"
    assert environments.python_with([], folder=tmp_path) == sys.executable


def test_unknown_peers_and_runs_are_refused_with_those_there_are(bench, contestants, tmp_path):
    with pytest.raises(SystemExit, match=r"no contestant 'fke' in .*; there are: absent, broken"):
        bench.main(options(contestants, tmp_path, "fke", "--ours"))
    with pytest.raises(SystemExit, match="fake has no run 'x'; it has: first-rows, product, fails"):
        bench.main(options(contestants, tmp_path, "fake:x", "--ours"))


@pytest.mark.parametrize("script", sorted((FOLDER / "contestants").glob("*.py")), ids=str)
def test_every_contestant_has_what_the_benchmark_needs(bench, script):
    module = bench.contestant_module(script)
    assert module.RUNS
    assert set(getattr(module, "PREPARE", {})) <= set(module.RUNS)
    assert all("==" in one or one.isalpha() for one in module.REQUIREMENTS)
