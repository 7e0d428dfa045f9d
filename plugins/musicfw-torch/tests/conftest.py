from __future__ import annotations

import numpy as np
import pytest
import torch

import musicfw as mf


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Four well separated groups in 12 features, 40 points each."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(4, 12)) * 6.0
    labels = np.repeat(np.arange(4), 40)
    return centres[labels] + rng.normal(size=(160, 12)), labels


@pytest.fixture(scope="session")
def small() -> dict[str, object]:
    """Options of a training that takes half a second."""
    return {"code_dimension": 4, "hidden": (16,), "epochs": 12, "batch_size": 32, "neighbours": 8}


@pytest.fixture(scope="session")
def trained(blobs: tuple[np.ndarray, np.ndarray], small: dict[str, object]) -> mf.TrainedMap:
    points, labels = blobs
    lattice = mf.Lattice(rows=5, columns=4)
    return mf.train(points, lattice=lattice, backend="somrl-autoencoder", labels=labels, **small)
