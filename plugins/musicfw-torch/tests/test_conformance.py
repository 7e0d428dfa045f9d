"""The backend passes every check that musicfw has for backends, with a net that is small."""

from __future__ import annotations

from collections.abc import Callable

from musicfw_torch import SOMRL_AUTOENCODER

from musicfw.testing import parametrize_backend

SMALL = {
    "code_dimension": 2,
    "hidden": (8,),
    "epochs": 4,
    "batch_size": 32,
    "neighbours": 4,
    "final_epochs": 2,
}


@parametrize_backend(SOMRL_AUTOENCODER, options=SMALL)
def test_prototypes_that_are_moving_averages(check: Callable[[], None]) -> None:
    check()


@parametrize_backend(SOMRL_AUTOENCODER, options=SMALL | {"prototypes": "gradient"})
def test_prototypes_that_follow_a_gradient(check: Callable[[], None]) -> None:
    check()
