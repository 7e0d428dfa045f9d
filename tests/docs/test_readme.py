"""The README's Python runs as it stands, and its tables name what is there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import musicfw as mf

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_python_example_recovers_digits_and_moves_them(capsys):
    pytest.importorskip("sklearn", reason="the example uses scikit-learn's digits")
    names = {}
    example, constrained, _ = blocks("python")
    exec(example, names)
    assert abs(names["inverted"].points - names["X"][:200]).max() < 1e-8
    assert names["path"].points.shape == (61, 5, 64)
    assert "196 prototypes span" in capsys.readouterr().out
    exec(constrained, names)
    moved = names["change"].points - names["X"][0]
    assert not moved[:, :, [3, 4]].any()
    assert names["change"].reached.all()
    assert capsys.readouterr().out.count("%") == 3


def test_the_plugin_example_is_a_solver_that_works():
    names = {}
    exec(blocks("python")[2], names)
    plugin = SimpleNamespace(__name__="readme", musicfw_solvers=names["musicfw_solvers"])
    registry = mf.Registry.from_modules(plugin)
    rng = np.random.default_rng(0)
    codebook = mf.Codebook(prototypes=rng.normal(size=(12, 4)))
    points = rng.normal(size=(3, 4))
    inverted = mf.invert(
        codebook, codebook.squared_distances(points), solver="lstsq", registry=registry
    )
    np.testing.assert_allclose(inverted.points, points, rtol=1e-12, atol=1e-12)
    assert (inverted.status == mf.Status.EXACT).all()


def test_the_tables_name_what_is_installed():
    registry = mf.Registry.from_modules()
    for kind in ("dataset", "backend", "solver", "policy"):
        for name in registry.names(kind):
            assert f"`{name}`" in TEXT, f"the README's table lacks the {kind} {name}"


def test_the_yaml_example_is_a_valid_spec():
    from musicfw.spec import parse_spec

    (text,) = blocks("yaml")
    assert yaml.safe_load(text)["seed"] == 0
    spec = parse_spec(text, source="README.md", registry=mf.Registry.from_modules())
    assert [section.id for section in spec.control] == ["music"]
