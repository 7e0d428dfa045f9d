"""Measures the model on the data of a spec, beside its peers.

    python -m musicfw_torch.evaluate SPEC [--seeds N] [--only METHOD …] [--out DIR]

The spec is one that ``musicfw run`` takes, with the backend ``somrl-autoencoder`` and data with
labels. Clusters are those of all rows, as many as there are labels; labels are used for scores
only, and rows labelled noise are left out of them. Every seed trains anew. Written are
``evaluation.json`` and ``evaluation.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import musicfw as mf
from musicfw.arrays import FloatArray, IntArray
from musicfw.cluster_scores import (
    ClusteringScores,
    clustering_scores,
    knn_accuracy,
    linear_probe_accuracy,
)
from musicfw.datasets.projected_clusters import NOISE
from musicfw.errors import UsageError
from musicfw.relevance_scores import disentanglement
from musicfw.rows import load_data
from musicfw.scaling import fit_scaling
from musicfw.som.clusters import (
    count_weighted_ward,
    neighbour_graph_clusters,
    winner_graph_clusters,
)
from musicfw.som.quality import topographic_error
from musicfw.spec import load_spec
from musicfw_torch import peers
from musicfw_torch.gradients import compared
from musicfw_torch.params import SomrlParams
from musicfw_torch.walks import walk_rows

_MERGES = {
    "neighbour graph": neighbour_graph_clusters,
    "winner graph": winner_graph_clusters,
    "Ward": count_weighted_ward,
}
_WHOLE = ("clusters", "map", "relevances")
# Rows for measures that compare all pairs of points, or fit a classifier.
_PAIRS, _CLASSIFIED = 2000, 10_000
_NEAR = 12
_WALKS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """Data, options and sizes: what a method is given."""

    points: FloatArray
    labels: Any
    lattice: mf.Lattice
    params: SomrlParams
    clusters: int


Row = dict[str, float]
Rows = Mapping[str, Row]
_TIMES = ("seconds", "CPU seconds")


class Clock:
    """Measures from when it is made; CPU seconds are those of all threads of this process."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def row(self) -> Row:
        """Return the seconds so far."""
        now = time.perf_counter(), time.process_time()
        return {name: b - a for name, a, b in zip(_TIMES, self._began, now, strict=True)}


def cluster_row(labels: Any, found: IntArray) -> Row:
    """Return the scores of one clustering, on the rows that are no noise."""
    scores = _scores(labels, found)
    return {
        "accuracy": scores.accuracy,
        "nmi": scores.normalized_mutual_information,
        "ari": scores.adjusted_rand_index,
    }


def _scores(labels: Any, found: IntArray) -> ClusteringScores:
    clean = labels != NOISE
    return clustering_scores(labels[clean], found[clean])


def map_rows(task: Task, trained: mf.TrainedMap, *, seed: int) -> dict[str, Row]:
    """Return the scores of a trained map: its clusters, its units, its codes."""
    codes = trained.encode(task.points)
    book = trained.codebook
    units = book.best_matching_units(codes)
    rows: dict[str, Row] = {}
    for name, merge in _MERGES.items():
        merged = merge(book, codes, clusters=task.clusters)
        rows[f"units merged by {name}"] = cluster_row(task.labels, merged[units])
    mixed = peers.mixture(codes, clusters=task.clusters, seed=seed, covariance="full")
    rows["codes, Gaussian mixture"] = cluster_row(task.labels, mixed)
    scores = _scores(task.labels, units)
    rows["map"] = {
        "purity": scores.purity,
        "nmi of units": scores.normalized_mutual_information,
        "topographic error": topographic_error(book, codes),
    } | code_row(task, codes, seed=seed)
    if task.params.law != "none":
        rows["relevances"] = relevance_row(book, codes)
        rng = np.random.default_rng(seed)
        walks = walk_rows(trained, task.points, pairs=_WALKS, rng=rng)
        rows |= {f"walk, {name}": row for name, row in walks.items()}
    return rows


def code_row(task: Task, codes: FloatArray, *, seed: int) -> Row:
    """Return how well codes keep the classes and the neighbourhoods of the data."""
    from sklearn.manifold import trustworthiness

    rng = np.random.default_rng(seed)
    some = rng.permutation(len(codes))
    few, more = some[:_PAIRS], some[task.labels[some] != NOISE][:_CLASSIFIED]
    near = min(_NEAR, len(few) // 2 - 1)
    x, z = task.points[few], codes[few]
    row = {
        "trustworthiness": float(trustworthiness(x, z, n_neighbors=near)),
        # Continuity is trustworthiness the other way round (Venna and Kaski, 2001).
        "continuity": float(trustworthiness(z, x, n_neighbors=near)),
    }
    if np.unique(task.labels[more], return_counts=True)[1].min() >= 5:
        classes = task.labels[more]
        row["5-NN accuracy"] = knn_accuracy(codes[more], classes, rng=rng)
        row["linear probe"] = linear_probe_accuracy(codes[more], classes, rng=rng)
    return row


def relevance_row(book: mf.Codebook, codes: FloatArray) -> Row:
    """Return what the relevances do: to the winners, and to the dimensions."""
    assert book.relevances is not None
    plain = replace(book, relevances=None)
    changed = book.best_matching_units(codes) != plain.best_matching_units(codes)
    found = disentanglement(book.relevances, lattice=book.lattice)
    return {
        "winners changed": float(changed.mean()),
        "effective dimension": found.effective_dimension,
        "completeness": found.completeness,
        "disentanglement": found.disentanglement,
        "overlap": found.overlap,
        "neighbours' overlap": float(found.neighbour_overlap or np.nan),
    }


def trained_rows(params: SomrlParams) -> Callable[[Task, int], dict[str, Row]]:
    """Return a method that trains the backend with these options and scores the map."""

    def method(task: Task, seed: int) -> dict[str, Row]:
        own = replace(task, params=params)
        began = Clock()
        trained = peers.trained_with(params, own.points, lattice=own.lattice, seed=seed)
        return {"training": began.row()} | map_rows(own, trained, seed=seed)

    return method


def clustered(
    cluster: Callable[..., IntArray], *, units: bool = False, gradients: bool = False
) -> Any:
    """Return a method that clusters the points themselves, into classes or as many as units.

    With ``gradients`` those of the rows by which the model finds neighbours.
    """

    def method(task: Task, seed: int) -> dict[str, Row]:
        began = Clock()
        count = task.lattice.units if units else task.clusters
        rows = compared(task.points, task.params) if gradients else task.points
        found = cluster(rows, clusters=count, seed=seed)
        seconds = {"training": began.row()}
        if not units:
            return {"clusters": cluster_row(task.labels, found)} | seconds
        scores = _scores(task.labels, found)
        nmi = scores.normalized_mutual_information
        return {"map": {"purity": scores.purity, "nmi of units": nmi}} | seconds

    return method


def autoencoder_rows(task: Task, seed: int) -> dict[str, Row]:
    """Train the network alone; cluster its codes by k-means."""
    began = Clock()
    params = peers.autoencoder(task.params)
    trained = peers.trained_with(params, task.points, lattice=task.lattice, seed=seed)
    codes = trained.encode(task.points)
    found = peers.kmeans(codes, clusters=task.clusters, seed=seed)
    seconds = {"training": began.row()}
    clusters = {"clusters": cluster_row(task.labels, found)}
    return clusters | {"map": code_row(task, codes, seed=seed)} | seconds


def methods_for(task: Task) -> dict[str, Callable[[Task, int], dict[str, Row]]]:
    """Return the methods by name; those that the data or the installation rule out are missing."""
    found: dict[str, Callable[[Task, int], dict[str, Row]]] = {
        "SOMRL": trained_rows(task.params),
        "SOMRL, relevances 1": trained_rows(replace(task.params, law="none")),
        "DESOM-like": trained_rows(peers.desom_like(task.params)),
        "autoencoder + k-means": autoencoder_rows,
        "k-means, one per unit": clustered(peers.kmeans, units=True),
        "diagonal mixture": clustered(peers.diagonal_mixture),
        "backend relevance": clustered(peers.relevances_of_features),
    }
    of_rows: dict[str, Callable[..., IntArray]] = {"k-means": peers.kmeans}
    if len(task.points) <= peers.MOST_POINTS_FOR_WARD:
        of_rows["Ward"] = peers.ward
    if peers.has_umap():
        of_rows["UMAP + mixture"] = peers.umap_mixture
    found |= {name: clustered(cluster) for name, cluster in of_rows.items()}
    if task.params.neighbours_by == "gradients":
        # The model without the gradients, and the gradients without the model.
        by_values = replace(task.params, neighbours_by="values")
        found["SOMRL, neighbours by values"] = trained_rows(by_values)
        for name, cluster in of_rows.items():
            found[f"gradients: {name}"] = clustered(cluster, gradients=True)
    return found


def task_of(path: Path) -> Task:
    """Return what a spec asks for.

    Raises
    ------
    UsageError
        For another backend, or data without labels.
    """
    registry = mf.load_registry()
    spec = load_spec(path, registry=registry)
    if not isinstance(spec.map.with_, SomrlParams):
        raise UsageError(
            f"{path}: map.use: expected the backend 'somrl-autoencoder', got {spec.map.use!r}"
        )
    dataset = load_data(spec, registry).dataset
    if dataset.labels is None:
        raise UsageError(f"{path}: data: expected data with labels, which the scores need")
    points = fit_scaling(dataset.points, spec.data.scaling).to_map(dataset.points)
    labels = np.asarray(dataset.labels)
    return Task(
        points=np.asarray(points),
        labels=labels,
        lattice=spec.map.lattice,
        params=spec.map.with_,
        clusters=np.unique(labels[labels != NOISE]).size,
    )


def measured(
    task: Task, *, seeds: int, only: Sequence[str] | None = None
) -> Iterator[tuple[str, list[Rows]]]:
    """Yield each method's name and its scores, one entry per seed, as they are done."""
    methods = methods_for(task)
    unknown = sorted(set(only or ()) - set(methods))
    if unknown:
        raise UsageError(f"--only: expected some of {', '.join(methods)}; got {unknown[0]!r}")
    for name, method in methods.items():
        if only is None or name in only:
            yield name, [method(task, seed) for seed in range(seeds)]


def tables(results: Mapping[str, Sequence[Rows]]) -> str:
    """Return the results as Markdown: one table per kind of score, mean ± standard deviation."""
    kinds: dict[str, Callable[[str], bool]] = {
        "Units and codes": lambda part: part == "map",
        "Relevances": lambda part: part == "relevances",
        "Walks": lambda part: part.startswith("walk, "),
    }

    def clusters(part: str) -> bool:
        return not any(belongs(part) for belongs in kinds.values())

    parts = []
    for title, belongs in {"Clusters": clusters, **kinds}.items():
        lines = _lines(results, belongs)
        if lines:
            parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _lines(results: Mapping[str, Sequence[Rows]], belongs: Callable[[str], bool]) -> list[str]:
    chosen: list[tuple[str, dict[str, str]]] = []
    for method, runs in results.items():
        for part in runs[0]:
            if part == "training" or not belongs(part):
                continue
            label = method if part in _WHOLE else f"{method}: {part.removeprefix('walk, ')}"
            row = {column: _mean([run[part][column] for run in runs]) for column in runs[0][part]}
            for column in _TIMES:
                row[column] = _mean([run["training"][column] for run in runs], digits=1)
            chosen.append((label, row))
    if not chosen:
        return []
    heads = list(dict.fromkeys(name for _, row in chosen for name in row if name not in _TIMES))
    heads += _TIMES
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for label, row in chosen:
        lines.append(f"| {label} | " + " | ".join(row.get(name, "") for name in heads) + " |")
    return lines


def _mean(values: Sequence[float], *, digits: int = 3) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def machine() -> dict[str, Any]:
    """Return what the times depend on."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m musicfw_torch.evaluate", description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", metavar="METHOD")
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(arguments)
    task = task_of(given.spec)
    results: dict[str, list[Rows]] = {}
    given.out.mkdir(parents=True, exist_ok=True)
    rows, features = task.points.shape
    head = f"{given.spec.name}: {rows} rows of {features} features, {task.clusters} classes, "
    head += f"{task.lattice.units} units, {given.seeds} seeds"
    for name, runs in measured(task, seeds=given.seeds, only=given.only):
        results[name] = runs
        print(f"\n{tables({name: runs})}", flush=True)
        # After every method: a long evaluation that is stopped leaves what it has.
        kept = {"spec": given.spec.name, "machine": machine(), "results": results}
        (given.out / "evaluation.json").write_text(json.dumps(kept, indent=1), "utf-8")
        threads = machine()["threads"]
        text = f"## {head}, {threads} threads\n\n{tables(results)}"
        (given.out / "evaluation.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
