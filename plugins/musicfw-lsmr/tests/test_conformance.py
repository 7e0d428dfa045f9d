"""Both solvers pass every check that musicfw has for solvers."""

from musicfw_lsmr import DAMPED, PLAIN

from musicfw.testing import parametrize_solver


@parametrize_solver(PLAIN)
def test_lsmr(check):
    check()


@parametrize_solver(DAMPED)
def test_lsmr_damped(check):
    check()
