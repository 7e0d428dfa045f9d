"""What the checks of solvers share: scenes to solve, and one guarded way to ask a solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from musicfw.api import CentredSystem, Factorisation, RawSolution, SolverFactory
from musicfw.arrays import FloatArray
from musicfw.codebook import Codebook
from musicfw.geometry import centred_system
from musicfw.invert import Inverter
from musicfw.testing.kit import Subject, ViolationError
from musicfw.testing.strategies import codebooks, extent_of, integers, points_for


def scenes(
    books: SearchStrategy[Codebook], *, in_hull: bool = False
) -> SearchStrategy[Mapping[str, Any]]:
    """Return codebooks with points."""
    return books.flatmap(
        lambda book: st.fixed_dictionaries(
            {"codebook": st.just(book), "points": points_for(book, in_hull=in_hull)}
        )
    )


@st.composite
def systems(draw: DrawFn, /, **limits: Any) -> Mapping[str, Any]:
    """Return codebooks with right-hand sides (M, B) that sum to 0 in every column."""
    book = draw(codebooks(**limits))
    rhs = draw(integers(book.units, draw(st.integers(1, 3)), largest=4)).astype(np.float64)
    # In the units of squared distances, and M times their difference from the mean: whole numbers.
    return {"codebook": book, "rhs": extent_of(book) ** 2 * (book.units * rhs - rhs.sum(axis=0))}


def inverter(subject: Subject, codebook: Codebook) -> Inverter:
    """Return the host's side of the solver on a codebook."""
    factory = subject.factory
    assert isinstance(factory, SolverFactory)
    return Inverter(codebook, solver=factory, **subject.options)


def factorised(subject: Subject, codebook: Codebook) -> tuple[CentredSystem, Factorisation]:
    """Return the centred system of a codebook and what a fresh solver makes of it."""
    system = centred_system(codebook.prototypes)
    with np.errstate(all="ignore"):
        return system, subject.build().factorise(system)


def solved(factorisation: Factorisation, system: CentredSystem, rhs: FloatArray) -> FloatArray:
    """Return the coordinates (D, B) that `solve` gives, after looking at what they are."""
    with np.errstate(all="ignore"):
        raw = factorisation.solve(rhs)
    if not isinstance(raw, RawSolution):
        raise ViolationError(f"expected solve to return a RawSolution, got {type(raw).__name__}")
    found, shape = raw.coordinates, (system.dimension, rhs.shape[1])
    if not isinstance(found, np.ndarray) or found.shape != shape:
        got = getattr(found, "shape", type(found).__name__)
        raise ViolationError(f"expected coordinates (D, B) of shape {shape}, got {got}")
    if found.dtype != np.float64:
        raise ViolationError(f"expected coordinates in float64, got {found.dtype}")
    return found


def agree(
    found: FloatArray, expected: FloatArray, allowed: FloatArray, what: str, *, axis: int = 1
) -> None:
    """Refuse vectors along ``axis`` that differ by more than is allowed, or are not finite."""
    error = np.linalg.norm(found - expected, axis=axis)
    bad = np.flatnonzero(~(error <= allowed))
    if bad.size:
        worst = int(bad[0])
        raise ViolationError(
            f"expected {what} within {allowed[worst]:.3g}, got a difference of {error[worst]:.3g}"
        )
