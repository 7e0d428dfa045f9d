"""The conformance kit: what every plugin must keep to, as checks with readable failures.

Three doors to one set of checks, for each kind of plugin. In a test file::

    from musicfw.testing import parametrize_solver
    from my_package import MINE

    @parametrize_solver(MINE, expected_failures={"thread_safe": "keeps its last answer"})
    def test_mine_keeps_the_laws(check):
        check()

in a script ``check_solver(MINE)``, which returns records, and ``solver_checks(MINE)``, which yields
(name, callable). The traits of a factory select the checks.

For tests of your own there are Hypothesis strategies (`codebooks`, `points_for`, `run_specs`, …),
and with ``pytest_plugins = ["musicfw.testing"]`` in conftest.py the fixtures
``registry_of(*modules)`` and ``run_yaml(text)``.

Needs hypothesis: ``pip install 'musicfw[testing]'``.
"""

from __future__ import annotations

from musicfw.testing.doors import (
    backend_checks,
    check_backend,
    check_dataset,
    check_plugin,
    check_policy,
    check_solver,
    dataset_checks,
    parametrize_backend,
    parametrize_dataset,
    parametrize_plugin,
    parametrize_policy,
    parametrize_solver,
    plugin_checks,
    policy_checks,
    solver_checks,
)
from musicfw.testing.kit import CheckFailure, CheckRecord, CheckSkipped, CheckStatus
from musicfw.testing.spec_strategies import BrokenSpec, broken_run_specs, run_specs
from musicfw.testing.strategies import (
    activations,
    codebooks,
    ill_conditioned_codebooks,
    lattices,
    points_for,
)

# What ``pytest_plugins = ["musicfw.testing"]`` leads to: the fixtures registry_of and run_yaml.
pytest_plugins = ["musicfw.testing.fixtures"]

__all__ = [
    "BrokenSpec",
    "CheckFailure",
    "CheckRecord",
    "CheckSkipped",
    "CheckStatus",
    "activations",
    "backend_checks",
    "broken_run_specs",
    "check_backend",
    "check_dataset",
    "check_plugin",
    "check_policy",
    "check_solver",
    "codebooks",
    "dataset_checks",
    "ill_conditioned_codebooks",
    "lattices",
    "parametrize_backend",
    "parametrize_dataset",
    "parametrize_plugin",
    "parametrize_policy",
    "parametrize_solver",
    "plugin_checks",
    "points_for",
    "policy_checks",
    "run_specs",
    "solver_checks",
]
