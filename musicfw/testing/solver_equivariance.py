"""Checks of solvers: moving, turning, scaling and reordering the map does so to the answer."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from musicfw.arrays import BoolArray, FloatArray
from musicfw.codebook import Codebook
from musicfw.testing.examples import for_all
from musicfw.testing.kit import Subject, check
from musicfw.testing.solver_scenes import agree, factorised, inverter, scenes, solved, systems
from musicfw.testing.strategies import codebooks, orthogonal, seeds
from musicfw.testing.tolerances import recovery_bound, solution_bound


@check(
    "solver",
    advice="work with system.matrix, which is centred, not with system.prototypes; the host adds "
    "the centroid",
)
def translation_equivariance(subject: Subject) -> None:
    """A map that is moved as a whole gives answers that are moved by as much.

    Within the `tolerances.recovery_bound` of both maps.
    """

    def law(codebook: Codebook, points: FloatArray, shift: float) -> None:
        offset = shift * np.arange(1, codebook.dimension + 1) * np.abs(codebook.prototypes).max()
        moved = Codebook(prototypes=codebook.prototypes + offset)
        points = points[with_one_winner(codebook.squared_distances(points))]
        if points.size == 0:  # an empty batch is what another check is about
            return
        distances = codebook.squared_distances(points)
        here = inverter(subject, codebook)(distances).points
        there = inverter(subject, moved)(distances).points
        allowed = recovery_bound(codebook.prototypes, points)
        allowed = allowed + recovery_bound(moved.prototypes, points + offset)
        agree(there - offset, here, allowed, "the answer to move with the map")

    cases = scenes(codebooks(rank="full")).flatmap(
        lambda case: st.fixed_dictionaries(
            {k: st.just(v) for k, v in case.items()}
            | {"shift": st.sampled_from([1.0, -1.0, 16.0, 1024.0])}
        )
    )
    for_all(law, cases, examples=25)


@check("solver", advice="treat all directions alike: no feature is special")
def rotation_equivariance(subject: Subject) -> None:
    """A map that is turned gives answers that are turned alike.

    Within twice the `tolerances.recovery_bound`: turning rounds the prototypes by eps once more.
    """

    def law(codebook: Codebook, points: FloatArray, seed: int) -> None:
        rotation = orthogonal(np.random.default_rng(seed), codebook.dimension)
        turned = Codebook(prototypes=codebook.prototypes @ rotation)
        points = points[with_one_winner(codebook.squared_distances(points))]
        if points.size == 0:  # an empty batch is what another check is about
            return
        distances = codebook.squared_distances(points)
        here = inverter(subject, codebook)(distances).points
        there = inverter(subject, turned)(distances).points
        allowed = recovery_bound(codebook.prototypes, points)
        allowed = allowed + recovery_bound(turned.prototypes, points @ rotation)
        agree(there @ rotation.T, here, allowed, "the answer to turn with the map")

    for_all(law, _with_seed(codebooks(rank="full")), examples=25)


@check(
    "solver",
    without="regularised",
    advice="make every threshold relative to the largest singular value",
)
def scale_equivariance(subject: Subject) -> None:
    """A map in other units gives the answer in those units.

    Within twice the `tolerances.recovery_bound`, which scales too; the factors are powers of two,
    so that nothing is rounded.
    """

    def law(codebook: Codebook, points: FloatArray, power: int) -> None:
        factor = 2.0**power
        scaled = Codebook(prototypes=codebook.prototypes * factor)
        distances = codebook.squared_distances(points)
        here = inverter(subject, codebook)(distances).points
        there = inverter(subject, scaled)(distances * factor**2).points
        allowed = 2 * recovery_bound(codebook.prototypes, points)
        agree(there / factor, here, allowed, f"the same answer in units of 2^{power}")

    cases = scenes(codebooks(rank="full")).flatmap(
        lambda case: st.fixed_dictionaries(
            {k: st.just(v) for k, v in case.items()} | {"power": st.integers(-30, 30)}
        )
    )
    for_all(law, cases, examples=25)


@check("solver", advice="use row i of the right-hand side with row i of the matrix, all alike")
def permutation_equivariance(subject: Subject) -> None:
    """The order of the units does not matter, noise in the distances or not.

    Within `tolerances.solution_bound` of both orders: sums are rounded in another order.
    """

    def law(codebook: Codebook, rhs: FloatArray, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(codebook.units)
        system, factorisation = factorised(subject, codebook)
        rhs = rhs[:, with_one_winner(system.squared_norms - 2.0 * rhs.T)]
        if rhs.size == 0:  # an empty batch is what another check is about
            return
        here = solved(factorisation, system, rhs)
        other = Codebook(prototypes=codebook.prototypes[order])
        other_system, other_factorisation = factorised(subject, other)
        there = solved(other_factorisation, other_system, rhs[order])
        allowed = 2 * solution_bound(system, rhs, here)
        # The centroid is a sum in another order, too: V is known to eps·max|w| only.
        far = np.abs(codebook.prototypes).max() / system.singular_values.max(initial=1e-300)
        agree(there, here, allowed * (1.0 + far), "the same answer for units in any order", axis=0)

    cases = systems(rank="full", max_dim=4).flatmap(
        lambda case: st.fixed_dictionaries(
            {k: st.just(v) for k, v in case.items()} | {"seed": seeds()}
        )
    )
    for_all(law, cases, examples=25)


def with_one_winner(distances: FloatArray) -> BoolArray:
    """Return which rows of distances (N, M), up to a common shift, have one smallest by far.

    A solver may start from the nearest prototype, and rounding decides between equal ones.
    """
    if distances.shape[1] < 2:
        return np.ones(len(distances), dtype=np.bool_)
    two = np.partition(distances, 1, axis=1)[:, :2]
    return np.asarray(two[:, 1] - two[:, 0] > 1e-6 * np.abs(distances).max(axis=1))


def _with_seed(books: st.SearchStrategy[Codebook]) -> st.SearchStrategy[dict[str, object]]:
    return scenes(books).flatmap(
        lambda case: st.fixed_dictionaries(
            {k: st.just(v) for k, v in case.items()} | {"seed": seeds()}
        )
    )
