"""Broken data sources, each rejected by the check made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from annotated_types import Ge

from musicfw.api import Dataset, DatasetFactory, NoParams, param
from musicfw.errors import DataError
from musicfw.testing import CheckFailure, CheckSkipped, dataset_checks
from musicfw.testing.doors import CHECKS


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsParams:
    rows: Annotated[int, Ge(0)] = param(10, help="Number of rows.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathParams:
    path: str = param("", help="The file.", is_path=True)


class Fine:
    """Keeps every law; the victims spoil one thing each."""

    def __init__(self, params):
        self.params = params

    def load(self, rng):
        rows = getattr(self.params, "rows", 10)
        if rows < 2:
            raise DataError(f"rows: expected at least 2, got {rows}")
        return Dataset(points=rng.normal(size=(rows, 3)), description="Noise.")


class JustAnArray(Fine):
    def load(self, rng):
        return rng.normal(size=(10, 3))


class OneRow(Fine):
    def load(self, rng):
        return Dataset(points=[[1.0, 2.0]], description="A single row.")


class Undescribed(Fine):
    def load(self, rng):
        return Dataset(points=rng.normal(size=(10, 3)))


class EmptyLabels(Fine):
    def load(self, rng):
        return Dataset(points=np.eye(3), labels=["a", "", "b"], description="Labels with a gap.")


class SameNames(Fine):
    def load(self, rng):
        return Dataset(points=np.eye(2), feature_names=("a", "a"), description="One name.")


class AnotherEveryTime(Fine):
    """Goes on where the last call ended."""

    calls = 0

    def load(self, rng):
        self.calls += 1
        return Dataset(points=np.eye(3) + self.calls, description="Counts its calls.")


class ItsOwnGenerator(Fine):
    def load(self, rng):
        return super().load(np.random.default_rng())


class GlobalGenerator(Fine):
    def load(self, rng):
        np.random.seed(0)  # noqa: NPY002 - the mistake
        return Dataset(points=np.random.normal(size=(9, 2)), description="Noise.")  # noqa: NPY002


class Opens(Fine):
    """Reads numbers and lets every error of Python out."""

    def load(self, rng):
        with open(self.params.path, encoding="utf-8") as file:  # noqa: PTH123
            return Dataset(points=np.loadtxt(file), description="Numbers.")


class ReadsAnything(Fine):
    def load(self, rng):
        return Dataset(points=np.eye(3), description=f"Whatever {self.params.path} holds.")


class TellsNoName(Fine):
    def load(self, rng):
        raise DataError("cannot read the file")


class TellsTheName(Fine):
    def load(self, rng):
        raise DataError(f"{self.params.path}: cannot be read; check the path")


class CrashesOnNoRows(Fine):
    def load(self, rng):
        points = rng.normal(size=(self.params.rows, 3))
        return Dataset(points=points / np.abs(points).max(), description="Noise up to 1.")


def factory(victim, params=NoParams):
    return DatasetFactory(
        name=victim.__name__.lower(),
        params=params,
        build=victim,
        summary=(victim.__doc__ or victim.__name__).strip(),
    )


# The victim, the check that is made for it, and how its message goes on.
VICTIMS = [
    (factory(JustAnArray), "data_are_described", "expected load to return a Dataset, got ndarray"),
    (factory(OneRow), "data_are_described", "expected at least 2 rows to train on, got 1"),
    (factory(Undescribed), "data_are_described", "expected a description, which the report shows"),
    (factory(EmptyLabels), "data_are_described", "expected a label for every row, got none for"),
    (factory(SameNames), "data_are_described", "expected different feature names, got one twice"),
    (factory(AnotherEveryTime), "same_generator_same_data", "expected the same data for the same"),
    (factory(ItsOwnGenerator), "same_generator_same_data", "expected the same data for the same"),
    (factory(GlobalGenerator), "no_global_randomness_in_loading", "expected the global generator"),
    (factory(Opens, PathParams), "unusable_files_are_data_errors", "expected a DataError for {'p"),
    (
        factory(ReadsAnything, PathParams),
        "unusable_files_are_data_errors",
        "expected a DataError for {'path': '",
    ),
    (
        factory(TellsNoName, PathParams),
        "unusable_files_are_data_errors",
        "expected a message that names missing.bin, got cannot read the file",
    ),
    (
        factory(CrashesOnNoRows, RowsParams),
        "odd_options_are_usage_errors",
        "expected data or a DataError, got ValueError: zero-size array",
    ),
]


@pytest.mark.parametrize(
    ("victim", "check", "told"), VICTIMS, ids=[case[0].name for case in VICTIMS]
)
def test_a_broken_source_is_rejected_by_the_check_made_for_it(rejected, victim, check, told):
    assert f"fails the check {check!r}: {told}" in rejected(victim, check)


def test_every_check_of_data_sources_alone_has_a_victim():
    own = {check.name for check in CHECKS if check.kinds == {"dataset"}}
    assert own == {check for _, check, _ in VICTIMS}


@pytest.mark.parametrize(
    "fine", [factory(Fine, RowsParams), factory(TellsTheName, PathParams)], ids=["made", "read"]
)
def test_the_source_that_the_victims_spoil_keeps_every_law(fine):
    for name, call in dataset_checks(fine):
        try:
            call()
        except CheckFailure as failure:
            pytest.fail(f"{name}: {failure}")
        except CheckSkipped:
            assert name != "data_are_described" or fine.params is PathParams
