"""The map as a scikit-learn estimator (needs scikit-learn 1.6 or later).

::

    from musicfw.sklearn import SOM

    som = SOM(rows=8, columns=8, random_state=0).fit(X)
    d = som.transform(X)                # squared distances to the prototypes
    X_again = som.inverse_transform(d)  # exact, if the map has more units than X has features
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from musicfw.arrays import FloatArray, IntArray, as_activations
from musicfw.errors import DataError, UsageError
from musicfw.invert import Inverter
from musicfw.lattice import Lattice, Topology
from musicfw.missing import MissingValues, has_gaps, keeps_gaps
from musicfw.som.quality import quantization_error
from musicfw.sparse import is_sparse
from musicfw.status import Status
from musicfw.stream import StreamTrainer
from musicfw.train import train
from musicfw.types import TrainedMap

__all__ = ["SOM"]


class SOM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Self-organizing map: a transformer to squared distances that can be inverted exactly.

    Parameters
    ----------
    rows, columns : int
        Size of the lattice.
    topology : {"rectangular", "hexagonal"}
        Arrangement of the units.
    toroidal : bool
        Whether opposite borders of the lattice are joined.
    cylindrical : bool
        Whether only its left and right borders are joined.
    mode, epochs, radius_start, radius_end, neighborhood, initialization, dtype, chunk_size
        Those of the backend ``native``; see `musicfw.som.native_params.NativeParams`.
    early_stopping : bool
        Whether a share of the samples is held out to tell when to stop: `fit` then ends once their
        quantization error no longer falls, with the map where it is least. Which samples is drawn,
        so that a weight of 2 no longer is quite the same as a second copy.
    validation_fraction : float
        That share, above 0 and below 1 (``validation_share``).
    n_iter_no_change : int, optional
        Measurements in a row without improvement that end the training (``patience``); by default
        5, in mode ``online`` a third of the epochs if that is more.
    tol : float
        An error lower by this share, or less, is no improvement (``tolerance``).
    missing : {"refuse", "keep"}
        What NaN is: an error, or a missing value. A row with gaps is learnt by the features that
        are known; everywhere else it counts as the row that `impute` makes of it, so that
        ``inverse_transform(transform(X))`` returns filled rows.
    feature_weights : array_like, shape (D,), optional
        How much each feature counts in a distance; all alike by default. Above 0 for `partial_fit`.
    solver : str
        Registered solver that `inverse_transform` uses.
    random_state : int, RandomState or None
        Seed. An int gives the same map every time.

    Attributes
    ----------
    map_ : TrainedMap
        What musicfw's other verbs take: `steer`, `invert`, `save_map`.
    prototypes_ : ndarray, shape (M, D)
        Unit ``row * columns + column`` in row ``unit``.
    history_ : dict of str to ndarray
        ``quantization_error``, ``topographic_error``, ``change`` and ``radius`` along the training;
        with ``early_stopping`` also ``held_out_quantization_error``.
    n_iter_ : int
        Updates that were made, as many as the history has entries (passes, in mode ``online``).
    n_features_in_, feature_names_in_
        As scikit-learn defines them.
    """

    def __init__(
        self,
        rows: int = 10,
        columns: int = 10,
        *,
        topology: Topology = "rectangular",
        toroidal: bool = False,
        cylindrical: bool = False,
        mode: Literal["minibatch", "batch", "progressive", "online"] = "minibatch",
        epochs: int | None = None,
        radius_start: float | None = None,
        radius_end: float = 1.0,
        neighborhood: str = "gaussian",
        initialization: str = "pca",
        dtype: Literal["float64", "float32"] | None = None,
        chunk_size: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 0.001,
        missing: MissingValues = "refuse",
        feature_weights: npt.ArrayLike | None = None,
        solver: str = "exact",
        random_state: Any = None,
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.topology = topology
        self.toroidal = toroidal
        self.cylindrical = cylindrical
        self.mode = mode
        self.epochs = epochs
        self.radius_start = radius_start
        self.radius_end = radius_end
        self.neighborhood = neighborhood
        self.initialization = initialization
        self.dtype = dtype
        self.chunk_size = chunk_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.missing = missing
        self.feature_weights = feature_weights
        self.solver = solver
        self.random_state = random_state

    def fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Train the map on X, shape (N, D), dense or sparse; y is ignored.

        ``sample_weight`` (N,) tells as how many rows each counts, not negative.
        """
        X = self._validated(X, ensure_min_samples=2)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        self._stream: StreamTrainer | None = None
        trained = train(
            X,
            lattice=self._lattice(),
            seed=self._seed(),
            weights=sample_weight,
            missing=self.missing,
            feature_weights=self.feature_weights,
            feature_names=self._names(),
            mode=self.mode,
            **self._params(),
            **self._stopping(),
        )
        self._keep(trained)
        return self

    def partial_fit(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn the rows X, shape (n, D), after those before; y is ignored.

        ``sample_weight`` (n,) tells as how many rows each counts in its update.

        The map depends on all rows so far and their order, not on how they were divided, bit for
        bit. `fit` begins anew, and so does the first `partial_fit` after a `fit`. ``mode``,
        ``epochs`` and ``early_stopping`` have no meaning here: every row is learnt, once
        (`musicfw.StreamTrainer`).

        Raises
        ------
        DataError
            If fewer than two rows have come in all.
        UsageError
            If ``feature_weights`` has zeros.
        """
        stream: StreamTrainer | None = getattr(self, "_stream", None)
        X = self._validated(X, reset=stream is None)
        if stream is None:
            params = {name: value for name, value in self._params().items() if name != "epochs"}
            stream = StreamTrainer(
                self._lattice(),
                seed=self._seed(),
                missing=self.missing,
                feature_weights=self.feature_weights,
                feature_names=self._names(),
                **params,
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        stream.learn(X, sample_weight)
        self._stream = stream
        self._keep(stream.snapshot())
        return self

    def predict(self, X: npt.ArrayLike) -> IntArray:
        """Return the best matching unit of every row, shape (N,)."""
        rows = self._rows(X)
        return self.map_.codebook.best_matching_units(rows)

    def fit_predict(self, X: npt.ArrayLike, y: object = None) -> IntArray:
        """Return ``fit(X).predict(X)``."""
        return self.fit(X).predict(X)

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return squared distances to the prototypes, shape (N, M)."""
        rows = self._rows(X)
        return self.map_.codebook.squared_distances(rows)

    def inverse_transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return the points that have these squared distances, shape (N, D).

        Exact if the prototypes span the space, which takes at least D + 1 of them; otherwise the
        projections on what they span (`musicfw.well_posedness` tells).

        Raises
        ------
        DataError
            For rows that are no squared distances: the wrong number, negative, not finite.
        """
        check_is_fitted(self)
        activations = as_activations(X, name="X", units=self._n_features_out, finite=False)
        inverted = Inverter(self.map_, solver=self.solver)(activations)
        unusable = np.isin(inverted.status, [Status.INVALID_INPUT, Status.FAILED])
        if unusable.any():
            row = int(np.flatnonzero(unusable)[0])
            raise DataError(f"X: row {row} has no point: {Status(inverted.status[row]).advice}")
        return inverted.points

    def impute(self, X: npt.ArrayLike) -> FloatArray:
        """Return X, shape (N, D), with NaN filled from each row's best matching unit.

        Known values keep their bits. It works whatever ``missing`` is.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite="allow-nan")
        return self.map_.impute(rows)

    def score(self, X: npt.ArrayLike, y: object = None) -> float:
        """Return minus the quantization error: the larger, the better; y is ignored."""
        rows = self._rows(X)
        return -quantization_error(self.map_.codebook, rows)

    @property
    def _n_features_out(self) -> int:
        return int(self.prototypes_.shape[0])

    def _rows(self, X: npt.ArrayLike) -> FloatArray:
        check_is_fitted(self)
        rows: FloatArray = self._validated(X, dtype=np.float64, reset=False)
        return self.map_.impute(rows) if not is_sparse(rows) and has_gaps(rows) else rows

    def _validated(self, X: npt.ArrayLike, **options: Any) -> FloatArray:
        finite = "allow-nan" if keeps_gaps(self.missing) else True
        options = {"dtype": [np.float64, np.float32], "ensure_all_finite": finite} | options
        rows: FloatArray = validate_data(self, X, accept_sparse="csr", **options)
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "keep"
        tags.input_tags.sparse = True
        return tags

    def _keep(self, trained: TrainedMap) -> None:
        self.map_ = trained
        self.prototypes_ = trained.codebook.prototypes
        self.history_ = dict(trained.history)
        self.n_iter_ = int(self.history_["radius"].size)

    def _lattice(self) -> Lattice:
        return Lattice(
            rows=self.rows,
            columns=self.columns,
            topology=self.topology,
            toroidal=self.toroidal,
            cylindrical=self.cylindrical,
        )

    def _names(self) -> tuple[str, ...] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else tuple(names)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _params(self) -> dict[str, Any]:
        names = ("epochs", "radius_start", "radius_end", "neighborhood", "initialization")
        return {name: getattr(self, name) for name in (*names, "dtype", "chunk_size")}

    def _stopping(self) -> dict[str, Any]:
        if not self.early_stopping:
            return {}
        if not self.validation_fraction > 0.0:
            raise UsageError(
                f"validation_fraction: expected a share above 0 with early_stopping, got "
                f"{self.validation_fraction!r}"
            )
        return {
            "validation_share": self.validation_fraction,
            "patience": self.n_iter_no_change,
            "tolerance": self.tol,
        }
