"""A walk that preserves every unit where units measure with relevances of their own.

With ``J_i = 2 R_i∘(x − w_i)`` the spectrum of ``Jᵀ Ω J`` turns with the point, so there are no
fixed spectral coordinates: a D×D system is solved for every point and step. It is put together in
O(D²) from three matrices that are made once (u = x − c, v_i = w_i − c)::

    (Jᵀ Ω J)_kl = 4 (u_k u_l A_kl − u_k B_kl − u_l B_lk + C_kl)
    A = Σ ω_i R_i R_iᵀ,    B = Σ ω_i R_i (R_i∘v_i)ᵀ,    C = Σ ω_i (R_i∘v_i) (R_i∘v_i)ᵀ

A step costs O(D³ + M·D) per point: meant for codes of tens of features. It was seen to take 1.4
times as long as the spectral step of a Euclidean map at D = 10 (M = 100), 12 times at D = 64
(M = 196), 19 times at D = 128 (M = 400). ``scope: local`` solves in the few directions of the
active prototypes instead, suits any D, and takes at most 1.4 times as long. The true objective is
known exactly: ``d_i(x + Δ) − d_i(x) = J_i Δ + Σ_k R_ik Δ_k²``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.api import BoolArray, FloatArray, IntArray
from musicfw.control.global_walk import NEGLIGIBLE, GlobalWalk
from musicfw.control.guide import ranked
from musicfw.control.levenberg_marquardt import accepted, next_damping
from musicfw.control.reselected import solved
from musicfw.geometry import centre_of, squared_distances

# λ relative to the spectrum: below, rounding of the dense system would move points where no
# distance holds them.
_LEAST_DAMPING = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedUnits:
    """Units that measure differently, and what their Jacobians add up to. See `weighted_units`.

    Parameters
    ----------
    centre : ndarray, shape (D,)
        c.
    relevances, offsets : ndarray, shape (M, D)
        R and V = W − c.
    A, B, C : ndarray, shape (D, D)
        As in the module's formula.
    """

    centre: FloatArray
    relevances: FloatArray
    offsets: FloatArray
    A: FloatArray
    B: FloatArray
    C: FloatArray

    def normal(self, u: FloatArray) -> FloatArray:
        """Return ``Jᵀ Ω J`` of the points c + u (N, D), shape (N, D, D)."""
        crossed = u[:, :, np.newaxis] * self.B
        squared = u[:, :, np.newaxis] * u[:, np.newaxis, :] * self.A
        return np.asarray(4.0 * (squared - crossed - crossed.transpose(0, 2, 1) + self.C))

    def jacobian(self, u: FloatArray, units: IntArray) -> FloatArray:
        """Return ``J_i = 2 R_i∘(x − w_i)`` of some units (N, K) of each point, (N, K, D)."""
        offset = u[:, np.newaxis, :] - self.offsets[units]
        return np.asarray(2.0 * self.relevances[units] * offset)

    def linear(self, u: FloatArray, moves: FloatArray) -> FloatArray:
        """Return ``J_i Δ`` of all units, shape (N, M)."""
        along = (moves * u) @ self.relevances.T - moves @ (self.relevances * self.offsets).T
        return np.asarray(2.0 * along)

    def curved(self, moves: FloatArray) -> FloatArray:
        """Return ``Σ_k R_ik Δ_k²``, shape (N, M)."""
        return np.asarray((moves * moves) @ self.relevances.T)


def weighted_units(
    prototypes: FloatArray, relevances: FloatArray, weights: FloatArray
) -> WeightedUnits:
    """Return the units (M, D) with control weights ω (M,)."""
    weighted = weights[:, np.newaxis] * relevances
    centre = centre_of(prototypes, weighted)
    offsets = prototypes - centre
    moments = relevances * offsets
    return WeightedUnits(
        centre=centre,
        relevances=relevances,
        offsets=offsets,
        A=weighted.T @ relevances,
        B=weighted.T @ moments,
        C=(weighted * offsets).T @ moments,
    )


class WeightedWalk(GlobalWalk):
    """A `GlobalWalk` by dense steps. λ is relative to the largest eigenvalue of ``4 C``."""

    def _prepare(self) -> tuple[float, FloatArray]:
        book, points = self._problem.codebook, self._problem.points
        assert book.relevances is not None
        self._units = weighted_units(book.prototypes, book.relevances, self._weights)
        scale = 4.0 * float(np.linalg.eigvalsh(self._units.C)[-1])
        extent = np.linalg.norm(self._units.offsets, axis=1).max()
        reach = np.linalg.norm(points - self._units.centre, axis=1)
        return scale if scale > 0.0 else 1.0, NEGLIGIBLE * (extent + reach)

    def _decode(self) -> None:
        """The points are the state."""

    def step(self, rows: IntArray) -> None:
        """Take one step for these points."""
        system, points = self._units, self._points[rows]
        u = points - system.centre
        units, change, weights, wanted = self._wanted(rows, points)
        J = system.jacobian(u, units)
        strength = np.take_along_axis(weights, units, axis=1)
        normal = system.normal(u)
        if self._guide is not None:  # these weights are the point's own
            beyond = (strength - self._weights[units])[:, :, np.newaxis] * J
            normal += beyond.transpose(0, 2, 1) @ J
        normal += self._damping[rows][:, np.newaxis, np.newaxis] * np.eye(u.shape[1])
        moves = solved(normal, np.einsum("nk,nkd->nd", strength * change, J))
        norm = np.sqrt(np.einsum("nd,nd->n", moves, moves))
        if self._pace is not None:
            moves *= (self._pace[rows] / np.maximum(norm, self._pace[rows]))[:, np.newaxis]
            norm = np.minimum(norm, self._pace[rows])
        there = points + moves
        if self._bounded:
            there = np.clip(there, self._problem.lower, self._problem.upper)
        if self._params.step_control == "fixed":
            taken: BoolArray = np.ones(rows.shape, dtype=np.bool_)
        else:
            taken = self._judge(u, moves, there - points, weights=weights, wanted=wanted)
            least = _LEAST_DAMPING * self._scale
            self._damping[rows] = next_damping(self._damping[rows], taken, least=least)
        self._points[rows[taken]] = there[taken]
        self._settle(rows, norm)

    def _wanted(
        self, rows: IntArray, points: FloatArray
    ) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
        """Return selected units and wanted changes (n, K), and ω and δ of all units (n, M)."""
        problem, book = self._problem, self._problem.codebook
        distances = squared_distances(points, book.prototypes, book.relevances)
        weights = np.tile(self._weights, (rows.size, 1))
        if self._guide is None:
            units = np.tile(problem.units, (rows.size, 1))
            rest = problem.goals[rows] - distances[:, problem.units]
            change = self._params.rate * problem.directions * rest
        else:
            units = self._guide.select(rows, ranked(problem, points, rows))
            change = -self._params.rate * np.take_along_axis(distances, units, axis=1)
            np.put_along_axis(weights, units, self._strength[units], axis=1)
        wanted = np.zeros(distances.shape)
        np.put_along_axis(wanted, units, change, axis=1)
        return units, change, weights, wanted

    def _judge(
        self,
        u: FloatArray,
        moves: FloatArray,
        moved: FloatArray,
        *,
        weights: FloatArray,
        wanted: FloatArray,
    ) -> BoolArray:
        """Return which steps may be taken; ``moved`` is what the bounds left of ``moves``."""
        system = self._units
        before = np.einsum("nm,nm,nm->n", weights, wanted, wanted)
        by_model = system.linear(u, moves) - wanted
        in_truth = system.linear(u, moved) + system.curved(moved) - wanted
        predicted = np.einsum("nm,nm,nm->n", weights, by_model, by_model)
        after = np.einsum("nm,nm,nm->n", weights, in_truth, in_truth)
        return accepted(before, predicted, after)
