"""The solver passes the checks that musicfw has for solvers, but for those stated here."""

import pytest
from musicfw_robust import HUBER

from musicfw.testing import CheckSkipped, solver_checks

ALWAYS = {
    "shrinkage_monotone": "weighs distances by residuals: no filter of singular directions",
}
# With hardly more prototypes than features, several answers to distances of no point are as good,
# and rounding decides between them: it depends on the machine whether an example shows it.
SOMETIMES = {
    "batch_equals_loop": "rounding differs between a batch and a single column",
    "permutation_equivariance": "rounding differs with the order of the units",
}


@pytest.mark.parametrize(("name", "check"), list(solver_checks(HUBER)))
def test_huber(name, check, request):
    reason = (ALWAYS | SOMETIMES).get(name)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=name in ALWAYS))
    try:
        check()
    except CheckSkipped as skipped:
        pytest.skip(str(skipped))
