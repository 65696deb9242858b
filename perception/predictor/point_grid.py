"""Where segment-everything asks: a grid of points on the picture and on crops of it."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perception.types import FloatArray


class Crop(NamedTuple):
    """A part of the picture, half-open, in pixels. layer: 0 for the whole picture."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1)."""
        return self[:4]


def point_grid(per_side: int) -> NDArray[np.float64]:
    """per_side x per_side points, N x 2 (x, y) in 0..1, row by row, in the middle of cells."""
    places = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(places, places)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def points_in(grid: NDArray[np.float64], crop: Crop) -> FloatArray:
    """A grid N x 2 in 0..1 as pixels of a crop, N x 2; a 1 is the last place inside."""
    size = np.array([crop.x1 - crop.x0, crop.y1 - crop.y0], np.float32)
    points: FloatArray = np.minimum((grid * size).astype(np.float32), np.nextafter(size, 0))
    return points


def picture_crops(image_hw: tuple[int, int], layers: int, overlap: float) -> list[Crop]:
    """The whole picture, then for each layer n its 2^n x 2^n crops, column by column.

    overlap: of neighbours in layer 1, as a share of the picture's shorter side; it halves with
    every layer. A picture may be too small for all crops: those without a pixel are left out.
    """
    height, width = image_hw
    crops = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        shared = int(overlap * min(height, width) * (2 / count))
        crops += [
            Crop(x0, y0, x1, y1, layer)
            for x0, x1 in _spans(width, count, shared)
            for y0, y1 in _spans(height, count, shared)
        ]
    return crops


def _spans(length: int, count: int, shared: int) -> list[tuple[int, int]]:
    """``count`` equal spans over a length, of which neighbours share some pixels."""
    span = ceil((shared * (count - 1) + length) / count)
    starts = ((span - shared) * n for n in range(count))
    return [(start, min(start + span, length)) for start in starts if start < length]
