"""Laws of over-sampling through maps, and imbalanced-learn's own checks of a sampler."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

import musicfw as mf

pytest.importorskip("imblearn", reason="musicfw.augment needs imbalanced-learn")

from imblearn.utils.estimator_checks import estimator_checks_generator
from sklearn.base import clone
from sklearn.datasets import load_digits

from musicfw.augment import MusicSampler, _part_of_the_way

COUNTS = {"common": 60, "rare": 12, "rarer": 5}


@pytest.fixture(scope="module")
def data():
    """Three classes in six features, far apart: each has standard deviation 1."""
    rng = np.random.default_rng(3)
    X = [rng.normal(size=(count, 6)) + 20 * place for place, count in enumerate(COUNTS.values())]
    order = rng.permutation(sum(COUNTS.values()))
    return np.concatenate(X)[order], np.repeat(list(COUNTS), list(COUNTS.values()))[order]


def resampled(data, **params):
    sampler = MusicSampler(**{"random_state": 0, **params})
    return *sampler.fit_resample(*data), sampler


# A list, not parametrize_with_checks: pytest 9 warns of its generator. No check is expected to
# fail; those with pandas are skipped where it is not installed. Few units: quicker, same law.
SMALL = MusicSampler(random_state=0, lattice=mf.Lattice(rows=3, columns=3))


@pytest.mark.parametrize(
    ("estimator", "check"),
    list(estimator_checks_generator(SMALL)),
    ids=lambda value: getattr(getattr(value, "func", None), "__name__", "MusicSampler"),
)
def test_the_sampler_passes_the_checks_of_imbalanced_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", {"common": 60, "rare": 60, "rarer": 60}),
        ("minority", {"common": 60, "rare": 12, "rarer": 60}),
        ({"rare": 13}, {"common": 60, "rare": 13, "rarer": 5}),
        ({"rare": 12, "rarer": 700}, {"common": 60, "rare": 12, "rarer": 700}),
        ("all", {"common": 60, "rare": 60, "rarer": 60}),
    ],
)
def test_every_class_gets_the_size_that_was_asked_for(data, strategy, expected):
    _, y, _ = resampled(data, sampling_strategy=strategy)
    assert expected == {label: int(np.count_nonzero(y == label)) for label in COUNTS}


def test_a_ratio_sets_the_size_of_the_rare_one_of_two_classes(data):
    X, y = data
    two = y != "rarer"
    _, grown, _ = resampled((X[two], y[two]), sampling_strategy=0.5)
    assert np.count_nonzero(grown == "rare") == 30


def test_the_originals_come_first_and_are_unchanged(data):
    X, y, _ = resampled(data)
    np.testing.assert_array_equal(data[0], X[: len(data[0])])
    np.testing.assert_array_equal(data[1], y[: len(data[1])])


def test_the_input_is_not_written_to(data):
    X, y = data[0].copy(), data[1].copy()
    X.flags.writeable = y.flags.writeable = False
    resampled((X, y))
    np.testing.assert_array_equal(data[0], X)


def test_new_samples_are_finite_and_differ_from_the_real_ones(data):
    X, _, sampler = resampled(data, share_range=(0.2, 0.8))
    new = slice(len(data[0]), None)
    assert np.isfinite(X).all()
    assert (X[new] != data[0][sampler.sample_indices_[new]]).any(axis=1).all()
    assert len(np.unique(X, axis=0)) == len(X)


def test_sample_indices_name_a_real_row_of_the_same_class(data):
    X, y, sampler = resampled(data)
    assert sampler.sample_indices_.shape == (len(X),)
    np.testing.assert_array_equal(np.arange(len(data[0])), sampler.sample_indices_[: len(data[0])])
    np.testing.assert_array_equal(data[1][sampler.sample_indices_], y)


def test_share_0_gives_exact_copies(data):
    X, _, sampler = resampled(data, share_range=(0.0, 0.0))
    np.testing.assert_array_equal(data[0][sampler.sample_indices_], X)


def test_the_larger_the_share_the_nearer_to_prototypes_of_the_own_class(data):
    mean = []
    for share in (0.0, 0.5, 1.0):
        X, y, sampler = resampled(data, share_range=(share, share))
        new = X[len(data[0]) :][y[len(data[0]) :] == "rare"]
        mean.append(sampler.maps_["rare"].squared_distances(new).min(axis=1).mean())
    assert mean[0] > mean[1] > mean[2]


def test_the_nearest_unit_of_every_new_sample_carries_its_class_where_classes_are_apart(data):
    X, y, _ = resampled(data)
    labelled = mf.train(*data[:1], lattice=mf.Lattice(rows=5, columns=5), labels=data[1])
    # Prototypes between classes belong to the majority; 20 sd away they attract no sample.
    labels = labelled.codebook.labels[labelled.best_matching_units(X)]
    np.testing.assert_array_equal(y, labels)


def test_on_digits_most_new_samples_of_every_class_match_a_unit_of_their_class():
    points, digit = load_digits(return_X_y=True)
    labelled = mf.train(points, lattice=mf.Lattice(rows=12, columns=12), labels=digit)
    kept = [np.flatnonzero(digit == n)[: 20 if n < 9 else 80] for n in range(10)]
    rows = np.concatenate(kept)
    X, y, _ = resampled((points[rows], digit[rows]))
    agrees = labelled.codebook.labels[labelled.best_matching_units(X)] == y.astype(str)
    new = np.arange(len(X)) >= len(rows)
    shares = [agrees[new & (y == n)].mean() for n in range(9)]
    assert min(shares) > 0.5


def test_rows_of_other_classes_do_not_change_what_is_drawn(data):
    X, y = data
    other = X.copy()
    other[y == "common"] *= 3.0
    new = slice(len(X), None)
    np.testing.assert_array_equal(resampled(data)[0][new], resampled((other, y))[0][new])


def test_moving_all_data_moves_the_new_samples_alike(data):
    X, y = data
    # A binary fraction and small numbers: the move itself costs a few rounding errors.
    moved = resampled((X + 64.0, y))[0] - 64.0
    np.testing.assert_allclose(resampled(data)[0], moved, rtol=0, atol=1e-9)


def test_the_same_random_state_gives_the_same_samples_and_another_gives_others(data):
    first, second = (resampled(data, random_state=7)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != resampled(data, random_state=8)[0]).any()


def test_a_randomstate_is_drawn_from_and_repeats_with_its_seed(data):
    state = np.random.RandomState(1)
    first, second = (resampled(data, random_state=state)[0] for _ in range(2))
    again = resampled(data, random_state=np.random.RandomState(1))[0]
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_random_state_is_neither_read_nor_changed(data, random_state):
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = resampled(data, random_state=random_state)[0]
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    second = resampled(data, random_state=random_state)[0]
    assert np.array_equal(first, second) == (random_state == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_the_type_of_the_input_is_kept(data, dtype):
    X, y = (10 * data[0]).astype(dtype), data[1]
    grown, labels, _ = resampled((X, y))
    assert grown.dtype == dtype
    assert labels.dtype == y.dtype


def test_integers_are_rounded_to_the_nearest(data):
    X = np.rint(10 * data[0])
    exact = resampled((X, data[1]))[0]
    np.testing.assert_array_equal(np.rint(exact), resampled((X.astype(int), data[1]))[0])


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix])
def test_sparse_input_gives_the_same_samples_in_its_own_form(data, form):
    X, _, _ = resampled((form(data[0]), data[1]))
    assert X.format == form((1, 1)).format
    np.testing.assert_array_equal(resampled(data)[0], X.toarray())


@pytest.mark.parametrize("rows", [1, 4])
def test_a_class_without_two_different_rows_grows_by_copies(data, rows):
    X, y = data
    rare = np.flatnonzero(y == "rarer")[:rows]
    kept = np.concatenate([np.flatnonzero(y != "rarer"), rare])
    X = X.copy()
    X[rare] = X[rare[0]]
    grown, labels, _ = resampled((X[kept], y[kept]))
    expected = np.broadcast_to(X[rare[0]], (60, X.shape[1]))
    np.testing.assert_array_equal(expected, grown[labels == "rarer"])


def test_the_default_lattice_has_about_twice_the_root_of_the_class_size(data):
    _, _, sampler = resampled(data, sampling_strategy="all")
    units = {label: codebook.units for label, codebook in sampler.maps_.items()}
    assert units == {"rare": 6, "rarer": 4}  # 2 √12 = 6.9 as 2 × 3, 2 √5 = 4.5 as 2 × 2


def test_a_lattice_that_is_given_is_used_for_every_class(data):
    lattice = mf.Lattice(rows=2, columns=3)
    _, _, sampler = resampled(data, lattice=lattice, detail=None, steps=3)
    assert set(sampler.maps_) == {"rare", "rarer"}
    assert all(codebook.lattice == lattice for codebook in sampler.maps_.values())


def test_params_survive_get_set_and_clone():
    sampler = MusicSampler(lattice=mf.Lattice(rows=2, columns=3), share_range=(0.1, 0.4))
    copy = clone(sampler).set_params(steps=4)
    assert copy.get_params() == {**sampler.get_params(), "steps": 4}


def test_points_lie_at_the_share_of_the_length_of_a_bent_path():
    corner = np.array([[[0.0, 0.0]], [[3.0, 0.0]], [[3.0, 0.0]], [[3.0, 1.0]]])
    shares = np.array([0.0, 0.5, 0.75, 0.875, 1.0])
    expected = [[0.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 0.5], [3.0, 1.0]]
    got = _part_of_the_way(corner, np.zeros(5, dtype=np.intp), shares)
    np.testing.assert_allclose(expected, got, rtol=0, atol=1e-15)


def test_a_path_of_no_length_stays_where_it_is():
    still = np.ones((4, 1, 2))
    got = _part_of_the_way(still, np.zeros(2, dtype=np.intp), np.array([0.3, 1.0]))
    np.testing.assert_array_equal(np.ones((2, 2)), got)


@pytest.mark.parametrize("share_range", [(0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (0.5,), ("0", 1)])
def test_a_range_of_shares_that_is_none_is_refused(data, share_range):
    with pytest.raises(mf.UsageError, match=r"share_range: expected two numbers with 0 <= low"):
        resampled(data, share_range=share_range)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("detail", 1.5), ("lattice", 5), ("share_range", 0.5), ("random_state", -1)],
)
def test_a_wrong_param_is_refused_by_name(data, name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of MusicSampler must be"):
        resampled(data, **{name: value})


def test_missing_values_are_refused(data):
    X = data[0].copy()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        resampled((X, data[1]))


def ran(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_importing_musicfw_imports_neither_imbalanced_learn_nor_scikit_learn():
    code = "import sys, musicfw; print({'imblearn', 'sklearn', 'musicfw.augment'} & {*sys.modules})"
    assert ran(code).stdout == "set()\n"


@pytest.mark.parametrize("missing", ["imblearn", "sklearn"])
def test_without_its_packages_the_module_says_what_to_install(missing):
    finished = ran(f"import sys; sys.modules[{missing!r}] = None; import musicfw.augment")
    assert finished.returncode == 1
    assert "ImportError: musicfw.augment needs imbalanced-learn and" in finished.stderr
    assert "pip install 'musicfw[augment]'" in finished.stderr
