"""Relative paths of data in a spec: what they are relative to.

As users of YAML tools expect, a path written in a file is relative to that file's folder, so that
a spec means the same from wherever it is run; if nothing is there, it is relative to the working
directory, as is a path given with ``--set``. The paths are made absolute when a spec is read: the
resolved spec in a run directory then names the same files.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from musicfw.yamlpos import Document

if TYPE_CHECKING:
    from musicfw.sections import RunSpec

_OVERRIDE = "<--set"


def with_located_paths(spec: RunSpec, document: Document, *, folder: Path) -> RunSpec:
    """Return the spec with absolute paths in the params of its data set.

    Parameters
    ----------
    spec : RunSpec
        Options made with ``param(…, is_path=True)`` are paths; empty ones stay as they are, and so
        do those that begin with ``~``.
    document : Document
        Where they were written, below ``data.with``.
    folder : Path
        That of the spec.
    """
    params, located = spec.data.with_, {}
    for option in dataclasses.fields(params):
        given = getattr(params, option.name)
        if not option.metadata.get("is_path") or not given or given.startswith("~"):
            continue
        mark = document.mark(("data", "with", option.name.rstrip("_")))
        here = mark.source.startswith(_OVERRIDE)
        located[option.name] = _located(given, Path() if here else folder)
    if not located:
        return spec
    data = dataclasses.replace(spec.data, with_=dataclasses.replace(params, **located))
    return dataclasses.replace(spec, data=data)


def _located(given: str, folder: Path) -> str:
    beside, here = (os.path.abspath(start / given) for start in (folder, Path()))  # noqa: PTH100
    return here if os.path.exists(here) and not os.path.exists(beside) else beside  # noqa: PTH110
