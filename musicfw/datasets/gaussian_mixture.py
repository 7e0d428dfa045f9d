"""The data source ``gaussian-mixture``: labelled clouds of points, made from the run's seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from musicfw.api import Dataset, DatasetFactory, param

__all__ = ["FACTORY", "GaussianMixtureParams", "GaussianMixtureSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMixtureParams:
    """Params of ``gaussian-mixture``."""

    points: Annotated[int, Ge(1)] = param(1000, help="Number of points N.")
    dimension: Annotated[int, Ge(1)] = param(2, help="Number of features D.")
    components: Annotated[int, Ge(1)] = param(3, help="Number of Gaussian clouds K.")
    separation: Annotated[float, Ge(0)] = param(
        8.0, help="Root mean square distance between the centres of two clouds."
    )
    spread: Annotated[float, Ge(0)] = param(
        1.0, help="Standard deviation of a cloud along every axis."
    )


@dataclass(frozen=True, slots=True)
class GaussianMixtureSource:
    """K round Gaussian clouds of equal size (up to one point), in random order.

    Centres are ``c_k ~ N(0, separation² / (2 D) · I)``, so that two of them lie ``separation``
    apart in the root mean square whatever D is; points are ``x = c_k + spread · z``,
    ``z ~ N(0, I)``. Labels are the component numbers ``0 … K−1``.
    """

    params: GaussianMixtureParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the points (N, D); the same state of ``rng`` gives the same points.

        Raises
        ------
        DataError
            If ``separation`` or ``spread`` is not finite.
        """
        asked = self.params
        shape = (asked.components, asked.dimension)
        deviation = asked.separation / np.sqrt(2.0 * asked.dimension)
        centres = deviation * rng.standard_normal(shape)
        component = rng.permutation(np.arange(asked.points) % asked.components)
        noise = rng.standard_normal((asked.points, asked.dimension))
        return Dataset(
            points=centres[component] + asked.spread * noise,
            labels=component.astype(np.str_),
            description=(
                f"Mixture of {asked.components} Gaussians in {asked.dimension} dimensions, "
                f"separation {asked.separation:g}, spread {asked.spread:g}"
            ),
        )


FACTORY = DatasetFactory(
    name="gaussian-mixture",
    params=GaussianMixtureParams,
    build=GaussianMixtureSource,
    summary="Labelled Gaussian clouds in any dimension, made from the seed.",
)
