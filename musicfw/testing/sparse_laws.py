"""Checks of training backends that take sparse data."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from musicfw.lattice import Lattice
from musicfw.testing.backend_laws import clouds, problem_of, quantization_error, trained
from musicfw.testing.examples import for_all
from musicfw.testing.kit import Subject, ViolationError, check

__all__: list[str] = []


@check(
    "backend",
    needs="sparse",
    without="embedding",
    advice="a value that is not stored is 0, no gap: count its row in every feature",
)
def sparse_data_are_their_dense_array(subject: Subject) -> None:
    """A sparse matrix trains a map as good as the same numbers in a dense array, and is left alone.

    Quantization errors agree within ``√eps`` of the extent of the data: a mean distance is known to
    the root of the rounding of its square.
    """

    def law(seed: int) -> None:
        from scipy.sparse import csr_array

        lattice, points = Lattice(rows=2, columns=3), clouds(seed, dimension=4)
        points = np.where(np.abs(points) < np.median(np.abs(points)), 0.0, points)
        sparse: Any = csr_array(points)
        errors = []
        for given in (points, sparse):
            problem = problem_of(given, lattice, seed=seed, initial=points[:6] + 0.25)
            raw = trained(subject, problem)
            errors.append(quantization_error(points, raw.prototypes, raw))
        if not np.array_equal(sparse.toarray(), points):
            raise ViolationError(
                "expected problem.points unchanged, the sparse matrix was written to"
            )
        allowed = float(np.sqrt(np.finfo(np.float64).eps) * np.ptp(points))
        if not abs(errors[0] - errors[1]) <= allowed:
            raise ViolationError(
                f"expected a quantization error of {errors[0]:.6g} within {allowed:.3g}, as from "
                f"the dense array, got {errors[1]:.6g}"
            )

    for_all(law, st.fixed_dictionaries({"seed": st.integers(0, 9)}), examples=3)
