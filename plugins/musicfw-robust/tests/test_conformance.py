"""The solver passes the checks that musicfw has for solvers, but for those stated here."""

import pytest
from musicfw_robust import HUBER

from musicfw.testing import CheckSkipped, solver_checks

EXPECTED = {
    "shrinkage_monotone": "weighs distances by residuals: no filter of singular directions",
}


@pytest.mark.parametrize(("name", "check"), list(solver_checks(HUBER)))
def test_huber(name, check, request):
    if name in EXPECTED:
        request.applymarker(pytest.mark.xfail(reason=EXPECTED[name], strict=True))
    try:
        check()
    except CheckSkipped as skipped:
        pytest.skip(str(skipped))
