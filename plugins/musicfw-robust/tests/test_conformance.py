"""The solver passes every check that musicfw has for solvers."""

from musicfw_robust import HUBER

from musicfw.testing import parametrize_solver


@parametrize_solver(HUBER)
def test_huber(check):
    check()
