import numpy as np
import pytest

import musicfw as mf
from musicfw.api import BackendFactory, NoParams, RawMap
from musicfw.cluster_scores import clustering_accuracy
from musicfw.datasets.projected_clusters import draw
from musicfw.errors import PluginError, UsageError
from musicfw.relevance_scores import relevance_auc, relevant_features, subspace_ce
from musicfw.som.relevance import RelevanceParams

MODES = ("map", "clusters", "growing")
QUICK = {"epochs": 12, "restarts": 3}
DRAWN = draw(np.random.default_rng(100), dimension=8, points=600, clusters=6)
SIX = mf.Lattice(rows=2, columns=3)


def trained(points, *, mode, lattice=SIX, **options):
    return mf.train(points, lattice=lattice, backend="relevance", mode=mode, **QUICK | options)


@pytest.mark.parametrize(
    ("mode", "lattice"), [("clusters", SIX), ("growing", mf.Lattice(rows=1, columns=14))]
)
def test_projected_clusters_and_their_features_are_found(mode, lattice):
    som = mf.train(DRAWN.points, lattice=lattice, backend="relevance", mode=mode)
    units, known = som.best_matching_units(DRAWN.points), DRAWN.components >= 0
    assert clustering_accuracy(DRAWN.components[known], units[known]) > 0.99
    R, truth = som.codebook.relevances, {"components": DRAWN.components, "clusters": units}
    assert relevance_auc(R, DRAWN.relevant, **truth) > 0.99
    assert subspace_ce(relevant_features(R), DRAWN.relevant, **truth) > 0.99
    assert som.codebook.units == 6


def test_without_relevances_they_are_not_found():
    som = mf.train(DRAWN.points, lattice=SIX, backend="relevance", mode="clusters", law="none")
    units, known = som.best_matching_units(DRAWN.points), DRAWN.components >= 0
    assert som.codebook.relevances is None
    assert clustering_accuracy(DRAWN.components[known], units[known]) < 0.8


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(mode):
    one, same, other = (trained(DRAWN.points, mode=mode, seed=seed) for seed in (3, 3, 4))
    assert one.codebook.prototypes.tobytes() == same.codebook.prototypes.tobytes()
    assert one.codebook.relevances.tobytes() == same.codebook.relevances.tobytes()
    if mode != "map":  # which begins on the principal plane, without drawing anything
        assert one.codebook.prototypes.tobytes() != other.codebook.prototypes.tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_relevances_sum_to_the_dimension_and_keep_the_floor(mode):
    R = trained(DRAWN.points, mode=mode, floor=0.05).codebook.relevances
    np.testing.assert_allclose(R.sum(axis=1), 8.0, rtol=1e-12)
    assert R.min() >= 0.05


@pytest.mark.parametrize("mode", MODES)
def test_the_scale_of_the_data_changes_nothing_else(mode):
    one = trained(DRAWN.points, mode=mode).codebook
    large = trained(1024.0 * DRAWN.points, mode=mode).codebook
    # A power of two: every operation scales without rounding, but for the principal plane.
    rtol = 1e-9 if mode == "map" else 0.0
    np.testing.assert_allclose(1024.0 * one.prototypes, large.prototypes, rtol=rtol)
    np.testing.assert_allclose(one.relevances, large.relevances, rtol=rtol)


@pytest.mark.parametrize("mode", MODES)
def test_permuted_features_have_permuted_relevances(mode):
    order = np.random.default_rng(0).permutation(8)
    one = trained(DRAWN.points, mode=mode).codebook
    mixed = trained(DRAWN.points[:, order], mode=mode).codebook
    if mode == "map":  # the sign of a principal direction goes by its features' order
        assert {one.units, mixed.units} == {6}
        one_rows, mixed_rows = (np.sort(c.prototypes.sum(axis=1)) for c in (one, mixed))
        np.testing.assert_allclose(one_rows, mixed_rows, rtol=1e-6)
        return
    np.testing.assert_allclose(one.prototypes[:, order], mixed.prototypes, rtol=1e-8)
    np.testing.assert_allclose(one.relevances[:, order], mixed.relevances, rtol=1e-8)


def test_a_map_without_relevances_is_that_of_the_native_backend():
    points = np.random.default_rng(0).normal(size=(300, 5)) * [5.0, 3.0, 1.0, 1.0, 1.0]
    lattice = mf.Lattice(rows=4, columns=6, topology="hexagonal")
    radii = {"radius_start": 2.0, "radius_decay": "exponential"}
    plain = mf.train(points, lattice=lattice, mode="batch", epochs=20, backend="native", **radii)
    som = mf.train(
        points,
        lattice=lattice,
        backend="relevance",
        law="none",
        epochs=20,
        radius_start=2.0,
        receptive_field=1.0,
    )
    np.testing.assert_allclose(plain.codebook.prototypes, som.codebook.prototypes, rtol=1e-8)
    errors = plain.history["quantization_error"]
    np.testing.assert_allclose(errors, som.history["quantization_error"], rtol=1e-8)
    np.testing.assert_array_equal(plain.history["radius"], som.history["radius"])


def test_a_map_at_an_immense_temperature_has_the_units_of_one_without_relevances():
    hot = trained(DRAWN.points, mode="map", temperature=1e6, annealing=1.0)
    plain = trained(DRAWN.points, mode="map", law="none")
    np.testing.assert_allclose(plain.codebook.prototypes, hot.codebook.prototypes, atol=1e-4)
    np.testing.assert_allclose(1.0, hot.codebook.relevances, atol=1e-4)


def test_only_a_map_has_places_on_the_lattice():
    lattice = mf.Lattice(rows=3, columns=4)
    for mode, expected in (("map", lattice), ("clusters", None), ("growing", None)):
        book = trained(DRAWN.points, mode=mode, lattice=lattice).codebook
        assert expected == book.lattice
        assert book.units == 12 if mode != "growing" else 1 <= book.units <= 12


def test_more_starts_never_end_worse():
    points = draw(np.random.default_rng(101), dimension=10, points=400).points
    lattice = mf.Lattice(rows=1, columns=10)
    one, many = (
        trained(points, mode="clusters", lattice=lattice, restarts=count) for count in (1, 6)
    )
    energies = many.history["restart_energy"]
    assert energies.shape == (6,)
    assert one.history["restart_energy"][0] == energies[0]
    assert len(np.unique(energies)) > 1
    again = many.codebook.squared_distances(points).min(axis=1)
    kept = again[again <= np.quantile(again, 0.9)]
    assert energies.min() == pytest.approx(kept.mean(), rel=1e-9)


def test_units_learn_nothing_from_what_lies_outside_the_receptive_field():
    rng = np.random.default_rng(0)
    blobs = np.vstack([rng.normal(0.0, 0.1, (50, 3)), rng.normal(5.0, 0.1, (50, 3))])
    far = np.vstack([blobs, [[100.0, 100.0, 100.0]]])
    first = blobs[[0, 50]]
    lattice = mf.Lattice(rows=1, columns=2)
    options = {"mode": "clusters", "lattice": lattice, "initial": first}
    with_field = trained(far, receptive_field=0.99, **options).codebook.prototypes
    without = trained(far, receptive_field=1.0, **options).codebook.prototypes
    np.testing.assert_allclose(blobs[50:].mean(axis=0), with_field[1], atol=1e-9)
    assert (without[1] > with_field[1] + 1.0).all()


def test_given_prototypes_are_the_only_start():
    first = DRAWN.points[::100]
    seeds = [trained(DRAWN.points, mode="clusters", initial=first, seed=s) for s in (0, 1)]
    assert seeds[0].codebook.prototypes.tobytes() == seeds[1].codebook.prototypes.tobytes()
    assert seeds[0].history["restart_energy"].size == 1
    for mode in ("map", "growing"):
        trained(DRAWN.points, mode=mode, initial=first)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("law", ["entropy", "logistic", "volume", "none"])
def test_odd_data_give_finite_maps(mode, law):
    rng = np.random.default_rng(0)
    constant = np.column_stack([rng.normal(size=(60, 2)), np.full(60, 3.0)])
    few, twice = rng.normal(size=(3, 2)), np.repeat(rng.normal(size=(2, 2)), 20, axis=0)
    for points in (constant, few, twice, rng.normal(size=(40, 1))):
        lattice = mf.Lattice(rows=2, columns=4)
        book = trained(points, mode=mode, law=law, lattice=lattice).codebook
        assert np.isfinite(book.prototypes).all()
        if law != "none":
            np.testing.assert_allclose(book.relevances.sum(axis=1), points.shape[1])


class Stop:
    """Interrupt at the given call of progress, and keep what was reported."""

    def __init__(self, at):
        self.at, self.calls = at, []

    def __call__(self, done, total):
        self.calls.append((done, total))
        if len(self.calls) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("mode", MODES)
def test_progress_rises_to_its_total(mode):
    watch = Stop(at=0)
    trained(DRAWN.points, mode=mode, progress=watch)
    done, totals = zip(*watch.calls, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]
    assert len(set(totals)) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupt_gives_the_map_so_far(mode):
    som = trained(DRAWN.points, mode=mode, progress=Stop(at=5))
    assert som.interrupted
    assert 1 <= som.history["quantization_error"].size < 12
    with pytest.raises(KeyboardInterrupt):
        trained(DRAWN.points, mode=mode, progress=Stop(at=1))


def test_an_interrupt_in_a_later_start_gives_the_best_of_the_finished_ones():
    whole = trained(DRAWN.points, mode="clusters", restarts=1)
    som = trained(DRAWN.points, mode="clusters", progress=Stop(at=14))
    assert som.interrupted
    assert whole.codebook.prototypes.tobytes() == som.codebook.prototypes.tobytes()


def test_redundant_units_and_units_of_noise_do_not_last():
    rng = np.random.default_rng(0)
    blobs = np.vstack([rng.normal(c, 0.05, (200, 3)) for c in (0.0, 4.0, 8.0)])
    points = np.vstack([blobs, rng.uniform(-4.0, 12.0, (20, 3))])
    som = trained(points, mode="growing", lattice=mf.Lattice(rows=3, columns=4), epochs=20)
    nearest = np.sort(som.codebook.prototypes.mean(axis=1))
    np.testing.assert_allclose([0.0, 4.0, 8.0], nearest, atol=0.05)


def test_a_radius_that_rises_is_refused():
    with pytest.raises(UsageError, match="radius_start: expected at least radius_end = 1"):
        RelevanceParams(radius_start=0.5)


# --- what the host makes of units without a place ------------------------------------------------


def fixed_backend(prototypes, **facts):
    class Backend:
        def fit(self, problem):
            return RawMap(prototypes=prototypes, **facts)

    return BackendFactory(
        name="fixed", params=NoParams, build=lambda params: Backend(), summary="…"
    )


def fixed(prototypes, **facts):
    return mf.train(DRAWN.points, lattice=SIX, backend=fixed_backend(prototypes, **facts))


def test_units_without_a_place_may_be_fewer_and_have_no_lattice():
    book = fixed(DRAWN.points[:3], placed=False).codebook
    assert (book.units, book.lattice) == (3, None)
    assert fixed(DRAWN.points[:6], placed=False).codebook.lattice is None


@pytest.mark.parametrize(("count", "placed"), [(3, True), (7, False), (0, False)])
def test_too_many_or_missing_units_are_the_plugins_error(count, placed):
    with pytest.raises(PluginError, match=r"prototypes \(M, D\)"):
        fixed(DRAWN.points[:count], placed=placed)
