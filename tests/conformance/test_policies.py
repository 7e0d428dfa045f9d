"""The built-in policies keep every law, music in both of its forms."""

from __future__ import annotations

from musicfw.control.cluster_mean import CLUSTER_MEAN
from musicfw.control.kmeans_line import KMEANS_LINE
from musicfw.control.music import MUSIC
from musicfw.control.straight_line import STRAIGHT_LINE
from musicfw.testing import parametrize_policy


@parametrize_policy(MUSIC)
def test_music_keeps_the_laws(check):
    check()


NO_COST = "scope all refuses costs: its spectrum is fixed before they are known"


@parametrize_policy(
    MUSIC,
    options={"scope": "all", "selection": "all"},
    expected_failures={"cost_is_heeded": NO_COST},
)
def test_music_over_all_units_keeps_the_laws(check):
    check()


@parametrize_policy(STRAIGHT_LINE)
def test_straight_line_keeps_the_laws(check):
    check()


@parametrize_policy(CLUSTER_MEAN)
def test_cluster_mean_keeps_the_laws(check):
    check()


@parametrize_policy(KMEANS_LINE)
def test_kmeans_line_keeps_the_laws(check):
    check()
