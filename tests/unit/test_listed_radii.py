"""Radii listed per epoch, instead of a start, an end and a way to fall."""

import numpy as np
import pytest

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.params import validate
from musicfw.som.native_params import NativeParams, radius_schedule
from musicfw.spec import load_spec

LATTICE = mf.Lattice(rows=4, columns=5)
X = np.random.default_rng(0).normal(size=(250, 3))


@pytest.mark.parametrize(
    ("params", "per_epoch"),
    [
        ({"mode": "batch"}, 1),
        ({"mode": "progressive"}, 1),
        ({"mode": "minibatch", "chunk_size": 50}, 5),
    ],
)
def test_every_epoch_has_its_radius(params, per_epoch):
    trained = mf.train(X, lattice=LATTICE, radius_decay=[3, 2, 2, 0.5], **params)
    expected = np.repeat([3.0, 2.0, 2.0, 0.5], per_epoch)
    np.testing.assert_array_equal(expected, trained.history["radius"])


def test_every_pass_of_mode_online_has_its_radius():
    trained = mf.train(X, lattice=LATTICE, radius_decay=[3, 1.5], mode="online")
    np.testing.assert_array_equal([3.0, 1.5], trained.history["radius"])


def test_full_epochs_take_the_last_radius():
    trained = mf.train(X, lattice=LATTICE, radius_decay=[3, 2], mode="batch", full_epochs=2)
    np.testing.assert_array_equal([3.0, 2.0, 2.0, 2.0], trained.history["radius"])


@pytest.mark.parametrize("name", ["linear", "exponential", "inverse-time"])
def test_a_list_of_what_a_decay_gives_is_that_decay(name):
    radii = radius_schedule(NativeParams(radius_decay=name), LATTICE, updates=6)
    options = {"lattice": LATTICE, "mode": "batch", "seed": 3}
    expected = mf.train(X, epochs=6, radius_decay=name, **options)
    listed = mf.train(X, radius_decay=radii.tolist(), **options)
    assert expected.codebook.prototypes.tobytes() == listed.codebook.prototypes.tobytes()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"epochs": 3}, r"epochs: expected null or 2 with the 2 radii listed .*, got 3"),
        ({"radius_start": 5.0}, r"radius_start: expected null or 3 with the 2 radii .*, got 5"),
        ({"radius_end": 0.5}, r"radius_end: expected the last radius listed .*, 2, got 0.5"),
    ],
)
def test_what_contradicts_the_list_is_refused(params, message):
    with pytest.raises(UsageError, match=message):
        NativeParams(radius_decay=(3.0, 2.0), **params)


@pytest.mark.parametrize("radii", [[], [0.0], [-1, 2], [3, "a"], 5, "quadratic"])
def test_what_is_no_list_of_radii_is_refused(radii):
    value, problems = validate(NativeParams, {"radius_decay": radii})
    assert value is None
    assert problems[0].path.startswith("radius_decay")
    assert "expected" in problems[0].message


def test_a_stream_takes_no_list():
    with pytest.raises(UsageError, match="radius_decay: expected a name for a stream"):
        mf.StreamTrainer(LATTICE, radius_decay=[3, 2])


SPEC = """data: {use: digits}
map:
  lattice: {rows: 4, columns: 5}
  with:
    mode: %s
"""


def test_a_spec_may_list_radii(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC % "batch" + "    radius_decay: [4, 2, 1.5, 1]\n")
    spec = load_spec(path, registry=mf.load_registry())
    assert spec.map.with_.radius_decay == (4.0, 2.0, 1.5, 1.0)
    path.write_text(spec.to_yaml())
    assert load_spec(path, registry=mf.load_registry()).sha256() == spec.sha256()


def test_a_spec_with_a_hat_in_mode_batch_is_told_where(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC % "batch" + "    neighborhood: mexican-hat\n")
    with pytest.raises(mf.SpecError, match=r"spec.yaml:6:19: .* map.with.neighborhood: expected"):
        load_spec(path, registry=mf.load_registry())
