"""Squared distances, the centred system, and what it says about itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw import geometry

EPS = float(np.finfo(np.float64).eps)
seeds = st.integers(0, 2**32 - 1)


@given(
    seed=seeds,
    offset=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    shape=st.sampled_from([(1, 1), (9, 3), (2, 40)]),
)
def test_distances_equal_their_definition_within_the_rounding_of_centred_data(seed, offset, shape):
    rng = np.random.default_rng(seed)
    prototypes, points = rng.normal(size=shape) + offset, rng.normal(size=(5, shape[1])) + offset
    expected = ((points[:, np.newaxis] - prototypes) ** 2).sum(axis=2)
    found = geometry.squared_distances(points, prototypes)
    centre = prototypes.mean(axis=0)
    reach = np.linalg.norm(points - centre, axis=1)[:, np.newaxis]
    spread = np.linalg.norm(prototypes - centre, axis=1)
    # Sums of D products of this size, and the rounding of the centred coordinates themselves.
    scale = reach + spread
    allowed = 8 * EPS * (shape[1] + 2) * scale**2 + 16 * EPS * offset * np.sqrt(shape[1]) * scale
    assert (np.abs(found - expected) <= allowed).all()
    assert (found >= 0.0).all()


@given(seed=seeds)
def test_the_best_matching_unit_has_the_smallest_distance_whatever_the_block(seed):
    rng = np.random.default_rng(seed)
    prototypes, points = rng.normal(size=(7, 2)), rng.normal(size=(50, 2))
    expected = ((points[:, np.newaxis] - prototypes) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(expected, geometry.best_matching_units(points, prototypes))


def test_blocks_of_rows_agree_with_all_rows_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    prototypes, points = rng.normal(size=(7, 2)), rng.normal(size=(50, 2))
    expected = geometry.best_matching_units(points, prototypes)
    for elements in (1, 7, 20, 7 * 50):
        monkeypatch.setattr(geometry, "_BLOCK_ELEMENTS", elements)
        np.testing.assert_array_equal(expected, geometry.best_matching_units(points, prototypes))


def test_of_equal_prototypes_the_lowest_number_matches_best():
    prototypes = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert geometry.best_matching_units(np.zeros((1, 2)), prototypes).tolist() == [1]
    assert geometry.best_matching_units(np.zeros((0, 2)), prototypes).shape == (0,)


@given(seed=seeds, offset=st.sampled_from([0.0, 1e6]))
def test_every_point_satisfies_the_centred_system(seed, offset):
    rng = np.random.default_rng(seed)
    prototypes, x = rng.normal(size=(8, 3)) + offset, rng.normal(size=(2, 3)) + offset
    system = geometry.centred_system(prototypes)
    rhs, mean = system.right_hand_side(geometry.squared_distances(x, prototypes))
    u = x - system.centroid
    rounding = 200 * EPS * (1 + offset) * 10
    np.testing.assert_allclose(rhs, system.matrix @ u.T, rtol=0, atol=rounding)
    np.testing.assert_allclose(mean, (u**2).sum(axis=1), rtol=0, atol=rounding)
    np.testing.assert_allclose(
        system.left * system.singular_values @ system.right.T, system.matrix, rtol=0, atol=100 * EPS
    )
    np.testing.assert_allclose(
        system.matrix.sum(axis=0), 0.0, atol=8 * EPS * np.abs(system.matrix).max() * 8
    )


def test_a_system_is_read_only_and_does_not_share_memory_with_what_can_be_written():
    prototypes = np.random.default_rng(0).normal(size=(5, 3))
    system = geometry.centred_system(mf.Codebook(prototypes=prototypes).prototypes)
    for name in ("prototypes", "centroid", "matrix", "squared_norms", "left", "right"):
        assert not getattr(system, name).flags.writeable, name
    assert not system.singular_values.flags.writeable
    assert not np.shares_memory(system.prototypes, prototypes)
    assert (system.units, system.dimension) == (5, 3)


@given(
    seed=seeds,
    rank=st.integers(0, 4),
    offset=st.sampled_from([0.0, 1e3, 1e8]),
    scale=st.sampled_from([1e-100, 1.0, 1e100]),
)
def test_the_affine_rank_is_that_of_the_hull_at_any_scale_and_offset(seed, rank, offset, scale):
    rng = np.random.default_rng(seed)
    flat = np.linalg.qr(rng.normal(size=(4, 4)))[0][:, :rank]
    prototypes = scale * (rng.normal(size=(12, rank)) @ flat.T + offset)
    assert geometry.centred_system(prototypes).affine_rank == rank


def test_one_prototype_determines_nothing_but_the_distance():
    posed = mf.well_posedness(mf.Codebook(prototypes=[[1.0, 2.0]]))
    assert (posed.affine_rank, posed.dimension, posed.units, posed.condition) == (0, 2, 1, 1.0)
    assert posed.noise_amplification == np.inf
    assert not posed.is_exact


def test_the_amplification_is_one_over_twice_the_smallest_singular_value():
    posed = mf.well_posedness(mf.Codebook(prototypes=[[-3.0, 0], [3, 0], [0, 1], [0, -1]]))
    assert posed.condition == pytest.approx(3.0, rel=4 * EPS)
    assert posed.noise_amplification == pytest.approx(0.5 / np.sqrt(2), rel=4 * EPS)


@pytest.mark.parametrize(
    ("prototypes", "expected"),
    [
        (
            [[0.0, 0], [1, 0], [0, 1]],
            "3 prototypes span 2 of 2 dimensions (condition 1.73): the distances determine every "
            "point uniquely.",
        ),
        (
            [[0.0, 0], [1, 0]],
            "2 prototypes span 1 of 2 dimensions (condition 1): points in their affine hull are "
            "recovered exactly; for a point outside it the distances leave two mirror points (at "
            "least 3 prototypes are needed).",
        ),
        (
            [[0.0, 0, 0], [1, 0, 0]],
            "the distances leave a sphere in the 2 missing dimensions (at least 4 prototypes are "
            "needed).",
        ),
        (
            [[0.0, 0], [1, 0], [2, 0]],
            "two mirror points (the prototypes have no spread in those dimensions).",
        ),
    ],
)
def test_the_message_says_what_the_distances_leave_open_and_what_would_help(prototypes, expected):
    assert expected in mf.well_posedness(mf.Codebook(prototypes=prototypes)).message
