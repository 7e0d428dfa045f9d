"""Training backends: native, relevance and MiniSom; quality measures and clusters of a map."""

from __future__ import annotations

from musicfw.api import BackendFactory, hookimpl
from musicfw.som.minisom_adapter import MINISOM
from musicfw.som.native import NATIVE
from musicfw.som.relevance import RELEVANCE


@hookimpl
def musicfw_backends() -> list[BackendFactory]:
    """Return the built-in training backends."""
    return [NATIVE, RELEVANCE, MINISOM]
