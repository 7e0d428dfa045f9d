"""Make every picture of this site: ``python docs/make_images.py [NAME …]``.

Three come from the runs of two examples, the others from the code below; about half a minute.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_wine

import musicfw as mf
from musicfw import plot
from musicfw.plot.canvas import draw_cells

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"


@contextmanager
def run_of(example: str) -> Iterator[Path]:
    """Give the figures of an example's run."""
    with tempfile.TemporaryDirectory() as folder:
        result = mf.run(EXAMPLES / example, out=Path(folder) / "run")
        yield result.directory / "figures"


def from_runs() -> dict[str, bytes]:
    """Return the pictures that reports of the examples hold."""
    wanted = {
        "digits.yaml": {
            "digits-strips": "path_strips_music-0-to-6",
            "digits-inversion": "inversion_exact",
        },
        "gaussian-mixture.yaml": {"mixture-paths": "paths_in_plane_music"},
    }
    found = {}
    for example, pictures in wanted.items():
        with run_of(example) as figures:
            for name, figure in pictures.items():
                found[name] = (figures / f"{figure}.png").read_bytes()
    return found


def digits_map() -> tuple[np.ndarray, np.ndarray, mf.TrainedMap]:
    """Return the map of the quick start and its data."""
    X, y = load_digits(return_X_y=True)
    lattice = mf.Lattice(rows=14, columns=14, topology="hexagonal")
    trained = mf.train(X[200:], lattice=lattice, labels=y[200:], image_shape=(8, 8), seed=0)
    return X, y, trained


def side_by_side(*draw: Callable[..., object], size: tuple[float, float]) -> bytes:
    """Return a row of axes, drawn by one function each."""
    figure = Figure(figsize=size, layout="constrained")
    for ax, each in zip(figure.subplots(1, len(draw)), draw, strict=True):
        each(ax=ax)
    return plot.png_bytes(figure, dpi=110)


def digits_map_picture() -> bytes:
    """Return the labels and the U-matrix of the map of the quick start."""
    _, _, trained = digits_map()
    book = trained.codebook
    assert book.labels is not None
    assert book.lattice is not None
    return side_by_side(
        lambda ax: plot.label_map(book.labels, book.lattice, ax=ax),
        lambda ax: plot.u_matrix(book, ax=ax),
        size=(11, 4.6),
    )


def digits_prototypes() -> bytes:
    """Return the prototypes of the map of the quick start."""
    _, _, trained = digits_map()
    book = trained.codebook
    assert book.lattice is not None
    drawn = plot.prototype_images(book.prototypes, book.lattice, image_shape=(8, 8))
    return plot.png_bytes(drawn, dpi=90)


def digits_path_on_map() -> bytes:
    """Return the ways of five digits to the threes, over the map."""
    X, _, trained = digits_map()
    path = mf.steer(trained, X[:5], target=mf.Target.label("3"), steps=60)
    return plot.png_bytes(plot.paths_on_map({"music": path}), dpi=100)


def wine_map() -> tuple[np.ndarray, np.ndarray, list[str], mf.TrainedMap]:
    """Return the map of the how-to pages on tables, and its data."""
    data = load_wine()
    names = [str(name) for name in data.feature_names]
    lattice = mf.Lattice(rows=6, columns=8)
    trained = mf.train(
        data.data,
        lattice=lattice,
        labels=data.target_names[data.target],
        scaling="standard",
        feature_names=names,
        seed=0,
    )
    return data.data, data.target, names, trained


def wine_changes() -> bytes:
    """Return what changes in a wine of class_0 that becomes one of class_1, alcohol frozen."""
    X, y, names, trained = wine_map()
    path = mf.steer(
        trained,
        X[y == 0][:20],
        target=mf.Target.label("class_1"),
        until="arrived",
        frozen=["alcohol"],
        lower=0.0,
    )
    return plot.png_bytes(plot.feature_changes({"music": path}, feature_names=names), dpi=100)


def wine_planes() -> bytes:
    """Return the component planes of the wines' map."""
    _, _, names, trained = wine_map()
    return plot.png_bytes(
        plot.component_planes(trained.codebook, scaling=trained.scaling, feature_names=names),
        dpi=80,
    )


def lattices() -> bytes:
    """Return the neighbourhoods of one unit on the lattices that there are."""
    shapes: list[dict[str, Any]] = [
        {"topology": "rectangular"},
        {"topology": "hexagonal"},
        {"topology": "hexagonal", "cylindrical": True},
        {"topology": "hexagonal", "toroidal": True},
    ]
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    for ax, options in zip(figure.subplots(2, 2).flat, shapes, strict=True):
        lattice = mf.Lattice(rows=8, columns=10, **options)
        weight = np.exp(-lattice.squared_distances()[lattice.unit(1, 1)] / (2 * 2.0**2))
        drawn = draw_cells(ax, lattice, array=weight, cmap="Blues", edgecolors="0.8")
        drawn.set_clim(0.0, 1.0)
        joined = "" if lattice.borders == "planar" else f", {lattice.borders}"
        ax.set_title(f"{lattice.topology}{joined}")
    return plot.png_bytes(figure, dpi=110)


def condition_and_error() -> bytes:
    """Return how the error of an exact inversion grows with the condition of the map."""
    rng = np.random.default_rng(0)
    conditions = np.logspace(0, 8, 17)
    errors = []
    for condition in conditions:
        spread = np.logspace(0, -np.log10(condition), 10)
        book = mf.Codebook(prototypes=rng.normal(size=(60, 10)) * spread)
        X = rng.normal(size=(50, 10)) * spread
        found = mf.invert(book, book.squared_distances(X)).points
        errors.append(float(np.abs(found - X).max()))
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.subplots()
    ax.loglog(conditions, errors, "o-", label="largest error")
    ax.loglog(
        conditions, 2.2e-16 * conditions, ":", color="0.4", label="machine precision × condition"
    )
    ax.set_xlabel("condition of the map, about")
    ax.set_ylabel("error of the recovered points")
    ax.legend(frameon=False)
    return plot.png_bytes(figure, dpi=110)


def relevances() -> bytes:
    """Return the relevances that the page on relevance learns."""
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 200)
    X = rng.uniform(size=(600, 8))
    for group, features in enumerate([[0, 1], [2, 3], [4, 5]]):
        X[np.ix_(groups == group, features)] = 0.5 + 0.02 * rng.normal(size=(200, 2))
    line = mf.Lattice(rows=1, columns=3)
    found = mf.train(X, lattice=line, backend="relevance", mode="clusters", seed=0)
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    ax = figure.subplots()
    drawn = ax.imshow(found.codebook.relevances, cmap="Blues", vmin=0.0)
    ax.set_xlabel("feature")
    ax.set_ylabel("unit")
    ax.set_yticks(range(3))
    figure.colorbar(drawn, label="relevance", shrink=0.8)
    return plot.png_bytes(figure, dpi=110)


PICTURES: dict[str, Callable[[], bytes]] = {
    "digits-map": digits_map_picture,
    "digits-prototypes": digits_prototypes,
    "digits-path-on-map": digits_path_on_map,
    "wine-changes": wine_changes,
    "wine-planes": wine_planes,
    "lattices": lattices,
    "condition-and-error": condition_and_error,
    "relevances": relevances,
}
FROM_RUNS = ("digits-strips", "digits-inversion", "mixture-paths")


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    made = {name: draw() for name, draw in PICTURES.items() if not names or name in names}
    if not names or set(names) & set(FROM_RUNS):
        made |= from_runs()
    for name, picture in made.items():
        path = HERE / "images" / f"{name}.png"
        path.write_bytes(picture)
        print(f"{path}  {len(picture) // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
