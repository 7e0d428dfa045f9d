"""The data source ``lfw``: Labeled Faces in the Wild, downloaded once by scikit-learn."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from musicfw.api import Dataset, DatasetFactory, param
from musicfw.datasets.sources import missing_package
from musicfw.errors import DataError

__all__ = ["FACTORY", "LfwParams", "LfwSource"]

NETWORK_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LfwParams:
    """Params of ``lfw``."""

    min_faces_per_person: Annotated[int, Ge(0)] = param(
        20, help="Leave out people with fewer images than this."
    )
    resize: Annotated[float, Gt(0)] = param(
        0.4, help="Factor on the 125 × 94 pixels of an image; 0.4 gives 50 × 37."
    )


@dataclass(frozen=True, slots=True)
class LfwSource:
    """Grey faces (0 … 1), labelled by the person's name.

    Source: Huang et al., *Labeled Faces in the Wild*, UMass Amherst TR 07-49, 2007. The first use
    downloads about 200 MB to scikit-learn's data folder (``SCIKIT_LEARN_DATA``); later ones need
    no network.
    """

    params: LfwParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return the faces (N, height · width); no randomness.

        Raises
        ------
        UsageError
            If scikit-learn or Pillow is not installed.
        DataError
            If the images cannot be downloaded, or nobody has enough of them.
        """
        people = _fetched(self.params)
        return Dataset(
            points=people.data,
            labels=np.asarray(people.target_names)[people.target],
            image_shape=people.images.shape[1:],
            description=(
                f"Faces of {len(people.target_names)} people with at least "
                f"{self.params.min_faces_per_person} images each (LFW, by scikit-learn)"
            ),
        )


def _fetched(asked: LfwParams) -> Any:
    try:
        from sklearn.datasets import fetch_lfw_people, get_data_home

        with _impatient():
            return fetch_lfw_people(
                min_faces_per_person=asked.min_faces_per_person,
                resize=asked.resize,
                n_retries=1,
                delay=0.1,
            )
    except ImportError as err:
        raise missing_package("lfw", "scikit-learn and Pillow", err) from err
    except OSError as err:
        raise DataError(
            f"lfw: cannot download the faces ({err}); they are fetched once, about 200 MB, into "
            f"{get_data_home()}: connect to the network or copy that folder from a machine that "
            f"has it, or use 'lfw-subset', which needs no network"
        ) from err
    except ValueError as err:
        if "restrictive" not in str(err):
            raise
        raise DataError(
            f"lfw: expected people with at least {asked.min_faces_per_person} images, and there "
            f"are none; lower min_faces_per_person (the most is 530)"
        ) from err


@contextmanager
def _impatient() -> Iterator[None]:
    """Bound the wait for a silent network, and keep scikit-learn's "retry" warnings quiet.

    Neither scikit-learn nor `urllib.request.urlretrieve` takes a timeout: the default one is what
    there is to set.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(before)


FACTORY = DatasetFactory(
    name="lfw",
    params=LfwParams,
    build=LfwSource,
    summary="Labeled Faces in the Wild by person; downloads 200 MB on first use.",
)
