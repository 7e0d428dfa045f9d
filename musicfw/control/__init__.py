"""Control policies: MUSIC and the baselines it is compared with."""

from __future__ import annotations

from musicfw.api import PolicyFactory, hookimpl
from musicfw.control.cluster_mean import CLUSTER_MEAN
from musicfw.control.kmeans_line import KMEANS_LINE
from musicfw.control.music import MUSIC
from musicfw.control.straight_line import STRAIGHT_LINE


@hookimpl
def musicfw_policies() -> list[PolicyFactory]:
    """Return the built-in policies."""
    return [MUSIC, STRAIGHT_LINE, CLUSTER_MEAN, KMEANS_LINE]
