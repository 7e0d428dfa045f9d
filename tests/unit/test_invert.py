"""The verb *invert*: what it accepts, what it says of each point, and what it leaves alone."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.api import NoParams, RawSolution, SolverFactory

RNG = np.random.default_rng(7)
CODEBOOK = mf.Codebook(prototypes=RNG.normal(size=(9, 3)))
POINTS = RNG.normal(size=(5, 3))
DISTANCES = CODEBOOK.squared_distances(POINTS)
FLAT = mf.Codebook(prototypes=RNG.normal(size=(3, 5)))
SOLVERS = ["exact", "ridge", "truncated-svd"]


def test_an_inversion_recovers_the_points_and_tells_how():
    inverted = mf.invert(CODEBOOK, DISTANCES)
    np.testing.assert_allclose(inverted.points, POINTS, rtol=0, atol=1e-13)
    assert (inverted.status == mf.Status.EXACT).all()
    assert (inverted.hidden_radius == 0.0).all()
    assert inverted.residual.max() < 1e-14
    assert (inverted.solver, inverted.params) == ("exact", {})
    assert inverted.well_posedness == mf.well_posedness(CODEBOOK)
    assert inverted.elapsed_s > 0.0


def test_the_residual_is_the_relative_misfit_of_the_distances():
    noisy = DISTANCES * (1 + 0.1 * RNG.random(DISTANCES.shape))
    for solver in SOLVERS:
        inverted = mf.invert(CODEBOOK, noisy, solver=solver)
        misfit = CODEBOOK.squared_distances(inverted.points) - noisy
        expected = np.linalg.norm(misfit, axis=1) / np.linalg.norm(noisy, axis=1)
        np.testing.assert_allclose(inverted.residual, expected, rtol=1e-12)


def test_outside_the_hull_the_residual_counts_the_hidden_part_as_explained():
    points = RNG.normal(size=(4, 5))
    inverted = mf.invert(FLAT, FLAT.squared_distances(points))
    assert (inverted.status == mf.Status.PROJECTED).all()
    assert inverted.residual.max() < 1e-13
    missing = np.linalg.norm(points - inverted.points, axis=1)
    np.testing.assert_allclose(inverted.hidden_radius, missing, rtol=1e-12)


@pytest.mark.parametrize(
    ("solver", "params"), [("ridge", {"alpha": 5.0}), ("truncated-svd", {"rank": 1})]
)
def test_a_regularised_answer_that_does_not_reproduce_the_distances_says_so(solver, params):
    inverted = mf.invert(CODEBOOK, DISTANCES, solver=solver, **params)
    assert (inverted.status == mf.Status.REGULARISED).all()
    assert inverted.raise_for_status() is inverted
    assert inverted.params == {**inverted.params, **params}


@pytest.mark.parametrize("solver", ["ridge", "truncated-svd"])
def test_regularisation_does_not_change_how_much_is_hidden(solver):
    distances = FLAT.squared_distances(RNG.normal(size=(4, 5)))
    exact = mf.invert(FLAT, distances)
    for strength in ({"alpha": 3.0}, {"rank": 1}):
        if (solver == "ridge") == ("alpha" in strength):
            regularised = mf.invert(FLAT, distances, solver=solver, **strength)
            np.testing.assert_allclose(regularised.hidden_radius, exact.hidden_radius, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [(np.nan, 0), (np.inf, 3), (-np.inf, 8), (-1.0, 4), (1e200, 5), (np.finfo(float).max, 2)],
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_an_invalid_row_is_a_status_and_does_not_disturb_the_others(solver, wrong, where):
    spoilt = DISTANCES.copy()
    spoilt[2, where] = wrong
    before = mf.invert(CODEBOOK, DISTANCES, solver=solver)
    after = mf.invert(CODEBOOK, spoilt, solver=solver)
    assert (after.status == mf.Status.INVALID_INPUT).tolist() == [False, False, True, False, False]
    others = [0, 1, 3, 4]
    for name in ("points", "status", "residual", "hidden_radius"):
        np.testing.assert_array_equal(getattr(before, name)[others], getattr(after, name)[others])
    assert np.isnan(after.points[2]).all()
    assert np.isnan(after.residual[2])
    assert np.isnan(after.hidden_radius[2])
    with pytest.raises(mf.NumericalError, match=r"1 of 5 points .* point 2: INVALID_INPUT"):
        after.raise_for_status()


def test_rounding_below_zero_is_no_negative_distance():
    at_prototypes = CODEBOOK.squared_distances(CODEBOOK.prototypes)
    at_prototypes[np.diag_indices(9)] = -1e-15
    inverted = mf.invert(CODEBOOK, at_prototypes)
    assert (inverted.status == mf.Status.EXACT).all()


def test_distances_of_all_zeros_belong_to_no_point_unless_there_is_one_prototype():
    assert mf.invert(CODEBOOK, np.zeros(9)).status.tolist() == [mf.Status.INCONSISTENT]
    single = mf.invert(mf.Codebook(prototypes=[[1.0, 2.0]]), [0.0])
    assert single.status.tolist() == [mf.Status.EXACT]
    assert single.points.tolist() == [[1.0, 2.0]]
    hidden = mf.invert(mf.Codebook(prototypes=[[1.0, 2.0]]), [9.0])
    assert hidden.status.tolist() == [mf.Status.PROJECTED]
    assert hidden.hidden_radius.tolist() == [3.0]


@given(size=st.floats(1.0, 1e140))
def test_large_distances_that_no_point_has_are_never_silently_accepted(size):
    distances = size * np.arange(1.0, 10.0)
    assert mf.invert(CODEBOOK, distances).status.tolist() == [mf.Status.INCONSISTENT]


def test_the_tolerance_decides_what_counts_as_consistent():
    noisy = DISTANCES * (1 + 1e-4 * RNG.random(DISTANCES.shape))
    assert (mf.invert(CODEBOOK, noisy).status == mf.Status.INCONSISTENT).all()
    assert (mf.invert(CODEBOOK, noisy, tolerance=1e-3).status == mf.Status.EXACT).all()


def test_the_tolerance_is_compared_with_the_residual_of_each_point():
    noisy = DISTANCES * (1 + 1e-4 * RNG.random(DISTANCES.shape))
    residual = mf.invert(CODEBOOK, noisy).residual
    middle = np.sort(residual)[2]
    for tolerance in (middle, np.nextafter(middle, 0.0)):
        status = mf.invert(CODEBOOK, noisy, tolerance=tolerance).status
        np.testing.assert_array_equal(status == mf.Status.EXACT, residual <= tolerance)


@pytest.mark.parametrize("tolerance", [-1e-9, np.nan])
def test_an_impossible_tolerance_is_refused(tolerance):
    with pytest.raises(mf.UsageError, match="tolerance: expected a number of at least 0, got"):
        mf.invert(CODEBOOK, DISTANCES, tolerance=tolerance)


@pytest.mark.parametrize("solver", [*SOLVERS, "ridge-winner"])
def test_an_empty_batch_gives_no_points(solver):
    params = {"prior": "winner"} if solver == "ridge-winner" else {}
    inverted = mf.invert(CODEBOOK, np.empty((0, 9)), solver=solver.split("-w")[0], **params)
    assert inverted.points.shape == (0, 3)
    assert inverted.status.shape == (0,)
    assert inverted.counts() == {}
    assert inverted.raise_for_status() is inverted


@pytest.mark.parametrize(
    "layout",
    [
        DISTANCES.tolist(),
        np.asfortranarray(DISTANCES),
        np.repeat(DISTANCES, 2, axis=1)[:, ::2],
        DISTANCES[::-1][::-1],
        DISTANCES.astype(">f8"),
        np.ma.masked_array(DISTANCES),
    ],
)
def test_the_layout_of_the_distances_does_not_matter(layout):
    expected = mf.invert(CODEBOOK, DISTANCES).points
    np.testing.assert_array_equal(expected, mf.invert(CODEBOOK, layout).points)


def test_single_precision_is_enough_to_be_recognised():
    inverted = mf.invert(CODEBOOK, DISTANCES.astype(np.float32))
    assert (inverted.status == mf.Status.EXACT).all()
    assert inverted.points.dtype == np.float64
    amplified = inverted.well_posedness.noise_amplification * np.linalg.norm(DISTANCES, axis=1)
    error = np.linalg.norm(inverted.points - POINTS, axis=1)
    assert (error <= 2 * np.finfo(np.float32).eps * amplified).all()


def test_one_row_may_be_given_without_a_batch():
    one = mf.invert(CODEBOOK, DISTANCES[1])
    assert one.points.shape == (1, 3)
    np.testing.assert_allclose(one.points[0], POINTS[1], rtol=0, atol=1e-13)


def test_the_inputs_stay_as_they_were():
    distances = DISTANCES.copy()
    distances[1, 1] = np.nan
    before = distances.tobytes()
    mf.invert(CODEBOOK, distances)
    assert before == distances.tobytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (DISTANCES[:, :8], "squared_distances: expected 9 columns, one per prototype, got 8"),
        (DISTANCES[0, :8], "squared_distances: expected 9 columns, one per prototype, got 8"),
        ([], "squared_distances: expected 9 columns, one per prototype, got 0"),
        (3.0, "squared_distances: expected a matrix with one row per point"),
        (DISTANCES[np.newaxis], "squared_distances: expected a matrix with one row per point"),
        ([[1.0, 2.0], [3.0]], "squared_distances: ragged rows: row 0 has 2 values and row 1 has 1"),
        ([["a"] * 9], "squared_distances: row 0, column 0 holds 'a', expected a number"),
        (DISTANCES + 0j, "squared_distances: expected real numbers, got complex128"),
        (
            np.ma.masked_array(DISTANCES, mask=DISTANCES > 1),
            "squared_distances: holds masked values",
        ),
    ],
)
def test_what_are_no_distances_to_this_map_is_refused(wrong, message):
    with pytest.raises(mf.DataError, match=re.escape(message)):
        mf.invert(CODEBOOK, wrong)


def test_an_array_in_place_of_a_codebook_is_refused_with_the_way_out():
    with pytest.raises(
        mf.UsageError,
        match=r"codebook: expected a Codebook or a TrainedMap, got ndarray; wrap an array of "
        r"prototypes as Codebook\(prototypes=W\)",
    ):
        mf.invert(CODEBOOK.prototypes, DISTANCES)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -1.0}, "ridge: error[out-of-range] alpha: expected "),
        ({"alpah": 1.0}, "ridge: error[unknown-key] alpah: "),
        ({"prior": "nearest"}, "ridge: error[unknown-choice] prior: expected 'centroid' or"),
    ],
)
def test_wrong_params_are_refused_when_the_inverter_is_made(params, message):
    with pytest.raises(mf.UsageError, match=re.escape(message)):
        mf.Inverter(CODEBOOK, solver="ridge", **params)


def test_an_inverter_factorises_once_for_many_batches():
    calls = []

    class Counting:
        def factorise(self, system):
            calls.append("factorise")
            return SimpleNamespace(solve=self.solve)

        def solve(self, rhs):
            calls.append(rhs.shape)
            return RawSolution(coordinates=np.zeros((3, rhs.shape[1])))

    factory = SolverFactory(name="c", params=NoParams, build=lambda p: Counting(), summary="")
    inverter = mf.Inverter(CODEBOOK, solver=factory)
    inverter(DISTANCES)
    inverter(DISTANCES[:2])
    assert calls == ["factorise", (9, 5), (9, 2)]
    assert inverter.well_posedness.is_exact


def test_a_map_with_a_scaling_gives_points_in_original_units():
    scaling = mf.Scaling(offset=[10.0, -5.0, 0.0], scale=[2.0, 100.0, 1e-3])
    trained = mf.TrainedMap(codebook=CODEBOOK, scaling=scaling, backend="", params={}, seed=0)
    originals = scaling.to_original(POINTS)
    inverted = mf.invert(trained, trained.squared_distances(originals))
    np.testing.assert_allclose(inverted.points, originals, rtol=0, atol=1e-13 * 100)
    in_map_units = mf.invert(trained.codebook, trained.squared_distances(originals))
    np.testing.assert_array_equal(inverted.points, scaling.to_original(in_map_units.points))
    assert mf.well_posedness(trained) == mf.well_posedness(CODEBOOK)


def test_distances_in_float32_may_be_negative_by_its_rounding():
    codebook = mf.Codebook(prototypes=np.eye(3)[:, :2] * 4.0)
    single = codebook.squared_distances([[4.0, 0.0]]).astype(np.float32)
    single[0, 0] = -1e-6
    assert mf.invert(codebook, single).status.tolist() == [mf.Status.EXACT]
    assert mf.invert(codebook, single.astype(np.float64)).status.tolist() == [
        mf.Status.INVALID_INPUT
    ]
