"""Policy ``music``: lower the distances to chosen prototypes, keep the others.

Source: Londei, Benati, Lanzieri, Loreto 2026, arXiv 2601.13851. One step at x solves, for wanted
changes δ of the squared distances, weights ω and Tikhonov λ,

    Δ = argmin Σ ω_i (J_i Δ − δ_i)² + λ ||Δ||²,     J_i = 2 (x − w_i)ᵀ

over all units (`musicfw.control.global_walk`) or over the nearest ones
(`musicfw.control.local_walk`), and is taken only if it lowers the true objective. Where units
measure with relevances R of their own, ``J_i = 2 R_i∘(x − w_i)``
(`musicfw.control.weighted_walk`, `musicfw.control.metric_hull`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from musicfw.api import PolicyFactory, SteeringProblem, param
from musicfw.control.global_walk import GlobalWalk
from musicfw.control.local_walk import LocalWalk
from musicfw.control.weighted_walk import WeightedWalk


@dataclass(frozen=True, slots=True, kw_only=True)
class MusicParams:
    """Options of the policy ``music``."""

    route: Literal["core", "lattice", "direct"] = param(
        "core",
        help="How a target of several units is approached with selection nearest. core: straight "
        "to the nearest target unit, then over the target's own units to its core, the unit "
        "farthest from all prototypes outside; lattice: along the shortest path over the lattice "
        "to the target; direct: no waypoints.",
    )
    scope: Literal["local", "all"] = param(
        "local",
        help="Whose distances are preserved: those of the active_units nearest units, or of all. "
        "Activations as a target always take all. Where relevances differ by unit, all solves a "
        "system of D equations per point and step: for tens of features.",
    )
    selection: Literal["nearest", "all"] = param(
        "nearest",
        help="What attracts: the next waypoint or, without a route, the nearest selected_units of "
        "the target, chosen anew at every step; or all units of the target at once, without a "
        "route.",
    )
    selected_units: Annotated[int, Ge(1)] = param(
        1, help="With selection nearest and route direct: how many target units attract at once."
    )
    active_units: Annotated[int, Ge(1)] = param(
        8, help="With scope local: how many of the nearest units are preserved."
    )
    rate: Annotated[float, Ge(0), Le(1)] = param(
        0.5, help="Share of a selected squared distance to remove per step."
    )
    selected_weight: Annotated[float, Gt(0)] = param(
        100.0, help="Weight ω of the selected units in the least-squares objective."
    )
    preserve_weight: Annotated[float, Ge(0)] = param(
        1.0, help="Weight ω of the units whose distances are to stay as they are."
    )
    damping: Annotated[float, Gt(0)] | None = param(
        None,
        help="Tikhonov λ relative to the spectrum. With scope all, λ = damping · 4σ₁², σ₁ the "
        "largest singular value of √Ω(W − c) (null: 0.001); step control starts there. With scope "
        "local, λ = damping · the mean eigenvalue of JᵀΩJ over the active units (null: 0.1); step "
        "control stays above it.",
    )
    step_control: Literal["levenberg-marquardt", "fixed"] = param(
        "levenberg-marquardt",
        help="levenberg-marquardt takes only steps that lower the true objective and adapts λ; "
        "fixed is the plain rule, which can diverge with scope all.",
    )
    max_step: Annotated[float, Gt(0)] | None = param(
        None,
        help="Longest step, in the map's units. null: with scope local the length of the route "
        "spread evenly over the steps, else no limit.",
    )
    detail: Annotated[float, Ge(0), Le(1)] | None = param(
        0.35,
        help="With scope local: share of the point's hidden part (what lies outside the hull of "
        "the active prototypes: the texture that prototypes average away) that is kept until "
        "the point lands; then it goes, unless detail is 1. null leaves it to the MUSIC step.",
    )


class Music:
    """The MUSIC rule: chooses the walk that the params ask for.

    Parameters
    ----------
    params : MusicParams
        Options.
    """

    def __init__(self, params: MusicParams) -> None:
        self._params = params

    def begin(self, problem: SteeringProblem) -> GlobalWalk | LocalWalk:
        """Prepare the walk of all points."""
        if self._params.scope == "all" or problem.goals.any():
            weighted = problem.codebook.relevances is not None
            return (WeightedWalk if weighted else GlobalWalk)(problem, self._params)
        return LocalWalk(problem, self._params)


MUSIC = PolicyFactory(
    name="music",
    params=MusicParams,
    build=Music,
    summary="Lower the distances to the target's prototypes, keep the others (MUSIC).",
    traits=frozenset({"bounds", "cost", "relevances"}),
)
