"""Hypothesis strategies for maps: lattices, codebooks, points and activations.

Codebooks and points are made of small integers times a power of two, plus an offset. So they are
stored without rounding, their rank is known, and a failing example shrinks to one that can be read.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import DrawFn, SearchStrategy

from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.geometry import centred_system
from musicfw.lattice import Lattice

__all__ = [
    "activations",
    "codebooks",
    "conditioned_prototypes",
    "ill_conditioned_codebooks",
    "lattices",
    "orthogonal",
    "points_for",
    "seeds",
]


def seeds() -> SearchStrategy[int]:
    """Return seeds of a numpy Generator."""
    return st.integers(0, 2**32 - 1)


def integers(rows: int, columns: int, *, largest: int) -> SearchStrategy[IntArray]:
    """Return integer matrices (rows, columns) with entries of at most ``largest`` in size."""
    return hnp.arrays(
        np.int64, (rows, columns), elements=st.integers(-largest, largest), fill=st.nothing()
    )


@st.composite
def lattices(draw: DrawFn, *, largest: int = 6) -> Lattice:
    """Return lattices of both topologies, planar, cylindrical and toroidal, from one unit up.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    largest : int
        Greatest number of rows and columns; a hexagonal torus may have one row more.
    """
    topology: Any = draw(st.sampled_from(["rectangular", "hexagonal"]))
    borders = draw(st.sampled_from(["planar", "cylindrical", "toroidal"]))
    rows, columns = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    if topology == "hexagonal" and borders == "toroidal":
        rows += rows % 2
    joined = {} if borders == "planar" else {borders: True}
    return Lattice(rows=rows, columns=columns, topology=topology, **joined)


@st.composite
def codebooks(
    draw: DrawFn,
    *,
    min_dim: int = 1,
    max_dim: int = 5,
    min_units: int = 1,
    max_units: int = 12,
    rank: Literal["full", "deficient"] | int | None = None,
) -> Codebook:
    """Return codebooks of a known affine rank, at several scales and offsets from the origin.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    min_dim, max_dim : int
        Range of D.
    min_units, max_units : int
        Range of M; M is at least rank + 1.
    rank : {"full", "deficient"} or int, optional
        Affine rank r: D, less than D, or this number; any by default.
    """
    dimension, r = draw(_dimension_and_rank(min_dim, max_dim, max_units, rank))
    units = draw(st.integers(max(min_units, r + 1), max_units))
    coordinates = np.vstack([np.zeros((1, r)), draw(_independent(r)), np.zeros((units - r - 1, r))])
    coordinates[r + 1 :] = draw(integers(units - r - 1, r, largest=4))
    directions = np.hstack([np.eye(r), draw(integers(r, dimension - r, largest=2))])
    offset = draw(st.sampled_from([0.0, 1.0, 1000.0]))
    scale = 2.0 ** draw(st.sampled_from([0, -10, 10]))
    order = _shuffled(units, draw(st.integers(0, 1000)))
    return Codebook(prototypes=scale * (coordinates @ directions + offset)[order])


@st.composite
def _dimension_and_rank(
    draw: DrawFn,
    min_dim: int,
    max_dim: int,
    max_units: int,
    rank: Literal["full", "deficient"] | int | None,
) -> tuple[int, int]:
    """Return a number of features D and a rank r that the limits of `codebooks` allow."""
    ranks = {"full": min_dim, "deficient": 0, None: 0}
    lowest = rank if isinstance(rank, int) else ranks[rank]
    if lowest > max_dim or lowest >= max_units:
        raise UsageError(
            f"codebooks: expected max_dim of at least the rank {lowest} and max_units above it, "
            f"got {max_dim} and {max_units}"
        )
    most = min(max_dim, max_units - 1) if rank == "full" else max_dim
    least = max(min_dim, lowest, 1)
    dimension = draw(st.integers(least, most))
    if rank == "full":
        return dimension, dimension
    if isinstance(rank, int):
        return dimension, rank
    most = min(dimension - (rank == "deficient"), max_units - 1)
    return dimension, draw(st.integers(0, most))


@st.composite
def _independent(draw: DrawFn, r: int) -> FloatArray:
    """Return r linearly independent rows: a unit lower triangular matrix."""
    return np.eye(r) + np.tril(draw(integers(r, r, largest=2)), -1)


def _shuffled(count: int, seed: int) -> IntArray:
    """Return a permutation; seed 0 leaves everything in its place."""
    order = np.arange(count)
    return order if seed == 0 else np.random.default_rng(seed).permutation(order)


@st.composite
def ill_conditioned_codebooks(
    draw: DrawFn, condition: float, *, min_dim: int = 2, max_dim: int = 8
) -> Codebook:
    """Return codebooks of full rank whose centred prototypes have this condition number.

    The singular values fall evenly (by a constant factor) from 1 to ``1 / condition``, along
    directions that no axis is parallel to.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    condition : float
        ``σ₁ / σ_D``, at least 1.
    min_dim, max_dim : int
        Range of D; in one dimension every condition is 1.
    """
    dimension = draw(st.integers(min_dim, max_dim))
    units = draw(st.integers(dimension + 1, 2 * dimension + 2))
    rng = np.random.default_rng(draw(seeds()))
    return Codebook(prototypes=conditioned_prototypes(rng, units, dimension, condition=condition))


def conditioned_prototypes(
    rng: np.random.Generator, units: int, dimension: int, *, condition: float
) -> FloatArray:
    """Return random centred prototypes (units, dimension) with this condition number."""
    left, _ = np.linalg.qr(rng.normal(size=(units, dimension)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    sigma = np.geomspace(1.0, 1.0 / condition, dimension)
    return np.asarray((left * sigma) @ orthogonal(rng, dimension).T)


def orthogonal(rng: np.random.Generator, size: int) -> FloatArray:
    """Return a random orthogonal matrix (size, size), uniformly distributed."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    return np.asarray(q * np.sign(np.diag(r)))


@st.composite
def points_for(
    draw: DrawFn, codebook: Codebook, *, max_points: int = 4, in_hull: bool = False
) -> FloatArray:
    """Return points (N, D), N at least 1, near the prototypes of a codebook and between them.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    codebook : Codebook
        Whose features the points have.
    max_points : int
        Greatest N.
    in_hull : bool
        Only points of the prototypes' affine hull.
    """
    count = draw(st.integers(1, max_points))
    prototypes = codebook.prototypes
    edges = prototypes - prototypes[0]
    if in_hull:
        shares = draw(integers(count, codebook.units, largest=2)) / 2.0
        return np.asarray(prototypes[0] + shares @ edges)
    offset = draw(integers(count, codebook.dimension, largest=8)) / 4.0
    return np.asarray(prototypes[0] + extent_of(codebook) * offset)


def extent_of(codebook: Codebook) -> float:
    """Return the power of two just below the greatest difference of two prototypes, or 1."""
    extent = np.abs(codebook.prototypes - codebook.prototypes[0]).max()
    return float(2.0 ** np.floor(np.log2(extent))) if extent > 0.0 else 1.0


@st.composite
def activations(draw: DrawFn, codebook: Codebook, *, realizable: bool = True) -> FloatArray:
    """Return squared distances (N, M) that points have, or that no point has.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    codebook : Codebook
        Of M units.
    realizable : bool
        Whether there is a point with these distances.

    Raises
    ------
    UsageError
        For ``realizable=False`` and a codebook of ``M = r + 1 ≤ D`` units: all distances that are
        large enough then belong to a point.
    """
    distances = codebook.squared_distances(draw(points_for(codebook)))
    if realizable:
        return distances
    system = centred_system(codebook.prototypes)
    spanned = np.column_stack([system.left, np.ones(system.units)])
    if system.units > system.affine_rank + 1:
        # Neither linear in the prototypes nor common to all units; then lifted above 0.
        foreign = np.linalg.svd(spanned, full_matrices=True)[0][:, -1]
        wrong = foreign - foreign.min()
    elif system.affine_rank == system.dimension:
        wrong = np.ones(system.units)  # the point is determined, and so is its distance
    else:
        raise UsageError(
            f"activations: {system.units} units in {system.dimension} dimensions have no "
            f"unrealizable activations; give the codebook {system.affine_rank + 2} units or more"
        )
    size = draw(st.integers(1, 8)) / 8.0 * max(float(distances.max()), 1.0)
    return np.asarray(distances + size * wrong)
