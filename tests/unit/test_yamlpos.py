from __future__ import annotations

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from musicfw.yamlpos import dump, format_path, load, overlay


def tree_of(text):
    document, problems = load(text, source="spec.yaml")
    assert problems == []
    return document.tree


def document_of(text):
    document, problems = load(text, source="spec.yaml")
    assert problems == []
    return document


def underlined(mark):
    return mark.text[mark.column - 1 : mark.column - 1 + mark.width]


# --- scalars of YAML 1.2 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-1.", -1.0),
        ("+12e03", 12e3),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("12", 12),
        ("-7", -7),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("N", "N"),
        ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("=", "="),
        ("'3'", "3"),
        ('""', ""),
        ("!!str 3", "3"),
        ("!!int 3", 3),
        ("|-\n  3", "3"),
    ],
)
def test_a_scalar_is_read_as_yaml_1_2_says(text, expected):
    value = tree_of(f"key: {text}")["key"]
    assert (type(expected), expected) == (type(value), value)


def test_nan_is_a_float():
    assert math.isnan(tree_of("key: .NaN")["key"])


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_text():
    document = document_of("\ufeffa: 1\r\nb: 2\r\n")
    assert document.tree == {"a": 1, "b": 2}
    mark = document.mark(("b",))
    assert (mark.text, mark.line, mark.column) == ("b: 2", 2, 4)


def test_an_alias_stands_for_a_copy_of_its_value():
    assert tree_of("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


# --- positions -----------------------------------------------------------------------------------


def test_every_key_and_value_has_its_place_in_nested_flow_collections():
    document = document_of("a: {b: [1, {c: hello}], 'd e': -2}")
    assert underlined(document.mark(("a", "b", 1, "c"), key=True)) == "c"
    assert underlined(document.mark(("a", "b", 1, "c"))) == "hello"
    assert underlined(document.mark(("a", "b", 1))) == "{c: hello}"
    assert underlined(document.mark(("a", "d e"), key=True)) == "'d e'"
    assert underlined(document.mark(("a", "d e"))) == "-2"


def test_columns_count_characters_not_bytes():
    document = document_of('größe: {名前: "ü", x: 𝒳}')
    assert underlined(document.mark(("größe", "名前"))).strip('"') == "ü"
    mark = document.mark(("größe", "x"))
    assert (underlined(mark), mark.column) == ("𝒳", 21)


def test_a_block_and_an_empty_value_are_marked_at_their_key():
    document = document_of("a:\n  b: 1\nc:\n- x: 1\n")
    assert underlined(document.mark(("a",))) == "a"
    assert underlined(document.mark(("c",))) == "c"
    assert underlined(document.mark(("c", 0))) == "x: 1"
    assert underlined(document_of("e:\n").mark(("e",))) == "e"


def test_a_value_over_several_lines_is_underlined_to_the_end_of_its_first_line():
    document = document_of("a: [1,  # one\n  2]")
    assert underlined(document.mark(("a",))) == "[1,"


def test_what_is_not_there_is_marked_at_its_nearest_parent():
    document = document_of("a:\n  b: {c: 1}\n")
    assert underlined(document.mark(("a", "b", "missing", 3))) == "b"


def test_a_tab_in_a_line_does_not_shift_the_caret():
    document = document_of('b: ["x\ty", 2]')
    assert underlined(document.mark(("b", 1))) == "2"
    assert "\t" not in document.mark(("b", 1)).text


def test_a_path_is_written_as_a_user_would():
    assert format_path(("invert", 1, "with", "alpha")) == "invert[1].with.alpha"
    assert format_path(()) == ""


def test_all_duplicate_keys_are_reported_at_once_and_the_rest_is_kept():
    document, problems = load("a: 1\na: 2\nb: {c: 1, c: 2, d: 3}\n3: x\n", source="s")
    codes = [(p.code, p.path) for p in problems]
    assert codes == [("duplicate-key", "a"), ("duplicate-key", "b.c"), ("non-string-key", "")]
    assert document.tree == {"a": 1, "b": {"c": 1, "d": 3}}


@pytest.mark.parametrize("text", ["a: [1", "- 1", "", "a: " + "[" * 5000])
def test_a_text_that_is_no_spec_at_all_gives_problems_and_no_document(text):
    document, problems = load(text, source="s")
    assert document is None
    assert len(problems) == 1
    assert problems[0].mark is not None


def test_an_alias_bomb_is_refused_before_it_is_built():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    document, (problem,) = load("\n".join(lines), source="s")
    assert (document, problem.code) == (None, "too-large")


# --- overrides -----------------------------------------------------------------------------------

SPEC = "map:\n  with: {epochs: 3}\ninvert:\n  - use: exact\n  - use: ridge\nreport:\n"


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("map.with.epochs=5", ("map", "with", "epochs"), 5),
        ("invert[1].with.alpha=1e-3", ("invert", 1, "with", "alpha"), 1e-3),
        ("invert.1.with.alpha=1e-3", ("invert", 1, "with", "alpha"), 1e-3),
        ("a.b.c=x", ("a", "b", "c"), "x"),
        ("report.title='a: b'", ("report", "title"), "a: b"),
        ("report.title=a=b", ("report", "title"), "a=b"),
        ("map.with={epochs: 9}", ("map", "with"), {"epochs": 9}),
        ("invert=[]", ("invert",), []),
        ("map.with=", ("map", "with"), None),
        ("map.with.3=x", ("map", "with", "3"), "x"),
        (" seed = 4", ("seed",), 4),
    ],
)
def test_an_override_replaces_one_value_and_its_place(override, path, expected):
    before = document_of(SPEC)
    document, problems = overlay(before, override)
    assert problems == []
    value = document.tree
    for step in path:
        value = value[step]
    assert expected == value
    assert ("<--set>", override) == (document.mark(path).source, document.mark(path).text)
    assert str(path[-1]) == underlined(document.mark(path, key=True))
    assert document_of(SPEC) == before


def test_an_override_forgets_the_places_of_what_it_replaces():
    document, _ = overlay(document_of(SPEC), "invert=[{use: exact}]")
    assert ("invert", 1, "use") not in document.marks
    assert document.mark(("invert", 0, "use")).source == "<--set>"
    assert document.mark(("map", "with", "epochs")).source == "spec.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("map.with.epochs", "expected PATH=VALUE, got 'map.with.epochs'"),
        ("=3", "expected PATH=VALUE"),
        ("a..b=3", "expected PATH=VALUE"),
        ("a[x]=3", "expected PATH=VALUE"),
        ("invert[2].use=x", r"expected an item of invert \(0 … 1\), got 2"),
        ("invert.use=x", r"expected an item of invert \(0 … 1\), got use"),
        ("map[0]=x", "expected a list at map, got a mapping"),
        ("map.with.epochs.x=1", "expected a mapping or a list at map.with.epochs, got 3"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused_and_changes_nothing(override, message):
    before = document_of(SPEC)
    document, (problem,) = overlay(before, override)
    assert document is before
    assert problem.code == "bad-override"
    assert re.search(message, problem.message)


def test_a_syntax_error_in_an_override_is_marked_in_the_override():
    _, (problem,) = overlay(document_of(SPEC), "map.with=[1, 2")
    assert (problem.code, problem.path, problem.mark.column) == ("yaml-syntax", "map.with", 10)
    assert problem.mark.text == "map.with=[1, 2"


# --- round trips ---------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What looks like something else in YAML 1.1 or 1.2 is where dumping goes wrong.
TRICKY = st.sampled_from(["yes", "1e3", "0o17", "1:30", "~", "null", ".inf", "<<", "=", "- a", "#"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | TRICKY
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | TRICKY, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS | TRICKY, TREES, max_size=5))
def test_a_dumped_tree_loads_as_the_same_tree(tree):
    text = dump(tree)
    assert tree == tree_of(text)
    assert [type(v) for v in tree.values()] == [type(v) for v in tree_of(text).values()]


@given(st.dictionaries(TEXTS, TREES, max_size=5))
def test_another_yaml_reader_reads_the_same_from_a_dump(tree):
    assert tree == yaml.safe_load(dump(tree))


@given(st.text(max_size=60))
def test_any_text_gives_a_document_or_problems_with_a_place(text):
    document, problems = load(text, source="s")
    assert document is not None or problems
    for problem in problems:
        assert problem.mark is not None
        str(problem)


@given(st.text(alphabet="ab:[]{}-,&*!|>'\"#% \n\t?0.<", max_size=40))
def test_text_that_is_nearly_yaml_gives_a_document_or_problems_with_a_place(text):
    document, problems = load(text, source="s")
    assert document is not None or problems
    for problem in problems:
        assert 1 <= problem.mark.column <= len(problem.mark.text) + 1
