"""Ours: the backend `native`, in the environment that runs the benchmark."""

from functools import partial

import numpy as np

import musicfw as mf

REQUIREMENTS = []


def train(X, side, **params):
    return mf.train(X, lattice=mf.Lattice(rows=side, columns=side), **params).codebook.prototypes


def batch(X, side, **params):
    radii = {"radius_start": side / 2, "radius_decay": "exponential"}
    return train(X, side, mode="batch", epochs=10, **radii, **params)


def prepare(X, side):
    """Import what is imported late."""
    few = np.random.default_rng(0).normal(size=(300, 200)).astype(X.dtype)
    train(few, 3)
    batch(few, 3)


def prepare_compiled(X, side):
    """Load, or compile, the loops for the data's precision too."""
    few = np.random.default_rng(0).normal(size=(300, 2)).astype(X.dtype)
    for dtype in {X.dtype.name, "float32"}:
        batch((few @ few[:2].T.repeat(50, axis=1)), 3, dtype=dtype, search="compiled")


RUNS = {
    "defaults": train,
    "full": partial(train, full_epochs=1),
    "batch-10": batch,
    "batch-10-float32": partial(batch, dtype="float32"),
    "batch-10-compiled": partial(batch, search="compiled"),
    "batch-10-compiled-float32": partial(batch, search="compiled", dtype="float32"),
    "progressive": partial(train, mode="progressive"),
    "online": partial(train, mode="online"),
}
PREPARE = {name: prepare_compiled if "compiled" in name else prepare for name in RUNS}
