"""The reference is complete and says what the code says."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import musicfw as mf
from musicfw import api, cli, hookspecs
from musicfw.errors import CODES

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"

sys.path.insert(0, str(ROOT / "docs" / "_ext"))
generated = importlib.import_module("generated")
sys.path.pop(0)

HOOKS = [getattr(hookspecs, name) for name in vars(hookspecs) if name.startswith("musicfw_")]


def page(name):
    return (REFERENCE / name).read_text(encoding="utf-8")


def headings(text, level):
    return re.findall(rf"^{'#' * level} (.*)$", text, flags=re.MULTILINE)


def test_the_headings_of_the_hooks_are_their_signatures():
    expected = {f"`{hook.__name__}{inspect.signature(hook)}`".replace("'", "") for hook in HOOKS}
    assert set(headings(page("hooks.md"), 3)) == expected


def test_every_error_code_has_a_section_in_the_order_of_the_code():
    found = [heading.strip("`") for heading in headings(page("errors.md"), 3)]
    assert found == list(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_section_of_an_error_names_cause_and_fix_and_shows_the_message(code):
    filled = generated.fill(page("errors.md"))
    section = filled.partition(f"### `{code}`\n")[2].partition("\n##")[0]
    cause, fix = (
        re.search(rf"\*\*{word}\.\*\* (.+?)(?:\n\n|\Z)", section, re.DOTALL)
        for word in ("Cause", "Fix")
    )
    assert cause is not None
    assert fix is not None
    assert len(cause[1].split()) >= 8
    assert len(fix[1].split()) >= 4
    assert CODES[code] in section
    assert f"error[{code}]" in section


@pytest.mark.parametrize("command", ["", *cli.cli.commands])
def test_the_help_of_a_command_is_what_it_prints(command):
    words = [command] if command else []
    done = subprocess.run(
        [sys.executable, "-m", "musicfw", *words, "--help"],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = done.stdout
    line = " ".join(["musicfw", *words])
    assert f"```console\n$ {line} --help\n{printed.rstrip()}\n```" in generated.fill(page("cli.md"))


@pytest.mark.parametrize("kind", ["dataset", "backend", "solver", "policy"])
def test_the_spec_reference_has_every_option_with_its_help(kind):
    registry = mf.Registry.from_modules()
    filled = generated.fill(page("spec.md"))
    for name in registry.names(kind):
        factory = registry.find(kind, name).factory
        section = filled.partition(f"### `{name}`\n")[2].partition("\n##")[0]
        keys = [field.rstrip("_") for field in factory.params.__dataclass_fields__]
        assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == keys


def test_the_spec_reference_has_what_the_plugins_of_the_repository_provide():
    filled = generated.fill(page("spec.md"))
    for name in ("lsmr", "lsmr-damped", "huber", "somrl-autoencoder"):
        assert f"### `{name}`\n" in filled


def test_a_comment_that_names_nothing_generated_is_refused():
    with pytest.raises(KeyError):
        generated.fill("<!-- generated: nothing -->")


MODULES = [
    "musicfw",
    "musicfw.api",
    "musicfw.plot",
    "musicfw.sklearn",
    "musicfw.augment",
]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_api_reference(name):
    if name in ("musicfw.sklearn", "musicfw.augment"):
        pytest.importorskip("sklearn")
        pytest.importorskip("imblearn")
    module = importlib.import_module(name)
    listed = set(re.findall(r"^ {3}(musicfw[\w.]+)$", page("api.md"), flags=re.MULTILINE))
    public = {n for n in module.__all__ if not n.startswith("__")}
    # What musicfw.api passes on is listed where it is from; types of arrays have no page.
    passed_on = {n for n in public if name != "musicfw" and n in mf.__all__}
    passed_on |= {n for n in public if n.endswith("Array")}
    assert {f"{name}.{n}" for n in public - passed_on} - listed == set()
    assert all(f"`{n}`" in page("api.md") for n in passed_on)
    listed -= {"musicfw.testing"}  # a page of its own
    assert {n for n in listed if n.rpartition(".")[0] == name} <= {f"{name}.{n}" for n in public}


def test_the_checks_for_plugins_have_a_page_that_lists_all_of_them():
    assert "\n   musicfw.testing\n" in page("api.md")
    template = REFERENCE.parent / "_templates" / "autosummary" / "module.rst"
    assert "functions + classes + exceptions" in template.read_text(encoding="utf-8")


def test_the_summaries_of_public_names_are_sentences():
    for name in api.__all__:
        summary = (inspect.getdoc(getattr(api, name)) or "").partition("\n")[0]
        assert summary, f"{name} has no docstring"
