"""``csv``: a table comes back as it was written, or its mistake is named by line and column."""

from __future__ import annotations

import csv
import re
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from musicfw.datasets.csv_files import CsvParams, CsvSource
from musicfw.errors import DataError, UsageError

RNG = np.random.default_rng(0)

tables = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8
)


def load(path, **params):
    return CsvSource(CsvParams(path=str(path), **params)).load(RNG)


@pytest.fixture
def load_text(tmp_path):
    def load_the_text(text, **params):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "t.csv").write_bytes(content)
        return load(tmp_path / "t.csv", **params)

    return load_the_text


# --- reading ------------------------------------------------------------------------------------


@given(tables, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_a_written_table_comes_back_bit_for_bit(table, delimiter, ending, bom, data):
    count, dimension = table.shape
    names = data.draw(st.lists(words, min_size=dimension, max_size=dimension, unique=True))
    labels = data.draw(st.lists(words, min_size=count, max_size=count))
    assume("the label" not in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        encoding = "utf-8-sig" if bom else "utf-8"
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator=ending)
            writer.writerow([*names, "the label"])
            writer.writerows(
                [*map(repr, row), label] for row, label in zip(table.tolist(), labels, strict=True)
            )
        read = load(path, delimiter=delimiter, label_column="the label")
    np.testing.assert_array_equal(read.points, table)
    assert read.feature_names == tuple(names)
    assert read.labels.tolist() == labels


@given(tables)
def test_a_table_written_by_numpy_without_header_comes_back(table):
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder) / "t.csv", table, delimiter=",", fmt="%.17g")
        read = load(Path(folder) / "t.csv", header=False)
    np.testing.assert_array_equal(read.points, table)
    assert read.feature_names is None
    assert read.labels is None


def test_columns_are_used_in_the_order_asked_for(load_text):
    data = load_text("a,b,c\n1,2,3\n", columns=("c", "a"))
    assert data.feature_names == ("c", "a")
    np.testing.assert_array_equal(data.points, [[3.0, 1.0]])


def test_dropped_columns_and_the_label_are_no_features(load_text):
    data = load_text("id,a,kind\nrow-1,2,x\nrow-2,3,y\n", label_column="kind", drop=("id",))
    assert data.feature_names == ("a",)
    assert data.labels.tolist() == ["x", "y"]


def test_the_weights_column_is_no_feature(load_text):
    text = "a,times,kind\n1,2,x\n3,0,y\n5,1e-3,x\n"
    data = load_text(text, label_column="kind", weight_column="times")
    assert data.weights.tolist() == [2.0, 0.0, 0.001]
    assert data.points.tolist() == [[1.0], [3.0], [5.0]]
    assert data.labels.tolist() == ["x", "y", "x"]
    assert load_text(text, drop=("kind", "times")).weights is None


@pytest.mark.parametrize(
    ("cell", "held"),
    [("-1", "holds '-1'"), ("", "is empty"), ("nan", "holds 'nan'"), ("inf", "holds 'inf'")],
)
@pytest.mark.parametrize("missing", ["refuse", "keep"])
def test_a_weight_that_is_none_is_named_with_its_place(load_text, cell, held, missing):
    with pytest.raises(
        DataError, match=rf"t\.csv:3: row 1, column 1 \('w'\) {held}, expected a weight, a number"
    ):
        load_text(f"a,w\n1,1\n2,{cell}\n", weight_column="w", missing=missing)


def test_the_weights_column_cannot_be_a_feature(load_text):
    with pytest.raises(UsageError, match=r"csv\.columns: column 'w' is the weight column"):
        load_text("a,w\n1,1\n", columns=("a", "w"), weight_column="w")
    with pytest.raises(DataError, match=r"there is no column 'v' \(csv\.weight_column\)"):
        load_text("a,w\n1,1\n", weight_column="v")


def test_without_a_header_columns_are_numbered_from_0(load_text):
    data = load_text("1,x,3\n4,y,6\n", header=False, label_column=1, drop=(0,))
    assert data.labels.tolist() == ["x", "y"]
    np.testing.assert_array_equal(data.points, [[3.0], [6.0]])


def test_names_that_are_numbers_are_names(load_text):
    data = load_text("2019,2020\n1,2\n", label_column=2020)
    assert data.feature_names == ("2019",)
    assert data.labels.tolist() == ["2"]


def test_blanks_around_cells_quotes_and_empty_lines_are_no_mistakes(load_text):
    data = load_text('a , "b,c"\n\n 1 , "2"\n\n3,4\n\n')
    assert data.feature_names == ("a", "b,c")
    np.testing.assert_array_equal(data.points, [[1.0, 2.0], [3.0, 4.0]])


def test_a_column_without_a_name_can_be_dropped(load_text):
    assert load_text(",a\n0,5\n", drop=("",)).feature_names == ("a",)


# --- mistakes of the file -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("", {}, "t.csv: the file is empty, expected a table of numbers"),
        ("\n\n", {}, "t.csv: the file is empty"),
        ("a,b\n", {}, "t.csv: expected rows of numbers below the header, got the header only; if"),
        ("a,b\n1,2\n3\n", {}, "t.csv:3: row 1 has 1 cell, expected 2 as in the header (ragged"),
        ("1,2\n1,2,3\n", {"header": False}, "t.csv:2: row 1 has 3 cells, expected 2 as in the fir"),
        (
            "a,b\n1,2\n\n3,red\n",
            {},
            "t.csv:4: row 1, column 1 ('b') holds 'red', expected a number",
        ),
        ("1,2\n3,red\n", {"header": False}, "t.csv:2: row 1, column 1 holds 'red', expected a nu"),
        ("a,b\n1,1_000\n", {}, "t.csv:2: row 0, column 1 ('b') holds '1_000', expected a number"),
        ("a,b\n1,\n", {}, "t.csv:2: row 0, column 1 ('b') is empty, expected a number; fill it"),
        (
            "a;b\n1,5;2\n",
            {"delimiter": ";"},
            "holds '1,5', expected a number; write numbers with a",
        ),
        ("a;b\n1;2\n", {}, "column 0 ('a;b') holds '1;2', expected a number; check csv.delimiter"),
        (
            "a,b\n1,2\n",
            {"header": False},
            "t.csv:1: row 0, column 0 holds 'a', expected a number; ",
        ),
        (
            "1.5,2\n3,4\n",
            {},
            "t.csv:1: expected the names of the columns, got the numbers '1.5', '",
        ),
        ("a,b,a\n1,2,3\n", {}, "t.csv:1: columns 0 and 2 have the same name 'a', expected differe"),
        (",b\n1,2\n", {}, "t.csv:1: column 0 has no name in the header (a row number, or a delim"),
        ('a,b\n1,"2\n3,4\n', {}, "t.csv:2: not a table (unexpected end of data); check the quotes"),
        (
            b"a,b\n1,2\n1,\xe9\n",
            {},
            "t.csv:3: expected text in UTF-8, got the bytes b'\\xe9'; save",
        ),
        ("a\nx\n", {"label_column": "a"}, "t.csv: expected at least one feature column, and no"),
        ("a,b\n1,\n", {"label_column": "b"}, "t.csv:2: row 0, column 1 ('b') is empty, expected a"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(load_text, text, params, message):
    with pytest.raises(DataError, match=re.escape(message)):
        load_text(text, **params)


def test_a_first_line_of_text_without_header_suggests_the_header(load_text):
    with pytest.raises(DataError, match=r"names of the columns, set csv\.header to true"):
        load_text("sepal,petal\n1,2\n", header=False)


def test_text_suggests_to_leave_the_column_out(load_text):
    with pytest.raises(DataError, match=r"leave the column out \(csv\.drop, csv\.label_column\)"):
        load_text("a,b\n1,red\n")


@given(tables, st.sampled_from(["nan", "inf", "-Infinity", "1e999"]), st.data())
def test_numbers_that_are_not_finite_are_named_by_line_row_and_column(table, bad, data):
    row = data.draw(st.integers(0, table.shape[0] - 1))
    column = data.draw(st.integers(0, table.shape[1] - 1))
    cells = [[repr(number) for number in numbers] for numbers in table.tolist()]
    cells[row][column] = bad
    names = [f"f{k}" for k in range(table.shape[1])]
    message = (
        rf"t\.csv:{row + 2}: row {row}, column {column} \('f{column}'\) holds {float(bad)}, "
        rf"expected a finite number \(1 such value in 1 of {len(table)} rows\); remove or impute"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("\n".join(",".join(line) for line in [names, *cells]))
        with pytest.raises(DataError, match=message):
            load(path)


def test_the_line_counts_records_that_span_lines(load_text):
    with pytest.raises(DataError, match=r"t\.csv:4: row 1, column 1 \('b'\) holds 'x'"):
        load_text('"a\nname",b\n1,2\n3,x\n')


@given(st.one_of(st.binary(max_size=60), st.text('a1.,;"\n\r e-_\x00é', max_size=40)))
def test_any_bytes_are_a_table_or_refused_as_data(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for header in (True, False):
            with suppress(DataError):
                assert np.isfinite(load(path, header=header).points).all()


# --- mistakes of the options --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"label_column": "kin"}, "there is no column 'kin' (csv.label_column), expected one of"),
        ({"label_column": "kin"}, "'length', 'width', 'kind'; did you mean 'kind'?"),
        ({"label_column": 2}, "there is no column '2' (csv.label_column), expected one of"),
        ({"columns": ("widht",)}, "there is no column 'widht' (csv.columns), expected one of"),
        ({"drop": ("id",)}, "there is no column 'id' (csv.drop), expected one of"),
        ({"columns": ("width",), "drop": ("kind",)}, "expected csv.columns or csv.drop, got both"),
        ({"columns": ("width", "width")}, "csv.columns: expected each column once, got 'width'"),
        (
            {"columns": ("width", "kind"), "label_column": "kind"},
            "csv.columns: column 'kind' is the label column, expected features; take it out",
        ),
    ],
)
def test_a_mistaken_option_is_answered_with_what_there_is(load_text, params, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        load_text("length,width,kind\n1,2,a\n", **params)


# --- missing values -----------------------------------------------------------------------------


@given(
    tables, st.sampled_from(["", " ", "NA", "n/a", "NaN", "nan", "null", "None", "?"]), st.data()
)
def test_a_gap_is_read_as_nan_and_everything_else_bit_for_bit(table, token, data):
    gaps = data.draw(hnp.arrays(np.bool_, table.shape))
    gaps[:, 0] = False  # something of every row is known
    cells = [
        [token if gap else repr(number) for number, gap in zip(row, missing, strict=True)]
        for row, missing in zip(table.tolist(), gaps.tolist(), strict=True)
    ]
    names = [f"f{k}" for k in range(table.shape[1])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("\n".join(",".join(line) for line in [names, *cells]))
        read = load(path, missing="keep")
        if gaps.any():
            with pytest.raises(DataError, match=r"set csv\.missing: keep"):
                load(path)
    np.testing.assert_array_equal(read.points, np.where(gaps, np.nan, table))
    assert read.missing == "keep"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,red\n", r"t\.csv:2: row 0, column 1 \('b'\) holds 'red', expected a number"),
        ("a,b\n,red\n", r"t\.csv:2: row 0, column 1 \('b'\) holds 'red', expected a number"),
        ("a,b\n1,inf\n", r"row 0, column 1 \('b'\) holds inf, .*; remove or impute those rows$"),
        ("a,b\n1,2\n,NA\n", r"t\.csv:3: row 1 has no known value in any feature \(1 such row\)"),
    ],
)
def test_what_is_no_number_and_no_gap_is_named_when_gaps_are_kept(load_text, text, message):
    with pytest.raises(DataError, match=message):
        load_text(text, missing="keep")


def test_a_label_cannot_be_missing(load_text):
    with pytest.raises(DataError, match="is empty, expected a label"):
        load_text("a,b,y\n1,,x\n2,3,\n", label_column="y", missing="keep")


# --- categories ---------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.sampled_from(["red", "dark_blue", "7", "NA"])), min_size=1
    )
)
def test_categories_become_one_feature_each_named_and_sorted(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        lines = [f"{number!r}, {colour} ,{number!r}" for number, colour in rows]
        path.write_text("\n".join(["a,colour,b", *lines]))
        read = load(path, categorical=["colour"])
    numbers, colours = (list(column) for column in zip(*rows, strict=True))
    known = sorted(set(colours))
    assert read.feature_names == ("a", *(f"colour={name}" for name in known), "b")
    np.testing.assert_array_equal(numbers, read.points[:, 0])
    np.testing.assert_array_equal(numbers, read.points[:, -1])
    one_hot = read.points[:, 1:-1]
    assert [known[k] for k in one_hot.argmax(axis=1)] == colours
    np.testing.assert_array_equal(np.sort(one_hot, axis=1)[:, :-1], 0.0)
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1.0)


def test_categories_agree_with_scikit_learns_encoder(load_text):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="no scikit-learn")
    colours, sizes = ["red", "blue", "red", "green"], ["s", "m", "l", "s"]
    lines = [f"{c},{s}" for c, s in zip(colours, sizes, strict=True)]
    read = load_text("\n".join(["colour,size", *lines]), categorical=["size", "colour"])
    encoder = preprocessing.OneHotEncoder(sparse_output=False)
    expected = encoder.fit_transform(np.column_stack([colours, sizes]))
    np.testing.assert_array_equal(expected, read.points)
    names = encoder.get_feature_names_out(["colour", "size"])
    assert [name.replace("_", "=") for name in names] == list(read.feature_names)


def test_without_a_header_categories_are_named_by_the_number_of_their_column(load_text):
    read = load_text("1,red\n2,blue\n", header=False, categorical=[1])
    assert read.feature_names == ("0", "1=blue", "1=red")


def test_a_missing_category_is_missing_in_all_its_features(load_text):
    text = "a,colour\n1,red\n2,\n3,blue\n4,NA\n"
    read = load_text(text, categorical=["colour"], missing="keep")
    nan = np.nan
    expected = [[1, 0, 1], [2, nan, nan], [3, 1, 0], [4, nan, nan]]
    np.testing.assert_array_equal(expected, read.points)
    with pytest.raises(
        DataError, match=r"t\.csv:3: row 1, column 1 \('colour'\) is empty, expected a category"
    ):
        load_text(text, categorical=["colour"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"categorical": ["color"]},
            r"no column 'color' \(csv\.categorical\).*did you mean",
        ),
        ({"categorical": ["colour"], "drop": ["colour"]}, "column 'colour' is no feature"),
        ({"categorical": ["colour"], "label_column": "colour"}, "column 'colour' is no feature"),
        ({}, r"column 1 \('colour'\) holds 'red', expected a number; .*in csv\.categorical, or"),
        ({"categorical": ["a"]}, r"column 1 \('colour'\) holds 'red', expected a number"),
    ],
)
def test_wrong_names_of_categorical_columns_are_refused(load_text, params, message):
    with pytest.raises(UsageError, match=message):
        load_text("a,colour\n1,red\n2,blue\n", **params)
