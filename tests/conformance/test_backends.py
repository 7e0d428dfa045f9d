"""The built-in backends keep every law, in every mode."""

from __future__ import annotations

from musicfw.som import MINISOM, NATIVE
from musicfw.testing import parametrize_backend


@parametrize_backend(NATIVE)
def test_native_keeps_the_laws(check):
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


@parametrize_backend(MINISOM)
def test_minisom_keeps_the_laws(check):
    check()


@parametrize_backend(MINISOM, options={"mode": "batch"})
def test_minisom_in_mode_batch_keeps_the_laws(check):
    check()
