"""Fake distributions on the path, for tests of whatever a plugin can do wrong."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

PREAMBLE = """
from dataclasses import dataclass
import numpy as np
from musicfw.api import (
    BackendFactory, Dataset, DatasetFactory, Move, NoParams, PolicyFactory, RawMap, RawSolution,
    SolverFactory, hookimpl, param,
)
"""


@dataclass
class Site:
    """A folder on ``sys.path`` that distributions can be put into."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def add(self, distribution, code, *, entry_point=None, version="1.0", plain=False, module=None):
        """Add a distribution with one module; return the module's name."""
        module = module or distribution.replace("-", "_")
        text = dedent(code) if plain else PREAMBLE + dedent(code)
        (self.folder / f"{module}.py").write_text(text, encoding="utf-8")
        self.metadata(distribution, f"[musicfw]\n{entry_point or module} = {module}\n", version)
        self.monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    def metadata(self, distribution, entry_points, version="1.0"):
        """Add a distribution without a module."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
        importlib.invalidate_caches()

    @property
    def environment(self):
        """The environment of a child process that sees these distributions."""
        return {**os.environ, "PYTHONPATH": str(self.folder)}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder for distributions on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("MUSICFW_PLUGINS", raising=False)
    before = set(sys.modules)
    yield Site(folder=folder, monkeypatch=monkeypatch)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]
