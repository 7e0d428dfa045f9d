"""Data frames of pandas and polars: columns by name, numbers only, no library imported."""

import subprocess
import sys

import numpy as np
import pytest

import musicfw as mf
from musicfw.arrays import as_matrix, as_points
from musicfw.errors import DataError, UsageError

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
polars = pytest.importorskip("polars", reason="polars is not installed")

LATTICE = mf.Lattice(rows=3, columns=4)
NAMES = ("age", "height", "mass")
LIBRARIES = pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
POINTS = np.random.default_rng(0).normal(size=(60, 3)) * [10.0, 1.0, 5.0] + [40.0, 170.0, 70.0]


def frame(library, points=POINTS, names=NAMES):
    return library.DataFrame({name: points[:, k] for k, name in enumerate(names)})


# --- the same map as from the array --------------------------------------------------------------


@LIBRARIES
def test_a_frame_trains_the_map_of_its_array_and_gives_the_names(library):
    expected = mf.train(POINTS, lattice=LATTICE, scaling="standard")
    found = mf.train(frame(library), lattice=LATTICE, scaling="standard")
    assert found.feature_names == NAMES
    assert expected.codebook.prototypes.tobytes() == found.codebook.prototypes.tobytes()


@LIBRARIES
def test_first_prototypes_in_a_frame_are_taken_by_name_too(library):
    other = frame(library, POINTS[:12, ::-1], NAMES[::-1])
    expected = mf.train(POINTS, lattice=LATTICE, initial=POINTS[:12])
    found = mf.train(frame(library), lattice=LATTICE, initial=other)
    assert expected.codebook.prototypes.tobytes() == found.codebook.prototypes.tobytes()


@LIBRARIES
def test_names_given_with_a_frame_choose_its_columns(library):
    expected = mf.train(POINTS[:, [2, 0]], lattice=LATTICE)
    found = mf.train(frame(library), lattice=LATTICE, feature_names=["mass", "age"])
    assert found.feature_names == ("mass", "age")
    assert expected.codebook.prototypes.tobytes() == found.codebook.prototypes.tobytes()


@LIBRARIES
def test_the_order_and_other_columns_of_a_frame_do_not_matter_to_a_map_with_names(library):
    trained = mf.train(frame(library), lattice=LATTICE, scaling="standard")
    columns = ["mass", "age", "area", "height"]
    mixed = library.DataFrame(
        dict(zip(columns, [*POINTS[:, [2, 0]].T, POINTS[:, 0] ** 2, POINTS[:, 1]], strict=True))
    )
    target = mf.Target.units([5])
    for use in (
        trained.squared_distances,
        trained.best_matching_units,
        trained.impute,
        trained.encode,
        lambda X: mf.steer(trained, X, target=target, steps=3, frozen=["age"]).points,
        lambda X: (
            mf.steer(trained, X, target=target, policy="kmeans-line", reference=X, steps=2).points
        ),
    ):
        np.testing.assert_array_equal(use(POINTS), use(mixed))


@LIBRARIES
def test_changes_along_a_path_carry_the_names(library):
    trained = mf.train(frame(library), lattice=LATTICE)
    path = mf.steer(trained, frame(library)[:1], target=mf.Target.units([7]), steps=5)
    assert {change.feature for change in path.changes()} == set(NAMES)


@LIBRARIES
def test_a_frame_of_activations_can_be_inverted(library):
    trained = mf.train(POINTS, lattice=LATTICE)
    d = trained.squared_distances(POINTS)
    found = mf.invert(trained, library.DataFrame({f"som{k}": d[:, k] for k in range(12)}))
    np.testing.assert_array_equal(mf.invert(trained, d).points, found.points)


@LIBRARIES
def test_a_data_set_takes_its_names_from_a_frame(library):
    data = mf.Dataset(points=frame(library))
    assert data.feature_names == NAMES
    np.testing.assert_array_equal(POINTS, data.points)


@LIBRARIES
def test_a_stream_of_frames_puts_columns_in_the_order_of_the_first(library):
    expected = mf.train_stream([POINTS], lattice=LATTICE)
    other = frame(library, POINTS[30:][:, ::-1], NAMES[::-1])
    found = mf.train_stream([frame(library, POINTS[:30]), other, POINTS[:0]], lattice=LATTICE)
    assert found.feature_names == NAMES
    assert expected.codebook.prototypes.tobytes() == found.codebook.prototypes.tobytes()
    named = mf.train_stream([POINTS], lattice=LATTICE, feature_names=NAMES)
    assert named.feature_names == NAMES


@LIBRARIES
def test_names_outlast_storage(library, tmp_path):
    trained = mf.train(frame(library), lattice=LATTICE, scaling="standard")
    mf.save_map(tmp_path / "map.npz", trained)
    again = mf.load_map(tmp_path / "map.npz")
    other = frame(library, POINTS[:, ::-1], NAMES[::-1])
    np.testing.assert_array_equal(trained.squared_distances(POINTS), again.squared_distances(other))


@LIBRARIES
def test_float32_frames_stay_float32(library):
    single = frame(library, POINTS.astype(np.float32))
    assert as_matrix(single, name="X", keep_float32=True).dtype == np.float32
    assert as_matrix(single, name="X").dtype == np.float64


# --- what columns may hold -----------------------------------------------------------------------


@LIBRARIES
def test_numbers_and_truth_values_of_any_type_become_numbers(library):
    table = library.DataFrame(
        {"whole": [1, 2, 3], "truth": [True, False, True], "real": [0.5, 1.5, 2.5]}
    )
    found = as_matrix(table, name="X")
    np.testing.assert_array_equal([[1, 1, 0.5], [2, 0, 1.5], [3, 1, 2.5]], found)


def missing_frames():
    whole, truth = [1, None, 3], [True, None, False]
    yield pandas.DataFrame(
        {
            "whole": pandas.array(whole, dtype="Int64"),
            "truth": pandas.array(truth, dtype="boolean"),
            "objects": pandas.Series([1.5, None, 2], dtype=object),
        }
    )
    yield polars.DataFrame({"whole": whole, "truth": truth, "objects": [1.5, None, 2.0]})


@pytest.mark.parametrize("table", [*missing_frames()], ids=["pandas", "polars"])
def test_a_missing_value_of_any_kind_is_nan(table):
    found = as_matrix(table, name="X", missing=True)
    np.testing.assert_array_equal([[1, 1, 1.5], [np.nan] * 3, [3, 0, 2]], found)
    message = r"X: row 1, column 0 \('whole'\) holds nan, .*\(3 such values in 1 of 3 rows\)"
    with pytest.raises(DataError, match=message):
        as_matrix(table, name="X")


def test_columns_of_pandas_without_names_are_taken_in_their_order():
    found = mf.train(pandas.DataFrame(POINTS), lattice=LATTICE)
    assert found.feature_names is None
    np.testing.assert_array_equal(POINTS, found.encode(pandas.DataFrame(POINTS)))
    named = mf.train(frame(pandas), lattice=LATTICE)
    np.testing.assert_array_equal(POINTS, named.encode(pandas.DataFrame(POINTS)))


def test_a_frame_without_rows_or_columns_is_no_crash():
    assert as_points(frame(polars)[:0], name="x", dimension=3).shape == (0, 3)
    with pytest.raises(DataError, match="X: expected at least one column"):
        as_matrix(pandas.DataFrame(index=range(3)), name="X")


# --- what is refused -----------------------------------------------------------------------------


@LIBRARIES
def test_text_is_refused_with_column_row_and_what_to_do(library):
    table = library.DataFrame({"age": [1.0, 2.0], "colour": ["red", "blue"]})
    message = (
        r"X: column 'colour' holds 'red' in row 0, expected numbers; if they are categories, "
        r"one-hot encode it \(scikit-learn's OneHotEncoder, get_dummies of pandas, to_dummies of"
    )
    with pytest.raises(DataError, match=message):
        mf.train(table, lattice=LATTICE)


@pytest.mark.parametrize(
    "column",
    [
        pandas.Series([1, 2, 1], dtype="category"),
        polars.Series(["a", "b", "a"], dtype=polars.Categorical),
        polars.Series(["a", "b", "a"], dtype=polars.Enum(["a", "b"])),
    ],
    ids=["pandas", "polars Categorical", "polars Enum"],
)
def test_categories_are_refused_even_if_they_are_numbers(column):
    library = pandas if isinstance(column, pandas.Series) else polars
    with pytest.raises(DataError, match=r"column 'kind' holds categories, .*one-hot encode it"):
        as_matrix(library.DataFrame({"kind": column}), name="X")


@LIBRARIES
def test_dates_are_refused(library):
    days = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[us]")
    with pytest.raises(DataError, match=r"X: column 'day' holds .*; turn complex numbers"):
        as_matrix(library.DataFrame({"day": days, "x": [1.0, 2.0]}), name="X")


@LIBRARIES
def test_a_column_that_is_not_there_is_named_with_the_nearest_one(library):
    trained = mf.train(frame(library), lattice=LATTICE)
    other = frame(library, names=("age", "heigth", "mass"))
    with pytest.raises(DataError, match=r"points: there is no column 'height'.*did you mean"):
        trained.squared_distances(other)
    with pytest.raises(DataError, match=r"x: there is no column 'height'.*did you mean 'heigth'"):
        mf.steer(trained, other, target=mf.Target.units([0]))
    with pytest.raises(DataError, match=r"X: there is no column 'foo'.*the frame has \['age', 'he"):
        mf.train(frame(library), feature_names=["age", "foo"])


def test_a_name_that_stands_twice_is_refused():
    table = frame(pandas, names=NAMES).set_axis(["age", "age", "mass"], axis=1)
    with pytest.raises(DataError, match="X: 2 columns are named 'age', expected one; rename them"):
        mf.train(table, lattice=LATTICE)


@LIBRARIES
def test_messages_about_values_name_the_column(library):
    points = POINTS.copy()
    points[3, 2] = np.inf
    with pytest.raises(DataError, match=r"X: row 3, column 2 \('mass'\) holds inf"):
        mf.train(frame(library, points), lattice=LATTICE)
    trained = mf.train(frame(library), lattice=LATTICE)
    points[3, 2] = np.nan
    with pytest.raises(DataError, match=r"x: row 3, column 2 \('mass'\) holds nan.*fill gaps"):
        mf.steer(trained, frame(library, points), target=mf.Target.units([0]))


def test_gaps_of_a_frame_are_learnt_around_and_filled():
    table = frame(pandas).mask(np.random.default_rng(1).random((60, 3)) < 0.2)
    table["age"] = POINTS[:, 0]
    trained = mf.train(table, lattice=LATTICE, missing="keep", scaling="standard")
    filled = trained.impute(table[["mass", "age", "height"]])
    known = table.notna().to_numpy()
    np.testing.assert_array_equal(POINTS[known], filled[known])
    assert np.isfinite(filled).all()


def test_wrong_numbers_of_names_are_refused():
    with pytest.raises(UsageError, match="feature_names: expected 3 names, got 2"):
        mf.train_stream([POINTS], lattice=LATTICE, feature_names=["a", "b"])


def test_neither_library_is_imported():
    code = (
        "import sys, numpy as np, musicfw as mf; mf.train(np.random.rand(9, 2)); "
        "print({'pandas', 'polars'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
