"""CONTRIBUTING, CITATION, the change log and the hooks of pre-commit hold together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import musicfw

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))


def test_the_citation_has_what_the_format_requires():
    assert str(CITATION["cff-version"]) == "1.2.0"
    assert CITATION["message"]
    assert CITATION["title"]
    assert all(
        "name" in a or {"family-names", "given-names"} <= set(a) for a in CITATION["authors"]
    )
    assert CITATION["type"] == "software"


def test_the_citation_is_of_this_version_and_licence():
    assert CITATION["version"] == musicfw.__version__ == PROJECT["project"]["version"]
    assert CITATION["license"] == PROJECT["project"]["license"]


def test_the_citation_names_the_paper_of_the_rule():
    (paper,) = CITATION["references"]
    assert [a["family-names"] for a in paper["authors"]] == [
        "Londei",
        "Benati",
        "Lanzieri",
        "Loreto",
    ]
    assert paper["year"] == 2026
    assert paper["identifiers"][0]["value"] == "arXiv:2601.13851"
    assert "2601.13851" in paper["url"]


ROWS = re.findall(r"^\| (?!feature|what|---)(.+?) \| (.+) \|$", CONTRIBUTING, flags=re.MULTILINE)
PATHS = sorted({path for _, cell in ROWS for path in re.findall(r"`([\w./-]+/[\w.]*)`", cell)})


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_contributors_are_sent_to_is_there(path):
    assert (ROOT / path).exists()


def test_contributors_find_every_package_and_verb():
    assert len(PATHS) > 30
    packages = {p.parent.name for p in (ROOT / "musicfw").glob("*/__init__.py")}
    assert packages - {path.split("/")[1] for path in PATHS if path.startswith("musicfw/")} == set()


def test_every_change_is_one_sentence_of_a_known_kind():
    kinds = {kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]}
    folder = ROOT / PROJECT["tool"]["towncrier"]["directory"]
    for path in folder.iterdir():
        if path.name == "README.md":
            continue
        assert re.fullmatch(rf"\+?[\w-]+\.({'|'.join(kinds)})\.md", path.name), path.name
        text = path.read_text(encoding="utf-8").strip()
        assert text.endswith("."), f"{path.name}: expected a sentence"
        assert "\n" not in text, f"{path.name}: expected one line"


def test_a_release_finds_its_place_in_the_change_log():
    assert "<!-- towncrier release notes start -->" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_commits_are_checked_by_the_tools_that_ci_runs():
    hooks = {hook["id"]: hook for repo in HOOKS["repos"] for hook in repo["hooks"]}
    assert {"ruff", "ruff-format", "mypy", "layers", "check-yaml"} <= set(hooks)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ("ruff check", "ruff format", "mypy"):
        assert command in ci
        assert any(hook.get("entry", "").startswith(command) for hook in hooks.values())


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
)
def test_the_extras_that_a_page_installs_exist(page):
    extras = set(PROJECT["project"]["optional-dependencies"])
    for names in re.findall(r"(?:'|musicfw|\.)\[([\w,]+)\]'", page.read_text(encoding="utf-8")):
        assert set(names.split(",")) <= extras, page.name
