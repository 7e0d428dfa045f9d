"""Every error code has a spec that provokes it and the exact text that a user then sees.

``cases/CODE[-variant].yaml`` is the spec, ``.txt`` the text; a comment ``# --set: PATH=VALUE`` is
an override. A text with no spec stands for a missing file.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import musicfw
from musicfw.errors import CODES, SpecError
from musicfw.spec import load_spec

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.txt"))
PACKAGE = Path(musicfw.__file__).parent


def problems_of(name, registry):
    path = Path(f"{name}.yaml")
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    overrides = re.findall(r"^# --set: (.*)$", text, flags=re.MULTILINE)
    with pytest.raises(SpecError) as caught:
        load_spec(path, registry=registry, overrides=overrides)
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_spec_is_told_in_these_words(name, registry, monkeypatch):
    monkeypatch.chdir(CASES)
    expected = (CASES / f"{name}.txt").read_text(encoding="utf-8")
    assert expected == f"{problems_of(name, registry)}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_case_shows_the_code_that_it_is_named_after(name, registry, monkeypatch):
    monkeypatch.chdir(CASES)
    codes = {problem.code for problem in problems_of(name, registry).problems}
    assert any(name == code or name.startswith(f"{code}-") for code in codes)


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_of_a_text_has_a_place_in_it(name, registry, monkeypatch):
    monkeypatch.chdir(CASES)
    for problem in problems_of(name, registry).problems:
        if problem.code == "no-file":
            continue
        mark = problem.mark
        assert 1 <= mark.column <= len(mark.text) + 1
        assert mark.width >= 1


def test_every_code_has_a_case():
    missing = [
        code for code in CODES if not any(n == code or n.startswith(f"{code}-") for n in NAMES)
    ]
    assert missing == []


def test_every_spec_has_a_text():
    assert [p.name for p in CASES.glob("*.yaml") if p.stem not in NAMES] == []


def test_every_code_in_the_source_is_registered_and_every_registered_one_is_used():
    sources = [p for p in PACKAGE.rglob("*.py") if p.name != "errors.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r'(?:Problem|\.add|_add|_problem)\(\s*"([a-z]+(?:-[a-z]+)+)"', text))
    assert used <= set(CODES)
    assert {code for code in CODES if f'"{code}"' not in text} == set()
