"""What the verbs return: frozen values with read-only arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from musicfw import geometry
from musicfw.arrays import BoolArray, FloatArray, IntArray, as_points, frozen
from musicfw.codebook import Codebook
from musicfw.dataset import Scaling
from musicfw.errors import NumericalError, UsageError
from musicfw.geometry import WellPosedness
from musicfw.missing import filled_from, masked_best_matching_units
from musicfw.sparse import as_csr, columns_divided, is_sparse
from musicfw.status import Status, StopReason

if TYPE_CHECKING:
    from musicfw.api import Embedding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedMap:
    """A codebook with the story of its training. What `train` returns.

    Methods that take points take data frames too, and if the features have names, the columns
    that have them, whatever their order; and sparse matrices, of which `squared_distances` and
    `best_matching_units` make nothing dense.

    Parameters
    ----------
    codebook : Codebook
        Prototypes in the map's units.
    scaling : Scaling
        How original units become the map's. Verbs given a TrainedMap take and return points in
        original units; given its ``codebook`` they work in the map's units.
    embedding : Embedding, optional
        Between the scaled data (D features) and the space of the prototypes (d coordinates), if
        that is a learned one. The map's units are then those of the codes.
    backend : str
        Name of the backend that trained it.
    params : mapping
        Its resolved parameters.
    seed : int
        The seed.
    history : mapping of str to ndarray, shape (epochs,)
        What the backend recorded: ``quantization_error``, ``radius``, …; NaN where it did not.
    interrupted : bool
        Whether the user stopped the training before its end.
    feature_names, image_shape
        As in `Dataset`.
    distance_quantiles : ndarray, shape (101,), optional
        Quantiles 0 %, 1 %, … 100 % of the training data's distance to the nearest prototype, in
        the map's units: what is ordinary, for ``off_manifold`` of `steer`.
    """

    codebook: Codebook
    scaling: Scaling
    backend: str
    params: Mapping[str, Any]
    seed: int
    history: Mapping[str, FloatArray] = field(default_factory=dict)
    interrupted: bool = False
    feature_names: tuple[str, ...] | None = None
    image_shape: tuple[int, int] | None = None
    distance_quantiles: FloatArray | None = None
    embedding: Embedding | None = None

    def __post_init__(self) -> None:
        if self.distance_quantiles is not None:
            object.__setattr__(self, "distance_quantiles", frozen(self.distance_quantiles))
        history = {str(name): frozen(values) for name, values in self.history.items()}
        object.__setattr__(self, "history", history)
        object.__setattr__(self, "params", dict(self.params))
        if self.embedding is None and self.dimension != self.codebook.dimension:
            raise UsageError(
                f"TrainedMap.scaling: expected {self.codebook.dimension} features, got "
                f"{self.scaling.offset.shape[0]}"
            )

    @property
    def dimension(self) -> int:
        """Number of features D of the data."""
        return int(self.scaling.offset.size)

    def encode(self, points: npt.ArrayLike) -> FloatArray:
        """Return points (N, D) of original units in the map's units, shape (N, d).

        d is D but with an embedding, whose codes they then are.
        """
        matrix = self._points(points)
        scaled = self.scaling.to_map(matrix)
        return scaled if self.embedding is None else self.embedding.encode(scaled)

    def decode(self, codes: npt.ArrayLike) -> FloatArray:
        """Return points (N, d) of the map's units in original units, shape (N, D)."""
        matrix = as_points(codes, name="codes", dimension=self.codebook.dimension)
        scaled = matrix if self.embedding is None else self.embedding.decode(matrix)
        return self.scaling.to_original(scaled)

    def reconstruct(self, points: npt.ArrayLike) -> FloatArray:
        """Return what the map's space holds of points (N, D): themselves but with an embedding."""
        if self.embedding is None:
            return self._points(points)
        return self.decode(self.encode(points))

    def squared_distances(self, points: npt.ArrayLike) -> FloatArray:
        """Return the activations of points given in original units, shape (N, M)."""
        if is_sparse(points) and self.embedding is None:
            return geometry.squared_distances(*self._sparse(points))
        return self.codebook.squared_distances(self.encode(points))

    def best_matching_units(self, points: npt.ArrayLike) -> IntArray:
        """Return the nearest unit of points given in original units, shape (N,)."""
        if is_sparse(points) and self.embedding is None:
            return geometry.best_matching_units(*self._sparse(points))
        return self.codebook.best_matching_units(self.encode(points))

    def impute(self, points: npt.ArrayLike) -> FloatArray:
        """Return the points with their gaps filled from their best matching units.

        The unit is found by the features that are known (`musicfw.missing`), and it is the best
        matching unit of the result too. The map need not be trained on data with gaps.

        Parameters
        ----------
        points : array_like, shape (N, D) or (D,)
            In original units, NaN for what is missing.

        Returns
        -------
        ndarray, shape (N, D)
            In original units; known values keep their bits.

        Raises
        ------
        DataError
            For infinities, and a row without any known value.
        UsageError
            For a map with an embedding, whose distances need every feature.
        """
        book = self.codebook
        if self.embedding is not None:
            raise UsageError(
                f"impute: the embedding {self.embedding.name!r} needs every feature; use a map "
                f"without an embedding"
            )
        matrix = self._points(points, missing=True)
        scaled = self.scaling.to_map(matrix)
        units = masked_best_matching_units(scaled, book.prototypes, book.relevances)
        return filled_from(matrix, self.scaling.to_original(book.prototypes), units)

    def _sparse(self, points: Any) -> tuple[Any, FloatArray, FloatArray | None]:
        """Return points without the scaling's offset, prototypes with it, and the relevances."""
        names, scale = self.feature_names, self.scaling.scale
        csr = as_csr(points, name="points", columns=self.dimension, column_names=names)
        shifted = self.codebook.prototypes + self.scaling.offset / scale
        return columns_divided(csr, scale), shifted, self.codebook.relevances

    def _points(self, points: npt.ArrayLike, *, missing: bool = False) -> FloatArray:
        """Return points of original units; the columns of a frame by the features' names."""
        return as_points(
            points,
            name="points",
            dimension=self.dimension,
            column_names=self.feature_names,
            missing=missing,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """Points recovered from activations. What `invert` returns.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        Recovered points; NaN where the status is INVALID_INPUT or FAILED.
    status : ndarray of int8, shape (N,)
        A `Status` per point.
    residual : ndarray, shape (N,)
        ``||d(x̂) + ρ² − d|| / ||d||``: how far the distances of the recovered point are from the
        given ones, relative.
    hidden_radius : ndarray, shape (N,)
        ρ, the length of the part outside the prototypes' affine hull, by the codebook's own
        distance; 0 where the distances determine the point, and where relevances differ by unit.
    well_posedness : WellPosedness
        Rank and condition of the system.
    solver : str
        Name of the solver.
    params : mapping
        Its resolved parameters.
    elapsed_s : float
        Time of `solve`, without the factorisation, in seconds; NaN if loaded from a file.
    """

    points: FloatArray
    status: npt.NDArray[np.int8]
    residual: FloatArray
    hidden_radius: FloatArray
    well_posedness: WellPosedness
    solver: str
    params: Mapping[str, Any]
    elapsed_s: float

    def __post_init__(self) -> None:
        for name, dtype in (
            ("points", np.float64),
            ("status", np.int8),
            ("residual", np.float64),
            ("hidden_radius", np.float64),
        ):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        object.__setattr__(self, "params", dict(self.params))

    def counts(self) -> dict[Status, int]:
        """Return how many points have each status, without those that none has."""
        return {s: n for s in Status if (n := int(np.count_nonzero(self.status == s)))}

    def raise_for_status(self) -> Inversion:
        """Return self if every point is usable as asked, else raise.

        EXACT and REGULARISED are usable (the latter was asked for).

        Raises
        ------
        NumericalError
            Naming the first unusable point, the number of them and what to do.
        """
        unusable = ~np.isin(self.status, [Status.EXACT, Status.REGULARISED])
        if unusable.any():
            first = int(np.flatnonzero(unusable)[0])
            status = Status(int(self.status[first]))
            raise NumericalError(
                f"inversion with {self.solver!r}: {int(unusable.sum())} of {unusable.size} points "
                f"are not exact; the first is point {first}: {status.name}. {status.advice}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange:
    """What changed in one feature along a path.

    Parameters
    ----------
    feature : str
        Its name.
    start, end : float
        In original units.
    share : float
        Share of the squared length of the move, in the map's units; all shares add up to 1.
    """

    feature: str
    start: float
    end: float
    share: float

    @property
    def change(self) -> float:
        """``end − start``, in original units."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """Paths of N points through the map. What `steer` returns.

    Parameters
    ----------
    points : ndarray, shape (T+1, N, D)
        Frames; ``points[0]`` is the input, bit for bit. A point that stopped repeats its frame.
        On a map with an embedding they are decoded ``codes``, ``points[0]`` too.
    stop : ndarray of int8, shape (N,)
        A `StopReason` per point.
    step_norm : ndarray, shape (T, N)
        Length of each step, in the map's units, a shared relevance counted.
    arrival : ndarray of intp, shape (N,)
        First frame whose best matching unit belongs to the target, −1 if there is none. (For
        ``away``: first frame whose best matching unit does not.)
    target_units : ndarray of intp, shape (K,)
        Units of the target.
    codebook : Codebook
        The map's prototypes.
    scaling : Scaling
        Between the units of ``points`` and the map's.
    policy : str
        Name of the policy.
    params : mapping
        Its resolved parameters.
    elapsed_s : float
        Time of the whole walk in seconds; NaN if loaded from a file.
    feature_names : tuple of str, optional
        Names of the D features.
    codes : ndarray, shape (T+1, N, d), optional
        The frames in the map's units, if the map has an embedding; ``codes[0]`` is the encoded
        input, bit for bit.
    """

    points: FloatArray
    stop: npt.NDArray[np.int8]
    step_norm: FloatArray
    arrival: IntArray
    target_units: IntArray
    codebook: Codebook
    scaling: Scaling
    policy: str
    params: Mapping[str, Any]
    elapsed_s: float
    feature_names: tuple[str, ...] | None = None
    codes: FloatArray | None = None

    def __post_init__(self) -> None:
        for name, dtype in (
            ("stop", np.int8),
            ("step_norm", np.float64),
            ("arrival", np.intp),
            ("target_units", np.intp),
        ):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))
        # Frames can be large: frozen in place, since `steer` made them.
        for frames in (self.points, self.codes):
            if frames is not None:
                frames.flags.writeable = False
        object.__setattr__(self, "params", dict(self.params))

    @property
    def reached(self) -> BoolArray:
        """Whether each point ended in the target, shape (N,)."""
        return np.asarray(self.stop == StopReason.REACHED, dtype=np.bool_)

    def squared_distances(self, units: npt.ArrayLike | None = None) -> FloatArray:
        """Return squared distances of every frame to some units (all by default).

        Returns
        -------
        ndarray, shape (T+1, N, K)
            In the map's units.
        """
        squared = self.codebook.squared_distances(self._flat(), units)
        return squared.reshape(*self.points.shape[:2], squared.shape[1])

    def distance_to_map(self) -> FloatArray:
        """Return the distance of every frame to its nearest prototype, shape (T+1, N).

        By the codebook's own distance, in the map's units: how far a path strays from where the
        map knows the data.
        """
        book = self.codebook
        nearest = geometry.nearest_squared_distances(self._flat(), book.prototypes, book.relevances)
        return np.asarray(np.sqrt(nearest).reshape(self.points.shape[:2]))

    def in_map(self, frames: int | slice | list[int] = slice(None)) -> FloatArray:
        """Return the frames (or some) in the map's units, shape (T+1, N, d) or (N, d) of one."""
        if self.codes is not None:
            return self.codes[frames]
        return self.scaling.to_map(self.points[frames])

    def _flat(self) -> FloatArray:
        return self.in_map().reshape(-1, self.codebook.dimension)

    def changes(self, point: int = 0, *, frame: int = -1) -> tuple[FeatureChange, ...]:
        """Return what changed for one point, the largest share of the move first.

        Parameters
        ----------
        point : int
            Number of the point.
        frame : int
            The frame to compare with the start; the last by default, ``arrival[point]`` for the
            smallest change that reaches the target.
        """
        start, end = self.points[0, point], self.points[frame, point]
        squared = ((end - start) / self.scaling.scale) ** 2
        total = squared.sum()
        names = self.feature_names or tuple(f"feature {k}" for k in range(start.size))
        order = np.argsort(-squared, kind="stable")
        return tuple(
            FeatureChange(
                feature=names[k],
                start=float(start[k]),
                end=float(end[k]),
                share=float(squared[k] / total) if total > 0.0 else 0.0,
            )
            for k in order
        )

    def counts(self) -> dict[StopReason, int]:
        """Return how many points have each stop reason, without those that none has."""
        return {s: n for s in StopReason if (n := int(np.count_nonzero(self.stop == s)))}
