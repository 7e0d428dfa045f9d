"""Laws of training in one pass over chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import DataError, UsageError

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
