"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Derandomised, so that a red run can be repeated; a deadline would time the machine, not the code.
settings.register_profile(
    "musicfw",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("musicfw")
