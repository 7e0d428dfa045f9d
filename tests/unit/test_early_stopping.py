"""Stopping by the error of points held out: what is held out, what is measured, what comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicfw as mf
from musicfw.errors import UsageError
from musicfw.som.early_stopping import Judge, Judged
from musicfw.som.native_params import NativeParams
from musicfw.som.quality import quantization_error

EPS = np.finfo(np.float64).eps
LATTICE = mf.Lattice(rows=5, columns=6)
X = np.random.default_rng(0).normal(size=(400, 4)) @ np.diag([4.0, 3.0, 2.0, 1.0])
# Long flat ends: at one radius the error soon stops falling.
FLAT = {
    "batch": {"mode": "batch", "epochs": 5, "full_epochs": 200},
    "minibatch": {"mode": "minibatch", "epochs": 60, "chunk_size": 90, "full_epochs": 200},
    "progressive": {"mode": "progressive", "epochs": 5, "full_epochs": 200},
    "online": {"mode": "online", "radius_decay": [1.0] * 150},
}


def train(points=X, **options):
    return mf.train(points, **{"lattice": LATTICE, "seed": 0, "validation_share": 0.25} | options)


def held_rows(seed, count=400, wanted=100):
    """Return which rows are held out: what is drawn first."""
    rows = np.zeros(count, dtype=bool)
    rows[np.random.default_rng(seed).permutation(count)[:wanted]] = True
    return rows


def contents(trained):
    history = {name: values.tobytes() for name, values in trained.history.items()}
    return trained.codebook.prototypes.tobytes(), history


@pytest.mark.parametrize("params", FLAT.values(), ids=FLAT)
def test_a_training_ends_once_the_held_out_error_no_longer_falls(params):
    trained = train(**params, patience=4)
    held_out = trained.history["held_out_quantization_error"]
    assert held_out.size < 100
    measured = held_out[~np.isnan(held_out)]
    # The last four are no improvement on the best before them, each by a thousandth at most.
    assert measured[-4:].min() >= measured[:-4].min() * (1 - 0.001)
    assert all(values.size == held_out.size for values in trained.history.values())


@pytest.mark.parametrize("params", FLAT.values(), ids=FLAT)
def test_the_map_with_the_least_held_out_error_is_returned(params):
    trained = train(**params)
    expected = np.nanmin(trained.history["held_out_quantization_error"])
    found = quantization_error(trained.codebook, X[held_rows(0)])
    # Roots of squares that round to a dozen eps of 2·|x|² < 600, at distances above 0.1.
    assert found == pytest.approx(expected, abs=12 * EPS * 600 / 0.2)


def test_rows_held_out_are_not_learnt():
    trained = train(mode="batch", epochs=12, patience=99)
    alone = mf.train(X[~held_rows(0)], lattice=LATTICE, mode="batch", epochs=12)
    for name, values in alone.history.items():
        np.testing.assert_array_equal(values, trained.history[name])


@pytest.mark.parametrize("params", FLAT.values(), ids=FLAT)
def test_the_same_seed_holds_the_same_rows_out_and_another_others(params):
    assert contents(train(**params)) == contents(train(**params))
    assert contents(train(**params)) != contents(train(**params, seed=1))


@pytest.mark.parametrize("params", FLAT.values(), ids=FLAT)
def test_who_is_more_patient_never_ends_sooner(params):
    ends = [train(**params, patience=p).history["radius"].size for p in (1, 2, 4, 8)]
    assert ends == sorted(ends)


@pytest.mark.parametrize("params", FLAT.values(), ids=FLAT)
def test_who_asks_for_more_never_ends_later(params):
    ends = [train(**params, tolerance=t).history["radius"].size for t in (0.0, 0.001, 0.01, 0.1)]
    assert ends == sorted(ends, reverse=True)


def test_judging_a_minibatch_takes_no_longer_than_learning_it():
    trained = train(mode="minibatch", epochs=4, chunk_size=40, patience=99)
    measured = ~np.isnan(trained.history["held_out_quantization_error"])
    # 100 rows held out are as many as 3 chunks.
    np.testing.assert_array_equal(np.arange(1, measured.size + 1) % 3 == 0, measured)


def test_rows_of_weight_nothing_are_not_held_out():
    weights = np.ones(400)
    weights[:300] = 0.0
    trained = train(mode="batch", epochs=4, weights=weights)
    assert np.isfinite(trained.history["held_out_quantization_error"]).all()
    # A quarter of the hundred that count: the others are learnt as if alone.
    rows = 300 + np.random.default_rng(0).permutation(np.arange(100))[:25]
    rest = np.delete(np.arange(300, 400), rows - 300)
    assert quantization_error(trained.codebook, X[rows]) == pytest.approx(
        trained.history["held_out_quantization_error"].min(), abs=12 * EPS * 600 / 0.2
    )
    assert rest.size == 75


def test_rows_with_gaps_may_be_held_out():
    gaps = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
    trained = train(gaps, missing="keep", mode="batch", full_epochs=100)
    assert np.isfinite(trained.history["held_out_quantization_error"]).all()


def test_without_a_share_nothing_is_held_out():
    trained = train(validation_share=0.0)
    assert "held_out_quantization_error" not in trained.history


@settings(max_examples=50, deadline=None)
@given(
    errors=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30),
    tolerance=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_what_is_remembered_is_the_best_and_how_long_ago_it_improved(errors, tolerance):
    judge = Judge(points=None, every=1, patience=3, tolerance=tolerance)
    judged = None
    for error in errors:
        judged = judge.judged(judged, np.array([[error]]), error)
    surpassed, waited = errors[0], 0
    for error in errors[1:]:
        waited += 1
        if error < surpassed * (1 - tolerance):
            surpassed, waited = error, 0
    assert judged.error == min(errors) == judged.prototypes[0, 0]
    assert (judged.surpassed, judged.waited) == (surpassed, waited)
    assert judge.is_done(judged) == (waited >= 3)


def test_nothing_measured_is_no_reason_to_stop():
    assert not Judge(points=None, every=1, patience=1, tolerance=0.0).is_done(None)


def test_slow_improvements_add_up():
    state = Judged(prototypes=np.zeros((1, 1)), error=1.0, surpassed=1.0)
    for error in (0.996, 0.992, 0.988):
        state = state.after(np.zeros((1, 1)), error, tolerance=0.01)
    assert (state.waited, state.surpassed) == (0, 0.988)


@pytest.mark.parametrize(("share", "points"), [(0.001, X), (0.9, X[:10]), (0.1, X[:4])])
def test_a_share_that_leaves_too_little_is_refused(share, points):
    with pytest.raises(UsageError, match=r"validation_share: expected a share that leaves 2"):
        train(points, validation_share=share)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"mode": "batch", "epochs": 90}, 5),
        ({"mode": "minibatch", "epochs": 90}, 5),
        ({"mode": "online"}, 5),
        ({"mode": "online", "epochs": 14}, 5),
        ({"mode": "online", "epochs": 40}, 13),
        ({"mode": "online", "radius_decay": (1.0,) * 60}, 20),
        ({"mode": "online", "epochs": 40, "patience": 2}, 2),
    ],
)
def test_kohonens_rule_is_given_more_patience(params, expected):
    assert NativeParams(**params).judgements_to_wait == expected


def test_the_patience_that_is_told_is_the_one_that_counts():
    options = {"mode": "online", "epochs": 40}
    assert contents(train(**options)) == contents(train(**options, patience=13))
