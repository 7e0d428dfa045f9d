"""A training that was stopped ends, when it goes on, with the numbers of one that was not."""

import dataclasses
import types

import numpy as np
import pytest

import musicfw as mf
from musicfw.api import hookimpl
from musicfw.discovery import installed_version
from musicfw.errors import StoreError, UsageError
from musicfw.som.native import NATIVE

LATTICE = mf.Lattice(rows=4, columns=5)
POINTS = np.random.default_rng(0).normal(size=(1300, 4))
MODES = [
    {"mode": "minibatch", "epochs": 4},
    {"mode": "batch", "epochs": 6},
    {"mode": "progressive", "epochs": 9},
    {"mode": "online", "epochs": 5},
    {"mode": "minibatch", "epochs": 2, "full_epochs": 3},
    {"mode": "batch", "epochs": 5, "dtype": "float32", "initialization": "sample"},
    {"mode": "minibatch", "epochs": 9, "validation_share": 0.1, "patience": 2},
    {"mode": "batch", "epochs": 2, "full_epochs": 99, "validation_share": 0.1, "patience": 1},
    {"mode": "online", "epochs": 30, "validation_share": 0.1, "patience": 4},
]


def train(**options):
    return mf.train(POINTS, **{"lattice": LATTICE, "seed": 3} | options)


def stopping(after, error):
    def progress(done, total):
        if done == after:
            raise error

    return progress


def contents(trained):
    history = {name: values.tobytes() for name, values in trained.history.items()}
    return trained.codebook.prototypes.tobytes(), history


@pytest.mark.parametrize("params", MODES, ids=lambda p: "-".join(str(v) for v in p.values()))
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("crash")], ids=type)
def test_resuming_is_exact_whatever_stopped_the_training(params, error, tmp_path):
    expected = train(**params)
    file = tmp_path / "training.npz"
    options = params | {"checkpoint": file, "checkpoint_every_s": 0.0}
    for after in (2, 4):
        stop = stopping(after, error)
        if isinstance(error, KeyboardInterrupt):
            assert train(progress=stop, **options).interrupted
        else:
            with pytest.raises(RuntimeError, match="crash"):
                train(progress=stop, **options)
        assert file.exists()
    seen = []
    resumed = train(progress=lambda done, total: seen.append(done), **options)
    assert seen[0] == 5  # the first four were not done again
    assert contents(expected) == contents(resumed)
    assert not resumed.interrupted
    assert not file.exists()


@pytest.mark.parametrize("params", MODES[:4], ids=lambda p: p["mode"])
def test_an_interrupt_returns_the_map_so_far(params):
    whole = train(**params)
    part = train(progress=stopping(3, KeyboardInterrupt()), **params)
    assert part.interrupted
    for name, values in part.history.items():
        assert values.shape == (3,)
        np.testing.assert_array_equal(whole.history[name][:2], values[:2])
    assert np.isfinite(part.codebook.prototypes).all()


def test_an_interrupt_before_the_first_update_is_raised(monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("musicfw.som.centred_points.statistics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train()


def test_nothing_is_written_before_its_time(tmp_path):
    file = tmp_path / "training.npz"
    with pytest.raises(RuntimeError, match="crash"):
        train(checkpoint=file, progress=stopping(5, RuntimeError("crash")))
    assert not file.exists()


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"scaling": "standard"}, {"epochs": 7}, {"initial": POINTS[:20]}]
)
def test_a_checkpoint_of_another_training_is_refused(change, tmp_path):
    file = tmp_path / "training.npz"
    train(checkpoint=file, progress=stopping(2, KeyboardInterrupt()))
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"checkpoint: .* belongs to a training with other data"):
        train(checkpoint=file, **change)
    assert file.read_bytes() == before


def plugin(version):
    """Return a registry with the native backend as that of a plugin of some version."""
    module = types.ModuleType("resuming")
    module.__version__ = version
    factory = dataclasses.replace(NATIVE, name="resuming")
    module.musicfw_backends = hookimpl(lambda: [factory])
    return mf.Registry.from_modules(module)


@pytest.mark.parametrize("name", ["musicfw", "numpy"])
def test_what_another_version_began_is_refused_and_kept(name, tmp_path, monkeypatch):
    file = tmp_path / "training.npz"
    options = {"backend": "resuming", "registry": plugin("1.0"), "checkpoint": file}
    now = installed_version(name)

    def older(asked):
        return "0.0.9" if asked == name else installed_version(asked)

    with monkeypatch.context() as patch:
        patch.setattr("musicfw.fit.installed_version", older)
        train(progress=stopping(2, KeyboardInterrupt()), **options)
    before = file.read_bytes()
    message = rf"kept by {name} 0\.0\.9, and this is {name} {now}: .*delete the file to begin anew"
    with pytest.raises(UsageError, match=message):
        train(**options)
    assert file.read_bytes() == before


def test_what_another_version_of_a_plugin_began_is_refused_and_by_its_own_continued(tmp_path):
    file = tmp_path / "training.npz"
    options = {"backend": "resuming", "checkpoint": file}
    train(registry=plugin("1.0"), progress=stopping(2, KeyboardInterrupt()), **options)
    with pytest.raises(UsageError, match=r"kept by resuming 1\.0, and this is resuming 2\.0: "):
        train(registry=plugin("2.0"), **options)
    seen = []
    resumed = train(registry=plugin("1.0"), progress=lambda *done: seen.append(done[0]), **options)
    assert seen[0] == 3
    assert contents(train()) == contents(resumed)


def test_a_file_that_is_no_checkpoint_is_left_alone(tmp_path):
    file = tmp_path / "thesis.txt"
    file.write_text("chapter 1")
    with pytest.raises(StoreError, match="expected a checkpoint that musicfw wrote"):
        train(checkpoint=file)
    assert file.read_text() == "chapter 1"


def test_a_backend_that_cannot_resume_is_refused(tmp_path):
    with pytest.raises(UsageError, match="the backend 'minisom' cannot go on from one"):
        train(backend="minisom", checkpoint=tmp_path / "x.npz")


def test_a_negative_interval_is_refused(tmp_path):
    with pytest.raises(UsageError, match="checkpoint_every_s: expected at least 0 seconds"):
        train(checkpoint=tmp_path / "x.npz", checkpoint_every_s=-1.0)
