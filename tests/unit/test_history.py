"""What is recorded along a training, compared with the measures of `musicfw.som.quality`."""

import numpy as np
import pytest

import musicfw as mf
from musicfw.som.centred_points import CentredPoints
from musicfw.som.quality import topographic_error
from musicfw.som.statistics import POINTS_HANDED_ON

EPS = np.finfo(np.float64).eps
MODES = ["minibatch", "batch", "progressive", "online"]
LATTICES = [
    mf.Lattice(rows=4, columns=6),
    mf.Lattice(rows=4, columns=6, topology="hexagonal"),
    mf.Lattice(rows=4, columns=6, topology="hexagonal", toroidal=True),
    mf.Lattice(rows=4, columns=6, cylindrical=True),
]
X = np.random.default_rng(0).normal(size=(700, 5))


@pytest.mark.parametrize("mode", MODES)
def test_every_entry_is_measured(mode):
    trained = mf.train(X, lattice=LATTICES[0], mode=mode, epochs=4)
    names = {"quantization_error", "topographic_error", "radius", "change"}
    assert names == set(trained.history)
    for values in trained.history.values():
        assert values.shape == trained.history["radius"].shape
        assert np.isfinite(values).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_the_last_topographic_error_is_that_of_the_map_on_points_that_are_few(lattice, mode):
    few = X[:POINTS_HANDED_ON]
    trained = mf.train(few, lattice=lattice, mode=mode, epochs=3, radius_end=0.3)
    expected = topographic_error(trained.codebook, few)
    assert expected > 0.0
    assert expected == trained.history["topographic_error"][-1]


def test_of_many_points_the_first_are_looked_at():
    trained = mf.train(X, lattice=LATTICES[1], mode="batch", epochs=3, radius_end=0.3)
    expected = topographic_error(trained.codebook, X[:POINTS_HANDED_ON])
    assert expected == trained.history["topographic_error"][-1]


def test_they_are_so_whatever_the_size_of_a_chunk():
    options = {"lattice": LATTICES[1], "mode": "batch", "epochs": 3, "radius_end": 0.3}
    whole, chunked = (mf.train(X, chunk_size=size, **options) for size in (700, 23))
    for name in ("topographic_error", "radius"):
        np.testing.assert_array_equal(whole.history[name], chunked.history[name])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_the_search_hands_on_is_what_it_would_compute_anew(dtype, monkeypatch):
    # Enough units and features for a search in float32 of points in float64.
    points = np.random.default_rng(3).normal(size=(2500, 20)).astype(dtype)
    options = {"lattice": mf.Lattice(rows=9, columns=9), "epochs": 2, "radius_end": 0.4}
    handed_on = mf.train(points, **options)
    anew = CentredPoints.best_two
    calls = []

    def forgetful(self, rows, prototypes):
        calls.append(self._handed_on is not None and self._handed_on[0] is prototypes)
        self._handed_on = None
        return anew(self, rows, prototypes)

    monkeypatch.setattr(CentredPoints, "best_two", forgetful)
    expected = mf.train(points, **options)
    assert all(calls)  # nothing had to be computed for the first map
    for name, values in expected.history.items():
        np.testing.assert_array_equal(values, handed_on.history[name])


def test_a_compiled_search_tells_the_same():
    pytest.importorskip("numba")
    points = np.random.default_rng(1).normal(size=(400, 120)) @ np.diag(0.9 ** np.arange(120))
    options = {"lattice": LATTICES[0], "mode": "batch", "epochs": 4}
    plain, compiled = (mf.train(points, search=s, **options) for s in ("plain", "compiled"))
    for name in ("topographic_error", "radius"):
        np.testing.assert_array_equal(plain.history[name], compiled.history[name])


def test_gaps_are_left_out_of_the_comparison():
    few = X[:60].copy()
    few[::3, 1] = np.nan
    trained = mf.train(few, lattice=LATTICES[0], mode="batch", missing="keep", radius_end=0.3)
    W = trained.codebook.prototypes
    squared = np.nansum((few[:, np.newaxis] - W) ** 2, axis=2)
    best, second = np.argsort(squared, axis=1)[:, :2].T
    expected = np.mean(~LATTICES[0].touching()[best, second])
    assert expected == trained.history["topographic_error"][-1]


@pytest.mark.parametrize("mode", MODES)
def test_the_change_is_how_far_the_prototypes_moved(mode):
    first = np.random.default_rng(2).normal(size=(24, 5))
    options = {"lattice": LATTICES[0], "initial": first, "mode": mode, "radius_decay": [2.0]}
    trained = mf.train(X[:64], **options)
    moved = trained.codebook.prototypes - first
    expected = np.sqrt((moved**2).sum(axis=1).mean())
    # The difference of numbers below 4, about a centre and back.
    assert trained.history["change"] == pytest.approx([expected], rel=100 * EPS)


def test_of_many_units_some_tell_how_far_they_moved():
    lattice = mf.Lattice(rows=10, columns=20)
    first = np.random.default_rng(4).normal(size=(200, 5))
    options = {"lattice": lattice, "initial": first, "mode": "batch", "radius_decay": [2.0]}
    trained = mf.train(X, **options)
    moved = (trained.codebook.prototypes - first)[::4]
    expected = np.sqrt((moved**2).sum(axis=1).mean())
    assert trained.history["change"] == pytest.approx([expected], rel=100 * EPS)


def test_a_single_unit_makes_no_topographic_error():
    trained = mf.train(X, lattice=mf.Lattice(rows=1, columns=1), mode="batch", epochs=2)
    np.testing.assert_array_equal([0.0, 0.0], trained.history["topographic_error"])


def test_which_units_touch_is_told_pair_by_pair_as_for_all():
    for lattice in LATTICES:
        first, second = np.divmod(np.arange(24 * 24), 24)
        different = first != second
        expected = lattice.touching().ravel()[different]
        found = lattice.touch(first[different], second[different])
        np.testing.assert_array_equal(expected, found)
