"""Every built-in keeps the laws: all of them at their defaults, some at other options.

What a built-in does not keep at some options is said here, with the reason; if it does keep it one
day, the test fails. Data sources have a file of their own, for most of them read files.
"""

from __future__ import annotations

import pytest

import musicfw as mf
from musicfw.control.music import MUSIC
from musicfw.solvers import MAXIMUM_LIKELIHOOD, RIDGE, TRUNCATED_SVD
from musicfw.som import MINISOM, NATIVE
from musicfw.testing import (
    parametrize_backend,
    parametrize_policy,
    parametrize_solver,
    plugin_checks,
)

REGISTRY = mf.Registry.from_modules()
AT_DEFAULTS = [
    pytest.param(call, id=f"{kind}-{factory.name}-{name}")
    for kind in ("solver", "backend", "policy")
    for factory in REGISTRY.factories(kind)
    for name, call in plugin_checks(kind, factory)
]


@pytest.mark.parametrize("check", AT_DEFAULTS)
def test_a_built_in_keeps_the_laws_at_its_defaults(check):
    check()


@parametrize_solver(RIDGE, options={"alpha": 10.0})
def test_a_strong_ridge_keeps_the_laws(check):
    check()


@parametrize_solver(TRUNCATED_SVD, options={"rcond": 1e-3})
def test_truncated_svd_with_a_threshold_keeps_the_laws(check):
    check()


@parametrize_solver(MAXIMUM_LIKELIHOOD, options={"errors": "absolute"})
def test_maximum_likelihood_with_equal_weights_keeps_the_laws(check):
    check()


@parametrize_solver(MAXIMUM_LIKELIHOOD, options={"errors": "relative"})
def test_maximum_likelihood_with_relative_weights_keeps_the_laws(check):
    check()


@parametrize_backend(NATIVE, options={"mode": "batch"})
def test_native_in_mode_batch_keeps_the_laws(check):
    check()


@parametrize_backend(NATIVE, options={"mode": "progressive"})
def test_native_in_mode_progressive_keeps_the_laws(check):
    check()


NO_WEIGHTS = "mode online refuses weights: its learning rate says how much a point counts"


@parametrize_backend(
    NATIVE,
    options={"mode": "online", "epochs": 2},
    expected_failures={"statistics_merge": NO_WEIGHTS},
)
def test_native_in_mode_online_keeps_the_laws(check):
    check()


@parametrize_backend(MINISOM, options={"mode": "batch"})
def test_minisom_in_mode_batch_keeps_the_laws(check):
    check()


NO_COST = "scope all refuses costs: its spectrum is fixed before they are known"


@parametrize_policy(
    MUSIC,
    options={"scope": "all", "selection": "all"},
    expected_failures={"cost_is_heeded": NO_COST},
)
def test_music_over_all_units_keeps_the_laws(check):
    check()


@parametrize_policy(MUSIC, options={"scope": "all"}, expected_failures={"cost_is_heeded": NO_COST})
def test_music_that_reselects_over_all_units_keeps_the_laws(check):
    check()
