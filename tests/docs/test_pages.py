"""Every code block of the site does what it says. How blocks are run: `blocks.py`."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import musicfw as mf
from musicfw.spec import load_spec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"


def module_at(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


blocks = module_at(HERE / "blocks.py")
PAGES = sorted(
    page
    for page in (*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md")
    if not {"_build", "changelog.d"} & set(page.relative_to(ROOT).parts)
)


def title(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks.blocks_of(page)], ids=lambda page: title(page)
)
def test_a_reader_who_types_the_page_sees_what_it_says(page, tmp_path, monkeypatch):
    for name in blocks.requirements_of(page):
        pytest.importorskip(name, reason=f"{page.name} uses {name}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    blocks.Reader(page, monkeypatch).follow()


@pytest.mark.parametrize("wrong", ["print(1)\n", "raise KeyError\n"])
def test_a_page_that_says_something_else_is_noticed(wrong, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"```python\n{wrong}```\n\n```text\n2\n```\n", encoding="utf-8")
    with pytest.raises((AssertionError, KeyError)):
        blocks.Reader(page, monkeypatch).follow()


def test_dots_stand_for_anything_and_nothing_else_does():
    assert blocks.matches("error …: 3\n", "error 0.1 (x): 3  \n\n")
    assert not blocks.matches("error …: 3", "error 1: 4")
    assert not blocks.matches("a.c", "abc")


@pytest.mark.parametrize("spec", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_spec_is_valid(spec):
    load_spec(spec, registry=mf.Registry.from_modules())


def test_every_picture_of_the_site_is_made_by_the_script_that_it_names():
    pytest.importorskip("sklearn", reason="the script takes its data from there")
    script = module_at(DOCS / "make_images.py")
    made = {f"{name}.png" for name in (*script.PICTURES, *script.FROM_RUNS)}
    assert {path.name for path in (DOCS / "images").iterdir()} == made


LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: title(page))
def test_links_and_pictures_of_the_page_are_there(page):
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    paths = [link.partition("#")[0] for link in LINK.findall(text) if "://" not in link]
    paths += re.findall(r"^`{3}\{figure\} (\S+)", page.read_text("utf-8"), flags=re.MULTILINE)
    missing = [path for path in paths if path and not (page.parent / path).exists()]
    assert missing == []
