"""Sphinx extension of this site: generated reference pages, and formulas as MathML.

Browsers show MathML by themselves, so the formulas need neither JavaScript nor a network.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from generated import fill
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = fill(source[0])


def _mathml(formula: str, display: str) -> str:
    made: str = convert(formula, display=display)
    if "\\" in made:
        raise ValueError(f"the formula {formula!r} holds a command that MathML cannot show")
    return made


def _inline(self: Any, node: nodes.Element) -> None:
    self.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.Element) -> None:
    self.body.append(f'<div class="math">{_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does."""
    app.connect("source-read", _fill)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
