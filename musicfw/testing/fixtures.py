"""Fixtures for the tests of a plugin, behind ``pytest_plugins = ["musicfw.testing"]``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicfw.plugins import Registry
from musicfw.run import run
from musicfw.run_result import RunResult

__all__ = ["registry_of", "run_yaml"]


@pytest.fixture
def registry_of() -> Callable[..., Registry]:
    """Return ``registry_of(*modules)``: the built-ins and modules that need not be installed."""
    return Registry.from_modules


@pytest.fixture
def run_yaml(tmp_path: Path) -> Callable[..., RunResult]:
    """Return ``run_yaml(text, **rest)``: run a spec in a folder of its own.

    The arguments beside the YAML text are those of `musicfw.run`: registry, overrides, ….
    """
    folders = iter(tmp_path / f"run-{number}" for number in range(1_000_000))

    def call(text: str, **rest: Any) -> RunResult:
        folder = next(folders)
        folder.mkdir()
        spec = folder / "spec.yaml"
        spec.write_text(text, encoding="utf-8")
        return run(spec, **({"out": folder / "out"} | rest))

    return call
