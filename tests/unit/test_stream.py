"""Laws of training in one pass over chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import DataError, UsageError
from musicfw.som.quality import quantization_error, topographic_error

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=5, columns=6, topology="hexagonal")


def blobs(seed, count, dimension=5):
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(8, dimension))
    return centres[rng.integers(8, size=count)] + rng.normal(size=(count, dimension))


def contents(trained):
    history = {name: values.tobytes() for name, values in trained.history.items()}
    return trained.codebook.prototypes.tobytes(), history


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=8), peek=st.booleans())
def test_how_a_stream_is_chunked_changes_no_bit(cuts, peek):
    points = blobs(0, 700)
    whole = mf.train_stream([points], lattice=LATTICE, chunk_size=64)
    trainer = mf.StreamTrainer(LATTICE, chunk_size=64)
    for number, part in enumerate(np.split(points, sorted(cuts))):
        trainer.learn(part)
        if peek and number and sorted(cuts)[number - 1] > 1:
            trainer.snapshot()
    assert contents(whole) == contents(trainer.snapshot())


def test_a_stream_ends_about_as_well_as_batch_training():
    points = blobs(1, 40_000)
    streamed = mf.train_stream(np.array_split(points, 37), lattice=LATTICE)
    batch = mf.train(points, lattice=LATTICE, mode="batch")
    errors = [
        np.sqrt(trained.squared_distances(points[:5000]).min(axis=1)).mean()
        for trained in (streamed, batch)
    ]
    assert errors[0] < 1.03 * errors[1]
    assert streamed.history["radius"][-1] == 1.0
    assert streamed.history["quantization_error"].shape == (40,)


def test_the_memory_of_a_stream_is_that_of_a_chunk():
    import tracemalloc

    def rows():
        rng = np.random.default_rng(2)
        for _ in range(100):
            yield rng.normal(size=(1000, 20))

    mf.train_stream([blobs(2, 2000, 20)], lattice=LATTICE)
    tracemalloc.start()
    mf.train_stream(rows(), lattice=LATTICE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5e6  # the stream holds 16 MB


def test_a_short_stream_is_one_update():
    points = blobs(3, 40)
    trained = mf.train_stream([points[:1], points[1:]], lattice=LATTICE)
    assert trained.history["radius"].shape == (1,)
    assert np.isfinite(trained.codebook.prototypes).all()


def test_float32_rows_stay_float32():
    points = blobs(4, 3000).astype(np.float32)
    trainer = mf.StreamTrainer(LATTICE)
    trainer.learn(points)
    assert trainer._pending.dtype == np.float32


@pytest.mark.parametrize("rows", [np.empty((0, 3)), np.ones((1, 3))])
def test_too_few_rows_give_no_map(rows):
    trainer = mf.StreamTrainer(LATTICE)
    trainer.learn(rows)
    with pytest.raises(DataError, match=f"rows: expected at least 2 to train on, got {len(rows)}"):
        trainer.snapshot()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "batch"}, "mode: expected 'minibatch' for a stream, got 'batch'"),
        ({"epochs": 3}, "epochs: expected none for a stream"),
        ({"full_epochs": 1}, "full_epochs: expected none for a stream"),
        ({"validation_share": 0.1}, "validation_share: expected none for a stream"),
        ({"updates": 0}, "updates: expected at least 1, got 0"),
        ({"seed": -1}, "seed: expected an integer of at least 0, got -1"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(params, message):
    with pytest.raises(UsageError, match=message):
        mf.StreamTrainer(LATTICE, **params)


def test_bad_rows_are_refused_and_not_learnt():
    points = blobs(5, 300)
    trainer = mf.StreamTrainer(LATTICE, chunk_size=50)
    trainer.learn(points)
    with pytest.raises(DataError, match="row 1, column 2 holds nan"):
        trainer.learn([[0.0] * 5, [0, 0, np.nan, 0, 0]])
    with pytest.raises(DataError, match="expected 5 columns, got 2"):
        trainer.learn(np.zeros((3, 2)))
    expected = mf.train_stream([points], lattice=LATTICE, chunk_size=50)
    assert contents(expected) == contents(trainer.snapshot())


def test_rows_that_overflow_are_refused():
    with pytest.raises(DataError, match="overflow float32; scale the data"):
        mf.train_stream([(blobs(6, 30) * 1e25)], lattice=LATTICE, dtype="float32")


@pytest.mark.parametrize(("in_an_update", "rows"), [(False, 200), (True, 256)])
def test_an_interrupt_returns_the_map_of_all_rows_so_far(in_an_update, rows, monkeypatch):
    def once(self, *update):
        monkeypatch.undo()
        raise KeyboardInterrupt

    def chunks():
        for number, chunk in enumerate(np.split(blobs(7, 400), 10)):
            if number == 5:
                if not in_an_update:
                    raise KeyboardInterrupt
                monkeypatch.setattr(mf.StreamTrainer, "_after_update", once)
            yield chunk

    options = {"lattice": LATTICE, "chunk_size": 64}
    trained = mf.train_stream(chunks(), **options)
    assert trained.interrupted
    assert contents(mf.train_stream([blobs(7, 400)[:rows]], **options)) == contents(trained)


def test_an_interrupt_before_the_first_update_is_raised():
    def chunks():
        yield blobs(7, 40)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mf.train_stream(chunks(), lattice=LATTICE, chunk_size=64)


# --- weights and first prototypes ----------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=5), weighted=st.booleans())
def test_how_weighted_rows_are_chunked_changes_no_bit(cuts, weighted):
    points = blobs(8, 300)
    weights = np.random.default_rng(0).integers(0, 3, 300) if weighted else np.ones(300)
    whole = mf.StreamTrainer(LATTICE, chunk_size=64)
    whole.learn(points, weights if weighted else None)
    trainer = mf.StreamTrainer(LATTICE, chunk_size=64)
    for rows in np.split(np.arange(300), sorted(cuts)):
        trainer.learn(points[rows], weights[rows])
    assert contents(whole.snapshot()) == contents(trainer.snapshot())


@pytest.mark.parametrize("sparse", [False, True])
def test_a_weight_is_a_number_of_copies_within_an_update(sparse):
    import scipy.sparse

    points = np.maximum(blobs(9, 120), 0.0)
    times = np.random.default_rng(1).integers(0, 4, 120)
    # The centre of the first update is the same, and so is all that follows, but for the order of
    # sums over rows and units.
    options = {"initial": blobs(11, 30), "chunk_size": 500}
    trainer = mf.StreamTrainer(LATTICE, **options)
    trainer.learn(scipy.sparse.csr_array(points) if sparse else points, times)
    expected = mf.train_stream([np.repeat(points, times, axis=0)], lattice=LATTICE, **options)
    found = trainer.snapshot()
    bound = 4 * (times.sum() + LATTICE.units) * EPS * points.max()
    np.testing.assert_allclose(
        expected.codebook.prototypes, found.codebook.prototypes, rtol=0, atol=bound
    )
    error = expected.history["quantization_error"]
    # Roots of squares that round to a dozen eps of |x|² < 1000, at distances above 0.1.
    assert found.history["quantization_error"] == pytest.approx(error, abs=12 * EPS * 1000 / 0.2)


@pytest.mark.parametrize("updates", [1, 30])
def test_rows_of_weight_nothing_leave_the_map_as_it_is(updates):
    trainer = mf.StreamTrainer(LATTICE, chunk_size=64, radius_start=1.0)
    points = blobs(8, 64 * updates)
    trainer.learn(points)
    before = trainer.snapshot().codebook.prototypes
    trainer.learn(blobs(9, 64), np.zeros(64))
    after = trainer.snapshot()
    # The same sums and counts, faded alike: quotients of sums over the units.
    bound = 4 * LATTICE.units * EPS * np.abs(points).max()
    np.testing.assert_allclose(before, after.codebook.prototypes, rtol=0, atol=bound)
    assert after.history["quantization_error"][updates] == 0.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), "weights: expected 40, one per row, got 3"),
        (np.r_[-1.0, np.ones(39)], "weights: expected numbers of at least 0, got -1.0 in row 0"),
        (np.r_[np.nan, np.ones(39)], "weights: row 0, column 0 holds nan"),
    ],
)
def test_weights_that_count_nothing_are_refused_and_the_rows_not_learnt(weights, message):
    trainer = mf.StreamTrainer(LATTICE, chunk_size=8)
    with pytest.raises(UsageError, match=message):
        trainer.learn(blobs(8, 40), weights)
    assert trainer.updates_made == 0


def test_a_stream_of_one_update_is_a_batch_epoch_from_the_same_prototypes():
    points, first = blobs(10, 500), blobs(11, 30)
    streamed = mf.train_stream(
        np.array_split(points, 7), lattice=LATTICE, initial=first, updates=1, radius_end=0.8
    )
    batch = mf.train(points, lattice=LATTICE, initial=first, mode="batch", radius_decay=[0.8])
    np.testing.assert_array_equal(batch.codebook.prototypes, streamed.codebook.prototypes)


def test_a_map_goes_on_learning_from_where_it_was():
    points = blobs(12, 2000)
    before = mf.train(points[:1000], lattice=LATTICE)
    after = mf.train_stream(
        [points[1000:]],
        lattice=LATTICE,
        chunk_size=100,
        initial=before.codebook.prototypes,
        radius_start=1.0,
    )
    expected = quantization_error(before.codebook, points[1000:1100])
    found = after.history["quantization_error"][0]
    # Roots of squares that round to a dozen eps of |x|² < 1000, at distances above 0.1.
    assert found == pytest.approx(expected, abs=12 * EPS * 1000 / 0.2)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (np.zeros((3, 5)), "initial: expected 30 rows, one prototype per unit of the lattice, got"),
        (np.full((30, 5), np.inf), "initial: row 0, column 0 holds inf"),
    ],
)
def test_first_prototypes_that_do_not_fit_are_refused(initial, message):
    with pytest.raises(UsageError, match=message):
        mf.StreamTrainer(LATTICE, initial=initial)


def test_first_prototypes_say_how_many_features_there_are():
    with pytest.raises(DataError, match="rows: expected 2 columns, got 5"):
        mf.train_stream([blobs(8, 40)], lattice=LATTICE, initial=np.zeros((30, 2)))


# --- what is recorded ----------------------------------------------------------------------------


def test_every_update_is_recorded_as_it_was():
    points = blobs(7, 640)
    trainer = mf.StreamTrainer(LATTICE, chunk_size=64, radius_end=0.3, updates=3)
    before = None
    for number in range(10):
        rows = points[64 * number : 64 * (number + 1)]
        trainer.learn(rows)
        after = trainer.snapshot()
        latest = {name: values[-1] for name, values in after.history.items()}
        assert {values.size for values in after.history.values()} == {number + 1}
        if before is not None:
            assert latest["quantization_error"] == pytest.approx(
                # Roots of squares that round to a dozen eps of |x|² < 1000, at distances above 0.1.
                quantization_error(before.codebook, rows),
                abs=12 * EPS * 1000 / 0.2,
            )
            assert latest["topographic_error"] == topographic_error(before.codebook, rows)
            moved = after.codebook.prototypes - before.codebook.prototypes
            expected = np.sqrt((moved**2).sum(axis=1).mean())
            assert latest["change"] == pytest.approx(expected, rel=100 * EPS, abs=100 * EPS)
        assert latest["radius"] == pytest.approx([1.9, 1.1, 0.3][min(number, 2)])
        before = after


def test_a_stream_with_gaps_is_recorded_in_the_features_that_are_known():
    points = blobs(8, 120)
    points[::3, 1] = np.nan
    trainer = mf.StreamTrainer(LATTICE, chunk_size=60, missing="keep")
    trainer.learn(points[:60])
    W = trainer.snapshot().codebook.prototypes
    trainer.learn(points[60:])
    squared = np.nansum((points[60:, np.newaxis] - W) ** 2, axis=2)
    best, second = np.argsort(squared, axis=1)[:, :2].T
    expected = np.mean(~LATTICE.touching()[best, second])
    assert expected == trainer.snapshot().history["topographic_error"][1]


# --- stopping ------------------------------------------------------------------------------------

HELD_OUT = blobs(9, 100)
LONG = [blobs(seed, 100) for seed in range(10, 70)]
JUDGED = {"lattice": LATTICE, "chunk_size": 40, "updates": 10, "validation": HELD_OUT}


def judged(chunks=LONG, **options):
    return mf.train_stream(chunks, **JUDGED | options)


def test_a_stream_ends_once_the_held_out_error_no_longer_falls():
    errors = judged(patience=3).history["held_out_quantization_error"]
    assert errors.size < 150
    measured = ~np.isnan(errors)
    # 100 rows to judge by are as many as 3 updates learn.
    np.testing.assert_array_equal(np.arange(1, errors.size + 1) % 3 == 0, measured)
    measured = errors[measured]
    assert measured[-3:].min() >= measured[:-3].min() * (1 - 0.001)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_map_with_the_least_held_out_error_is_returned(dtype):
    trained = judged(dtype=dtype)
    expected = np.nanmin(trained.history["held_out_quantization_error"])
    found = quantization_error(trained.codebook, HELD_OUT)
    # As above, in the precision of the stream.
    assert found == pytest.approx(expected, abs=12 * float(np.finfo(dtype).eps) * 1000 / 0.2)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=8), peek=st.booleans())
def test_how_a_stream_is_chunked_changes_no_bit_of_where_it_ends(cuts, peek):
    points = np.concatenate(LONG)[:3000]
    whole = judged([points], patience=2)
    trainer = mf.StreamTrainer(**JUDGED, patience=2)
    for part in np.split(points, sorted(cuts)):
        trainer.learn(part)
        if peek and trainer._filled + (trainer._state is not None) > 1:
            trainer.snapshot()
    assert trainer.stopped
    assert contents(whole) == contents(trainer.snapshot())


def test_rows_after_the_end_are_neither_learnt_nor_taken():
    taken = []

    def chunks():
        for chunk in LONG:
            taken.append(chunk)
            yield chunk

    trained = judged(chunks(), patience=2)
    learnt = 40 * trained.history["radius"].size
    assert len(taken) == -(-learnt // 100) < len(LONG)
    trainer = mf.StreamTrainer(**JUDGED, patience=2)
    assert not trainer.stopped
    trainer.learn(np.concatenate(LONG))
    trainer.learn(LONG[0])
    assert trainer.stopped
    assert contents(trained) == contents(trainer.snapshot())


def test_rows_to_judge_by_are_not_learnt():
    patient = judged(patience=10_000)
    alone = judged(validation=None)
    for name, values in alone.history.items():
        np.testing.assert_array_equal(values, patient.history[name])
    assert set(patient.history) - set(alone.history) == {"held_out_quantization_error"}


def test_who_is_more_patient_never_ends_sooner():
    ends = [judged(patience=p).history["radius"].size for p in (1, 2, 4, 8)]
    assert ends == sorted(ends)


def test_rows_to_judge_by_may_be_a_frame_or_sparse():
    import pandas
    import scipy.sparse

    expected = contents(judged())
    assert expected == contents(judged(validation=scipy.sparse.csr_array(HELD_OUT)))
    frame = pandas.DataFrame(HELD_OUT, columns=list("abcde"))
    trained = judged(validation=frame)
    assert expected == contents(trained)
    assert trained.feature_names == ("a", "b", "c", "d", "e")
    frames = [pandas.DataFrame(part, columns=list("abcde"))[list("edcba")] for part in LONG]
    assert expected == contents(judged(frames, validation=frame))


def test_rows_to_judge_by_may_have_gaps():
    gaps = np.where(np.random.default_rng(0).random(HELD_OUT.shape) < 0.2, np.nan, HELD_OUT)
    trained = judged(validation=gaps, missing="keep")
    errors = trained.history["held_out_quantization_error"]
    found = quantization_error(trained.codebook, trained.impute(gaps))
    assert found == pytest.approx(np.nanmin(errors), abs=12 * EPS * 1000 / 0.2)


def test_judging_needs_the_memory_of_a_chunk_beside_the_rows():
    import tracemalloc

    import scipy.sparse

    held_out = scipy.sparse.random_array((20_000, 200), density=0.001, format="csr", rng=0)
    rng = np.random.default_rng(2)
    trainer = mf.StreamTrainer(LATTICE, chunk_size=100, validation=held_out)
    trainer.learn(rng.normal(size=(100, 200)))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(200):  # the last of them is judged
        trainer.learn(rng.normal(size=(100, 200)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(trainer.snapshot().history["held_out_quantization_error"][199])
    assert peak - before < 3e6  # the rows to judge by hold 32 MB when dense


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (np.empty((0, 5)), "validation: expected at least one row to judge by, got none"),
        ([[0.0, np.nan]], "validation: row 0, column 1 holds nan.*missing='keep'"),
        ([0.0, 1.0], "validation: expected a matrix"),
    ],
)
def test_rows_that_judge_nothing_are_refused(validation, message):
    with pytest.raises(DataError, match=message):
        mf.StreamTrainer(LATTICE, validation=validation)


def test_rows_to_learn_and_to_judge_by_have_the_same_features():
    with pytest.raises(DataError, match="rows: expected 2 columns, got 5"):
        judged(validation=np.eye(2))
