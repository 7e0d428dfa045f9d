"""A module imports only from lower layers: one datum's way has one direction."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import musicfw

PACKAGE = Path(musicfw.__file__).parent

# Lowest first. A name stands for a module or for a whole sub-package.
LAYERS = (
    {"errors"},
    {"frames", "sparse"},
    {"arrays", "atomic", "yaml12"},
    {"yamlpos", "lattice", "geometry", "status"},
    {"missing", "noise"},
    {"codebook", "dataset"},
    {"types", "axes", "lifted"},
    {"api", "run_result", "scaling", "gauss_newton", "range_fit"},
    {"hookspecs", "som", "solvers", "datasets", "expected"},
    {"control", "params", "discovery", "checkpoint"},
    {"conflicts"},
    {"plugins", "feature_weights", "stream_checks"},
    {"embeddings", "fit", "stream_axes"},
    {"training_data", "stream_state"},
    {"train", "invert", "stream_trainer"},
    {"walk", "measures", "cluster_scores", "standard_errors"},
    {"steer", "metrics", "stream", "relevance_scores"},
    {"evaluate"},
    {"sections", "store", "plot", "report_words", "spec_paths", "sklearn"},
    {"report_figures"},
    {"spec", "schema", "report", "run_directory", "rows", "comparison"},
    {"provenance"},
    {"run", "augment"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def home(module: str) -> str:
    """Return the top part of a dotted name below musicfw."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path):
    """Yield (line, dotted name) of every import of musicfw in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "musicfw":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "musicfw":
                for alias in node.names:
                    is_module = (PACKAGE / alias.name).exists() or (
                        PACKAGE / f"{alias.name}.py"
                    ).exists()
                    yield node.lineno, f"musicfw.{alias.name}" if is_module else "musicfw"
            elif node.module and node.module.split(".")[0] == "musicfw":
                yield node.lineno, node.module


def type_checking_lines(path: Path) -> set[int]:
    """Return the lines below ``if TYPE_CHECKING:``, which are never run."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "testing" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_imports_only_from_lower_layers(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert own in RANK, f"{own} has no layer yet: add it to LAYERS"
    skipped = type_checking_lines(path)
    for line, module in imports(path):
        other = home(module)
        if other == "testing":
            assert own == "cli", f"{path.name}:{line} imports {module}, which is for authors only"
            continue
        if line in skipped or other == own or (other == "__init__" and own in ("cli", "__main__")):
            continue
        assert RANK[other] < RANK[own], (
            f"{path.name}:{line} imports {module} (layer {RANK[other]}) from layer {RANK[own]}"
        )


def test_every_layer_exists():
    names = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES}
    assert set(RANK) == names
