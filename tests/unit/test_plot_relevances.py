from pathlib import Path

import numpy as np
import pytest

import musicfw as mf
from musicfw import plot
from musicfw.codebook import Codebook
from musicfw.errors import UsageError
from musicfw.lattice import Lattice
from musicfw.store import load_map


def a_codebook(units=6, dimension=4, **facts):
    rng = np.random.default_rng(0)
    R = rng.random((units, dimension)) + 0.1
    return Codebook(prototypes=rng.normal(size=(units, dimension)), relevances=R, **facts)


def values_of(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def is_png(drawn):
    return plot.png_bytes(drawn, dpi=40).startswith(b"\x89PNG\r\n")


def test_the_heat_map_holds_every_relevance_in_shares_of_its_row():
    book = a_codebook()
    ax = plot.relevance_map(book)
    expected = book.relevances / book.relevances.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(expected, values_of(ax))
    assert ax.get_ylabel() == "unit"
    assert is_png(ax)


def test_units_without_a_place_stand_in_the_order_of_their_labels():
    book = a_codebook(units=3, labels=["$b", "", "a"])
    ax = plot.relevance_map(book)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["1 (no points)", "0 ($b)", "2 (a)"]
    shares = book.relevances / book.relevances.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(shares[[1, 0, 2]], values_of(ax))
    placed = a_codebook(units=3, labels=["b", "", "a"], lattice=Lattice(rows=1, columns=3))
    np.testing.assert_allclose(shares, values_of(plot.relevance_map(placed)))
    assert is_png(ax)


def test_features_have_their_names_unless_there_are_too_many():
    names = ["$x", "a feature with a very long name", "c", "d"]
    shown = [
        t.get_text()
        for t in plot.relevance_map(a_codebook(), feature_names=names).get_xticklabels()
    ]
    assert shown == ["$x", "a feature with a …", "c", "d"]
    many = a_codebook(units=50, dimension=60)
    ax = plot.relevance_map(many, feature_names=[f"f{k}" for k in range(60)])
    assert not any(t.get_text().startswith("f") for t in ax.get_xticklabels())
    assert is_png(ax)


def test_shared_relevances_are_one_row():
    book = Codebook(prototypes=np.eye(3), relevances=[1.0, 2.0, 3.0])
    ax = plot.relevance_map(book)
    np.testing.assert_allclose([[0.5, 1.0, 1.5]], values_of(ax))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["all units"]
    assert is_png(ax)
    assert values_of(plot.relevance_images(book, image_shape=(1, 3))).shape == (1, 3)


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_relevance_images_lie_where_the_prototypes_do(topology):
    lattice = Lattice(rows=2, columns=3, topology=topology)
    book = a_codebook(lattice=lattice)
    images = values_of(plot.relevance_images(book, image_shape=(2, 2)))
    prototypes = values_of(plot.prototype_images(book.prototypes, lattice, image_shape=(2, 2)))
    np.testing.assert_array_equal(np.isnan(prototypes), np.isnan(images))
    first = (book.relevances[0] / book.relevances[0].max()).reshape(2, 2)
    np.testing.assert_allclose(first, images[:2, :2])


def test_without_a_lattice_the_images_stand_in_rows():
    ax = plot.relevance_images(a_codebook(units=5), image_shape=(2, 2))
    # Three columns of images 2 wide, 2 or so apart, and two rows.
    assert np.isfinite(values_of(ax)).sum() == 5 * 4
    assert is_png(ax)


def test_a_codebook_without_relevances_is_refused():
    book = Codebook(prototypes=np.eye(2))
    for draw in (plot.relevance_map, lambda b: plot.relevance_images(b, image_shape=(1, 2))):
        with pytest.raises(UsageError, match=r"codebook.relevances: expected .* got None"):
            draw(book)


def test_the_example_ends_with_a_picture_of_relevances(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "projected-clusters.yaml"
    settings = ["data.with.points=500", "map.with.restarts=2", "control=[]"]
    result = mf.run(example, out=tmp_path / "run", overrides=settings)
    assert result.map.codebook.relevances.shape == (10, 20)
    assert (tmp_path / "run" / "figures" / "relevance_map.png").stat().st_size > 0
    again = load_map(tmp_path / "run" / "map.npz")
    np.testing.assert_array_equal(result.map.codebook.relevances, again.codebook.relevances)
    assert again.codebook.lattice is None


def test_images_have_their_relevances_as_images_in_the_report(tmp_path):
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "seed: 0\n"
        "data: {use: digits}\n"
        "map: {use: relevance, lattice: {rows: 2, columns: 2}, with: {epochs: 3}}\n"
    )
    mf.run(spec, out=tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "relevance_images.png").exists()
