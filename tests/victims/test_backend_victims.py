"""Broken training backends, each rejected by the check made for it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from musicfw.api import BackendFactory, NoParams, RawMap
from musicfw.codebook import Codebook
from musicfw.testing import CheckFailure, backend_checks
from musicfw.testing.doors import CHECKS

EPOCHS = 6


class Fine:
    """Batch training in a dozen lines that keeps every law; the victims spoil one thing each."""

    rate = 1.0

    def fit(self, problem):
        points, weights = self.data(problem)
        first = problem.initial
        if first is None:
            rows = problem.rng.integers(len(points), size=problem.lattice.units)
            first = points[rows] + 1e-3 * problem.rng.normal(size=(rows.size, points.shape[1]))
        prototypes, start = np.array(first, dtype=np.float64), 0
        kept = problem.checkpoint.load() if problem.checkpoint is not None else None
        if kept is not None:
            prototypes, start = np.array(kept["prototypes"]), int(kept["epoch"])
        lattice2 = problem.lattice.squared_distances()
        for epoch in range(start, EPOCHS):
            H = np.exp(-lattice2 / (2.0 * np.linspace(1.5, 0.5, EPOCHS)[epoch] ** 2))
            winners = self.winners(points, prototypes)
            sums, counts = self.statistics(points, weights, winners, len(prototypes))
            target = (H @ sums) / (H @ counts)[:, np.newaxis]
            prototypes = prototypes + self.rate * (target - prototypes)
            if problem.checkpoint is not None:
                state = {"prototypes": prototypes, "epoch": np.array(epoch + 1)}
                problem.checkpoint.offer(lambda state=state: state)
            self.tell(problem, epoch + 1)
        return self.result(prototypes, problem)

    def data(self, problem):
        points = problem.points.astype(np.float64)
        weights = np.ones(len(points)) if problem.weights is None else problem.weights
        return points, weights

    def winners(self, points, prototypes):
        return Codebook(prototypes=prototypes).best_matching_units(points)

    def statistics(self, points, weights, winners, units):
        member = (winners == np.arange(units)[:, np.newaxis]) * weights
        return member @ points, member.sum(axis=1)

    def tell(self, problem, done):
        problem.progress(done, EPOCHS)

    def result(self, prototypes, problem):
        return RawMap(prototypes=prototypes)


class OnePrototypeTooMany(Fine):
    def result(self, prototypes, problem):
        return RawMap(prototypes=np.vstack([prototypes, prototypes[:1]]))


class NotANumber(Fine):
    def result(self, prototypes, problem):
        prototypes[-1] = np.nan
        return RawMap(prototypes=prototypes)


class JustAnArray(Fine):
    def result(self, prototypes, problem):
        return prototypes


class HistoryOfMatrices(Fine):
    def result(self, prototypes, problem):
        return RawMap(prototypes=prototypes, history={"prototypes": prototypes})


class DistancesBeforeTheLastUpdate(Fine):
    def result(self, prototypes, problem):
        book = Codebook(prototypes=prototypes[::-1] + 1.0)
        squared = book.squared_distances(problem.points).min(axis=1)
        return RawMap(prototypes=prototypes, distances=np.sqrt(squared))


class ItsOwnGenerator(Fine):
    def result(self, prototypes, problem):
        noise = np.random.default_rng().normal(size=prototypes.shape)
        return RawMap(prototypes=prototypes + 1e-9 * noise)


class CentresTheData(Fine):
    def data(self, problem):
        if problem.points.flags.writeable:
            points = problem.points
            points -= points.mean(axis=0)
        return super().data(problem)


class WrongSign(Fine):
    rate = -1.0


class ColumnsFirst(Fine):
    """Numbers the units by columns, as another library does."""

    def result(self, prototypes, problem):
        rows, columns = problem.lattice.rows, problem.lattice.columns
        order = np.arange(rows * columns).reshape(rows, columns).T.ravel()
        return RawMap(prototypes=prototypes[order])


class OffByOneUnit(Fine):
    def result(self, prototypes, problem):
        return RawMap(prototypes=np.roll(prototypes, 1, axis=0))


class GlobalSeed(Fine):
    def fit(self, problem):
        np.random.seed(0)  # noqa: NPY002 - the mistake
        return super().fit(problem)


class ProgressGoesBackwards(Fine):
    def tell(self, problem, done):
        problem.progress(EPOCHS - done, EPOCHS)


class NeverTells(Fine):
    def tell(self, problem, done):
        pass


class SwallowsInterrupts(Fine):
    def tell(self, problem, done):
        with contextlib.suppress(KeyboardInterrupt):
            problem.progress(done, EPOCHS)


class IgnoresWeights(Fine):
    def data(self, problem):
        points, _ = super().data(problem)
        return points, np.ones(len(points))


class MeanOfMeans(Fine):
    """Takes means of halves of the data and averages them: they do not merge."""

    def statistics(self, points, weights, winners, units):
        middle = len(points) // 2
        parts = (slice(None, middle), slice(middle, None))
        means = []
        for part in parts:
            sums, counts = super().statistics(points[part], weights[part], winners[part], units)
            means.append(sums / np.maximum(counts, 1e-9)[:, np.newaxis])
        return 0.5 * (means[0] + means[1]), np.ones(units)


class ForgetsTheEpoch(Fine):
    """Offers its prototypes, but not how far the radius has fallen."""

    def fit(self, problem):
        checkpoint = problem.checkpoint
        if checkpoint is not None and checkpoint.load() is not None:
            start = checkpoint.start
            checkpoint.start = {**start, "epoch": np.array(0)}
        return super().fit(problem)


class EightBits(Fine):
    """Takes float32 as an invitation to store its data in even fewer bits."""

    def data(self, problem):
        points, weights = super().data(problem)
        if problem.points.dtype == np.float32:
            points = np.round(points / 4.0) * 4.0
        return points, weights


class GapsAreZeros(Fine):
    def data(self, problem):
        points, weights = super().data(problem)
        return np.nan_to_num(points), weights


class ZerosAreGaps(Fine):
    def data(self, problem):
        if isinstance(problem.points, np.ndarray):
            return super().data(problem)
        points = problem.points.toarray()
        means = points.sum(axis=0) / np.maximum((points != 0).sum(axis=0), 1)
        return np.where(points == 0.0, means, points), np.ones(len(points))


class EmptiesTheMatrix(Fine):
    def data(self, problem):
        if isinstance(problem.points, np.ndarray):
            return super().data(problem)
        points = problem.points.toarray()
        problem.points.data[:] = 0.0
        return points, np.ones(len(points))


class Half:
    """Half of the features, as an embedding."""

    name = "half"

    def encode(self, points):
        return points[:, :2]

    def decode(self, codes):
        return np.hstack([codes, codes])

    def files(self):
        return {"config.json": b"{}"}


class DecodesTooLittle(Half):
    def decode(self, codes):
        return codes


class Embedded(Fine):
    embedding = DecodesTooLittle()

    def data(self, problem):
        points, weights = super().data(problem)
        return points[:, :2], weights

    def result(self, prototypes, problem):
        return RawMap(prototypes=prototypes, embedding=self.embedding)


class EmbeddedWell(Embedded):
    embedding = Half()


def factory(victim, *traits):
    return BackendFactory(
        name=victim.__name__.lower(),
        params=NoParams,
        build=lambda params: victim(),
        summary=(victim.__doc__ or victim.__name__).strip(),
        traits=frozenset(traits),
    )


NEIGHBOURS = "neighbours_on_the_lattice_are_neighbours_in_the_data"

# The victim with its traits, the check that is made for it, and how its message goes on.
VICTIMS = [
    (factory(OnePrototypeTooMany), "prototypes_fit_the_lattice", "expected prototypes (M, D) in"),
    (factory(NotANumber), "prototypes_fit_the_lattice", "expected finite prototypes, got [nan"),
    (factory(JustAnArray), "prototypes_fit_the_lattice", "expected fit to return a RawMap, got nd"),
    (
        factory(DistancesBeforeTheLastUpdate),
        "distances_are_to_the_prototypes",
        "expected distances to the prototypes, got one",
    ),
    (factory(HistoryOfMatrices), "prototypes_fit_the_lattice", "expected history['prototypes'] as"),
    (factory(ItsOwnGenerator), "same_seed_same_bytes", "expected the same bytes twice, got"),
    (factory(CentresTheData), "data_unchanged", "expected problem.points unchanged, row 0 was"),
    (factory(WrongSign), "quantization_error_falls", "expected a quantization error of at most"),
    (factory(ColumnsFirst), NEIGHBOURS, "expected prototypes of neighbours at most"),
    (factory(OffByOneUnit), NEIGHBOURS, "expected prototypes of neighbours at most"),
    (factory(GlobalSeed), "no_global_randomness_in_training", "expected the global generator np."),
    (factory(ProgressGoesBackwards), "progress_is_monotone", "expected progress to rise from 5"),
    (factory(NeverTells), "progress_is_monotone", "expected a call of progress(done, total), got"),
    (factory(SwallowsInterrupts), "interrupts_are_told", "expected interrupted=True after"),
    (factory(IgnoresWeights, "weights"), "statistics_merge", "expected the map of copied rows"),
    (factory(MeanOfMeans, "weights"), "statistics_merge", "expected the map of copied rows within"),
    (factory(ForgetsTheEpoch, "resumable"), "resumes_where_it_stopped", "expected the same bytes"),
    (factory(EightBits, "float32"), "float32_data_are_taken", "expected a quantization error"),
    (factory(GapsAreZeros, "missing"), "gaps_are_not_values", "expected feature "),
    (
        factory(ZerosAreGaps, "sparse"),
        "sparse_data_are_their_dense_array",
        "expected a quantization error of ",
    ),
    (
        factory(EmptiesTheMatrix, "sparse"),
        "sparse_data_are_their_dense_array",
        "expected problem.points unchanged",
    ),
    (
        factory(Embedded, "embedding"),
        "embedding_fits_the_prototypes",
        "expected decode to return an array (6, 4), got (6, 2)",
    ),
]


@pytest.mark.parametrize(
    ("victim", "check", "told"), VICTIMS, ids=[case[0].name for case in VICTIMS]
)
def test_a_broken_backend_is_rejected_by_the_check_made_for_it(rejected, victim, check, told):
    message = rejected(victim, check)
    assert f"fails the check {check!r}: {told}" in message


def test_every_check_of_backends_alone_has_a_victim():
    own = {check.name for check in CHECKS if check.kinds == {"backend"}}
    assert own == {check for _, check, _ in VICTIMS}


@pytest.mark.parametrize(
    "fine",
    [factory(Fine, "float32", "resumable", "weights"), factory(EmbeddedWell, "embedding")],
    ids=["fine", "embedded"],
)
def test_the_backend_that_the_victims_spoil_keeps_every_law(fine):
    for name, call in backend_checks(fine):
        if name == "prototypes_fit_the_lattice" and "embedding" in fine.traits:
            continue  # it takes the first two of the features, and there may be one
        try:
            call()
        except CheckFailure as failure:
            pytest.fail(f"{name}: {failure}")
