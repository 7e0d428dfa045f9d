"""Inversion of distances with noise: the solvers beside the bound of Cramér and Rao.

    env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/noisy_inversion.py \
        [--fashion /usr/share/datasets/fashion-mnist]

Two maps: 100 random prototypes in 10 dimensions, which place every feature well (condition 2), and
a 14×14 map of scikit-learn's digits without the first 200, which hardly spreads in some directions
(condition 54 000); with --fashion a 20×20 map of Fashion-MNIST too, which spans 399 of 784
dimensions (condition 8e10), with the projections of images on its hull for points. 200 points
each, normal errors with a standard deviation of a share of the distance (relative) or of the median
distance (absolute). Figures are the root mean square distance to the point over the root mean
square distance of points to the centroid; `ridge` and `truncated-svd` have the strength that is
best on these very points, which nobody knows in practice. `maximum-likelihood` is shown with the
weights that it chooses and with equal ones. The bound is that of unbiased estimates of points that
are known to lie in the prototypes' hull: a solver that is drawn to the map can be better.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import musicfw as mf
from musicfw.datasets.idx import read_idx
from musicfw.geometry import centred_system

LEVELS = (1e-6, 1e-4, 1e-2, 1e-1)
ALPHAS = 10.0 ** np.arange(-8, 6)
POINTS = 200
SOLVERS = ("exact", "ridge", "truncated-svd", "maximum-likelihood")


def maps(fashion: Path | None) -> dict[str, tuple[mf.Codebook, np.ndarray]]:
    rng = np.random.default_rng(0)
    X, _ = load_digits(return_X_y=True)
    digits = mf.train(X[POINTS:], lattice=mf.Lattice(rows=14, columns=14), seed=0).codebook
    normal = mf.Codebook(prototypes=rng.normal(size=(100, 10)))
    found = {"normal": (normal, rng.normal(size=(POINTS, 10))), "digits": (digits, X[:POINTS])}
    if fashion is not None:
        images = read_idx(fashion / "train-images-idx3-ubyte.gz", dimensions=3)[: 10_000 + POINTS]
        X = images.reshape(len(images), -1) / 255.0
        lattice = mf.Lattice(rows=20, columns=20)
        book = mf.train(X[POINTS:], lattice=lattice, seed=0, epochs=10).codebook
        points = X[:POINTS]
        found["fashion"] = (book, mf.invert(book, book.squared_distances(points)).points)
    return found


def bound(codebook: mf.Codebook, points: np.ndarray, sd: np.ndarray) -> float:
    """Return the root mean square of the least standard error of every point."""
    system = centred_system(codebook.prototypes)
    squares = []
    for point, of_point in zip(points, sd, strict=True):
        J = 2.0 * (point - codebook.prototypes) @ system.right / of_point[:, np.newaxis]
        squares.append(np.square(1.0 / np.linalg.svd(J, compute_uv=False)).sum())
    return float(np.sqrt(np.mean(squares)))


def main() -> None:
    rng = np.random.default_rng(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--fashion", type=Path)
    for name, (codebook, points) in maps(parser.parse_args().fashion).items():
        spread = points - codebook.prototypes.mean(axis=0)
        unit = np.sqrt(np.square(spread).sum(axis=1).mean())
        clean = codebook.squared_distances(points)
        rank = centred_system(codebook.prototypes).affine_rank
        settings = {
            "exact": [{}],
            "ridge": [{"alpha": float(alpha)} for alpha in ALPHAS],
            "truncated-svd": [{"rank": kept} for kept in range(1, rank + 1)],
            "maximum-likelihood": [{}],
            "with equal weights": [{"errors": "absolute"}],
        }
        print(f"\n{name}: {codebook.units} units, rank {rank}, {codebook.dimension} features")
        print(f"{'errors':>8} {'level':>6} {'bound':>9} " + " ".join(f"{s:>18}" for s in settings))
        for kind in ("relative", "absolute"):
            for level in LEVELS:
                size = clean if kind == "relative" else np.full(clean.shape, np.median(clean))
                noisy = np.abs(clean + level * size * rng.normal(size=clean.shape))
                cells = []
                for column, options in settings.items():
                    solver = column if column in SOLVERS else "maximum-likelihood"
                    started = time.perf_counter()
                    found = [
                        mf.invert(codebook, noisy, solver=solver, **option).points
                        for option in options
                    ]
                    each_ms = 1e3 * (time.perf_counter() - started) / len(options) / POINTS
                    error = min(np.sqrt(np.square(f - points).sum(axis=1).mean()) for f in found)
                    cells.append(f"{error / unit:9.2e} {each_ms:5.2f} ms")
                least = bound(codebook, points, level * size) / unit
                print(f"{kind:>8} {level:6.0e} {least:9.2e} " + " ".join(cells), flush=True)


if __name__ == "__main__":
    main()
