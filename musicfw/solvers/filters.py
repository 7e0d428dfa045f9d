"""The one formula of the built-in solvers: ``u = Z f(S) Pᵀ b``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.api import CentredSystem, FloatArray, RawSolution


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralFilter:
    """A factorisation that weighs each singular direction.

    Parameters
    ----------
    system : CentredSystem
        The system with its singular value decomposition ``V = P S Zᵀ``.
    weights : ndarray, shape (k,)
        f(σ) for the first k ≤ r singular values; the others get 0.
    """

    system: CentredSystem
    weights: FloatArray

    def solve(self, rhs: FloatArray) -> RawSolution:
        """Return ``Z f(S) Pᵀ b`` for every column of ``rhs`` (M, B)."""
        kept = self.weights.shape[0]
        spectral = self.system.left[:, :kept].T @ rhs
        spectral *= self.weights[:, np.newaxis]
        return RawSolution(coordinates=self.system.right[:, :kept] @ spectral)
