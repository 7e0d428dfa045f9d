"""What ``import musicfw`` loads: it must stay quick."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("hypothesis", "matplotlib", "minisom", "numba", "pydantic", "pytest", "scipy", "sklearn")


def test_importing_musicfw_loads_no_heavy_package():
    code = f"import musicfw, sys; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_reading_a_spec_loads_pydantic_but_neither_figures_nor_backends():
    code = (
        "import musicfw as mf, sys; from musicfw.spec import parse_spec; "
        "text = 'data: {use: gaussian-mixture}\\nmap: {lattice: {rows: 2, columns: 2}}\\n'; "
        "parse_spec(text, source='spec.yaml', registry=mf.load_registry()); "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['pydantic']\n"
