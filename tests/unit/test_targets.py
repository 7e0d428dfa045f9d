"""Targets name units of a map; words on a command line name targets."""

from __future__ import annotations

import re

import numpy as np
import pytest

import musicfw as mf
from musicfw.control.targets import parse_target, resolve_target
from musicfw.errors import UsageError

RNG = np.random.default_rng(0)
CODEBOOK = mf.Codebook(
    prototypes=np.repeat([[0.0, 0], [10, 0], [0, 10]], [4, 4, 4], axis=0)
    + RNG.normal(size=(12, 2)),
    lattice=mf.Lattice(rows=3, columns=4),
    labels=["a"] * 4 + ["bee"] * 4 + [""] * 4,
    clusters=[0] * 4 + [1] * 4 + [2] * 4,
)
BARE = mf.Codebook(prototypes=CODEBOOK.prototypes)


@pytest.mark.parametrize(
    ("target", "units"),
    [
        (mf.Target.units([3, 1]), [3, 1]),
        (mf.Target.units(3), [3]),
        (mf.Target.units(np.array([5], dtype=np.uint8)), [5]),
        (mf.Target.cell(1, 2), [6]),
        (mf.Target.cell(np.int64(2), np.int64(0)), [8]),
        (mf.Target.label("bee"), [4, 5, 6, 7]),
        (mf.Target.cluster(2), [8, 9, 10, 11]),
    ],
)
@pytest.mark.parametrize("away", [False, True])
def test_a_target_means_units_whose_distances_are_to_become_zero(target, units, away):
    turned = mf.Target(kind=target.kind, value=target.value, away=away)
    resolved = resolve_target(turned, CODEBOOK)
    assert resolved.units.tolist() == units
    assert resolved.home.tolist() == ([] if away else units)
    assert resolved.shunned.tolist() == (units if away else [])
    assert resolved.goals.tolist() == [0.0] * len(units)
    assert resolved.directions.tolist() == [-1.0 if away else 1.0] * len(units)


def test_activations_mean_all_units_and_their_winner_is_home():
    goals = CODEBOOK.squared_distances([[9.0, 1.0]])
    for given in (goals, goals[0], goals.tolist(), goals[0].tolist()):
        resolved = resolve_target(mf.Target.activations(given), CODEBOOK)
        assert resolved.units.tolist() == list(range(12))
        np.testing.assert_array_equal(resolved.goals, goals[0])
        assert resolved.home.tolist() == [goals[0].argmin()]


def test_a_label_that_is_no_text_is_taken_as_text():
    numbered = mf.Codebook(prototypes=np.eye(2), labels=[0, 3])
    assert resolve_target(mf.Target.label(3), numbered).units.tolist() == [1]


def test_clusters_are_made_when_the_map_has_none():
    found = [resolve_target(mf.Target.cluster(n), BARE).units.tolist() for n in range(3)]
    assert sorted(unit for units in found for unit in units) == list(range(12))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (mf.Target.units([12]), "Target.units: expected unit numbers in 0 … 11 (the map has 12"),
        (mf.Target.units([-1]), "Target.units: expected unit numbers in 0 … 11"),
        (mf.Target.units([]), "Target.units: expected one or more unit numbers"),
        (mf.Target.units([1.0]), "Target.units: expected one or more unit numbers"),
        (mf.Target.units([2, 2]), "Target.units: expected each unit once, got [2, 2]"),
        (mf.Target.cell(3, 0), "cell: expected row 0 … 2 and column 0 … 3, got (3, 0)"),
        (mf.Target.cell(0, -1), "cell: expected row 0 … 2 and column 0 … 3, got (0, -1)"),
        (mf.Target.cell(1.5, 0), "Target.cell: expected a row and a column (integers), got (1.5"),
        (mf.Target.cell("a", 0), "Target.cell: expected a row and a column (integers), got ('a'"),
        (
            mf.Target.label("be"),
            "Target.label: no unit's majority label is 'be', expected 'a' or 'bee'; did you mean "
            "'bee'?",
        ),
        (mf.Target.label(""), "Target.label: no unit's majority label is '', expected 'a' or"),
        (mf.Target.cluster(3), "Target.cluster: expected a cluster number in 0 … 2, got 3"),
        (mf.Target.cluster(-1), "Target.cluster: expected a cluster number in 0 … 2, got -1"),
        (mf.Target.cluster("a"), "Target.cluster: expected a cluster number in 0 … 2, got 'a'"),
        (
            mf.Target.activations(np.ones(11)),
            "Target.activations: expected 12 columns, one per prototype, got 11",
        ),
        (
            mf.Target.activations(np.ones((2, 12))),
            "Target.activations: expected one pattern (M,), got 2 rows; steer to one at a time",
        ),
        (
            mf.Target.activations(np.ones((0, 12))),
            "Target.activations: expected one pattern (M,), got 0 rows",
        ),
        (
            mf.Target.activations(-np.ones(12)),
            "Target.activations: expected squared distances, got negative ones",
        ),
        (mf.Target.activations([np.nan] * 12), "Target.activations: row 0, column 0 holds nan"),
    ],
)
def test_a_target_that_the_map_does_not_have_is_refused_with_those_it_has(target, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        resolve_target(target, CODEBOOK)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (mf.Target.cell(0, 0), "Target.cell: the codebook has no lattice; use Target.units, or"),
        (mf.Target.label("a"), "Target.label: the codebook has no unit labels; train with labels="),
    ],
)
def test_a_target_that_needs_more_than_prototypes_says_what(target, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        resolve_target(target, BARE)


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("units:3,4", "units [3, 4]"),
        ("units:3", "units [3]"),
        ("cell:2,5", "cell (2, 5)"),
        ("label:3", "label 3"),
        ("label:a:b, c", "label a:b, c"),
        ("cluster:0", "cluster 0"),
        ("away:label:3", "away from label 3"),
        ("away:units:1", "away from units [1]"),
    ],
)
def test_words_name_a_target_and_a_target_says_what_it_is(text, described):
    assert described == str(parse_target(text))


def test_the_target_of_a_sample_says_so():
    assert str(mf.Target.activations([1.0], away=True)) == ("away from the activations of a sample")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "units:",
        "units:a",
        "units:1,",
        "units:1.5",
        "cell:1",
        "cell:1,2,3",
        "label:",
        "cluster:1,2",
        "unit:3",
        "away:",
        "away:away:units:1",
    ],
)
def test_other_words_are_refused_with_what_was_expected(text):
    with pytest.raises(
        UsageError,
        match=re.escape(
            "target: expected units:3,4 or cell:ROW,COLUMN or label:NAME or cluster:NUMBER, with "
            f"an optional leading away:, got {text!r}"
        ),
    ):
        parse_target(text)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(mf.UsageError, match=r"^Target.kind: expected 'units', .* got 'foo'; use T"):
        mf.Target(kind="foo", value=1)
