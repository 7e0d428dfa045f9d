"""What images show, apart from brightness: where in them edges run in which direction.

Two images of one kind that differ by a stripe, in brightness or by a pixel's shift are far apart
pixel by pixel, and near by this. Nothing is learnt, and no label is needed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from musicfw.arrays import FloatArray
from musicfw_torch.params import SomrlParams

_DIRECTIONS = 8  # of half a turn: dark to bright is the direction of bright to dark
_CELLS = 7  # along a side
_BLUR = 1 / 28  # standard deviation of the Gaussian before differences are taken, in sides
_BLOCK = 4096  # images at a time
_FLAT = 1e-6  # an image that departs less from its mean, relatively, shows rounding only
_TINY = 1e-12


def compared(points: FloatArray, params: SomrlParams) -> FloatArray:
    """Return the rows whose distances decide which points (N, D) are neighbours."""
    if params.neighbours_by == "values":
        return points
    assert params.image_size is not None
    return oriented_gradients(points, image_size=params.image_size)


def oriented_gradients(points: FloatArray, *, image_size: tuple[int, int]) -> FloatArray:
    """Return histograms of oriented gradients, a row of length 1 per image.

    An image is blurred a little; the length of its gradient at every pixel is shared among the two
    nearest of 8 directions and the nearest of 7 × 7 cells, linearly both times; the root of every
    sum is taken, and the row scaled to length 1. Images that differ by a factor, negative or not,
    or by an added constant have the same row, up to rounding. Sources: N. Dalal and B. Triggs,
    "Histograms of oriented gradients for human detection", CVPR 2005; for the root, R. Arandjelović
    and A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012.

    Parameters
    ----------
    points : ndarray, shape (N, height · width)
        Grey values, row by row, in any unit.
    image_size : tuple of int
        Height and width.

    Returns
    -------
    ndarray of float64, shape (N, 8 · cells)
        0 everywhere for an image without edges. A side of fewer than 7 pixels has a cell per pixel.
    """
    sides = [_Side(count) for count in image_size]
    blocks = []
    for start in range(0, points.shape[0], _BLOCK):
        values = torch.tensor(points[start : start + _BLOCK], dtype=torch.float32)
        # Differences of large values round; about the mean they are small.
        images = values - values.mean(dim=1, keepdim=True)
        images[images.abs().amax(dim=1) <= _FLAT * values.abs().amax(dim=1)] = 0.0
        blocks.append(_histograms(images.reshape(-1, *image_size), *sides).numpy())
    return np.concatenate(blocks).astype(np.float64)


class _Side:
    """Matrices that act on one side of an image: they blur, take differences, and sum over cells.

    Parameters
    ----------
    count : int
        Pixels of the side.
    """

    def __init__(self, count: int) -> None:
        place = torch.arange(count, dtype=torch.float32)
        gauss = torch.exp(-0.5 * ((place[:, None] - place) / (_BLUR * count)) ** 2)
        ahead, behind = (place + 1).clamp_max(count - 1).long(), (place - 1).clamp_min(0).long()
        eye = torch.eye(count)
        self.blur = gauss / gauss.sum(dim=1, keepdim=True)
        self.difference = eye[ahead] - eye[behind]
        cells = min(_CELLS, count)
        centres = (torch.arange(cells) + 0.5) * (count / cells) - 0.5
        self.cells = (1.0 - (place - centres[:, None]).abs() * (cells / count)).clamp_min(0.0)


def _histograms(images: Tensor, rows: _Side, columns: _Side) -> Tensor:
    """Return the rows (N, F) of images (N, height, width)."""
    blurred = rows.blur @ images @ columns.blur.T
    down, right = rows.difference @ blurred, blurred @ columns.difference.T
    length = torch.hypot(down, right)
    turn = torch.atan2(down, right) * (_DIRECTIONS / math.pi)
    sums = []
    for direction in range(_DIRECTIONS):
        off = torch.remainder(turn - direction + _DIRECTIONS / 2, _DIRECTIONS) - _DIRECTIONS / 2
        share = length * (1.0 - off.abs()).clamp_min(0.0)
        sums.append(rows.cells @ share @ columns.cells.T)
    roots = torch.stack(sums, dim=1).flatten(1).clamp_min(0.0).sqrt()
    scaled: Tensor = roots / roots.norm(dim=1, keepdim=True).clamp_min(_TINY)
    return scaled
