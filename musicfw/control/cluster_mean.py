"""Policy ``cluster-mean``: a baseline. A straight line to the mean of the target's prototypes."""

from __future__ import annotations

import numpy as np

from musicfw.api import NoParams, PolicyFactory, SteeringProblem
from musicfw.control.straight_line import Line, line_to
from musicfw.errors import UsageError


class ClusterMean:
    """``x(t) = x + (t/T) (mean of the target's prototypes − x)``."""

    def begin(self, problem: SteeringProblem) -> Line:
        """Return the lines of all points."""
        if not problem.approaches:
            raise UsageError(
                "target: the policy 'cluster-mean' needs units to approach, not activations or "
                "units to move away from; use 'music' or 'straight-line'"
            )
        mean = problem.codebook.prototypes[problem.units].mean(axis=0)
        return line_to(problem, np.broadcast_to(mean, problem.points.shape).copy())


CLUSTER_MEAN = PolicyFactory(
    name="cluster-mean",
    params=NoParams,
    build=lambda params: ClusterMean(),
    summary="A baseline: a straight line to the mean of the target's prototypes.",
    traits=frozenset({"bounds", "relevances"}),
)
