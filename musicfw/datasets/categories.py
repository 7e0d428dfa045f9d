"""Text categories of a column as one-hot features: one per category, 1 where it holds, else 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from musicfw.arrays import FloatArray


class Categories:
    """The categories of a column, numbered as they come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> float:
        """Return the number of a category, a new one if it was not seen before."""
        return float(self._codes.setdefault(text, len(self._codes)))

    def names(self, column: str) -> list[str]:
        """Return the names of the features, ``column=category``, sorted by category."""
        return [f"{column}={text}" for text in sorted(self._codes)]

    def one_hot(self, codes: FloatArray) -> FloatArray:
        """Return the features (N, K) of codes (N,), in the order of `names`; NaN for a gap."""
        order = np.array([self._codes[text] for text in sorted(self._codes)], dtype=np.float64)
        features: FloatArray = (codes[:, np.newaxis] == order).astype(np.float64)
        features[np.isnan(codes)] = np.nan
        return features


def with_one_hot(
    points: FloatArray, names: Sequence[str], categorical: Mapping[int, Categories]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return points and names with columns of codes replaced by their one-hot features.

    Parameters
    ----------
    points : ndarray, shape (N, C)
        Columns of numbers and of codes.
    names : sequence of str
        Of the C columns.
    categorical : mapping of int to Categories
        Which columns hold codes, and of what.
    """
    blocks: list[FloatArray] = []
    new_names: list[str] = []
    for k, name in enumerate(names):
        found = categorical.get(k)
        blocks.append(points[:, k : k + 1] if found is None else found.one_hot(points[:, k]))
        new_names += [name] if found is None else found.names(name)
    return np.hstack(blocks), tuple(new_names)
