from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from musicfw_torch import evaluate, peers
from musicfw_torch.evaluate import Task, cluster_row, main, measured, tables, task_of
from musicfw_torch.params import SomrlParams
from musicfw_torch.pictures import feature_relevance_images, feature_relevances, relevance_planes
from musicfw_torch.walks import walk_rows

import musicfw as mf
from musicfw.errors import UsageError

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def task(blobs: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setattr(evaluate, "_WALKS", 5)
    points, labels = blobs
    return Task(
        points=points,
        labels=labels.astype(str),
        lattice=mf.Lattice(rows=5, columns=4),
        params=SomrlParams(**small),
        clusters=4,
    )


def test_every_method_scores_groups_that_lie_apart(task: Task) -> None:
    names = [name for name in evaluate.methods_for(task) if "UMAP" not in name]
    results = dict(measured(task, seeds=1, only=names))
    for name in ("k-means", "diagonal mixture", "Ward", "autoencoder + k-means"):
        assert results[name][0]["clusters"]["accuracy"] > 0.9, name
    somrl = results["SOMRL"][0]
    for method in ("Ward", "winner graph", "neighbour graph"):
        assert somrl[f"units merged by {method}"]["accuracy"] > 0.95
    assert somrl["map"]["purity"] == 1.0
    assert somrl["training"]["seconds"] > 0.0
    assert "relevances" not in results["SOMRL, relevances 1"][0]
    assert "relevances" not in results["DESOM-like"][0]


def test_tables_have_a_row_per_clustering_and_means_over_seeds() -> None:
    times = {"seconds": 1.0, "CPU seconds": 2.0}
    runs = [
        {"clusters": {"accuracy": accuracy}, "map": {"purity": 1.0}, "training": times}
        for accuracy in (0.5, 0.7)
    ]
    text = tables({"mine": runs})
    assert "| mine | 0.600 ± 0.141 | 1.0 ± 0.0 | 2.0 ± 0.0 |" in text
    assert "### Units and codes" in text
    assert "### Walks" not in text


def test_scores_of_a_clustering_do_not_depend_on_its_numbers() -> None:
    labels, found = np.array(["a", "a", "b", "b"]), np.array([7, 7, 3, 3])
    assert cluster_row(labels, found) == {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}


def test_noise_is_not_scored() -> None:
    labels, found = np.array(["a", "a", "b", "noise", "noise"]), np.array([0, 0, 1, 0, 2])
    assert cluster_row(labels, found) == {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}


def test_an_unknown_method_is_refused(task: Task) -> None:
    with pytest.raises(UsageError, match=r"--only: expected some of SOMRL, .*; got 'magic'"):
        dict(measured(task, seeds=1, only=["magic"]))


def test_another_backend_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("data: {use: digits}\nmap: {use: native, lattice: {rows: 4, columns: 4}}\n")
    with pytest.raises(UsageError, match=r"map\.use: expected the backend 'somrl-autoencoder'"):
        task_of(spec)


def test_the_command_writes_json_and_markdown(tmp_path: Path, capsys: Any) -> None:
    spec, out = str(EXAMPLES / "digits.yaml"), str(tmp_path)
    main([spec, "--seeds", "1", "--only", "k-means", "--out", out])
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert 0.7 < kept["results"]["k-means"][0]["clusters"]["accuracy"] < 0.9
    text = (tmp_path / "evaluation.md").read_text()
    assert text.startswith("## digits.yaml: 1797 rows of 64 features, 10 classes, 100 units")
    assert "| k-means |" in capsys.readouterr().out


@pytest.mark.parametrize("name", [path.stem for path in sorted(EXAMPLES.glob("*.yaml"))])
def test_examples_are_specs_without_problems(name: str) -> None:
    from musicfw.spec import load_spec

    spec = load_spec(EXAMPLES / f"{name}.yaml", registry=mf.load_registry())
    assert isinstance(spec.map.with_, SomrlParams)


def test_examples_share_all_options_but_the_layers_and_what_images_call_for() -> None:
    from musicfw.spec import load_spec

    registry = mf.load_registry()
    layers = {"encoder": "dense", "hidden": (256, 128)}
    for path in EXAMPLES.glob("*.yaml"):
        found = replace(load_spec(path, registry=registry).map.with_, **layers)
        size = found.image_size
        neighbours = "values" if size is None else "gradients"
        assert found == SomrlParams(image_size=size, neighbours_by=neighbours)


def test_images_are_clustered_by_their_gradients_too(task: Task) -> None:
    assert not [name for name in evaluate.methods_for(task) if "gradients" in name]
    params = replace(task.params, image_size=(3, 4), neighbours_by="gradients")
    names = ["gradients: k-means", "gradients: Ward", "SOMRL, neighbours by values"]
    results = dict(measured(replace(task, params=params), seeds=1, only=names))
    # Blobs of random pixels have edges of their own.
    assert results["gradients: Ward"][0]["clusters"]["accuracy"] > 0.9
    by_values = results["SOMRL, neighbours by values"][0]["units merged by Ward"]
    assert (
        by_values
        == dict(measured(task, seeds=1, only=["SOMRL"]))["SOMRL"][0]["units merged by Ward"]
    )


def test_peers_train_the_same_network() -> None:
    params = SomrlParams(hidden=(32,), epochs=7)
    for other in (peers.autoencoder(params), peers.desom_like(params)):
        assert (other.hidden, other.epochs, other.batch_size) == ((32,), 7, 256)
        assert (other.neighbour_weight, other.law) == (0.0, "none")


def test_walks_arrive_and_those_over_the_lattice_move_between_neighbours(
    trained: mf.TrainedMap, blobs: Any
) -> None:
    rows = walk_rows(trained, blobs[0], pairs=10, rng=np.random.default_rng(0))
    lattice, line = rows["MUSIC, route over the lattice"], rows["straight line"]
    assert lattice["arrived"] >= 0.9
    assert line["arrived"] == 1.0
    assert lattice["neighbour moves"] >= line["neighbour moves"]
    assert lattice["units passed"] > 0.0


def test_feature_relevances_tell_how_distances_change(trained: mf.TrainedMap) -> None:
    # D_i is 0 at its prototype's code: D(x + δ) = δᵀ G δ to second order, from encode alone.
    network = trained.embedding.inner.network.double()
    book = trained.codebook
    found = feature_relevances(trained)
    rows = trained.decode(book.prototypes)
    spread, step = rows.std(axis=0), 1e-6
    unit, codes = 3, trained.embedding.inner.encode
    expected = np.empty(12)
    for p in range(12):
        ends = np.repeat(rows[unit : unit + 1], 2, axis=0)
        ends[:, p] += [step, -step]
        slope = np.diff(codes(ends), axis=0)[0] / (2 * step)
        expected[p] = spread[p] ** 2 * (book.relevances[unit] * slope**2).sum()
    network.float()
    assert np.allclose(expected / expected.mean(), found[unit], rtol=1e-4)
    assert np.allclose(1.0, found.mean(axis=1))


def test_relevances_of_other_backends_are_refused(blobs: Any) -> None:
    other = mf.train(blobs[0], lattice=mf.Lattice(rows=3, columns=3))
    with pytest.raises(UsageError, match="expected a map of the backend 'somrl-autoencoder'"):
        feature_relevances(other)
    with pytest.raises(UsageError, match="expected relevances of every unit, got none"):
        relevance_planes(other)


def test_pictures_have_a_panel_per_coordinate_and_an_image_per_unit(
    trained: mf.TrainedMap,
) -> None:
    import matplotlib.pyplot as plt

    figure = relevance_planes(trained)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t] == [f"coordinate {k}" for k in range(4)]
    ax = feature_relevance_images(replace(trained, image_shape=(3, 4)))
    assert len(ax.images) == 1
    with pytest.raises(UsageError, match="expected a map of images"):
        feature_relevance_images(trained)
    plt.close("all")
