"""Pictures as published models take them, and boxes as they give them; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from perception.types import FloatArray, ImageArray

MOST_OBLONG = 32
"""Longer pictures, long side by short, are thickened: resized, they would have too few cells."""


def thickened(image: ImageArray) -> ImageArray:
    """A strip with its short side repeated; boxes are parts of the picture, so they stay right."""
    for axis in (0, 1):
        times = -(-image.shape[1 - axis] // (image.shape[axis] * MOST_OBLONG))
        if times > 1:
            image = np.repeat(image, times, axis=axis)
    return image


def fitted_size(height: int, width: int, *, shortest: int, longest: int) -> tuple[int, int]:
    """The (h, w) with a short side of ``shortest``, or less where the long one would be too long.

    Rounded as DETR's preprocessing rounds, which published models were trained with.
    """
    short, long = min(height, width), max(height, width)
    wanted = float(shortest)
    if long / short * shortest > longest:
        wanted = longest * short / long
    side = shortest if wanted == shortest else round(wanted)
    if short == side:
        return height, width
    other = int(wanted * long / short)
    return (side, other) if height <= width else (other, side)


def fitted_pixels(
    image: ImageArray, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> FloatArray:
    """RGB uint8 H x W x 3 -> 3 x h x w, resized and normalised; mean, std: of values in 0..1."""
    height, width = size
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    scale = 1 / (255 * np.asarray(std, np.float32))
    pixels = resized * scale - np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1))


def to_patches(pixels: FloatArray, side: int) -> tuple[FloatArray, int, int]:
    """Pixels C x H x W -> patches h·w x C·side², padded with zeros, and h and w."""
    channels, height, width = pixels.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = np.pad(
        pixels, ((0, 0), (0, rows * side - height), (0, columns * side - width))
    ).reshape(channels, rows, side, columns, side)
    return padded.transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1), rows, columns


def boxes_in_image(boxes: FloatArray, width: float, height: float) -> FloatArray:
    """Boxes N x 4, cxcywh as parts of a whole of this size -> xyxy in its pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    size = np.array([width, height, width, height], np.float32)
    found = np.concatenate((centre - half, centre + half), axis=1) * size
    return found.astype(np.float32, copy=False)
