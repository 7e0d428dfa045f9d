"""Over-sampling of rare classes: none, RandomOverSampler, SMOTE and MusicSampler.

    python tests/benchmarks/augmentation.py

Needs ``pip install 'musicfw[augment]'`` and Fashion-MNIST in /usr/share/datasets/fashion-mnist
(Debian's package dataset-fashion-mnist). Prints Markdown tables; takes a few minutes.

Of ten classes three, drawn by the seed, are made rare: each keeps 1 % or 5 % of the training set.
Digits: a third of the rows is the test split, and the rest, stratified, the training set. Fashion-
MNIST: training rows from the first 30 000 images, test rows from the file of test images. The test
split is never resampled and keeps all classes. Every sampler sees the same rows and has its
defaults.

MusicSampler's defaults were chosen on other data: the last 30 000 training images of Fashion-MNIST
and scikit-learn's make_classification, seeds 100 to 103. Digits took no part in it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from musicfw.augment import MusicSampler
from musicfw.datasets.idx import read_idx

FOLDER = Path("/usr/share/datasets/fashion-mnist")
RARE_CLASSES = 3
SHARES = (0.01, 0.05)
SAMPLERS = {
    "none": None,
    "RandomOverSampler": RandomOverSampler,
    "SMOTE": SMOTE,
    "MusicSampler": MusicSampler,
}
CLASSIFIERS = {
    "LogisticRegression": lambda: LogisticRegression(max_iter=1000),
    "KNeighbors(5)": lambda: KNeighborsClassifier(5),
}


def digits(seed, options):
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16.0, y, test_size=1 / 3, stratify=y, random_state=seed)


def fashion_mnist(seed, options):
    rng = np.random.default_rng(seed)
    parts = []
    for prefix, rows in (("train", 30_000), ("t10k", 10_000)):
        images = read_idx(FOLDER / f"{prefix}-images-idx3-ubyte.gz", dimensions=3)[:rows]
        labels = read_idx(FOLDER / f"{prefix}-labels-idx1-ubyte.gz", dimensions=1)[:rows]
        parts.append((images.reshape(rows, -1), labels.astype(int), rng.permutation(rows)))
    (X, y, order), (X_test, y_test, test_order) = parts
    per_class = [order[y[order] == label][: options.per_class] for label in range(10)]
    train, test = np.concatenate(per_class), test_order[: options.test]
    return X[train] / 255.0, X_test[test] / 255.0, y[train], y_test[test]


DATA = {"digits": digits, "Fashion-MNIST": fashion_mnist}


def made_rare(X, y, rng, share):
    """Return the rows with three classes cut to this share of what remains, and those classes."""
    rare = rng.choice(np.unique(y), RARE_CLASSES, replace=False)
    common = np.count_nonzero(~np.isin(y, rare))
    count = round(share * common / (1 - RARE_CLASSES * share))
    kept = [rng.permutation(np.flatnonzero(y == label))[:count] for label in rare]
    rows = np.concatenate([np.flatnonzero(~np.isin(y, rare)), *kept])
    return X[rows], y[rows], rare, count


def scores(data, share, seed, options):
    """Return {(classifier, sampler): (macro-F1, minority recall)}, seconds and the rare count."""
    X, X_test, y, y_test = DATA[data](seed, options)
    X, y, rare, count = made_rare(X, y, np.random.default_rng(seed), share)
    result, seconds = {}, {}
    for sampler, make in SAMPLERS.items():
        started = time.perf_counter()
        grown = (X, y) if make is None else make(random_state=seed).fit_resample(X, y)
        seconds[sampler] = time.perf_counter() - started
        for classifier, build in CLASSIFIERS.items():
            said = build().fit(*grown).predict(X_test)
            result[classifier, sampler] = 100 * np.array(
                [
                    f1_score(y_test, said, average="macro"),
                    recall_score(y_test, said, labels=rare, average="macro", zero_division=0),
                ]
            )
    return result, seconds, count


def cell(values):
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=200, help="Fashion-MNIST training rows")
    parser.add_argument("--test", type=int, default=2000, help="Fashion-MNIST test rows")
    options = parser.parse_args()
    print(f"Per cent, mean ± sd of {options.seeds} seeds.\n")
    print("| data | rare class | classifier | sampler | macro-F1 | minority recall | seconds |")
    print("|---|---|---|---|---|---|---|")
    differences = []
    for data in DATA:
        for share in SHARES:
            runs = [scores(data, share, seed, options) for seed in range(options.seeds)]
            place = f"{data} | {share:.0%} ({runs[0][2]} rows)"
            for classifier in CLASSIFIERS:
                table = {s: np.array([run[0][classifier, s] for run in runs]) for s in SAMPLERS}
                for sampler, values in table.items():
                    seconds = np.mean([run[1][sampler] for run in runs])
                    print(
                        f"| {place} | {classifier} | {sampler} | {cell(values[:, 0])} | "
                        f"{cell(values[:, 1])} | {seconds:.2f} |",
                        flush=True,
                    )
                differences.append((place, classifier, table["MusicSampler"] - table["SMOTE"]))
    print("\nMusicSampler − SMOTE, seed by seed (and in how many seeds it is above).\n")
    print("| data | rare class | classifier | macro-F1 | minority recall |")
    print("|---|---|---|---|---|")
    for place, classifier, gains in differences:
        cells = [f"{cell(gain)} ({np.count_nonzero(gain > 0)}/{gain.size})" for gain in gains.T]
        print(f"| {place} | {classifier} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
