"""Checks of data sources: that they load, the same each time, and say what is wrong if not."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from musicfw.api import Dataset
from musicfw.errors import DataError, UsageError
from musicfw.params import build_params, params_to_tree
from musicfw.testing.examples import for_all
from musicfw.testing.factory_laws import without_global_randomness
from musicfw.testing.kit import CheckSkipped, Subject, ViolationError, check
from musicfw.testing.option_strategies import options_of


def loaded(subject: Subject, *, seed: int = 0) -> Dataset:
    """Return the data, or skip: a source that reads files has nothing to load by default."""
    source = subject.build()
    try:
        data = source.load(np.random.default_rng(seed))
    except UsageError as err:
        if subject.options:
            raise
        raise CheckSkipped(f"its defaults load nothing ({err}); give options") from err
    if not isinstance(data, Dataset):
        raise ViolationError(f"expected load to return a Dataset, got {type(data).__name__}")
    return data


def same(one: Dataset, other: Dataset) -> bool:
    """Whether two data sets are the same, bit for bit."""
    first, second = (
        [None if array is None else array.tolist() for array in (d.labels, d.weights)]
        for d in (one, other)
    )
    return one.points.tobytes() == other.points.tobytes() and first == second


@check("dataset", advice="return musicfw.api.Dataset(points=…, labels=…, description=…)")
def data_are_described(subject: Subject) -> None:
    """Loaded data are a Dataset of two rows or more with a description, and no label is empty.

    That points are finite (or gaps where declared) and labels, names and the image shape fit them
    is made sure of by `Dataset`.
    """
    data = loaded(subject)
    if data.points.shape[0] < 2:
        raise ViolationError(f"expected at least 2 rows to train on, got {data.points.shape[0]}")
    if not data.description.strip():
        raise ViolationError("expected a description, which the report shows, got none")
    if data.labels is not None and (data.labels == "").any():
        row = int(np.flatnonzero(data.labels == "")[0])
        raise ViolationError(f"expected a label for every row, got none for row {row}")
    if data.feature_names is not None and len(set(data.feature_names)) < len(data.feature_names):
        raise ViolationError("expected different feature names, got one twice")


@check("dataset", advice="draw every random number from the generator that load is given")
def same_generator_same_data(subject: Subject) -> None:
    """The same state of the generator gives the same data, from one source and from another."""
    source = subject.build()
    first = loaded(subject, seed=3)
    again = source.load(np.random.default_rng(3)), source.load(np.random.default_rng(3))
    if not all(same(first, other) for other in again):
        raise ViolationError("expected the same data for the same generator, they differ")


@check("dataset", advice="draw from the generator that load is given; seed nothing")
def no_global_randomness_in_loading(subject: Subject) -> None:
    """The generators that all share (np.random, random) are neither used nor seeded."""
    without_global_randomness(lambda: loaded(subject))


@check(
    "dataset",
    advice="raise musicfw.errors.DataError that names the file, what was expected and what to do",
)
def unusable_files_are_data_errors(subject: Subject) -> None:
    """A path that is missing, a folder, empty or garbage is a DataError that names it.

    Concerns the options that are declared with ``is_path``. Of several, each needs the others to
    be given, else only the type of the error counts.
    """
    fields = dataclasses.fields(subject.factory.params)
    names = [f.name for f in fields if f.metadata.get("is_path")]
    if not names:
        raise CheckSkipped("none of its options is a path")
    names_it = len(names) == 1 or bool(subject.options)
    with tempfile.TemporaryDirectory() as folder:
        empty, garbage = Path(folder) / "empty.bin", Path(folder) / "garbage.bin"
        empty.write_bytes(b"")
        garbage.write_bytes(bytes(range(256)) * 8)
        missing = Path(folder) / "missing.bin"
        for name in names:
            for path in (missing, Path(folder), empty, garbage):
                _refused(subject, {name: str(path)}, path.name if names_it else "")


def _refused(subject: Subject, options: dict[str, str], told: str) -> None:
    tree = params_to_tree(subject.params) | options
    params, problems = build_params(subject.factory, tree)
    if problems:
        return
    try:
        subject.factory.build(params).load(np.random.default_rng(0))
    except (DataError, UsageError) as err:
        if told not in str(err):
            raise ViolationError(f"expected a message that names {told}, got {err}") from err
    except Exception as err:
        raise ViolationError(
            f"expected a DataError for {options}, got {type(err).__name__}: {err}"
        ) from err
    else:
        raise ViolationError(f"expected a DataError for {options}, it was loaded")


@check("dataset", advice="raise musicfw.errors.DataError or UsageError for options that do not fit")
def odd_options_are_usage_errors(subject: Subject) -> None:
    """Options that are allowed one by one load data or are refused by a DataError or UsageError."""

    def law(options: dict[str, object]) -> None:
        tree = params_to_tree(subject.params) | options
        params, problems = build_params(subject.factory, tree)
        if problems:
            return
        try:
            subject.factory.build(params).load(np.random.default_rng(0))
        except UsageError:
            return
        except Exception as err:
            raise ViolationError(
                f"expected data or a DataError, got {type(err).__name__}: {err}"
            ) from err

    cases = st.fixed_dictionaries({"options": options_of(subject.factory)})
    for_all(law, cases, examples=8)
