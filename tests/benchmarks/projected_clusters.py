"""Projected clusters and digits with noise features: the backend `relevance` against its peers.

    env OMP_NUM_THREADS=1 python tests/benchmarks/projected_clusters.py [--draws 10] [--stress]

Six kinds of projected clusters (`musicfw.datasets.projected_clusters.draw`: 1600 points, 10
clusters, 9 % noise), a number of draws each from the seeds 1000, 1001, …; temperature, annealing,
candidates and the activation threshold were chosen on draws from the seeds 100 … 121, without the
scores of any other. All methods see the same draws and use one set of options on all of them; none
sees a label. Scores are of the points that are no noise: ARI, subspace CE (1 is best) and relevance
AUC, mean over draws (least in brackets), and seconds a draw on one thread.

Subspaces: for all methods, features above the largest gap of the relevances; those of the peers
that learn none are the entropy law's, of the dispersions within their clusters.

``--stress`` clusters scikit-learn's digits with 64 more features of uniform noise, and digits in
which every class has its own half of the pixels replaced by noise: ACC, NMI and ARI, five seeds.
Relevances are no gain there: the classes do not lie in subspaces of pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

import musicfw as mf
from musicfw.cluster_scores import clustering_scores
from musicfw.datasets.projected_clusters import ProjectedClusters, draw
from musicfw.relevance_scores import relevance_auc, relevant_features, subspace_ce
from musicfw.som.relevance_laws import relevances

COLUMNS = [
    (5, "dense"),
    (10, "dense"),
    (20, "dense"),
    (20, "sparse"),
    (50, "sparse"),
    (100, "sparse"),
]
FIRST_SEED = 1000
CLUSTERS = 10

# A method takes points and a seed, and returns the cluster of every point and the relevances.
Method = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def of_dispersions(variances: np.ndarray) -> np.ndarray:
    return relevances(variances, law="entropy", temperature=0.2, floor=0.001)


def k_means(points: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    found = KMeans(CLUSTERS, n_init=10, random_state=seed).fit_predict(points)
    return found, of_dispersions(
        np.array([points[found == c].var(axis=0) for c in range(CLUSTERS)])
    )


def diagonal_gmm(points: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    mixture = GaussianMixture(CLUSTERS, covariance_type="diag", n_init=10, random_state=seed)
    return mixture.fit_predict(points), of_dispersions(mixture.covariances_)


def backend(*, units: int = CLUSTERS, **options: object) -> Method:
    def method(points: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        lattice = mf.Lattice(rows=1, columns=units)
        som = mf.train(points, lattice=lattice, backend="relevance", seed=seed, **options)
        found, R = som.best_matching_units(points), som.codebook.relevances
        if R is None:
            spread = [points[found == c].var(axis=0) for c in range(CLUSTERS)]
            R = of_dispersions(np.array(spread))
        return found, R

    return method


METHODS: dict[str, Method] = {
    "k-means, 10 starts": k_means,
    "diagonal GMM, 10 starts": diagonal_gmm,
    "r = 1, 20 starts": backend(mode="clusters", law="none"),
    "logistic, 20 starts": backend(mode="clusters", law="logistic"),
    "volume, 20 starts": backend(mode="clusters", law="volume"),
    "entropy, 20 starts": backend(mode="clusters"),
    "entropy, temperature 2": backend(mode="clusters", temperature=2.0),
    "entropy, growing (≤ 30)": backend(mode="growing", units=30),
}


def scores(drawn: ProjectedClusters, method: Method, seed: int) -> tuple[float, ...]:
    started = time.perf_counter()
    found, R = method(drawn.points, seed)
    seconds = time.perf_counter() - started
    known = drawn.components >= 0
    facts = {"components": drawn.components, "clusters": found}
    agreement = clustering_scores(drawn.components[known], found[known])
    return (
        agreement.adjusted_rand_index,
        subspace_ce(relevant_features(R), drawn.relevant, **facts),
        relevance_auc(R, drawn.relevant, **facts),
        float(R.shape[0]),
        seconds,
    )


def projected(draws: int) -> None:
    gains = {}
    for dimension, regime in COLUMNS:
        print(f"\nd = {dimension}, {regime} ({draws} draws)          ARI            CE      AUC")
        seeds = range(FIRST_SEED, FIRST_SEED + draws)
        sets = [draw(np.random.default_rng(s), dimension=dimension, regime=regime) for s in seeds]
        for name, method in METHODS.items():
            table = np.array([scores(d, method, s) for d, s in zip(sets, seeds, strict=True)])
            ari, ce, auc, units, seconds = table.mean(axis=0)
            least = table.min(axis=0)
            print(
                f"  {name:24} {ari:.4f} ({least[0]:.3f})  {ce:.4f} ({least[1]:.3f})  {auc:.3f}  "
                f"{units:.1f} units  {seconds:.2f} s",
                flush=True,
            )
            gains[name] = ari
        gain = gains["entropy, 20 starts"] - gains["r = 1, 20 starts"]
        print(f"  ARI gained by relevances: {gain:.3f}", flush=True)


def noisy_digits(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    digits, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.0, 16.0, digits.shape)
    if kind == "64 more features":
        return np.hstack([digits, noise]) / 16.0, labels
    replaced = np.zeros((10, 64), dtype=bool)
    for row in replaced:
        row[rng.choice(64, 32, replace=False)] = True
    return np.where(replaced[labels], noise, digits) / 16.0, labels


def stress() -> None:
    for kind in ("64 more features", "32 pixels replaced, by class"):
        print(f"\ndigits, {kind}: ACC, NMI, ARI, mean ± standard deviation of 5 seeds")
        for name, method in METHODS.items():
            if "growing" in name:
                continue
            rows = []
            for seed in range(FIRST_SEED, FIRST_SEED + 5):
                points, labels = noisy_digits(kind, seed)
                found = clustering_scores(labels, method(points, seed)[0])
                nmi, ari = found.normalized_mutual_information, found.adjusted_rand_index
                rows.append((found.accuracy, nmi, ari))
            shown = zip(np.mean(rows, axis=0), np.std(rows, axis=0), strict=True)
            print(f"  {name:24} " + "  ".join(f"{m:.3f} ± {s:.3f}" for m, s in shown), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--stress", action="store_true", help="digits with noise instead")
    asked = parser.parse_args()
    stress() if asked.stress else projected(asked.draws)
