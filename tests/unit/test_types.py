"""Values are frozen, checked where they are made, and say what they hold."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing

import numpy as np
import pytest

import musicfw as mf
from musicfw.control.music import MusicParams
from musicfw.dataset import Scaling
from musicfw.geometry import WellPosedness

PROTOTYPES = np.arange(12.0).reshape(4, 3) ** 1.5
LATTICE = mf.Lattice(rows=2, columns=2)


def trained(**rest):
    settings = {
        "codebook": mf.Codebook(prototypes=PROTOTYPES),
        "scaling": mf.Scaling.identity(3),
        "backend": "toy",
        "params": {},
        "seed": 0,
    }
    return mf.TrainedMap(**{**settings, **rest})


def inversion(status):
    count = len(status)
    return mf.Inversion(
        points=np.zeros((count, 2)),
        status=status,
        residual=np.zeros(count),
        hidden_radius=np.zeros(count),
        well_posedness=WellPosedness(
            affine_rank=2, dimension=2, units=3, condition=1.0, noise_amplification=1.0
        ),
        solver="toy",
        params={},
        elapsed_s=0.0,
    )


CONTRACT = [
    "Codebook",
    "Dataset",
    "Inversion",
    "Inverter",
    "Lattice",
    "Registry",
    "RunResult",
    "Scaling",
    "Status",
    "StopReason",
    "Target",
    "TrainedMap",
    "Trajectory",
    "invert",
    "load_registry",
    "run",
    "steer",
    "train",
    "well_posedness",
]


@pytest.mark.parametrize("name", CONTRACT)
def test_the_public_interface_has_the_names_of_the_contract(name):
    assert name in mf.__all__
    assert getattr(mf, name).__doc__


@pytest.mark.parametrize(
    "value", [mf.Scaling.identity(2), mf.Codebook(prototypes=PROTOTYPES), trained(), inversion([0])]
)
def test_values_are_frozen(value):
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


@pytest.mark.parametrize("value", [*mf.Status, *mf.StopReason])
def test_every_status_and_stop_reason_has_advice_in_a_full_sentence(value):
    assert value.advice.endswith((".", "use it."))
    assert len(value.advice) > 40


@pytest.mark.parametrize("reason", mf.StopReason)
def test_what_the_advice_on_a_path_names_can_be_asked_for(reason):
    values = typing.get_type_hints(MusicParams)
    known = set(values) | set(inspect.signature(mf.steer).parameters)
    assert set(re.findall(r"[a-z]+_[a-z]+", reason.advice)) <= known
    for option, value in re.findall(r"(\w+): ([\w-]+)", reason.advice):
        assert value in typing.get_args(values[option])


# --- scaling -------------------------------------------------------------------------------------


def test_scaling_and_back_is_the_definition():
    scaling = mf.Scaling(offset=[1, 2], scale=[2, 4])
    np.testing.assert_array_equal([[1.5, -0.5]], scaling.to_map(np.array([[4.0, 0.0]])))
    np.testing.assert_array_equal([[4.0, 0.0]], scaling.to_original(np.array([[1.5, -0.5]])))
    assert not scaling.is_identity
    assert mf.Scaling.identity(2).is_identity


def test_the_identity_passes_points_through_untouched():
    points = np.array([[-0.0, 5e-324]])
    assert mf.Scaling.identity(2).to_map(points) is points
    assert mf.Scaling.identity(2).to_original(points) is points


@pytest.mark.parametrize(
    ("offset", "scale", "message"),
    [
        (
            [0.0],
            [1.0, 1.0],
            r"expected offset and scale of one shape \(D,\), got \(1,\) and \(2,\)",
        ),
        (0.0, 1.0, r"expected offset and scale of one shape \(D,\), got \(\) and \(\)"),
        ([np.nan], [1.0], "Scaling: expected finite offset and scale"),
        ([0.0], [np.inf], "Scaling: expected finite offset and scale"),
        ([0.0], [0.0], r"Scaling\.scale: expected positive numbers"),
    ],
)
def test_an_impossible_scaling_is_refused(offset, scale, message):
    with pytest.raises(mf.UsageError, match=message):
        mf.Scaling(offset=offset, scale=scale)


# --- data sets -----------------------------------------------------------------------------------


def test_a_dataset_turns_labels_into_text_and_is_read_only():
    dataset = mf.Dataset(points=[[1, 2], [3, 4]], labels=[7, 8], image_shape=[1, 2])
    assert dataset.labels.tolist() == ["7", "8"]
    assert dataset.image_shape == (1, 2)
    assert not dataset.points.flags.writeable
    assert not dataset.labels.flags.writeable
    weighted = mf.Dataset(points=[[1, 2], [3, 4]], weights=[2, 0])
    assert weighted.weights.tolist() == [2.0, 0.0]
    assert not weighted.weights.flags.writeable


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": np.empty((0, 2))}, "Dataset.points: expected at least one row, got none"),
        ({"labels": ["a"]}, "Dataset.labels: expected shape (2,), one per row, got (1,)"),
        ({"weights": [1.0]}, "Dataset.weights: expected 2, one per row, got 1"),
        ({"weights": [1, -1]}, "Dataset.weights: expected numbers of at least 0, got -1.0 in row"),
        ({"feature_names": ["a"]}, "Dataset.feature_names: expected 2 names, got 1"),
        (
            {"image_shape": (2, 2)},
            "Dataset.image_shape: expected height · width = 2 features, got 2 × 2 = 4",
        ),
        (
            {"points": [[1.0, 2.0], [3.0, np.nan]], "feature_names": ["age", "height"]},
            "points: row 1, column 1 ('height') holds nan",
        ),
    ],
)
def test_a_dataset_that_does_not_fit_together_is_refused(wrong, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.Dataset(**{"points": [[1.0, 2.0], [3.0, 4.0]], **wrong})


# --- codebooks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        PROTOTYPES,
        PROTOTYPES.tolist(),
        np.asfortranarray(PROTOTYPES),
        np.repeat(PROTOTYPES, 2, axis=0)[::2],
        PROTOTYPES.astype(">f8"),
    ],
)
def test_a_codebook_holds_a_contiguous_read_only_copy_in_any_layout(layout):
    codebook = mf.Codebook(prototypes=layout)
    np.testing.assert_array_equal(PROTOTYPES, codebook.prototypes)
    assert codebook.prototypes.flags.c_contiguous
    assert codebook.prototypes.dtype == np.float64
    assert not codebook.prototypes.flags.writeable
    assert not np.shares_memory(codebook.prototypes, layout)
    assert (codebook.units, codebook.dimension) == (4, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prototypes": np.empty((0, 2))}, "expected at least one prototype, got none"),
        ({"prototypes": [1.0, 2.0]}, "Codebook.prototypes: expected a matrix with one row per"),
        ({"prototypes": [[1.0], [np.inf]]}, "Codebook.prototypes: row 1, column 0 holds inf"),
        (
            {"lattice": mf.Lattice(rows=2, columns=3)},
            "Codebook.lattice: expected 4 units, one per prototype, got 2 × 3 = 6",
        ),
        ({"labels": ["a"]}, "Codebook.labels: expected shape (4,), one per unit, got (1,)"),
        ({"clusters": [[0]]}, "Codebook.clusters: expected shape (4,), one per unit, got (1, 1)"),
    ],
)
def test_a_codebook_that_does_not_fit_together_is_refused(wrong, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.Codebook(**{"prototypes": PROTOTYPES, **wrong})


def test_a_codebook_answers_for_one_point_or_many_and_for_some_units():
    codebook = mf.Codebook(prototypes=PROTOTYPES)
    points = np.array([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]])
    every = codebook.squared_distances(points)
    assert every.shape == (2, 4)
    np.testing.assert_allclose(codebook.squared_distances(points[0]), every[:1], rtol=1e-13)
    some = codebook.squared_distances(points, [3, 0])
    np.testing.assert_allclose(some, every[:, [3, 0]], rtol=1e-12)
    assert codebook.best_matching_units(points[1]).tolist() == [every[1].argmin()]
    assert codebook.squared_distances(np.empty((0, 3))).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.squared_distances([1.0, 2.0]), "points: expected 3 columns, got 2"),
        (lambda c: c.best_matching_units([[np.nan, 0, 0]]), "points: row 0, column 0 holds nan"),
        (
            lambda c: c.squared_distances([[0.0, 0, 0]], [4]),
            "units: expected unit numbers in 0 … 3 (the map has 4 units), got 4",
        ),
        (
            lambda c: c.squared_distances([[0.0, 0, 0]], [-1]),
            "units: expected unit numbers in 0 … 3",
        ),
        (
            lambda c: c.squared_distances([[0.0, 0, 0]], [1, 1]),
            "units: expected each unit once, got [1, 1]",
        ),
        (lambda c: c.squared_distances([[0.0, 0, 0]], []), "units: expected one or more unit"),
    ],
)
def test_a_codebook_refuses_points_and_units_that_are_not_its_own(call, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        call(mf.Codebook(prototypes=PROTOTYPES))


# --- maps ----------------------------------------------------------------------------------------


def test_a_map_takes_original_units_and_its_codebook_the_maps():
    scaling = mf.Scaling(offset=[1.0, 2.0, 3.0], scale=[2.0, 4.0, 8.0])
    made = trained(scaling=scaling)
    original = np.array([[3.0, -2.0, 7.0]])
    np.testing.assert_array_equal(
        made.codebook.squared_distances(scaling.to_map(original)), made.squared_distances(original)
    )
    np.testing.assert_array_equal(
        made.codebook.best_matching_units(scaling.to_map(original)),
        made.best_matching_units(original[0]),
    )


def test_a_map_whose_scaling_has_other_features_is_refused():
    with pytest.raises(mf.UsageError, match=r"TrainedMap\.scaling: expected 3 features, got 2"):
        trained(scaling=mf.Scaling.identity(2))


def test_the_history_and_params_of_a_map_are_its_own_copies():
    error, params = np.array([2.0, 1.0]), {"epochs": 2}
    made = trained(history={"quantization_error": error}, params=params)
    error[0], params["epochs"] = 9.0, 9
    assert made.history["quantization_error"].tolist() == [2.0, 1.0]
    assert made.params == {"epochs": 2}
    assert not made.history["quantization_error"].flags.writeable


# --- results -------------------------------------------------------------------------------------


def test_counts_leave_out_what_no_point_has():
    assert inversion([0, 3, 0]).counts() == {mf.Status.EXACT: 2, mf.Status.REGULARISED: 1}
    assert inversion([]).counts() == {}


def test_usable_points_raise_nothing_and_return_the_inversion():
    made = inversion([0, 3])
    assert made.raise_for_status() is made


@pytest.mark.parametrize(
    "status", [s for s in mf.Status if s not in (mf.Status.EXACT, mf.Status.REGULARISED)]
)
def test_the_first_unusable_point_is_raised_with_its_advice(status):
    expected = (
        f"inversion with 'toy': 2 of 4 points are not exact; the first is point 1: {status.name}. "
        f"{status.advice}"
    )
    with pytest.raises(mf.NumericalError, match=f"^{re.escape(expected)}$") as caught:
        inversion([0, status, 0, status]).raise_for_status()
    assert caught.value.exit_code == 1


def test_the_arrays_of_results_are_read_only():
    made = inversion([0, 1])
    for name in ("points", "status", "residual", "hidden_radius"):
        assert not getattr(made, name).flags.writeable, name
    codebook = mf.Codebook(prototypes=PROTOTYPES)
    path = mf.steer(codebook, [[0.0, 0, 0]], target=mf.Target.units([1]), steps=2)
    for name in ("points", "stop", "step_norm", "arrival", "target_units"):
        assert not getattr(path, name).flags.writeable, name


def test_clusters_that_are_no_integers_are_refused():
    with pytest.raises(mf.UsageError, match=r"^Codebook.clusters: expected integers, got float64$"):
        mf.Codebook(prototypes=[[0.0]], clusters=[0.5])


def test_a_scaling_of_text_is_refused():
    with pytest.raises(mf.UsageError, match=r"^Scaling.offset: expected numbers \(D,\): could not"):
        Scaling(offset=["a"], scale=[1.0])


@pytest.mark.parametrize(
    ("relevances", "message"),
    [
        (np.ones(2), r"Codebook.relevances: expected shape \(3,\), shared by all units, or \(4, 3"),
        (np.ones((3, 4)), r"expected shape \(3,\), .* got \(3, 4\)"),
        ([1.0, -1.0, 1.0], "expected finite numbers of at least 0, got -1.0 for feature 1"),
        (np.full((4, 3), np.nan), "got nan for unit 0, feature 0"),
        ([0.0, 0.0, 0.0], "a number above 0 in every row, the relevances are all 0"),
        ([[1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]], "the relevances of unit 2 are all 0"),
        (["a", "b", "c"], "Codebook.relevances: .* expected a number"),
    ],
)
def test_relevances_that_are_no_metric_are_refused(relevances, message):
    with pytest.raises(mf.UsageError, match=message):
        mf.Codebook(prototypes=np.ones((4, 3)), relevances=relevances)


def test_relevances_are_kept_read_only_apart_from_the_callers():
    given = np.ones((4, 3))
    codebook = mf.Codebook(prototypes=np.ones((4, 3)), relevances=given)
    given[:] = 7.0
    assert codebook.relevances.max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        codebook.relevances[0, 0] = 2.0


def test_minisom_cannot_take_relevances():
    pytest.importorskip("minisom")
    codebook = mf.Codebook(
        prototypes=np.ones((4, 3)), lattice=mf.Lattice(rows=2, columns=2), relevances=[1, 2, 3]
    )
    with pytest.raises(mf.UsageError, match=r"Codebook.to_minisom: MiniSom has no relevances"):
        codebook.to_minisom()


def trajectory_on(codebook, points):
    frames, count, dimension = points.shape
    return mf.Trajectory(
        points=points,
        stop=np.zeros(count),
        step_norm=np.zeros((frames - 1, count)),
        arrival=np.zeros(count),
        target_units=[0],
        codebook=codebook,
        scaling=Scaling.identity(dimension),
        policy="",
        params={},
        elapsed_s=0.0,
    )


def test_the_distance_of_frames_to_a_map_is_the_codebooks_own():
    rng = np.random.default_rng(0)
    codebook = mf.Codebook(prototypes=rng.normal(size=(4, 3)), relevances=rng.uniform(size=(4, 3)))
    path = trajectory_on(codebook, rng.normal(size=(2, 5, 3)))
    expected = np.sqrt(path.squared_distances().min(axis=2))
    np.testing.assert_allclose(expected, path.distance_to_map(), rtol=1e-12)


def test_a_dataset_keeps_gaps_only_if_asked_to():
    kept = mf.Dataset(points=[[1.0, np.nan], [2.0, 3.0]], missing="keep")
    assert np.isnan(kept.points[0, 1])
    with pytest.raises(mf.DataError, match="points: row 1 has no known value"):
        mf.Dataset(points=[[1.0], [np.nan]], missing="keep")
    with pytest.raises(mf.DataError, match="points: row 0, column 0 holds inf"):
        mf.Dataset(points=[[np.inf], [1.0]], missing="keep")
    with pytest.raises(mf.UsageError, match="missing: expected 'refuse' or 'keep', got 'drop'"):
        mf.Dataset(points=[[1.0]], missing="drop")
