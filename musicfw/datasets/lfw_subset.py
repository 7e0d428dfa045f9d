"""The data source ``lfw-subset``: small faces that come with scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from musicfw.api import Dataset, DatasetFactory, param
from musicfw.datasets.sources import missing_package
from musicfw.errors import DataError

__all__ = ["FACTORY", "LfwSubsetParams", "LfwSubsetSource"]

# The file's layout is documented in skimage.data.lfw_subset.
FACES = 100
SHAPE = (200, 25, 25)


@dataclass(frozen=True, slots=True, kw_only=True)
class LfwSubsetParams:
    """Params of ``lfw-subset``."""

    non_faces: bool = param(
        False, help="Whether to add the 100 images without a face, labelled 'other'."
    )


@dataclass(frozen=True, slots=True)
class LfwSubsetSource:
    """100 grey faces of 25 × 25 pixels (0 … 1), labelled ``face``, from the folder of scikit-image.

    Source: Huang et al., *Labeled Faces in the Wild*, UMass Amherst TR 07-49, 2007; the subset is
    scikit-image's. The file is read where the package lies: nothing is downloaded.
    """

    params: LfwSubsetParams

    def load(self, rng: np.random.Generator) -> Dataset:
        """Return 100 × 625 faces, or 200 × 625 with the images without a face; no randomness.

        Raises
        ------
        UsageError
            If scikit-image is not installed.
        DataError
            If the installed scikit-image does not hold the file.
        """
        images = np.load(_installed_file(), allow_pickle=False)
        if images.shape != SHAPE:
            raise DataError(
                f"lfw-subset: expected scikit-image's images of shape {SHAPE}, got {images.shape}"
            )
        count = len(images) if self.params.non_faces else FACES
        return Dataset(
            points=images[:count].reshape(count, -1),
            labels=np.where(np.arange(count) < FACES, "face", "other"),
            image_shape=SHAPE[1:],
            description="Faces of 25 × 25 pixels of 0 … 1 (scikit-image's subset of LFW)",
        )


def _installed_file() -> Path:
    # Not imported: skimage.data would try to download a file that it does not find.
    package = find_spec("skimage")
    if package is None or package.origin is None:
        absent = ImportError("no module named 'skimage'")
        raise missing_package("lfw-subset", "scikit-image", absent)
    path = Path(package.origin).parent / "data" / "lfw_subset.npy"
    if not path.is_file():
        raise DataError(
            f"lfw-subset: expected scikit-image to hold {path}, and it does not; "
            f"pip install --upgrade scikit-image"
        )
    return path


FACTORY = DatasetFactory(
    name="lfw-subset",
    params=LfwSubsetParams,
    build=LfwSubsetSource,
    summary="100 faces of 25 × 25 pixels; comes with scikit-image, needs no network.",
)
