"""Which points of the data are neighbours, and how much: the graph that the codes shall keep.

Each point's k nearest neighbours are weighted as in UMAP (L. McInnes, J. Healy and J. Melville,
arXiv 1802.03426): ``exp(−max(0, d − ρ)/σ)``, ρ the distance to the nearest and σ such that the
weights of a point sum to ``log₂ k``; both directions are joined as ``a + b − ab``. Dense and sparse
regions of the data then count alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from musicfw.arrays import FloatArray, IntArray

# More principal coordinates than this only blur distances between images, and cost time.
_COORDINATES = 64
# Up to so many points all pairs are compared; beyond, those of nearby cells.
_ALL_PAIRS = 20_000
_CELLS_SEARCHED, _CELL_ROUNDS = 24, 5
_BLOCK_ELEMENTS = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighbourGraph:
    """A weighted graph, row by row.

    Parameters
    ----------
    starts : ndarray of int64, shape (N + 1,)
        Edges ``starts[i]`` … ``starts[i + 1]`` are those of point i; each point has some.
    neighbours : ndarray of int64, shape (E,)
        The other end.
    weights : ndarray of float64, shape (E,)
        Greater than 0.
    """

    starts: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]
    weights: FloatArray


def neighbour_graph(points: FloatArray, *, neighbours: int, seed: int) -> NeighbourGraph:
    """Return the graph of the k nearest neighbours of every point.

    Parameters
    ----------
    points : ndarray, shape (N, D)
        At least two. Of more than 64 features the leading 64 principal coordinates count.
    neighbours : int
        k; at most N − 1 are taken.
    seed : int
        Of the cells, which more than 20,000 points are divided into.
    """
    from scipy.sparse import csr_array

    count = points.shape[0]
    k = min(neighbours, count - 1)
    indices, distances = nearest_neighbours(points, neighbours=k, seed=seed)
    weights = _memberships(distances)
    rows = np.repeat(np.arange(count), k)
    directed = csr_array((weights.ravel(), (rows, indices.ravel())), shape=(count, count))
    joined = (directed + directed.T - directed * directed.T).tocsr()
    joined.eliminate_zeros()
    joined.sort_indices()
    return NeighbourGraph(
        starts=joined.indptr.astype(np.int64),
        neighbours=joined.indices.astype(np.int64),
        weights=joined.data.astype(np.float64),
    )


def nearest_neighbours(
    points: FloatArray, *, neighbours: int, seed: int
) -> tuple[IntArray, FloatArray]:
    """Return the nearest neighbours (N, k) of every point, and their Euclidean distances (N, k).

    Exact in the principal coordinates up to 20,000 points. Beyond, points are compared with those
    of their own and the 23 next of about √N cells.
    """
    x = _principal_coordinates(points)
    count = x.shape[0]
    found = torch.empty((count, neighbours), dtype=torch.int64)
    squared = torch.empty((count, neighbours), dtype=x.dtype)
    for rows, candidates in _searches(x, least=neighbours + 1, seed=seed):
        others = x[candidates]
        half = 0.5 * (others * others).sum(dim=1)
        block = max(1, _BLOCK_ELEMENTS // candidates.numel())
        for some in torch.split(rows, block):
            likeness = x[some] @ others.T - half
            likeness[candidates == some[:, None]] = -torch.inf
            best = likeness.topk(neighbours, dim=1).indices
            found[some] = candidates[best]
            squared[some] = (x[some][:, None] - x[found[some]]).square().sum(dim=2)
    order = squared.sort(dim=1, stable=True)
    indices = found.gather(1, order.indices)
    return indices.numpy(), order.values.sqrt().double().numpy()


def _principal_coordinates(points: FloatArray) -> Tensor:
    x = torch.from_numpy(np.asarray(points - points.mean(axis=0), dtype=np.float32))
    if x.shape[1] <= _COORDINATES:
        return x
    vectors: Tensor = torch.linalg.eigh(x.T @ x).eigenvectors
    return x @ vectors[:, -_COORDINATES:]


def _searches(x: Tensor, *, least: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return rows and the rows to compare them with, so that each row is searched once."""
    count = x.shape[0]
    everything = torch.arange(count)
    if count <= _ALL_PAIRS:
        return [(everything, everything)]
    generator = torch.Generator().manual_seed(seed)
    cells = round(count**0.5)
    centres = x[torch.randperm(count, generator=generator)[:cells]]
    for _ in range(_CELL_ROUNDS):
        cell = _nearest(x, centres)
        counts = torch.bincount(cell, minlength=cells).clamp_min(1)[:, None]
        centres = torch.zeros_like(centres).index_add_(0, cell, x) / counts
    cell = _nearest(x, centres)
    sizes = torch.bincount(cell, minlength=cells)
    members = torch.split(cell.argsort(stable=True), sizes.tolist())
    near = torch.cdist(centres, centres).argsort(dim=1, stable=True)
    searches = []
    for number, rows in enumerate(members):
        if not rows.numel():
            continue
        taken = near[number].tolist()
        chosen = [rows, *(members[other] for other in taken[:_CELLS_SEARCHED] if other != number)]
        for other in taken[_CELLS_SEARCHED:]:
            if sum(part.numel() for part in chosen) >= least:
                break
            chosen.append(members[other])
        searches.append((rows, torch.cat(chosen)))
    return searches


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    half = 0.5 * (centres * centres).sum(dim=1)
    return torch.cat([(some @ centres.T - half).argmax(dim=1) for some in torch.split(x, 8192)])


def _memberships(distances: FloatArray) -> FloatArray:
    """Return UMAP's weights (N, k) of neighbours at ascending distances (N, k)."""
    beyond = distances - distances[:, :1]
    wanted = max(np.log2(distances.shape[1]), 1.0)
    scale = float(distances.mean()) or 1.0  # only copies: any scale will do
    low, high = np.full(len(beyond), 1e-3 * scale), np.full(len(beyond), 1e3 * scale)
    for _ in range(48):  # of the factor 10⁶ in σ, down to rounding
        middle = np.sqrt(low * high)
        too_wide = np.exp(-beyond / middle[:, None]).sum(axis=1) > wanted
        high, low = np.where(too_wide, middle, high), np.where(too_wide, low, middle)
    return np.asarray(np.maximum(np.exp(-beyond / high[:, None]), 1e-12))
