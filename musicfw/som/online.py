"""Kohonen's rule: after every point x each prototype moves towards it.

::

    w_i ← w_i + α h_i (x − w_i)

with h_i the neighbourhood of x's best matching unit at w_i's unit, and α the learning rate.

Source: T. Kohonen, "Self-organized formation of topologically correct feature maps", Biological
Cybernetics 43 (1982).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from musicfw.arrays import FloatArray
from musicfw.som.neighbourhoods import NeighbourhoodName, neighbourhood_column
from musicfw.som.statistics import WorkArray

# ||w||² follows the updates by a recursion that is begun anew after so many, against rounding.
_UPDATES_PER_NORM = 256


class OnlineMap:
    """Prototypes that learn one point at a time.

    Parameters
    ----------
    prototypes : ndarray of float64 or float32, shape (M, D)
        First prototypes, about the same origin as the points; changed in place.
    squared_lattice : ndarray, shape (M, M)
        Squared distances between units on the lattice.
    neighborhood : str
        As in `musicfw.som.neighbourhoods.neighbourhood`.
    missing : bool
        Whether NaN in the points stands for a missing value.
    reach : float
        Squared length from which on a prototype is repelled no further (by a mexican hat): where
        points are few, a repelled unit may meet none that would attract it again.
    """

    def __init__(
        self,
        prototypes: WorkArray,
        *,
        squared_lattice: FloatArray,
        neighborhood: NeighbourhoodName,
        missing: bool = False,
        reach: float = np.inf,
    ) -> None:
        self._missing = missing
        self.prototypes = prototypes
        self._squared_lattice = squared_lattice
        self._neighborhood = neighborhood
        self._reach = reach
        self._pull = np.empty_like(prototypes)

    def learn_all(
        self, chunks: Iterable[WorkArray], *, radii: FloatArray, rates: FloatArray
    ) -> float:
        """Do `learn` for chunk after chunk; ``radii`` and ``rates`` are those of all points."""
        start, error_sum = 0, 0.0
        learn = self.learn_known if self._missing else self.learn
        for chunk in chunks:
            now = slice(start, start + chunk.shape[0])
            error_sum += learn(chunk, radii=radii[now], rates=rates[now])
            start = now.stop
        return error_sum

    def learn(self, chunk: WorkArray, *, radii: FloatArray, rates: FloatArray) -> float:
        """Learn the points in order; return the sum of their distances before they were learnt.

        The product ``W x`` that finds the best matching unit also tells the new norms::

            ||(1−a) w + a x||² = (1−a)² ||w||² + 2a(1−a) w·x + a² ||x||²

        so that the prototypes are read only once more, to be moved.

        Parameters
        ----------
        chunk : ndarray, shape (n, D)
            Points.
        radii, rates : ndarray, shape (n,)
            Radius and learning rate of each.
        """
        W, kind = self.prototypes, self.prototypes.dtype.type
        squared_lengths = np.einsum("nd,nd->n", chunk, chunk)
        error_sum = 0.0
        for number, x in enumerate(chunk):
            if number % _UPDATES_PER_NORM == 0:
                norms = np.einsum("md,md->m", W, W)
            products = W @ x
            relative = norms - 2 * products
            winner = int(relative.argmin())
            error_sum += max(float(relative[winner] + squared_lengths[number]), 0.0) ** 0.5
            weights = self._weights(winner, float(radii[number]), norms)
            pull = (weights * rates[number]).astype(kind)
            keep = 1 - pull
            np.multiply(pull[:, np.newaxis], x, out=self._pull)
            W *= keep[:, np.newaxis]
            W += self._pull
            norms = keep**2 * norms + 2 * pull * keep * products + pull**2 * squared_lengths[number]
        return error_sum

    def learn_known(self, chunk: WorkArray, *, radii: FloatArray, rates: FloatArray) -> float:
        """Do as `learn`, for points with gaps: prototypes move in the features that are known."""
        W, error_sum = self.prototypes, 0.0
        for number, x in enumerate(chunk):
            known = np.flatnonzero(~np.isnan(x))
            offset = x[known] - W[:, known]
            squared = np.einsum("md,md->m", offset, offset)
            winner = int(squared.argmin())
            error_sum += float(squared[winner]) ** 0.5
            norms = np.einsum("md,md->m", W, W) if self._reach < np.inf else None
            weights = self._weights(winner, float(radii[number]), norms)
            pull = (weights * rates[number]).astype(W.dtype)
            W[:, known] += pull[:, np.newaxis] * offset
        return error_sum

    def _weights(self, winner: int, radius: float, norms: WorkArray | None) -> FloatArray:
        """Return what each unit learns; who is as far out as the reach is repelled no further."""
        squared = self._squared_lattice[winner]
        weights = neighbourhood_column(squared, radius, name=self._neighborhood)
        if norms is not None and self._reach < np.inf:
            weights[(weights < 0.0) & (norms >= self._reach)] = 0.0
        return weights


def greatest_squared_length(chunks: Iterable[WorkArray]) -> float:
    """Return the greatest squared length of all points: as far as prototypes may be repelled.

    A missing value counts as none.
    """
    return max(float(np.nansum(chunk * chunk, axis=1).max()) for chunk in chunks)
