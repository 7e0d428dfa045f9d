"""The example of a table with gaps, categories and names, as a script and as a run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import musicfw as mf

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [
    *("colour=green", "colour=red", "colour=russet"),
    *("weight_g", "diameter_mm", "sugar_brix", "firmness_n"),
]


def test_the_script_fills_inverts_and_names_what_changes():
    pytest.importorskip("pandas", reason="pandas is not installed")
    script = [sys.executable, "-W", "error", str(EXAMPLES / "apples.py")]
    out = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert "180 apples, 65 of 900 values missing" in out
    assert "(arrived: True)" in out
    assert "sugar_brix" in out.split("arrived")[1]
    assert "colour=" not in out.split("arrived")[1]  # they are frozen


def test_the_run_names_the_categories_and_tells_of_the_gaps(tmp_path):
    overrides = ["report.figures=false"]
    result = mf.run(EXAMPLES / "apples.yaml", out=tmp_path / "out", overrides=overrides)
    assert list(result.map.feature_names) == NAMES
    assert result.trajectories["any-colour"].reached.all()
    same = result.trajectories["same-colour"].points
    colours = same[..., :3]
    np.testing.assert_array_equal(np.broadcast_to(colours[:1], colours.shape), colours)
    facts = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert "values are missing, in 57 of 180 rows" in facts["warnings"][0]
    assert facts["statuses"]["invert"]["exact"] == {"EXACT": 54}
