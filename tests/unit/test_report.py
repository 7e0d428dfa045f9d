"""The report: one page that holds everything, says what is known and nothing else."""

import base64
import os
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from musicfw import plot
from musicfw import report_words as words
from musicfw.atomic import write_atomic
from musicfw.codebook import Codebook
from musicfw.dataset import Dataset, Scaling
from musicfw.errors import StoreError
from musicfw.geometry import centred_system, well_posedness
from musicfw.lattice import Lattice
from musicfw.report import ReportInputs, write_report
from musicfw.report_figures import map_figures
from musicfw.run_result import RunResult
from musicfw.status import Status, StopReason
from musicfw.types import Inversion, TrainedMap, Trajectory

NASTY = '<script>alert("x")</script> & $x_{'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects what a browser would load, the images and the visible text; checks nesting."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.resources, self.images, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.resources += [values[key] for key in ("src", "srcset", "data") if key in values]
        if tag == "link":
            self.resources.append(values["href"])
        if tag == "img":
            self.images.append(values)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def an_inversion(codebook, points, *, solver="exact", error=0.0, status=Status.EXACT):
    return Inversion(
        points=points * (1.0 + error),
        status=np.full(len(points), status),
        residual=np.full(len(points), 1e-15),
        hidden_radius=np.zeros(len(points)),
        well_posedness=well_posedness(centred_system(codebook.prototypes)),
        solver=solver,
        params={},
        elapsed_s=0.1,
    )


def a_trajectory(codebook, start, *, policy, stop=StopReason.REACHED):
    share = np.linspace(0.0, 1.0, 5)[:, np.newaxis, np.newaxis]
    points = start + share * (codebook.prototypes[0] - start)
    return Trajectory(
        points=points,
        stop=np.full(len(start), stop),
        step_norm=np.linalg.norm(np.diff(points, axis=0), axis=2),
        arrival=np.full(len(start), 4 if stop is StopReason.REACHED else -1),
        target_units=[0],
        codebook=codebook,
        scaling=Scaling.identity(codebook.dimension),
        policy=policy,
        params={},
        elapsed_s=0.1,
    )


def inputs(directory, **changes):
    """Return the inputs of a small run; ``changes`` replace some of them."""
    count, images = changes.pop("count", 12), changes.pop("images", True)
    labelled = changes.pop("labelled", True)
    rng = np.random.default_rng(0)
    lattice = Lattice(rows=3, columns=4, topology="hexagonal")
    X = rng.normal(size=(count, 6))
    shape = (2, 3) if images else None
    label = [f"{NASTY}{i % 2}" for i in range(12)] if labelled else None
    codebook = Codebook(prototypes=rng.normal(size=(12, 6)), lattice=lattice, labels=label)
    rows = np.arange(min(count, 4))
    result = {
        "directory": directory,
        "map": TrainedMap(
            codebook=codebook,
            scaling=Scaling.identity(6),
            backend="native",
            params={},
            seed=0,
            history={"quantization_error": [2.0, 1.0], "radius": [2.0, 1.0]},
            image_shape=shape,
        ),
        "inversions": {"exact": an_inversion(codebook, X[rows])},
        "trajectories": {
            "a/b:c": a_trajectory(codebook, X[rows], policy="music"),
            "line": a_trajectory(codebook, X[rows], policy="straight-line"),
        },
        "metrics": {
            "map": {"quantization_error": 1.25, "held_out": {"odd_measure": 0.5}},
            "invert": {"exact": {"median_relative_error": 0.0, "statuses": {"EXACT": 4}}},
            "control": {"line": {"path_over_chord": 1.5, "new_number": 7}},
        },
        "provenance": {"musicfw": "0.1.0", "plugins": [f"plugin {i}" for i in range(9)]},
        "timings_s": {"train": 1.5},
        "warnings": (NASTY,),
    } | changes.pop("result", {})
    defaults = {
        "result": RunResult(**result),
        "spec": {"seed": 0, "report": {"title": NASTY}, "note": NASTY},
        "dataset": Dataset(
            points=X,
            labels=[str(i % 3) for i in range(count)] if labelled else None,
            image_shape=shape,
            description=NASTY,
        ),
        "train_rows": np.arange(count),
        "held_out_rows": np.arange(0),
        "inversion_rows": {"exact": rows},
        "trajectory_rows": {"a/b:c": rows, "line": rows},
        "targets": {"a/b:c": "label 3", "line": "label 3"},
    }
    return ReportInputs(**(defaults | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_report(inputs(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def text(written):
    return written[-1].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made but not drawn, which takes most of the time of a report."""
    monkeypatch.setattr(plot, "png_bytes", lambda drawn, dpi: b"\x89PNG" + b"\0" * 20)


def page_of(directory, **changes):
    return Page(write_report(inputs(directory, **changes))[-1].read_text(encoding="utf-8"))


def test_the_page_comes_last_and_the_figures_are_in_their_folder(written):
    *figures, report = written
    assert report.name == "report.html"
    assert all(path.parent == report.parent / "figures" for path in figures)
    assert {path.suffix for path in figures} == {".png"}
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", path.stem) for path in figures)


def test_every_figure_is_embedded_as_it_is_in_its_file(written, page):
    embedded = [base64.b64decode(image["src"].split(",", 1)[1]) for image in page.images]
    assert embedded == [path.read_bytes() for path in written[:-1]]


def test_the_page_loads_nothing_from_elsewhere(text, page):
    assert all(resource.startswith("data:") for resource in page.resources)
    assert not {"script", "iframe", "object"} & set(page.tags)
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_every_figure_has_an_alternative_text_and_one_sentence_on_how_to_read_it(page):
    assert all(image["alt"] for image in page.images)
    assert page.tags.count("figcaption") == len(page.images)


def test_special_characters_are_escaped_everywhere(text, page):
    assert "<script" not in text
    assert page.text.count(NASTY) >= 3


def test_the_page_is_made_for_phones_dark_mode_and_paper(text):
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_summary_names_the_numbers(page):
    assert "A 3 × 4 hexagonal map of 12 units was trained by “native” on 12 of 12" in page.text
    assert "A point lies 1.25 from its best matching unit on average." in page.text
    assert "4 of 4 (100 %) by “a/b:c” and 4 of 4 (100 %) by “line”" in page.text


def test_unknown_numbers_are_shown_with_readable_names(page):
    assert "held-out: odd measure" in page.text
    assert "new number" in page.text


def test_lists_of_words_are_shown_whole(page):
    assert "plugin 0; plugin 1" in page.text
    assert "plugin 8" in page.text


def test_trajectories_with_the_same_points_and_target_share_one_block(page, tmp_path, undrawn):
    assert page.text.count("Target: label 3 (4 points)") == 1
    other = page_of(tmp_path, targets={"a/b:c": "label 3", "line": "label 4"})
    assert other.text.count("Target: label") == 2


def test_well_posedness_is_told_in_words(page):
    assert "the distances determine every point uniquely" in page.text


def test_an_exact_solver_within_1e_8_is_told_so(page):
    assert "the exact solver returned all 4 points to within 1e-8" in page.text


def test_an_exact_solver_that_misses_is_told_so_with_advice(tmp_path, undrawn):
    given = inputs(tmp_path)
    points = given.dataset.points[:4]
    missed = an_inversion(given.result.map.codebook, points, error=0.1, status=Status.INCONSISTENT)
    page = page_of(tmp_path, result={"inversions": {"exact": missed}})
    assert "returned 0 of 4 (0 %) to within 1e-8" in page.text
    assert "the largest relative error is 0.1; the statuses say why" in page.text
    assert "INCONSISTENT: 4 points of “exact”" in page.text
    assert Status.INCONSISTENT.advice in page.text


def test_noise_that_was_added_on_purpose_is_told(tmp_path, undrawn):
    spec = {"invert": [{"id": "exact", "noise": 0.01}]}
    page = page_of(tmp_path, spec=spec)
    assert "“exact”: relative noise of 0.01 was added to the distances on purpose" in page.text


def test_a_spec_without_figures_gives_a_page_without_figures(tmp_path):
    files = write_report(inputs(tmp_path, spec={"report": {"figures": False}}))
    assert [path.name for path in files] == ["report.html"]


def test_the_title_is_the_spec_s_else_the_data_s_else_the_folder_s(tmp_path, undrawn):
    for spec, title in (
        ({"report": {"title": "My run"}, "data": {"use": "digits"}}, "My run"),
        ({"report": {"title": None}, "data": {"use": "digits"}}, "digits"),
        ({}, tmp_path.name),
    ):
        report = write_report(inputs(tmp_path, spec=spec))[-1].read_text(encoding="utf-8")
        assert f"<h1>{title}</h1>" in report


def test_paths_that_did_not_arrive_come_with_advice(tmp_path, undrawn):
    given = inputs(tmp_path)
    stalled = a_trajectory(
        given.result.map.codebook,
        given.dataset.points[:4],
        policy="music",
        stop=StopReason.STALLED,
    )
    page = page_of(tmp_path, result={"trajectories": {"line": stalled}})
    assert "0 of 4 (0 %)" in page.text
    assert StopReason.STALLED.advice in page.text


def test_a_run_with_a_map_only_is_reported(tmp_path, undrawn):
    page = page_of(tmp_path, result={"inversions": {}, "trajectories": {}, "metrics": {}})
    assert "No distances were inverted" in page.text
    assert "No points were steered" in page.text


def test_one_point_without_labels_or_images_is_reported(tmp_path):
    page = page_of(tmp_path, count=1, images=False, labelled=False)
    assert "on 1 of 1 point with 6 features" in page.text
    assert len(page.images) >= 6


def test_results_whose_rows_are_not_known_are_reported_without_errors(tmp_path, undrawn):
    page = page_of(tmp_path, inversion_rows={}, trajectory_rows={}, targets={})
    assert "the exact solver returned" not in page.text
    assert "units [0]" in page.text


def test_the_figures_of_the_map_show_labels_and_borders_of_what_is_there(tmp_path):
    kinds = [figure.kind for figure in map_figures(inputs(tmp_path))]
    assert {"u_matrix", "interstitial_u_matrix", "class_pies", "training_curves"} <= set(kinds)
    unlabelled = [figure.kind for figure in map_figures(inputs(tmp_path, labelled=False))]
    assert "class_pies" not in unlabelled
    made = inputs(tmp_path)
    book = replace(made.result.map.codebook, clusters=np.arange(12) // 6)
    parted = replace(made.result, map=replace(made.result.map, codebook=book))
    plain, bordered = (
        next(iter(map_figures(given))).draw() for given in (made, replace(made, result=parted))
    )
    assert len(bordered.collections) == len(plain.collections) + 2


def test_a_run_without_a_lattice_is_reported(tmp_path, undrawn):
    given = inputs(tmp_path)
    old = given.result.map
    bare = Codebook(prototypes=old.codebook.prototypes)
    trained = TrainedMap(codebook=bare, scaling=old.scaling, backend="x", params={}, seed=0)
    assert "A map of 12 units" in page_of(tmp_path, result={"map": trained}).text


def test_ids_that_differ_in_case_or_punctuation_only_get_files_of_their_own(tmp_path, undrawn):
    given = inputs(tmp_path)
    rows = np.arange(4)
    inversion = an_inversion(given.result.map.codebook, given.dataset.points[rows])
    keys = ("a b", "a/b", "A-b", "../up")
    files = write_report(
        inputs(
            tmp_path,
            result={"inversions": dict.fromkeys(keys, inversion), "trajectories": {}},
            inversion_rows=dict.fromkeys(keys, rows),
        )
    )
    assert len({str(path).lower() for path in files}) == len(files)
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in files)


def test_the_same_run_gives_the_same_page(tmp_path, text):
    again = write_report(inputs(tmp_path / "again"))[-1].read_text(encoding="utf-8")
    assert again == text


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (True, "yes"),
        (12345, "12,345"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (1.5e-12, "1.5e-12"),
        (-2.0, "−2"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (np.float64(3.25), "3.25"),
        ("text", "text"),
    ],
)
def test_numbers_are_short(value, expected):
    assert words.number(value) == expected


def test_long_lists_of_numbers_are_left_out_and_counts_make_one_cell():
    tree = {"curve": list(range(7)), "pair": [1, 2], "stops": {"REACHED": 2, "STALLED": 0}}
    assert list(words.leaves(tree)) == [("pair", "1; 2"), ("how paths ended", "REACHED 2")]


# --- atomic files --------------------------------------------------------------------------------


def test_write_atomic_replaces_the_whole_file_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomic(path, b"a much longer old version")
    assert write_atomic(path, b"new") == path
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_write_atomic_gives_the_permissions_that_any_new_file_gets(tmp_path):
    write_atomic(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "file", b"old")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=r"file: cannot be written: No space left on device; exp"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_file_takes_its_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append("rename"), replace(self, to))[1]
    )
    write_atomic(tmp_path / "file", b"x")
    assert order == ["fsync", "rename"]


def test_a_folder_that_is_a_file_is_named_in_the_message(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"file/inner: cannot be written: .* choose another"):
        write_atomic(tmp_path / "file" / "inner", b"x")


def test_the_progress_counts_every_figure_and_the_page(tmp_path, undrawn):
    told = []
    files = write_report(inputs(tmp_path), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, len(files)) for done in range(1, len(files) + 1)]


def test_a_page_without_figures_has_no_empty_place_for_them(tmp_path):
    page = write_report(inputs(tmp_path, spec={"report": {"figures": False}}))[-1]
    assert 'class="figures"' not in page.read_text(encoding="utf-8")


def test_a_figure_is_the_same_twice_and_keeps_its_layout():
    axes = plot.training_curve({"quantization_error": np.array([2.0, 1.0])})
    layout = axes.figure.get_layout_engine()
    assert plot.png_bytes(axes) == plot.png_bytes(axes)
    assert axes.figure.get_layout_engine() is layout
