"""The data source ``digits``: scikit-learn's handwritten digits, 8 × 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicfw.api import Dataset, DatasetFactory, NoParams
from musicfw.datasets.sources import missing_package

__all__ = ["FACTORY", "DigitsSource"]


@dataclass(frozen=True, slots=True)
class DigitsSource:
    """1797 grey images of 8 × 8 pixels (0 … 16), labelled ``0`` … ``9``; comes with scikit-learn.

    Source: the test set of Alpaydin & Kaynak, *Optical Recognition of Handwritten Digits*, UCI
    Machine Learning Repository, 1998.
    """

    params: NoParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the 1797 × 64 digits; no randomness.

        Raises
        ------
        UsageError
            If scikit-learn is not installed.
        """
        try:
            from sklearn.datasets import load_digits
        except ImportError as err:
            raise missing_package("digits", "scikit-learn", err) from err
        digits = load_digits()
        return Dataset(
            points=digits.data,
            labels=digits.target,
            feature_names=tuple(digits.feature_names),
            image_shape=(8, 8),
            description="Handwritten digits, 8 × 8 pixels of 0 … 16 (scikit-learn, from UCI)",
        )


FACTORY = DatasetFactory(
    name="digits",
    params=NoParams,
    build=DigitsSource,
    summary="1797 handwritten digits of 8 × 8 pixels with labels; comes with scikit-learn.",
)
