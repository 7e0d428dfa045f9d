"""Sphinx configuration: ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import musicfw  # noqa: E402

project = "musicfw"
author = "the musicfw developers"
project_copyright = f"2026, {author}"
release = version = musicfw.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_copybutton",
    "musicfw_docs",
]
exclude_patterns = ["_build", "changelog.d", "_ext"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# In docstrings `name` stands for the object of that name, where there is one.
default_role = "py:obj"
autosummary_generate = True
# A module's page lists its __all__, wherever the names are defined.
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

smartquotes = False

html_theme = "pydata_sphinx_theme"
html_title = "musicfw"
html_static_path = ["_static"]
html_css_files = ["musicfw.css"]
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
html_sidebars = {
    "index": [],
    "tutorial/*": [],
    "quickstart": [],
    "results": [],
    "changelog": [],
    "contributing": [],
}
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
