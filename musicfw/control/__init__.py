"""Control policies: MUSIC and the straight line it is compared with."""

from __future__ import annotations

from musicfw.api import PolicyFactory, hookimpl
from musicfw.control.music import MUSIC
from musicfw.control.straight_line import STRAIGHT_LINE


@hookimpl
def musicfw_policies() -> list[PolicyFactory]:
    """Return the built-in policies."""
    return [MUSIC, STRAIGHT_LINE]
