"""A stream that was stopped ends, when it comes again, with the numbers of one that was not."""

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError

LATTICE = mf.Lattice(rows=4, columns=5)
POINTS = np.random.default_rng(0).normal(size=(700, 4)) * [4.0, 3.0, 2.0, 1.0]
GAPS = np.where(np.random.default_rng(1).random(POINTS.shape) < 0.2, np.nan, POINTS)
GAPS[:, 0] = POINTS[:, 0]


def train(chunks, **options):
    return mf.train_stream(chunks, **{"lattice": LATTICE, "chunk_size": 64, "seed": 3} | options)


def contents(trained):
    history = {name: values.tobytes() for name, values in trained.history.items()}
    return trained.codebook.prototypes.tobytes(), history, trained.feature_names


def until(chunks, number, error):
    """Yield so many chunks and raise."""
    yield from chunks[:number]
    raise error


def chunks_of(points, size):
    return [points[start : start + size] for start in range(0, len(points), size)]


def broken_off(file, error=RuntimeError, number=5, **options):
    """Train on five chunks of 70 rows, and be stopped; leave the checkpoint."""
    options |= {"checkpoint": file, "checkpoint_every_s": 0.0}
    with pytest.raises(error):
        train(until(chunks_of(POINTS, 70), number, error()), **options)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    stops=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_resuming_is_exact_wherever_and_however_often_it_stopped(sizes, stops, tmp_path_factory):
    file = tmp_path_factory.mktemp("stream") / "state.npz"
    options = {"checkpoint": file, "checkpoint_every_s": 0.0}
    for number in stops:
        with pytest.raises(RuntimeError, match="crash"):
            train(until(chunks_of(POINTS, sizes[0]), number, RuntimeError("crash")), **options)
    resumed = train(chunks_of(POINTS, sizes[1]), **options)
    assert contents(train([POINTS])) == contents(resumed)
    assert not file.exists()


@pytest.mark.parametrize(
    ("points", "options"),
    [
        (GAPS, {"missing": "keep"}),
        (POINTS.astype(np.float32), {"validation": GAPS[:50], "missing": "keep", "patience": 99}),
        (pandas.DataFrame(POINTS, columns=list("abcd")), {"validation": POINTS[:90]}),
        (POINTS, {"initial": POINTS[:20], "radius_start": 1.0, "dtype": "float32"}),
        (POINTS, {"updates": 4}),
    ],
    ids=["gaps", "judged", "named", "continued", "longer"],
)
def test_all_that_a_stream_is_given_lasts(points, options, tmp_path):
    file = tmp_path / "state.npz"
    kept = {"checkpoint": file, "checkpoint_every_s": 0.0}
    with pytest.raises(RuntimeError):
        train(until(chunks_of(points, 70), 6, RuntimeError()), **kept, **options)
    assert file.exists()
    assert contents(train([points], **options)) == contents(
        train(chunks_of(points, 90), **kept, **options)
    )


def test_rows_that_were_learnt_are_passed_over(tmp_path, monkeypatch):
    file = tmp_path / "state.npz"
    broken_off(file)
    updates = []
    after_update = mf.StreamTrainer._after_update

    def counted(self, rows, counts):
        updates.append(len(rows))
        return after_update(self, rows, counts)

    monkeypatch.setattr(mf.StreamTrainer, "_after_update", counted)
    train(chunks_of(POINTS, 70), checkpoint=file)
    # 350 rows are 5 updates and 30 rows; 700 are 10 updates and the 60 rows of the snapshot.
    assert updates == [64] * 5 + [60]


def test_an_interrupt_keeps_the_state_and_returns_the_map(tmp_path):
    file = tmp_path / "state.npz"
    chunks = chunks_of(POINTS, 70)
    part = train(until(chunks, 5, KeyboardInterrupt()), checkpoint=file)
    assert part.interrupted
    assert contents(train([POINTS[:350]])) == contents(part)
    with pytest.raises(KeyboardInterrupt):  # again, among rows that are passed over
        train(until(chunks, 2, KeyboardInterrupt()), checkpoint=file)
    resumed = train(chunks, checkpoint=file)
    assert not resumed.interrupted
    assert contents(train([POINTS])) == contents(resumed)


def test_a_training_that_has_stopped_is_not_taken_up_again(tmp_path):
    options = {"validation": POINTS[:100], "patience": 1, "tolerance": 0.5, "updates": 3}
    expected = train([POINTS], **options)
    file = tmp_path / "state.npz"
    broken_off(file, number=2, **options)
    resumed = train(chunks_of(POINTS, 70), checkpoint=file, **options)
    assert expected.history["radius"].size < 10
    assert contents(expected) == contents(resumed)
    assert not file.exists()


@pytest.mark.parametrize("learnt", [1, 64, 100, 128, 350])
def test_a_trainer_goes_on_from_its_state_with_weighted_rows_too(learnt):
    weights = np.random.default_rng(2).integers(0, 3, len(POINTS))
    whole, before, after = (mf.StreamTrainer(LATTICE, chunk_size=64) for _ in range(3))
    whole.learn(POINTS, weights)
    before.learn(POINTS[:learnt], weights[:learnt])
    if before.updates_made:
        after.restore(before.state())
    else:
        with pytest.raises(UsageError, match="state: expected an update to keep, there was none"):
            before.state()
    after.learn(POINTS, weights)
    assert not after.is_replaying
    assert contents(whole.snapshot()) == contents(after.snapshot())


@pytest.mark.parametrize(
    "rows",
    [POINTS[64:], POINTS[::-1], np.r_[POINTS[:340], POINTS[350:]], POINTS[:, :3]],
    ids=["from a later row", "in another order", "some left out", "of fewer features"],
)
def test_other_rows_are_refused_and_the_file_is_kept(rows, tmp_path):
    file = tmp_path / "state.npz"
    broken_off(file)
    before = file.read_bytes()
    with pytest.raises(UsageError, match="checkpoint: the rows are not those that the training"):
        train([rows], checkpoint=file)
    assert file.read_bytes() == before


def test_fewer_rows_than_were_learnt_are_refused(tmp_path):
    file = tmp_path / "state.npz"
    broken_off(file)
    with pytest.raises(UsageError, match=r"state\.npz has learnt more rows than there are; give"):
        train([POINTS[:300]], checkpoint=file)
    assert file.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"updates": 7},
        {"radius_end": 0.5},
        {"initial": POINTS[:20]},
        {"validation": POINTS[:9]},
        {"missing": "keep"},
        {"feature_names": list("abcd")},
        {"lattice": mf.Lattice(rows=5, columns=4)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_of_another_training_is_refused(change, tmp_path):
    file = tmp_path / "state.npz"
    broken_off(file)
    with pytest.raises(UsageError, match=r"checkpoint: .* belongs to a training with other"):
        train([POINTS], checkpoint=file, **change)


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "state.npz"
    with monkeypatch.context() as patch:
        patch.setattr("musicfw.fit.installed_version", lambda name: "0.0.9")
        broken_off(file)
    with pytest.raises(UsageError, match=r"kept by musicfw 0\.0\.9, numpy 0\.0\.9, and this is"):
        train([POINTS], checkpoint=file)
