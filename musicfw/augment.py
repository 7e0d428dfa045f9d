"""Over-sampling through maps: new samples of a rare class, by imbalanced-learn's interface.

::

    from musicfw.augment import MusicSampler

    X_balanced, y_balanced = MusicSampler(random_state=0).fit_resample(X, y)

It needs ``pip install 'musicfw[augment]'``; ``import musicfw`` alone never imports this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse

from musicfw.arrays import FloatArray, IntArray
from musicfw.codebook import Codebook
from musicfw.control.targets import Target
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.steer import steer
from musicfw.train import train

try:
    from imblearn.over_sampling.base import BaseOverSampler
    from sklearn.utils._param_validation import Interval
except ImportError as err:
    raise ImportError(
        "musicfw.augment needs imbalanced-learn and scikit-learn, which could not be imported "
        f"({err}); install them with: pip install 'musicfw[augment]'"
    ) from err

__all__ = ["MusicSampler"]

# Chosen for macro-F1 on balance, on data that tests/benchmarks/augmentation.py names and does not
# report. √n to 4 √n units and radius 0.3 to 1 differ little: mostly by less than the seeds do.
_UNITS_PER_ROOT = 2.0
_RADIUS_END = 0.5
# Samples steered at once: bounds the memory of their frames.
_BLOCK = 512


class MusicSampler(BaseOverSampler):  # type: ignore[misc]  # imbalanced-learn has no types
    """Over-sample by moving real samples part of the way to prototypes of their own class.

    A map is trained on each class that is to grow. Each new sample begins at a real one of that
    class, drawn at random, is steered by the policy ``music`` towards a unit drawn at random from
    the class's map, and stops at a random share of the length of its path. SMOTE (Chawla et al.
    2002, JAIR 16) goes straight to another sample instead; prototypes are means of several samples,
    so a single odd one attracts less.

    Distances are Euclidean: bring the features to one scale first, as for SMOTE. A class of one
    sample, or of equal ones, has nowhere to go: its new samples are copies.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Which classes grow, and to what size; as in every over-sampler of imbalanced-learn.
    random_state : int, RandomState or None, default=None
        An int makes the result repeatable. None takes fresh entropy from the system; NumPy's global
        random state is never read or changed.
    lattice : Lattice or None, default=None
        The lattice of each class's map; None makes it as near to square as can be, with about
        2 √n units for a class of n samples.
    steps : int, default=10
        Number of steps of each path, at least 1.
    detail : float or None, default=0.5
        Share of what is special about a sample (the part that its nearest prototypes do not
        explain) that it keeps on its way; see the policy ``music``.
    share_range : tuple of two floats, default=(0.0, 1.0)
        Range of the share of the path's length: 0 is the real sample, 1 the path's end.

    Attributes
    ----------
    sampling_strategy_ : dict
        How many new samples each class gets.
    sample_indices_ : ndarray of shape (n_samples_new,)
        For each row of the result, the row of X that it is or began at.
    maps_ : dict
        The Codebook of each class that grew.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (D,)
        Names of the features, if X has names that are all text.

    Notes
    -----
    Works for any number of classes. Sparse input gives sparse output, of which only the rows of the
    classes that grow are made dense on the way. The type of X is kept; for integers the new samples
    are rounded.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(110, 4))
    >>> y = np.repeat(["common", "rare"], [100, 10])
    >>> X_balanced, y_balanced = MusicSampler(random_state=0).fit_resample(X, y)
    >>> X_balanced.shape
    (200, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseOverSampler._parameter_constraints,
        "lattice": [Lattice, None],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "detail": [Interval(Real, 0, 1, closed="both"), None],
        "share_range": [tuple],
    }

    def __init__(
        self,
        *,
        sampling_strategy: float | str | Mapping[Any, int] | Callable[..., Any] = "auto",
        random_state: int | np.random.RandomState | None = None,
        lattice: Lattice | None = None,
        steps: int = 10,
        detail: float | None = 0.5,
        share_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.random_state = random_state
        self.lattice = lattice
        self.steps = steps
        self.detail = detail
        self.share_range = share_range

    def _fit_resample(self, X: Any, y: npt.NDArray[Any]) -> tuple[Any, npt.NDArray[Any]]:
        _check_share_range(self.share_range)
        rng = _generator(self.random_state)
        self.maps_: dict[Any, Codebook] = {}
        grown_X, grown_y = [X], [y]
        origins: list[IntArray] = [np.arange(X.shape[0], dtype=np.intp)]
        for label, count in self.sampling_strategy_.items():
            if count == 0:
                continue
            members = np.flatnonzero(y == label)
            rows = _dense(X[members])
            self.maps_[label] = _class_map(rows, lattice=self.lattice, rng=rng)
            drawn = rng.integers(members.size, size=count)
            moved = self._moved(self.maps_[label], rows, drawn=drawn, rng=rng)
            grown_X.append(_like(X, moved))
            grown_y.append(np.full(count, label, dtype=y.dtype))
            origins.append(members[drawn])
        self.sample_indices_ = np.concatenate(origins)
        if _is_sparse(X):
            return scipy.sparse.vstack(grown_X, format=X.format), np.concatenate(grown_y)
        return np.concatenate(grown_X), np.concatenate(grown_y)

    def _moved(
        self, codebook: Codebook, rows: FloatArray, *, drawn: IntArray, rng: np.random.Generator
    ) -> FloatArray:
        """Return the drawn rows, each a random share of the way to a random unit, (count, D)."""
        units = rng.integers(codebook.units, size=drawn.size)
        shares = rng.uniform(*self.share_range, size=drawn.size)
        moved = np.empty((drawn.size, rows.shape[1]))
        for unit in np.unique(units):
            wanted = np.flatnonzero(units == unit)
            for start in range(0, wanted.size, _BLOCK):
                block = wanted[start : start + _BLOCK]
                # Of a rare class the same row is drawn often: one path serves all its shares.
                begun, path_of = np.unique(drawn[block], return_inverse=True)
                paths = steer(
                    codebook,
                    rows[begun],
                    target=Target.units([unit]),
                    policy="music",
                    steps=self.steps,
                    route="direct",
                    detail=self.detail,
                )
                moved[block] = _part_of_the_way(paths.points, path_of, shares[block])
        return moved

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.sampler_tags.sample_indices = True
        return tags


def _check_share_range(share_range: tuple[float, float]) -> None:
    numbers = all(isinstance(share, Real) for share in share_range)
    if len(share_range) != 2 or not numbers or not 0 <= share_range[0] <= share_range[1] <= 1:
        raise UsageError(
            "share_range: expected two numbers with 0 <= low <= high <= 1, such as (0.0, 0.5), "
            f"got {share_range!r}"
        )


def _generator(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    """Return a generator of its own; scikit-learn's None would mean NumPy's global state."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(np.iinfo(np.int32).max))
    return np.random.default_rng(random_state)


def _class_map(rows: FloatArray, *, lattice: Lattice | None, rng: np.random.Generator) -> Codebook:
    """Return the map of one class; a class without two different rows is its own prototype."""
    if not np.any(rows != rows[0]):
        return Codebook(prototypes=rows[:1])
    if lattice is None:
        units = _UNITS_PER_ROOT * math.sqrt(rows.shape[0])
        side = max(1, math.floor(math.sqrt(units)))
        lattice = Lattice(rows=side, columns=max(1, round(units / side)))
    seed = int(rng.integers(np.iinfo(np.int32).max))
    trained = train(rows, lattice=lattice, backend="native", seed=seed, radius_end=_RADIUS_END)
    return trained.codebook


def _part_of_the_way(frames: FloatArray, path_of: IntArray, shares: FloatArray) -> FloatArray:
    """Return the points at these shares of the length of these paths, shape (count, D).

    Between two frames the path is straight.

    Parameters
    ----------
    frames : ndarray, shape (T+1, N, D)
        The paths.
    path_of : ndarray of intp, shape (count,)
        Which path each point is on.
    shares : ndarray, shape (count,)
        0 is exactly the first frame.
    """
    lengths = np.zeros(frames.shape[:2])
    np.cumsum(np.linalg.norm(np.diff(frames, axis=0), axis=2), axis=0, out=lengths[1:])
    travelled = lengths[:, path_of]
    wanted = shares * travelled[-1]
    # The last step that begins at or before the wanted length.
    step = np.maximum((travelled[:-1] <= wanted).sum(axis=0) - 1, 0)
    point = np.arange(path_of.size)
    begin, end = travelled[step, point], travelled[step + 1, point]
    within = np.divide(wanted - begin, end - begin, out=np.zeros(point.size), where=end > begin)
    before = frames[step, path_of]
    return np.asarray(before + within[:, np.newaxis] * (frames[step + 1, path_of] - before))


def _is_sparse(X: Any) -> bool:
    return bool(scipy.sparse.issparse(X))


def _dense(rows: Any) -> FloatArray:
    dense = rows.toarray() if _is_sparse(rows) else rows
    return np.asarray(dense, dtype=np.float64)


def _like(X: Any, moved: FloatArray) -> Any:
    """Return the new samples in the type and form of X."""
    rounded = moved if np.issubdtype(X.dtype, np.floating) else np.rint(moved)
    typed = rounded.astype(X.dtype)
    return type(X)(typed) if _is_sparse(X) else typed
