"""The solver passes every check that musicfw has for solvers."""

from musicfw.testing import parametrize_solver
from musicfw_robust import HUBER


@parametrize_solver(HUBER)
def test_huber(check):
    check()
