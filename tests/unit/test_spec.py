from __future__ import annotations

import json

import pytest

from musicfw.errors import SpecError
from musicfw.plugins import Registry
from musicfw.spec import load_spec, parse_spec

REGISTRY = Registry.from_modules()

MINIMAL = "data: {use: digits}\nmap:\n  lattice: {rows: 6, columns: 8}\n"
FULL = """\
seed: 3
data: {use: digits, with: {}, scaling: standard, holdout: 0.25}
map:
  use: native
  with: {epochs: 7}
  lattice: {rows: 6, columns: 8, topology: hexagonal, toroidal: true}
  clusters: 5
invert:
  - use: exact
  - {id: soft, use: ridge, with: {alpha: 1}, count: 10, noise: 1e-3}
control:
  - {use: music, target: {label: 007}, start: {count: 2, label: 8}, steps: 9, until: arrived}
  - {id: b, use: music, target: {units: [47, 0], away: true}, start: {rows: [5, 0]}}
  - {id: c, use: music, target: {cell: [5, 7]}}
  - {id: d, use: music, target: {cluster: 4}}
  - {id: e, use: music, target: {sample: 0, label: null}, start: }
report:
  # title: to come
plugins: {}
"""


def parse(text, *overrides):
    return parse_spec(text, source="spec.yaml", registry=REGISTRY, overrides=overrides)


def codes_of(text, *overrides):
    with pytest.raises(SpecError) as caught:
        parse(text, *overrides)
    return [(p.code, p.path) for p in caught.value.problems]


def test_a_minimal_spec_is_filled_with_defaults():
    spec = parse(MINIMAL)
    assert (spec.seed, spec.map.use, spec.data.scaling, spec.data.holdout) == (
        0,
        "native",
        "none",
        0.2,
    )
    assert (spec.invert, spec.control) == ((), ())
    assert spec.map.with_ == REGISTRY.lookup("backend", "native").params()


def test_options_become_the_params_of_the_factory():
    spec = parse(FULL)
    assert spec.map.with_.epochs == 7
    assert spec.invert[1].with_.alpha == 1.0
    assert type(spec.invert[0].with_) is REGISTRY.lookup("solver", "exact").params


def test_ids_are_the_names_under_use_by_default():
    spec = parse(FULL)
    assert [item.id for item in spec.invert] == ["exact", "soft"]
    assert [item.id for item in spec.control] == ["music", "b", "c", "d", "e"]


def test_each_kind_of_target_is_told():
    kinds = [item.target.kind for item in parse(FULL).control]
    assert kinds == ["label", "units", "cell", "cluster", "sample"]


def test_a_label_written_as_a_number_is_the_text_that_was_written():
    control = parse(FULL).control[0]
    assert (control.target.label, control.start.label) == ("007", "8")


def test_a_label_set_as_a_number_is_text_too():
    text = MINIMAL + "control:\n  - {use: music, target: {label: a}}\n"
    assert parse(text, "control[0].target.label=3").control[0].target.label == "3"


def test_a_start_is_six_rows_by_default():
    spec = parse(FULL)
    assert [(c.start.count, c.start.rows) for c in spec.control][1:] == [
        (6, (5, 0)),
        (6, None),
        (6, None),
        (6, None),
    ]


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_a_resolved_spec_loads_as_the_same_spec(text):
    spec = parse(text)
    again = parse(spec.to_yaml())
    assert again == spec
    assert again.resolved() == spec.resolved()
    assert again.sha256() == spec.sha256()
    assert json.loads(json.dumps(spec.resolved())) == spec.resolved()


def test_the_hash_depends_on_the_meaning_and_not_on_the_writing():
    spelled_out = MINIMAL + "  use: native\n  with:\nseed: 0 # as ever\ninvert: []\n"
    assert parse(spelled_out).sha256() == parse(MINIMAL).sha256()
    assert parse(MINIMAL, "seed=1").sha256() != parse(MINIMAL).sha256()


def test_a_default_written_as_an_integer_hashes_as_the_number_it_is():
    one, one_point_zero = (
        parse(MINIMAL + f"invert:\n  - {{use: ridge, with: {{alpha: {text}}}}}\n")
        for text in ("1", "1.0")
    )
    assert one.sha256() == one_point_zero.sha256()


def test_overrides_are_applied_in_order():
    assert parse(MINIMAL, "map.with.epochs=5", "map.with.epochs=6").map.with_.epochs == 6


def test_problems_of_the_text_and_of_the_values_are_reported_together_in_order():
    text = "seed: 1\nseed: 2\ndata: {use: digit}\nmap: {lattice: {rows: 6}}\n"
    assert codes_of(text) == [
        ("duplicate-key", "seed"),
        ("unknown-name", "data.use"),
        ("missing-key", "map.lattice.columns"),
    ]


def test_what_the_text_got_wrong_is_not_reported_twice():
    assert codes_of(MINIMAL + "seed: !x 1\n") == [("bad-tag", "seed")]


def test_cross_checks_do_not_wait_for_other_problems_to_be_mended():
    text = (
        "data: {use: digits}\nmap: {lattice: {rows: 2, columns: 2, toroidal: x}, clusters: 5}\n"
        "control: [{use: music, target: {units: [4]}, steps: 0}]\n"
    )
    assert codes_of(text) == [
        ("wrong-type", "map.lattice.toroidal"),
        ("out-of-range", "map.clusters"),
        ("out-of-range", "control[0].target.units[0]"),
        ("out-of-range", "control[0].steps"),
    ]


def test_a_problem_of_an_override_points_into_the_override():
    with pytest.raises(SpecError, match=r"<--set>:1:17: error\[out-of-range\] map.with.epochs"):
        parse(MINIMAL, "map.with.epochs=0")


@pytest.mark.parametrize(
    "text",
    [
        "data: 3\nmap: [1]\n",
        "data: {use: [a]}\nmap: {use: 3, lattice: x, with: 4, clusters: true}\n",
        MINIMAL + "invert: {a: 1}\ncontrol: [1, [2], {}]\n",
        MINIMAL + "control: [{use: music, target: [1], start: 3}]\n",
        MINIMAL + "control: [{use: music, target: {units: a, cell: b}, start: {rows: c}}]\n",
        MINIMAL + "control: [{use: music, target: {units: [a, [1], true], cluster: x}}]\n",
        MINIMAL + "plugins: 3\n",
        MINIMAL + "plugins: {block: {a: 1}, require: [3]}\n",
        MINIMAL + "invert: [{id: [1], use: exact}, {id: 3, use: exact}, {use: '?'}]\n",
    ],
)
def test_a_spec_of_the_wrong_shape_gives_problems_and_never_another_error(text):
    assert codes_of(text)


def test_the_exit_code_tells_failed_plugins_from_mistakes():
    with pytest.raises(SpecError) as caught:
        parse("data: 3")
    assert caught.value.exit_code == 2


def test_a_spec_is_loaded_from_a_file(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(FULL, encoding="utf-8")
    assert load_spec(path, registry=REGISTRY) == parse(FULL)


def test_a_folder_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match=r"error\[no-file\]: expected a readable spec file"):
        load_spec(tmp_path, registry=REGISTRY)
