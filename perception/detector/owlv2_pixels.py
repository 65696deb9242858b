"""OWLv2's preprocessing: a picture in the corner of a black square, blurred and made small.

What transformers does with its square, in the same numbers; but there the blur is a convolution
with a square kernel, which takes seconds for a photograph. Blur and resizing act along each axis by
itself, and both only add up pixels, so that each axis is one matrix. Its columns that would meet
the black of the square are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from perception.boxes import clip_boxes
from perception.detector.fitting import boxes_in_image
from perception.types import FloatArray, ImageArray

ROWS_AT_ONCE = 512
"""Rows of a picture that are floats at a time: memory stays bounded."""


def to_square_pixels(
    image: ImageArray,
    side: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    scale: float = 1 / 255,
) -> FloatArray:
    """RGB picture H x W x 3 -> normalised 3 x S x S, S being ``side``; mean, std: of R G B."""
    height, width = image.shape[:2]
    # The matrix is of a square; the picture is its first rows and columns.
    shrinking = _shrinking(max(height, width), side)
    down, across = shrinking[:, :height], shrinking[:, :width]
    small = np.zeros((3, side, side), np.float32)
    for start in range(0, height, ROWS_AT_ONCE):
        rows = image[start : start + ROWS_AT_ONCE].transpose(2, 0, 1).astype(np.float32)
        small += down[:, start : start + ROWS_AT_ONCE] @ (rows @ across.T)
    shift, spread = (np.array(numbers, np.float32)[:, None, None] for numbers in (mean, std))
    pixels: FloatArray = (small * np.float32(scale) - shift) / spread
    return pixels


def boxes_from_square(boxes: FloatArray, image_hw: tuple[int, int]) -> FloatArray:
    """Boxes N x 4, cxcywh as parts of the square -> xyxy in the picture, which is its corner."""
    side = max(image_hw)
    return clip_boxes(boxes_in_image(boxes, side, side), image_hw)


@lru_cache(maxsize=16)
def _shrinking(side: int, size: int) -> FloatArray:
    """The matrix, size x side, that blurs a line of pixels and resizes it."""
    places = np.clip((np.arange(size) + 0.5) * (side / size) - 0.5, 0, None)
    left = np.minimum(np.floor(places).astype(np.int64), side - 1)
    right = np.minimum(left + 1, side - 1)
    kernel = _blur(side / size)
    reach = len(kernel) // 2
    matrix = np.zeros((size, side))
    for near, share in ((left, 1 - (places - left)), (right, places - left)):
        for step, weight in enumerate(kernel, start=-reach):
            # Beyond an edge the line is read backwards, the edge itself once.
            read = np.abs(near + step)
            read = np.where(read >= side, 2 * (side - 1) - read, read)
            np.add.at(matrix, (np.arange(size), read), share * weight)
    return matrix.astype(np.float32)


def _blur(factor: float) -> FloatArray:
    """A Gaussian as wide as the new pixels are large; one pixel alone where none is made larger."""
    sigma = max(0.0, (factor - 1) / 2)
    if sigma == 0:
        return np.ones(1, np.float32)
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)
