"""fastersom: batch epochs in torch."""

import os
from functools import partial

REQUIREMENTS = ["fastersom==0.5.0"]


def batch(X, side, *, epochs, rows=None):
    from fastersom import SOM

    # Its schedule reaches sigma_final one epoch after the last: this one ends with 1.
    last = side / 2 * (2 / side) ** (epochs / (epochs - 1))
    som = SOM(
        side,
        side,
        n_epochs=epochs,
        sigma_initial=side / 2,
        sigma_final=last,
        random_state=0,
        device="cpu",
    )
    return som.fit(X[:rows]).weights_


def prepare(X, side):
    """Import, and hold torch to the threads that all have."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    batch(X[:100], 3, epochs=2)


RUNS = {"batch-10": partial(batch, epochs=10), "8000x15": partial(batch, epochs=15, rows=8000)}
PREPARE = dict.fromkeys(RUNS, prepare)
