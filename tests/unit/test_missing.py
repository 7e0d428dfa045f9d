"""Rows with gaps: compared and learnt in the features that are known, filled by the map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import BackendFactory, NoParams, RawMap
from musicfw.errors import DataError, UsageError
from musicfw.missing import MaskedSearch, has_gaps, masked_best_matching_units
from musicfw.scaling import fit_scaling
from musicfw.som.initialization import distant_rows, overview
from musicfw.som.neighbourhoods import neighbourhood
from musicfw.som.statistics import Statistics, statistics, update

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=5, columns=6, topology="hexagonal")
SEEDS = st.integers(0, 2**32 - 1)
MODES = ["minibatch", "batch", "progressive", "online"]


def holes(points, share, seed=1):
    """Return the points with a share of the cells NaN, some cell of every row and column known."""
    rng = np.random.default_rng(seed)
    gaps = rng.random(points.shape) < share
    gaps[np.arange(len(points)), rng.integers(points.shape[1], size=len(points))] = False
    gaps[0] = False
    return np.where(gaps, np.nan, points)


def blobs(seed, count=600, dimension=5):
    """Return points near a curved line, so that every feature tells about the others."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 1, size=(count, 1))
    turns = np.linspace(1.0, 2.0, dimension)
    return 3 * np.sin(turns * t + turns) + 0.05 * rng.normal(size=(count, dimension))


# --- distances and statistics --------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["none", "shared", "per unit"]))
def test_masked_units_are_those_of_a_naive_loop(seed, kind):
    rng = np.random.default_rng(seed)
    # Integers: all sums are exact, ties included, but for the centre, which a power of two keeps.
    points = holes(rng.integers(-9, 9, (20, 4)).astype(float), 0.4, seed)
    W = rng.integers(-9, 9, (8, 4)).astype(float)
    R = {"none": None, "shared": rng.integers(1, 4, 4) * 1.0, "per unit": np.ones((8, 4))}[kind]
    if kind == "per unit":
        R = 2.0 ** rng.integers(0, 3, (1, 4)) * np.ones((8, 1))  # the centre stays exact
    expected = []
    for x in points:
        known = ~np.isnan(x)
        weights = np.ones((8, 4)) if R is None else np.broadcast_to(R, (8, 4))
        squared = (weights[:, known] * (x[known] - W[:, known]) ** 2).sum(axis=1)
        expected.append(int(squared.argmin()))
    np.testing.assert_array_equal(expected, masked_best_matching_units(points, W, R))


def test_units_may_differ_in_what_is_relevant_to_them():
    W = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    R = np.array([[10.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    points = [[0.9, np.nan, 0.9], [np.nan, 0.9, 0.9]]
    assert masked_best_matching_units(np.array(points), W, R).tolist() == [1, 0]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_complementary_halves_of_a_row_are_the_row(seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-50, 50, (30, 4)).astype(float)
    W = rng.integers(-50, 50, (1, 4)).astype(float)  # one unit: both halves are its own
    mask = rng.random((30, 4)) < 0.5
    halves = np.concatenate([np.where(mask, points, np.nan), np.where(mask, np.nan, points)])
    whole = statistics(points, W)
    found = statistics(halves, W, search=MaskedSearch(W, np.float64), missing=True)
    np.testing.assert_array_equal(whole.sums, found.sums)
    np.testing.assert_array_equal(np.repeat(whole.counts[:, None], 4, axis=1), found.feature_counts)
    H = np.ones((1, 1))
    np.testing.assert_array_equal(update(whole, H, W), update(found, H, W))


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, cuts=st.lists(st.integers(1, 59), unique=True, max_size=4))
def test_statistics_of_parts_with_gaps_add_up_whether_or_not_a_part_has_any(seed, cuts):
    rng = np.random.default_rng(seed)
    points = rng.integers(-50, 50, (60, 3)).astype(float)
    points[30:] = holes(points[30:], 0.5, seed)
    W = rng.integers(-50, 50, (7, 3)).astype(float)
    weights = rng.integers(0, 3, 60).astype(float)
    masked = MaskedSearch(W, np.float64)
    whole = statistics(points, W, weights=weights, search=masked, missing=True)
    parts = []
    for rows in np.split(np.arange(60), sorted(cuts)):
        gaps = bool(np.isnan(points[rows]).any())
        search = masked if gaps else None
        parts.append(
            statistics(points[rows], W, weights=weights[rows], search=search, missing=gaps)
        )
    merged = sum(parts[1:], start=parts[0])
    np.testing.assert_array_equal(whole.sums, merged.sums)
    np.testing.assert_array_equal(whole.counts, merged.counts)
    np.testing.assert_array_equal(whole.feature_counts, merged.known_counts * np.ones(3))
    halved = whole.faded(0.5)
    np.testing.assert_array_equal(0.5 * whole.feature_counts, halved.feature_counts)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_masked_search_finds_what_the_plain_one_does_where_nothing_is_missing(dtype):
    rng = np.random.default_rng(0)
    points = rng.integers(-9, 9, (200, 6)).astype(dtype)
    W = rng.integers(-9, 9, (20, 6)).astype(float)
    plain = statistics(points, W)
    masked = statistics(points, W, search=MaskedSearch(W, dtype), missing=True)
    np.testing.assert_array_equal(plain.sums, masked.sums)
    np.testing.assert_array_equal(plain.counts[:, None] * np.ones(6), masked.feature_counts)
    assert plain.error_sum == masked.error_sum


def test_a_feature_that_no_neighbour_knows_stays_as_it_is():
    W = np.array([[1.0, 5.0], [2.0, 6.0]])
    known = Statistics(
        sums=np.array([[4.0, 0.0], [0.0, 0.0]]),
        counts=np.array([2.0, 0.0]),
        error_sum=0.0,
        rows=2,
        feature_counts=np.array([[2.0, 0.0], [0.0, 0.0]]),
    )
    np.testing.assert_array_equal([[2.0, 5.0], [2.0, 6.0]], update(known, np.eye(2), W))


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_without_a_gap_keeping_missing_values_changes_no_bit(mode):
    points = blobs(0)
    options = {"lattice": LATTICE, "mode": mode, "epochs": 2, "scaling": "standard"}
    plain = mf.train(points, **options)
    kept = mf.train(points, missing="keep", **options)
    assert plain.codebook.prototypes.tobytes() == kept.codebook.prototypes.tobytes()
    assert plain.scaling.scale.tobytes() == kept.scaling.scale.tobytes()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("initialization", ["pca", "sample", "k-means++"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_mode_trains_on_rows_with_gaps(mode, initialization, dtype):
    points = blobs(1)
    gaps = holes(points, 0.3).astype(dtype)
    trained = mf.train(
        gaps,
        lattice=LATTICE,
        mode=mode,
        initialization=initialization,
        epochs=None if mode == "minibatch" else 10,
        missing="keep",
    )
    filled = trained.impute(gaps)
    missing = np.isnan(gaps)
    np.testing.assert_array_equal(gaps[~missing].astype(np.float64), filled[~missing])
    columns = np.nonzero(missing)[1]
    error = filled[missing] - points[missing]
    baseline = np.nanmean(gaps, axis=0)[columns] - points[missing]
    assert np.square(error).mean() < 0.2 * np.square(baseline).mean()
    assert np.isfinite(trained.history["quantization_error"]).all()
    assert np.isfinite(trained.distance_quantiles).all()


@pytest.mark.parametrize("mode", ["batch", "progressive"])
def test_the_order_of_rows_with_gaps_does_not_matter_beyond_rounding(mode):
    # progressive draws rows by position: with one update it takes all of them.
    points = holes(blobs(2), 0.3)
    order = np.random.default_rng(0).permutation(len(points))
    epochs = 8 if mode == "batch" else 1
    one, other = (
        mf.train(X, lattice=LATTICE, mode=mode, epochs=epochs, missing="keep").codebook.prototypes
        for X in (points, points[order])
    )
    # Quotients of sums over N rows and M units, anew in every epoch, from equal units.
    bound = 4 * (len(points) + LATTICE.units) * EPS * np.nanmax(np.abs(points))
    np.testing.assert_allclose(one, other, rtol=0, atol=bound)


def test_how_the_rows_are_chunked_does_not_matter_beyond_rounding():
    points = holes(blobs(3), 0.3)
    one, other = (
        mf.train(points, lattice=LATTICE, mode="batch", chunk_size=size, missing="keep")
        for size in (37, 600)
    )
    bound = 4 * (len(points) + LATTICE.units) * EPS * np.nanmax(np.abs(points))
    np.testing.assert_allclose(
        one.codebook.prototypes, other.codebook.prototypes, rtol=0, atol=bound
    )


def test_weighted_rows_with_gaps_count_as_repeated_ones():
    points = holes(blobs(4, 200), 0.3)
    times = np.random.default_rng(0).integers(0, 4, 200)
    options = {"lattice": LATTICE, "mode": "batch", "epochs": 5, "missing": "keep"}
    expected = mf.train(np.repeat(points, times, axis=0), **options)
    found = mf.train(points, weights=times, **options)
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=2e4 * EPS
    )


def test_a_training_with_gaps_goes_on_from_its_checkpoint_number_for_number(tmp_path):
    points, file = holes(blobs(5, 3000), 0.3), tmp_path / "state.npz"
    options = {"lattice": LATTICE, "missing": "keep", "chunk_size": 500, "checkpoint_every_s": 0}

    def stop(done, total):
        if done == 20:  # by then updates keep a share of those before
            raise RuntimeError

    whole = mf.train(points, **options)
    with pytest.raises(RuntimeError):
        mf.train(points, checkpoint=file, progress=stop, **options)
    again = mf.train(points, checkpoint=file, **options)
    assert whole.codebook.prototypes.tobytes() == again.codebook.prototypes.tobytes()


def test_labels_and_clusters_come_from_rows_with_gaps():
    points = np.concatenate([blobs(6), blobs(7) + 20.0])
    labels = np.repeat(["low", "high"], 600)
    trained = mf.train(
        holes(points, 0.4), lattice=LATTICE, labels=labels, clusters=2, missing="keep"
    )
    units = trained.best_matching_units(points)
    assert (trained.codebook.labels[units] == labels).all()
    assert len(set(trained.codebook.clusters[units].tolist())) == 2


def test_the_scaling_is_that_of_the_known_values():
    points = holes(1e3 * blobs(8) + 1e5, 0.3)
    scaling = fit_scaling(points, "standard", missing=True)
    np.testing.assert_allclose(np.nanmean(points, axis=0), scaling.offset, rtol=1e3 * EPS)
    np.testing.assert_allclose(np.nanstd(points, axis=0), scaling.scale, rtol=1e6 * EPS)
    scaling = fit_scaling(points, "minmax", missing=True)
    np.testing.assert_array_equal(np.nanmin(points, axis=0), scaling.offset)


def test_prototypes_and_filled_values_are_in_original_units():
    points = blobs(9)
    gaps = holes(points, 0.2)
    factor, offset = np.array([1.0, 1e3, 1e-3, 10.0, 5.0]), np.array([0.0, 1e6, 1.0, -50.0, 7.0])
    one = mf.train(gaps, lattice=LATTICE, scaling="standard", missing="keep")
    two = mf.train(gaps * factor + offset, lattice=LATTICE, scaling="standard", missing="keep")
    np.testing.assert_allclose(
        one.impute(gaps) * factor + offset,
        two.impute(gaps * factor + offset),
        # Adding 1e6 to a feature of spread 1e3 rounds it by 1e-13 of its spread, times 4 (N + M).
        rtol=4 * 630 * 1e-12,
        atol=1e-9,
    )


def test_what_a_masked_array_masks_is_a_gap():
    points = holes(blobs(17).astype(np.float32), 0.2)
    masked = np.ma.masked_array(np.nan_to_num(points, nan=99.0), mask=np.isnan(points))
    options = {"lattice": LATTICE, "missing": "keep"}
    expected, found = mf.train(points, **options), mf.train(masked, **options)
    np.testing.assert_array_equal(expected.codebook.prototypes, found.codebook.prototypes)
    np.testing.assert_array_equal(expected.impute(points), found.impute(masked))
    whole = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    np.testing.assert_array_equal(
        [[1, np.nan], [3, 4]], mf.Dataset(points=whole, missing="keep").points
    )
    with pytest.raises(DataError, match="X: holds masked values, expected numbers; remove or imp"):
        mf.train(masked, lattice=LATTICE)


# --- filling gaps --------------------------------------------------------------------------------


def test_the_unit_of_a_filled_row_is_the_one_it_was_filled_from():
    trained = mf.train(blobs(10), lattice=LATTICE, scaling="minmax")
    gaps = holes(blobs(11), 0.5)
    filled = trained.impute(gaps)
    scaled = trained.scaling.to_map(gaps)
    units = masked_best_matching_units(scaled, trained.codebook.prototypes)
    np.testing.assert_array_equal(units, trained.best_matching_units(filled))
    masked = np.nansum((scaled - trained.codebook.prototypes[units]) ** 2, axis=1)
    found = trained.squared_distances(filled).min(axis=1)
    np.testing.assert_allclose(masked, found, rtol=0, atol=100 * EPS)


def test_rows_of_the_map_itself_are_filled_exactly():
    trained = mf.train(blobs(12), lattice=LATTICE, radius_end=0.5)
    W = trained.codebook.prototypes
    one_gap = np.where(np.arange(5) == np.arange(len(W))[:, None] % 5, np.nan, W)
    np.testing.assert_array_equal(W, trained.impute(one_gap))


def test_a_filled_row_can_be_inverted_and_steered_and_one_with_gaps_cannot():
    points = blobs(13)
    trained = mf.train(points, lattice=LATTICE, feature_names=list("abcde"))
    row = points[0].copy()
    row[3] = np.nan
    with pytest.raises(
        DataError, match=r"x: row 0, column 3 .*holds nan.*fill gaps first with the.*impute"
    ):
        mf.steer(trained, row, target=mf.Target.units([3]))
    for use in (trained.squared_distances, trained.best_matching_units):
        with pytest.raises(DataError, match=r"points: row 0, column 3 .*fill gaps first"):
            use(row)
    filled = trained.impute(row)
    assert filled.shape == (1, 5)
    assert mf.steer(trained, filled, target=mf.Target.units([3]), steps=3).points.shape == (4, 1, 5)
    back = mf.invert(trained, trained.squared_distances(filled)).points
    np.testing.assert_allclose(filled, back, rtol=0, atol=1e-8)


# --- streams -------------------------------------------------------------------------------------


def test_how_a_stream_with_gaps_is_chunked_changes_no_bit():
    points = holes(blobs(14, 700), 0.3)
    options = {"lattice": LATTICE, "chunk_size": 64, "missing": "keep"}
    whole = mf.train_stream([points], **options)
    parts = mf.train_stream(np.split(points, [1, 63, 64, 300]), **options)
    assert whole.codebook.prototypes.tobytes() == parts.codebook.prototypes.tobytes()
    filled = whole.impute(points)
    assert np.square(filled - blobs(14, 700)).mean() < 0.1 * blobs(14, 700).var()


def test_a_stream_needs_every_feature_in_its_first_update():
    points = blobs(15, 200)
    points[:100, 2] = np.nan
    trainer = mf.StreamTrainer(LATTICE, chunk_size=50, missing="keep")
    with pytest.raises(
        DataError, match=r"column 2 has no known value in the first 50 rows.*shuffle"
    ):
        trainer.learn(points)
    with pytest.raises(DataError, match="rows: row 1 has no known value"):
        mf.StreamTrainer(LATTICE, missing="keep").learn([[1.0, 2.0], [np.nan, np.nan]])
    with pytest.raises(DataError, match=r"holds nan.*learn with missing='keep'"):
        mf.StreamTrainer(LATTICE).learn(points)


# --- first prototypes ----------------------------------------------------------------------------


def test_the_overview_is_the_mean_of_what_is_known():
    points = holes(blobs(16), 0.4)
    seen = overview(points, rng=np.random.default_rng(0))
    np.testing.assert_allclose(np.nanmean(points, axis=0), seen.centre, rtol=1e3 * EPS)
    known = ~np.isnan(points)
    np.testing.assert_array_equal((points - seen.centre)[known], seen.spread[known])
    assert not seen.spread[~known].any()
    weights = np.random.default_rng(1).random(len(points))
    seen = overview(points, rng=np.random.default_rng(0), weights=weights)
    expected = (weights @ np.where(known, points, 0)) / (weights @ known)
    np.testing.assert_allclose(expected, seen.centre, rtol=1e3 * EPS)


def test_a_feature_that_only_rows_not_drawn_know_has_their_mean_as_centre():
    points = np.random.default_rng(0).normal(size=(5000, 3))
    rng = np.random.default_rng(7)
    drawn = np.sort(rng.choice(5000, 1024, replace=False))
    points[:, 2] = np.nan
    outside = np.setdiff1d(np.arange(5000), drawn)[:2]
    points[outside, 2] = [10.0, 20.0]
    seen = overview(points, rng=np.random.default_rng(7))
    assert seen.centre[2] == 15.0
    assert not seen.spread[:, 2].any()


def test_distant_rows_fill_gaps_with_the_mean():
    points = np.array([[0.0, 1.0], [0.0, 3.0], [4.0, np.nan]])
    rows = distant_rows(points, 3, rng=np.random.default_rng(0))
    assert sorted(rows.tolist()) == [[0.0, 1.0], [0.0, 3.0], [4.0, 2.0]]


# --- what is refused -----------------------------------------------------------------------------


def test_gaps_are_refused_unless_asked_for_and_the_message_says_how():
    with pytest.raises(DataError, match=r"X: row 1, column 0 \('a'\) holds nan.*missing='keep'"):
        mf.train([[1.0, 2], [np.nan, 3]], feature_names=["a", "b"])
    with pytest.raises(UsageError, match="missing: expected 'refuse' or 'keep', got 'ignore'"):
        mf.train(blobs(0), missing="ignore")


def test_a_backend_that_needs_every_value_refuses_gaps():
    class Mean:
        def fit(self, problem):
            assert not problem.missing
            units = problem.lattice.units
            return RawMap(prototypes=np.tile(problem.points.mean(axis=0), (units, 1)))

    factory = BackendFactory(
        name="mean", params=NoParams, build=lambda params: Mean(), summary="Means."
    )
    options = {"lattice": LATTICE, "backend": factory, "missing": "keep"}
    assert mf.train(blobs(0), **options).codebook.units == LATTICE.units
    with pytest.raises(DataError, match="use the backend 'native': 'mean' needs every value"):
        mf.train(holes(blobs(0), 0.2), **options)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((slice(3, 5), slice(None)), "X: row 3 has no known value .2 such rows.*remove those rows"),
        ((slice(None), 1), r"X: column 1 \('b'\) has no known value in any row .1 such.*leave it"),
        ((2, 2), r"X: row 2, column 2 \('c'\) holds inf.*remove or impute those rows"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(cells, message):
    points = holes(blobs(0), 0.2)
    points[cells] = np.inf if cells == (2, 2) else np.nan
    with pytest.raises(DataError, match=message):
        mf.train(points, feature_names=list("abcde"), missing="keep")


def test_rows_that_are_the_same_wherever_they_are_known_are_constant_data():
    with pytest.raises(DataError, match="constant data"):
        mf.train([[1.0, np.nan], [np.nan, 2.0], [1.0, 2.0]], missing="keep")


def test_a_row_without_any_known_value_cannot_be_filled():
    trained = mf.train(blobs(0), lattice=LATTICE)
    with pytest.raises(DataError, match="points: row 1 has no known value"):
        trained.impute([[1.0] * 5, [np.nan] * 5])
    with pytest.raises(DataError, match="points: row 0, column 4 holds inf"):
        trained.impute([1.0, 2.0, 3.0, 4.0, np.inf])


def test_a_scaling_needs_a_known_value_in_every_column():
    with pytest.raises(DataError, match="points: column 1 has no known value in any row"):
        fit_scaling([[1.0, np.nan], [2.0, np.nan]], "standard", missing=True)


def test_rows_with_gaps_are_searched_plainly_whatever_was_asked_and_the_log_says_so(caplog):
    points, options = holes(blobs(0), 0.2), {"lattice": LATTICE, "missing": "keep"}
    expected = mf.train(points, **options).codebook.prototypes
    with caplog.at_level("INFO", logger="musicfw"):
        found = mf.train(points, search="compiled", **options).codebook.prototypes
    np.testing.assert_array_equal(expected, found)
    assert "'plain' instead of 'compiled' for data with missing values" in caplog.text


def test_gaps_are_found_in_any_block():
    points = np.zeros((3, 1 << 19))
    assert not has_gaps(points)
    points[2, -1] = np.nan
    assert has_gaps(points)


def test_the_neighbourhood_takes_counts_per_feature():
    counts = np.random.default_rng(0).random((LATTICE.units, 3))
    H = neighbourhood(LATTICE, 1.5, name="gaussian")
    columns = np.column_stack([H @ counts[:, k] for k in range(3)])
    np.testing.assert_allclose(columns, H @ counts, rtol=50 * EPS)


def test_nearest_prototypes_are_compared_about_their_centre():
    # At an offset of 1e6 the difference is eight digits.
    W = 1e6 + np.random.default_rng(0).normal(size=(30, 4))
    points = holes(1e6 + np.random.default_rng(1).normal(size=(200, 4)), 0.3)
    near = masked_best_matching_units(points - 1e6, W - 1e6)
    np.testing.assert_array_equal(near, masked_best_matching_units(points, W))
