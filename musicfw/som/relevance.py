"""The backend ``relevance``: maps whose units learn how much each feature matters to them.

Batch SOMRL (self-organizing maps with relevance learning) after H. F. Bassani and A. F. R. Araujo,
"Dimension selective self-organizing maps with time-varying structure for subspace and projected
clustering" (LARFDSSOM), IEEE TNNLS 26 (2015), as the descent of one energy
(`musicfw.som.relevance_descent`, `musicfw.som.relevance_laws`):

=========  ===================================  ===============================================
mode       units                                begins with
=========  ===================================  ===============================================
map        on the lattice, neighbours learn     a plane through the principal components
           together
clusters   each by itself, as many as the       data rows far from each other; the best of
           lattice has                          several starts is taken
growing    each by itself, as many as the data  as many as the lattice has; those with few
           need, at most those of the lattice   points or redundant are removed, others put where
                                                points are badly represented, while that helps
=========  ===================================  ===============================================

Units that are by themselves have no place on the lattice: their codebook has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from musicfw.api import BackendFactory, RawMap, TrainingProblem, param
from musicfw.arrays import FloatArray
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.som.initialization import distant_rows, overview, principal_plane
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.relevance_descent import Assignment, Law, Units, assigned, refitted
from musicfw.som.relevance_growth import Growth, badly_represented_rows, lasting_units, represented
from musicfw.som.relevance_laws import LawName
from musicfw.som.schedules import decay
from musicfw.som.statistics import Neighbourhood

# Epochs before relevances are learnt: dispersions about the first prototypes tell little.
_EPOCHS_ALIKE = 2
# Candidates of which the start takes the best: with one, noise is chosen too often.
_CANDIDATES = 6
# Growth ends when so many rounds in turn have found nothing new.
_FRUITLESS = 2
# A map's units see their neighbours' points too: at 0.2 those of digits fix on the border's pixels.
_TEMPERATURES = {"map": 2.0, "entropy": 0.2, "logistic": 0.1, "volume": 1.0, "none": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceParams:
    """Options of the backend ``relevance``.

    Raises
    ------
    UsageError
        If ``radius_start`` is below ``radius_end``.
    """

    mode: Literal["map", "clusters", "growing"] = param(
        "map",
        help="map: units on the lattice, neighbours learn together; clusters: units by themselves, "
        "as many as the lattice has; growing: as many as needed, at most those of the lattice.",
    )
    law: LawName | Literal["none"] = param(
        "entropy",
        help="How relevances follow from dispersions: entropy suits features relevant in any "
        "number; logistic (LARFDSSOM) about half of them; volume is the diagonal "
        "Gustafson-Kessel metric; none leaves all features alike.",
    )
    temperature: Annotated[float, Gt(0), Le(1e6)] | None = param(
        None,
        help="Relevances of the law entropy fall by 1/e with every such share of the unit's mean "
        "dispersion; slope of the law logistic. Null takes 2 in mode map, else 0.2 (entropy) or "
        "0.1 (logistic).",
    )
    annealing: Annotated[float, Ge(1), Le(1e6)] = param(
        10.0,
        help="How many times higher the temperature is at first; it falls in the first half of "
        "the epochs.",
    )
    floor: Annotated[float, Ge(0), Le(1)] = param(
        0.001,
        help="Least relevance (their mean is 1). With 0.05 the inversion of noisy distances stays "
        "as well conditioned as without relevances.",
    )
    shrinkage: Annotated[float, Ge(0), Le(1e6)] = param(
        5.0, help="As how many points the dispersion of all units counts in that of each."
    )
    receptive_field: Annotated[float, Gt(0), Le(1)] = param(
        0.9,
        help="Share of the points, the nearest to their units, that units learn from; the rest is "
        "taken for noise.",
    )
    epochs: Annotated[int, Ge(1)] = param(
        40, help="Passes over the data (of each start); without a neighbourhood often fewer."
    )
    restarts: Annotated[int, Ge(1)] = param(
        20,
        help="Starts, of which the one with the least mean squared distance in the receptive "
        "field is taken (mode clusters, unless first prototypes are given).",
    )
    radius_start: Annotated[float, Ge(0.01), Le(1e6)] | None = param(
        None,
        help="Neighbourhood radius of the first epoch (mode map), in distances between nearest "
        "units; null takes a quarter of the lattice's larger side.",
    )
    radius_end: Annotated[float, Ge(0.01), Le(1e6)] = param(
        1.0, help="Radius of the last epoch (mode map)."
    )
    activation_threshold: Annotated[float, Gt(0), Lt(1)] = param(
        0.9,
        help="A unit represents a point if 1 / (1 + d / (D s²)) is at least this, d their squared "
        "distance, s² the mean variance of the features (mode growing).",
    )
    least_share: Annotated[float, Ge(0), Lt(1)] = param(
        0.02,
        help="Units with a smaller share of the points are removed (mode growing).",
    )

    def __post_init__(self) -> None:
        if self.radius_start is not None and self.radius_start < self.radius_end:
            raise UsageError(
                f"radius_start: expected at least radius_end = {self.radius_end:g} (the radius "
                f"falls), got {self.radius_start:g}; raise it or lower radius_end"
            )

    def temperatures(self, epochs: int) -> FloatArray:
        """Return the temperature of every epoch, shape (epochs,): infinite at first, all alike."""
        end = self.temperature or _TEMPERATURES[self.law if self.mode != "map" else "map"]
        falling = decay(end * self.annealing, end, steps=max(1, epochs // 2), name="exponential")
        every = np.append(falling, np.full(epochs - falling.size, end))
        every[: min(_EPOCHS_ALIKE, epochs - 1)] = np.inf
        return every

    @property
    def growth(self) -> Growth:
        """The rules of growth."""
        threshold, share = self.activation_threshold, self.least_share
        return Growth(activation_threshold=threshold, least_share=share)

    def radii(self, lattice: Lattice) -> FloatArray:
        """Return the radius of every epoch, shape (epochs,)."""
        start = self.radius_start
        if start is None:
            larger = max(lattice.columns, lattice.rows * lattice.row_height)
            start = max(self.radius_end, larger / 4.0)
        return decay(start, self.radius_end, steps=self.epochs, name="exponential")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reached:
    """How far a training has come: what an interrupt returns."""

    units: Units
    found: Assignment
    errors: tuple[float, ...]
    energies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceBackend:
    """Trains prototypes and relevances; see the module."""

    params: RelevanceParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the trained prototypes and relevances.

        The history holds ``quantization_error`` (the mean distance of all points after each epoch,
        with the relevances), in mode map ``radius``, and in mode clusters ``restart_energy``: what
        the starts were judged by, one entry each.
        """
        centre = problem.points.mean(axis=0)
        points = problem.points - centre
        modes = {"map": self._map, "clusters": self._clusters, "growing": self._growing}
        reached: _Reached | None = None
        interrupted = False
        try:
            for reached in modes[self.params.mode](points, problem, centre):  # noqa: B007
                pass
        except KeyboardInterrupt:
            if reached is None:
                raise
            interrupted = True
        assert reached is not None  # there is at least one epoch
        placed = self.params.mode == "map"
        history = {"quantization_error": np.array(reached.errors)}
        if placed:
            history["radius"] = self.params.radii(problem.lattice)[: len(reached.errors)]
        if reached.energies:
            history["restart_energy"] = np.array(reached.energies)
        return RawMap(
            prototypes=reached.units.prototypes + centre,
            relevances=reached.units.relevances,
            history=history,
            interrupted=interrupted,
            placed=placed,
        )

    def _alike(self, prototypes: FloatArray) -> Units:
        return Units.alike(prototypes, learning=self.params.law != "none")

    def _start(self, points: FloatArray, units: int, rng: np.random.Generator) -> Units:
        return self._alike(distant_rows(points, units, rng=rng, candidates=_CANDIDATES))

    def _map(
        self, points: FloatArray, problem: TrainingProblem, centre: FloatArray
    ) -> Iterator[_Reached]:
        """Yield the map after every epoch."""
        if problem.initial is not None:
            first = problem.initial - centre
        else:
            first = principal_plane(overview(points, rng=problem.rng), problem.lattice)
        radii = self.params.radii(problem.lattice)
        around = (neighbourhood(problem.lattice, float(r), name="gaussian") for r in radii)
        for reached in self._epochs(points, self._alike(first), around):
            problem.progress(len(reached.errors), radii.size)
            yield reached

    def _clusters(
        self, points: FloatArray, problem: TrainingProblem, centre: FloatArray
    ) -> Iterator[_Reached]:
        """Yield the best of the starts so far; in the first of them, after every epoch."""
        epochs = self.params.epochs
        restarts = self.params.restarts if problem.initial is None else 1
        best: _Reached | None = None
        energies: tuple[float, ...] = ()
        for restart in range(restarts):
            if problem.initial is not None:
                start = self._alike(problem.initial - centre)
            else:
                start = self._start(points, problem.lattice.units, problem.rng)
            for number, reached in enumerate(self._epochs(points, start, itertools.repeat(None))):
                problem.progress(restart * epochs + number, restarts * epochs)
                yield best or reached
            energies = (*energies, reached.found.energy)
            if best is None or reached.found.energy < best.found.energy:
                best = reached
            best = replace(best, energies=energies)
            yield best
        problem.progress(restarts * epochs, restarts * epochs)

    def _epochs(
        self, points: FloatArray, units: Units, around: Iterable[Neighbourhood | None]
    ) -> Iterator[_Reached]:
        """Yield the state after every epoch, until the last or until nothing changes any more."""
        params = self.params
        found = assigned(points, units, receptive_field=params.receptive_field)
        errors: tuple[float, ...] = ()
        temperatures = params.temperatures(params.epochs)
        for temperature, nearby in zip(temperatures, around, strict=False):
            units = self._refitted(points, units, found, nearby, temperature)
            now = assigned(points, units, receptive_field=params.receptive_field)
            errors = (*errors, now.quantization_error)
            yield _Reached(units=units, found=now, errors=errors)
            settled = nearby is None and temperature == temperatures[-1]
            if settled and now.same_as(found):
                return
            found = now

    def _refitted(
        self,
        points: FloatArray,
        units: Units,
        found: Assignment,
        nearby: Neighbourhood | None,
        temperature: float | FloatArray,
    ) -> Units:
        params = self.params
        return refitted(
            points,
            units,
            found,
            neighbourhood=nearby,
            law=Law(
                name="entropy" if params.law == "none" else params.law,
                floor=params.floor,
                shrinkage=params.shrinkage,
            ),
            temperature=temperature,
        )

    def _growing(
        self, points: FloatArray, problem: TrainingProblem, centre: FloatArray
    ) -> Iterator[_Reached]:
        """Yield the units of each round, and then those that last while they settle.

        A round trains as many units as the lattice has, all from relevances alike: those that
        lasted and rows that are badly represented. It counts if so many more points are represented
        as a unit needs.
        """
        params, most, rules = self.params, problem.lattice.units, self.params.growth
        if problem.initial is not None:
            start = self._alike(problem.initial - centre)
        else:
            start = self._start(points, most, problem.rng)
        best: Units | None = None
        known, fruitless, done = 0.0, 0, 0
        errors: tuple[float, ...] = ()
        while fruitless < _FRUITLESS and done < most:
            for number, reached in enumerate(self._epochs(points, start, itertools.repeat(None))):
                problem.progress(done * params.epochs + number, (most + 1) * params.epochs)
                yield replace(reached, errors=errors + reached.errors)
            errors, done = errors + reached.errors, done + 1
            lasting = lasting_units(points, reached.units, reached.found, rules)
            units = reached.units.taken(lasting)
            found = assigned(points, units, receptive_field=params.receptive_field)
            now = float(np.count_nonzero(represented(points, found.squared_distances, rules)))
            fruitless += 1
            if best is None or now >= known + rules.least_share * points.shape[0]:
                best, around, known, fruitless = units, found, now, 0
            count = most - best.prototypes.shape[0]
            rows = badly_represented_rows(points, around, rules, count=count, rng=problem.rng)
            start = self._alike(np.vstack([best.prototypes, rows]))
        assert best is not None
        for reached in self._settled(points, best):
            yield replace(reached, errors=errors + reached.errors)
        problem.progress((most + 1) * params.epochs, (most + 1) * params.epochs)

    def _settled(self, points: FloatArray, units: Units) -> Iterator[_Reached]:
        """Yield the units with what they have learnt, until all of them last."""
        params = self.params
        temperature = float(params.temperatures(2)[-1])
        errors: tuple[float, ...] = ()
        found = assigned(points, units, receptive_field=params.receptive_field)
        while True:
            for _ in range(params.epochs):
                units = self._refitted(points, units, found, None, temperature)
                before = found
                found = assigned(points, units, receptive_field=params.receptive_field)
                errors = (*errors, found.quantization_error)
                yield _Reached(units=units, found=found, errors=errors)
                if found.same_as(before):
                    break
            lasting = lasting_units(points, units, found, params.growth)
            if lasting.size == units.prototypes.shape[0]:
                return
            units = units.taken(lasting)
            found = assigned(points, units, receptive_field=params.receptive_field)


RELEVANCE = BackendFactory(
    name="relevance",
    params=RelevanceParams,
    build=lambda params: RelevanceBackend(params=params),
    summary="Maps and subspace clusters whose units learn the relevance of each feature.",
)
