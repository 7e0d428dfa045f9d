"""Pictures of what a map's relevances are: in the codes, and in the features behind them.

python -m musicfw_torch.pictures RUN_DIR|MAP.npz --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import musicfw as mf
from musicfw.arrays import FloatArray
from musicfw.embeddings import CheckedEmbedding
from musicfw.errors import UsageError
from musicfw.plot.canvas import png_bytes
from musicfw.store import load_map
from musicfw_torch.embedding import AutoencoderEmbedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PLANES = 12


def feature_relevances(trained: mf.TrainedMap) -> FloatArray:
    """Return how much every feature of the data matters to each unit, shape (M, D).

    ``s_p² Σ_k r_ik (∂f_k / ∂x_p)²`` at the decoded prototype, f the encoder: the diagonal of the
    unit's metric pulled back through it, for a change of feature p by its standard deviation
    ``s_p`` over all decoded prototypes. Every row is scaled to the mean 1. `Codebook.relevances`
    are those of coordinates of the codes, which alone do not tell which pixels they stand for.

    Raises
    ------
    UsageError
        For a map of another backend.
    """
    embedding: Any = trained.embedding
    if isinstance(embedding, CheckedEmbedding):
        embedding = embedding.inner
    if not isinstance(embedding, AutoencoderEmbedding) or trained.codebook.relevances is None:
        raise UsageError(
            "trained: expected a map of the backend 'somrl-autoencoder', got one of "
            f"{trained.backend!r}"
        )
    network = embedding.network
    rows = embedding.decode(trained.codebook.prototypes)
    x = torch.tensor(rows, dtype=network.scale.dtype, requires_grad=True)
    codes = network.encode(x)
    total = torch.zeros_like(x)
    relevances = torch.tensor(trained.codebook.relevances, dtype=x.dtype)
    for k in range(codes.shape[1]):
        # Rows do not mix in the encoder, so the gradient of the sum holds each row's own.
        (slope,) = torch.autograd.grad(codes[:, k].sum(), x, retain_graph=True)
        total += relevances[:, k, None] * slope.square()
    found = total.double().numpy() * rows.var(axis=0)
    return np.asarray(found / np.maximum(found.mean(axis=1, keepdims=True), 1e-300))


def feature_relevance_images(trained: mf.TrainedMap, *, ax: Axes | None = None) -> Axes:
    """Draw `feature_relevances` of every unit as an image at its place; bright matters."""
    from musicfw.plot.maps import lattice_of, prototype_images

    shape = trained.image_shape
    if shape is None:
        raise UsageError("trained: expected a map of images, got one without an image_shape")
    found = feature_relevances(trained)
    # Each on its own scale: within a unit they are to be compared, not between units.
    lattice = lattice_of(trained.codebook)
    ax = prototype_images(
        found / found.max(axis=1, keepdims=True), lattice, image_shape=shape, ax=ax
    )
    ax.set_title("Relevance of each pixel to the unit's distance", fontsize=10)
    return ax


def relevance_planes(trained: mf.TrainedMap, *, figure: Figure | None = None) -> Figure:
    """Draw one map per coordinate of the codes, coloured by the units' relevances."""
    from musicfw.plot.canvas import add_colorbar, draw_cells, new_figure, set_title
    from musicfw.plot.maps import lattice_of

    book = trained.codebook
    lattice, relevances = lattice_of(book), book.relevances
    if relevances is None or relevances.ndim == 1:
        raise UsageError("trained: expected relevances of every unit, got none")
    chosen = np.sort(np.argsort(-relevances.var(axis=0), kind="stable")[:_MOST_PLANES])
    columns = min(5, chosen.size)
    rows = -(-chosen.size // columns)
    figure = new_figure(figure, size=(2.0 * columns, 1.9 * rows + 0.5))
    shown = relevances[:, chosen]
    for place, k in enumerate(chosen):
        ax = figure.add_subplot(rows, columns, place + 1)
        cells = draw_cells(ax, lattice, array=relevances[:, k], cmap="viridis")
        cells.set_clim(float(shown.min()), float(shown.max()))
        ax.set_axis_off()
        add_colorbar(ax, cells, label="")
        set_title(ax, f"coordinate {k}")
    figure.suptitle("Relevances of the codes' coordinates, mean 1 in every unit", fontsize=10)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m musicfw_torch.pictures", description=__doc__)
    parser.add_argument("map", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    given = parser.parse_args(arguments)
    path = given.map / "map.npz" if given.map.is_dir() else given.map
    trained = load_map(path)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "relevance_planes.png").write_bytes(png_bytes(relevance_planes(trained)))
    if trained.image_shape is not None:
        drawn = feature_relevance_images(trained)
        (given.out / "feature_relevances.png").write_bytes(png_bytes(drawn))


if __name__ == "__main__":
    main()
