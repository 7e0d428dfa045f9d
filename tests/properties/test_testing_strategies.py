"""The kit's strategies make what they promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import musicfw as mf
from musicfw.testing import (
    activations,
    codebooks,
    ill_conditioned_codebooks,
    lattices,
    points_for,
)


@given(book=codebooks(rank="full", max_dim=4))
def test_a_codebook_of_full_rank_spans_its_space(book):
    assert mf.well_posedness(book).is_exact


@given(book=codebooks(rank="deficient", min_dim=2, max_dim=4, min_units=3))
def test_a_deficient_codebook_does_not_span_its_space(book):
    posed = mf.well_posedness(book)
    assert posed.affine_rank < posed.dimension
    assert 2 <= posed.dimension <= 4
    assert book.units >= 3


@given(rank=st.integers(0, 4), data=st.data())
def test_a_codebook_has_the_rank_that_is_asked_for(rank, data):
    book = data.draw(codebooks(rank=rank, max_dim=5, max_units=7))
    assert mf.well_posedness(book).affine_rank == rank
    assert rank + 1 <= book.units <= 7


@given(exponent=st.integers(0, 6), data=st.data())
def test_an_ill_conditioned_codebook_has_its_condition(exponent, data):
    book = data.draw(ill_conditioned_codebooks(10.0**exponent))
    assert mf.well_posedness(book).condition == pytest.approx(10.0**exponent, rel=1e-6)


@given(data=st.data(), rank=st.sampled_from(["full", "deficient"]))
def test_points_in_the_hull_have_no_hidden_part(data, rank):
    book = data.draw(codebooks(rank=rank, max_dim=4))
    points = data.draw(points_for(book, in_hull=True, max_points=3))
    assert points.shape[1] == book.dimension
    assert 1 <= len(points) <= 3
    found = mf.invert(book, book.squared_distances(points))
    assert (found.status == mf.Status.EXACT).all()


@given(data=st.data())
def test_realizable_activations_are_those_of_a_point_and_others_are_not(data):
    book = data.draw(codebooks(rank="full", max_dim=4))
    good = data.draw(activations(book))
    assert (mf.invert(book, good).status == mf.Status.EXACT).all()
    wrong = data.draw(activations(book, realizable=False))
    assert (wrong >= 0).all()
    assert (mf.invert(book, wrong).status == mf.Status.INCONSISTENT).all()


@given(data=st.data())
def test_distances_to_a_flat_map_are_no_points_if_they_contradict_each_other(data):
    book = data.draw(codebooks(rank=1, min_dim=2, max_dim=3, min_units=4))
    wrong = data.draw(activations(book, realizable=False))
    assert (mf.invert(book, wrong).status == mf.Status.INCONSISTENT).all()


def test_where_every_distance_belongs_to_a_point_there_are_no_others():
    book = mf.Codebook(prototypes=[[0.0, 0.0], [1.0, 0.0]])

    @given(activations(book, realizable=False))
    def draw(found):
        raise AssertionError("nothing can be drawn")

    with pytest.raises(mf.UsageError, match="2 units in 2 dimensions have no unrealizable"):
        draw()


def test_a_rank_that_does_not_fit_is_refused():
    @given(codebooks(rank=4, max_dim=3))
    def draw(found):
        raise AssertionError("nothing can be drawn")

    with pytest.raises(mf.UsageError, match="expected max_dim of at least the rank 4"):
        draw()


def test_lattices_come_in_every_kind():
    seen = set()

    @given(lattices(largest=3))
    def draw(lattice):
        seen.add((lattice.topology, lattice.borders))
        assert 1 <= lattice.columns <= 3

    draw()
    assert len(seen) == 6
