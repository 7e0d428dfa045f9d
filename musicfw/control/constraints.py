"""What may not change on a walk, how far, and at what price: frozen features, bounds and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from musicfw.arrays import BoolArray, FloatArray, is_whole
from musicfw.dataset import Scaling
from musicfw.errors import UsageError, did_you_mean

Feature = int | str
PerFeature = (
    float | Mapping[Feature, float] | Mapping[str, float] | Mapping[int, float] | npt.ArrayLike
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constraints:
    """Constraints on a walk, per feature.

    Parameters
    ----------
    free : ndarray of bool, shape (D,)
        Features that may change.
    lower, upper : ndarray, shape (D,), or None
        Bounds, in original units.
    cost : ndarray, shape (D,), or None
        Price of changing each feature; positive, mean 1 over the free ones.
    """

    free: BoolArray
    lower: FloatArray | None
    upper: FloatArray | None
    cost: FloatArray | None


def resolve_constraints(
    *,
    frozen: Sequence[Feature],
    lower: PerFeature | None,
    upper: PerFeature | None,
    cost: PerFeature | None,
    names: Sequence[str] | None,
    starts: FloatArray,
) -> Constraints:
    """Return the constraints as arrays.

    Parameters
    ----------
    frozen : sequence of int or str
        Features that may not change, by number or name.
    lower, upper, cost : float, mapping or array_like (D,), optional
        For all features, for some (by number or name), or for each. In original units.
    names : sequence of str, optional
        Feature names.
    starts : ndarray, shape (N, D)
        Where the points start, in original units: they must lie within the bounds.

    Raises
    ------
    UsageError
        For unknown features, bounds that cross, a start outside them, or costs that are not
        positive.
    """
    dimension = starts.shape[1]
    free = np.ones(dimension, dtype=np.bool_)
    if not isinstance(frozen, Iterable):
        raise UsageError(f"frozen: expected a list of names or numbers of features, got {frozen!r}")
    for feature in [frozen] if isinstance(frozen, str) else frozen:
        free[_number(feature, names, dimension, "frozen")] = False
    if not free.any():
        raise UsageError("frozen: every feature is frozen, so no point can move; free at least one")
    if lower is None and upper is None:
        low = high = None
    else:
        low = per_feature(lower, -np.inf, names, dimension, "lower")
        high = per_feature(upper, np.inf, names, dimension, "upper")
        _check_bounds(low, high, starts, names)
    price = None
    if cost is not None:
        price = per_feature(cost, 1.0, names, dimension, "cost")
        if not (np.isfinite(price).all() and (price > 0).all()):
            raise UsageError(
                "cost: expected positive finite numbers; to forbid a change use frozen"
            )
        price = price / price[free].mean()
    return Constraints(free=free, lower=low, upper=high, cost=price)


def to_map_units(values: FloatArray | None, scaling: Scaling) -> FloatArray | None:
    """Return bounds in the map's units; None stays None."""
    return None if values is None else scaling.to_map(values)


def per_feature(
    given: Any, default: float, names: Sequence[str] | None, dimension: int, what: str
) -> FloatArray:
    """Return one number per feature (D,), given for all, for some by number or name, or for each.

    Raises
    ------
    UsageError
        For unknown features, other shapes, text and NaN, calling it ``what``.
    """
    values = np.full(dimension, default)
    if given is None:
        return values
    if isinstance(given, Mapping):
        for feature, value in given.items():
            number = _number(feature, names, dimension, what)
            values[number] = _numbers(value, what, shapes=((),))
    else:
        values[:] = _numbers(given, what, shapes=((), (dimension,)))
    if np.isnan(values).any():
        raise UsageError(f"{what}: expected numbers, got NaN")
    return values


def _numbers(given: Any, what: str, *, shapes: tuple[tuple[int, ...], ...]) -> FloatArray:
    """Return what was given as an array of one of these shapes."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise UsageError(f"{what}: expected numbers, got {given!r}") from err
    if array.shape not in shapes:
        raise UsageError(
            f"{what}: expected one number, a mapping of features to numbers, or an array of "
            f"shape {shapes[-1]}, got shape {array.shape}"
        )
    return array


def _number(feature: Feature, names: Sequence[str] | None, dimension: int, what: str) -> int:
    """Return the number of a feature given by number or name."""
    if isinstance(feature, str):
        known = list(names or ())
        if feature in known:
            return known.index(feature)
        hint = did_you_mean(feature, known) or (
            "the map has no feature names; use numbers" if not known else "see feature_names"
        )
        raise UsageError(f"{what}: expected the name of a feature, got {feature!r}; {hint}")
    if not is_whole(feature):
        raise UsageError(f"{what}: expected names or numbers of features, got {feature!r}")
    if not 0 <= feature < dimension:
        raise UsageError(
            f"{what}: expected feature numbers in 0 … {dimension - 1}, got {int(feature)}"
        )
    return int(feature)


def _check_bounds(
    lower: FloatArray, upper: FloatArray, starts: FloatArray, names: Sequence[str] | None
) -> None:
    crossed = np.flatnonzero(lower > upper)
    if crossed.size:
        k = int(crossed[0])
        raise UsageError(
            f"bounds: expected lower ≤ upper, got {lower[k]:g} > {upper[k]:g} for "
            f"{_named(k, names)}"
        )
    outside = np.argwhere((starts < lower) | (starts > upper))
    if outside.size:
        n, k = (int(i) for i in outside[0])
        raise UsageError(
            f"bounds: point {n} starts at {starts[n, k]:g} in {_named(k, names)}, expected a value "
            f"within {lower[k]:g} … {upper[k]:g}; widen the bounds or clip the point first"
        )


def _named(number: int, names: Sequence[str] | None) -> str:
    return f"feature {number}" if names is None else f"feature {names[number]!r}"
