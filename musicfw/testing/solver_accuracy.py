"""Checks of solvers: that they solve the system, and how exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.params import build_params, params_to_tree
from musicfw.status import Status
from musicfw.testing.examples import for_all
from musicfw.testing.kit import Subject, ViolationError, check
from musicfw.testing.solver_scenes import agree, factorised, inverter, scenes, solved, systems
from musicfw.testing.strategies import codebooks, ill_conditioned_codebooks
from musicfw.testing.tolerances import EPS, RATIO, recovery_bound, rounding_of_rhs

_EXPONENTS = range(7)


@check(
    "solver",
    without="regularised",
    advice="solve V u = b itself, all of its rows, in float64 and without a penalty; a solver that "
    "means to leave a residual declares the trait 'regularised'",
)
def round_trip(subject: Subject) -> None:
    """A point comes back from its own distances if the prototypes span the space.

    Within `tolerances.recovery_bound`: the rounding of the distances divided by 2 σ_r.
    """

    def law(codebook: Codebook, points: FloatArray) -> None:
        found = inverter(subject, codebook)(codebook.squared_distances(points))
        allowed = recovery_bound(codebook.prototypes, points)
        agree(found.points, points, allowed, "every point back from its distances")

    for_all(law, scenes(codebooks(rank="full")), examples=40)


@check(
    "solver",
    without="regularised",
    advice="use an orthogonal factorisation (QR, SVD) of V; never form VᵀV, which squares the "
    "condition number, and drop no singular value above max(M, D)·eps·σ₁",
)
def error_scales_with_condition(subject: Subject) -> None:
    """The error grows no faster than the condition number σ₁/σ_r, from 1 to 1e6.

    Within `tolerances.recovery_bound`, linear in 1/σ_r. The normal equations pass every other check
    and exceed it by the condition number.
    """
    for exponent in _EXPONENTS:

        def law(codebook: Codebook, points: FloatArray, exponent: int = exponent) -> None:
            found = inverter(subject, codebook)(codebook.squared_distances(points))
            allowed = recovery_bound(codebook.prototypes, points)
            agree(found.points, points, allowed, f"at condition 1e{exponent} every point back")

        for_all(law, scenes(ill_conditioned_codebooks(10.0**exponent)), examples=6)


@check(
    "solver",
    without=("regularised", "uncentred"),
    advice="minimise ||V u − b|| over all M rows; D+1 of them are enough only without noise",
)
def least_squares_optimal(subject: Subject) -> None:
    """The residual is orthogonal to the columns of V, whatever the right-hand side.

    ``||Vᵀ(V u − b)|| ≤ C · eps · √M · σ₁ (||b|| + η + σ₁ ||u||)``: a backward stable u solves the
    problem of a V and b that are off by eps (Higham 2002, theorem 20.3), η is the
    `tolerances.rounding_of_rhs`.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        u = solved(factorisation, system, rhs)
        gradient = np.linalg.norm(system.matrix.T @ (system.matrix @ u - rhs), axis=0)
        first = system.singular_values.max(initial=0.0)
        size = np.linalg.norm(rhs, axis=0) + first * np.linalg.norm(u, axis=0)
        size = size + rounding_of_rhs(system, u)
        allowed = RATIO * EPS * np.sqrt(system.units) * first * size
        # V itself is known to eps·max|w| only: its columns need not sum to exactly 0.
        allowed += RATIO * EPS * np.abs(codebook.prototypes).max() * system.units * size
        if not (gradient <= allowed).all():
            worst = int(np.flatnonzero(~(gradient <= allowed))[0])
            raise ViolationError(
                f"expected ||Vᵀ(V u − b)|| within {allowed[worst]:.3g}, got {gradient[worst]:.3g}"
            )

    for_all(law, systems(max_dim=4), examples=40)


@check(
    "solver",
    without="regularised",
    advice="of all least-squares solutions return the shortest, V⁺b: one in the span of the "
    "rows of V (numpy.linalg.lstsq and the SVD do; a QR with basic solutions does not)",
)
def minimum_norm(subject: Subject) -> None:
    """Where many solutions fit, the shortest is returned: the projection on the affine hull.

    The part outside the span of V's rows is within ``C · eps · √M · (σ₁/σ_r) ||u||``, the rounding
    of that span, plus ``C · eps · √M · (||b|| + η) / σ_r``, η the `tolerances.rounding_of_rhs`.
    """

    def law(codebook: Codebook, rhs: FloatArray) -> None:
        system, factorisation = factorised(subject, codebook)
        u = solved(factorisation, system, rhs)
        outside = np.linalg.norm(u - system.right @ (system.right.T @ u), axis=0)
        last = system.singular_values[-1] if system.affine_rank else 1.0
        size_b = np.linalg.norm(rhs, axis=0) + rounding_of_rhs(system, u)
        size = system.condition * np.linalg.norm(u, axis=0) + size_b / last
        allowed = RATIO * EPS * np.sqrt(system.units) * size
        if not (outside <= allowed).all():
            worst = int(np.flatnonzero(~(outside <= allowed))[0])
            raise ViolationError(
                f"expected no part outside the prototypes' affine hull (within "
                f"{allowed[worst]:.3g}), got one of length {outside[worst]:.3g}"
            )

    for_all(law, systems(rank="deficient", max_dim=4), examples=40)


@check(
    "solver",
    without="regularised",
    advice="do not guess what the distances do not tell: return the projection on the hull, and "
    "the host reports the length of the rest",
)
def rank_deficiency_is_reported(subject: Subject) -> None:
    """A point outside the prototypes' hull is PROJECTED, with the length of what is hidden.

    The square of that length is a difference of squares of size s², hence its tolerance
    ``4 s · recovery_bound + (1e-6 s)²``, s the distance to the centroid plus the hidden length.
    """

    def law(codebook: Codebook, points: FloatArray) -> None:
        system, _ = factorised(subject, codebook)
        offset = points - system.centroid
        inside = offset @ system.right @ system.right.T
        hidden = np.linalg.norm(offset - inside, axis=1)
        scale = np.linalg.norm(offset, axis=1) + hidden
        far = hidden > 1e-3 * scale
        found = inverter(subject, codebook)(codebook.squared_distances(points))
        for n in np.flatnonzero(far):
            if found.status[n] != Status.PROJECTED:
                raise ViolationError(
                    f"expected the status PROJECTED for a point {hidden[n]:.3g} outside the "
                    f"hull, got {Status(found.status[n]).name}"
                )
        allowed = 4 * scale * recovery_bound(codebook.prototypes, points) + (1e-6 * scale) ** 2
        error = np.abs(found.hidden_radius**2 - hidden**2)
        if not (error <= allowed)[far].all():
            worst = int(np.flatnonzero(far & ~(error <= allowed))[0])
            raise ViolationError(
                f"expected a hidden radius of {hidden[worst]:.6g}, got "
                f"{found.hidden_radius[worst]:.6g}"
            )

    for_all(law, scenes(codebooks(rank="deficient", min_dim=2, max_dim=4)), examples=30)


@check(
    "solver",
    needs="regularised",
    advice="weigh singular directions by a filter f(σ) with 0 ≤ σ f(σ) ≤ 1 that does not fall "
    "with σ, and let every numeric option change the strength in one direction",
)
def shrinkage_monotone(subject: Subject) -> None:
    """Regularisation shrinks, weak directions at least as much as strong ones, monotonically.

    For b along one singular direction the answer is ``g(σ)`` times the exact one, with g in
    [0, 1] and not falling as σ grows. For any b the answer is no longer than the least-squares
    solution, and its length is monotone in every numeric option. All within
    ``C · eps · √M · ||b|| / σ_r``, the rounding of the least-squares solution.
    """
    for_all(lambda **case: _shares_grow(subject, **case), _spread_out(), examples=20)
    for name in _numeric_options(subject):
        for_all(
            lambda name=name, **case: _length_is_monotone(subject, name, **case),
            systems(rank="full", min_dim=1, max_dim=3),
            examples=10,
        )


def _spread_out() -> st.SearchStrategy[dict[str, object]]:
    books = st.integers(0, 6).flatmap(lambda k: ill_conditioned_codebooks(10.0**k))
    return st.fixed_dictionaries({"codebook": books})


def _shares_grow(subject: Subject, codebook: Codebook) -> None:
    system, factorisation = factorised(subject, codebook)
    sigma = system.singular_values
    # Columns: b = σ_i p_i, whose exact solution is z_i.
    u = solved(factorisation, system, system.left * sigma)
    share = np.einsum("di,di->i", system.right, u)
    slack = RATIO * EPS * np.sqrt(system.units) * sigma[0] / sigma[-1]
    if not (share >= -slack).all() or not (share <= 1.0 + slack).all():
        raise ViolationError(f"expected shares σ f(σ) in [0, 1], got {share.tolist()}")
    if not (np.diff(share) <= slack).all():
        raise ViolationError(
            f"expected shares σ f(σ) that fall from the largest σ to the smallest, got "
            f"{share.tolist()} for σ = {sigma.tolist()}"
        )


def _numeric_options(subject: Subject) -> list[str]:
    tree = params_to_tree(subject.params)
    return [k for k, v in tree.items() if isinstance(v, int | float) and not isinstance(v, bool)]


def _length_is_monotone(subject: Subject, name: str, codebook: Codebook, rhs: FloatArray) -> None:
    lengths, values = [], [0, 1e-9, 1e-6, 1e-3, 1, 2, 10]
    for value in values:
        params, problems = build_params(subject.factory, {**subject.options, name: value})
        if problems:  # outside its bounds, or no whole number
            continue
        fixed = Subject(provided=subject.provided, options=params_to_tree(params))
        system, factorisation = factorised(fixed, codebook)
        lengths.append(np.linalg.norm(solved(factorisation, system, rhs), axis=0))
    if not lengths:
        return
    sigma = system.singular_values
    slack = RATIO * EPS * np.sqrt(system.units) * np.linalg.norm(rhs, axis=0) / sigma[-1]
    slack = slack * system.condition
    exact = np.linalg.norm((system.left.T @ rhs) / sigma[:, np.newaxis], axis=0)
    steps = np.diff(np.array(lengths), axis=0)
    if not (np.array(lengths) <= exact + slack).all():
        raise ViolationError(
            f"expected answers no longer than the least-squares solution ({exact.tolist()}) for "
            f"every {name}, got {np.array(lengths).max(axis=0).tolist()}"
        )
    if not ((steps <= slack).all(axis=0) | (steps >= -slack).all(axis=0)).all():
        raise ViolationError(
            f"expected answers whose length only falls or only grows with {name}, got "
            f"{[length.tolist() for length in lengths]}"
        )
