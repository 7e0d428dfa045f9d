"""The built-in solvers keep every law, at their defaults and at other options."""

from __future__ import annotations

from musicfw.solvers import EXACT, RIDGE, TRUNCATED_SVD
from musicfw.testing import parametrize_solver


@parametrize_solver(EXACT)
def test_exact_keeps_the_laws(check):
    check()


@parametrize_solver(RIDGE)
def test_ridge_keeps_the_laws(check):
    check()


@parametrize_solver(TRUNCATED_SVD)
def test_truncated_svd_keeps_the_laws(check):
    check()
