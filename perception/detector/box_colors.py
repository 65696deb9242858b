"""Whether what a box shows has the color that a phrase names: "red car" on photographs.

Each pixel is given a probability of each color by a softmax over a quadratic form of its CIE
L*a*b* values, which ``tools/make_names.py`` fits to the colors of drawn shapes under many lights.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from perception.detector.names import COLORS
from perception.types import FloatArray, ImageArray

SIDE = 224
"""Longest side of the copy of the image whose pixels are looked at."""

MIDDLE = 0.8
"""How much of a box counts along each side, around its center: its corners show what is behind."""

ENOUGH = 0.3
"""The share of a box's middle at which the thing has the color without doubt."""


def lab(rgb: FloatArray) -> FloatArray:
    """sRGB ... x 3 in 0..255 -> CIE L*a*b* (D65) ... x 3, divided by 100."""
    value = np.asarray(rgb, np.float32) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    xyz = linear @ np.array(
        [[0.4339, 0.2126, 0.0178], [0.3762, 0.7152, 0.1095], [0.1899, 0.0722, 0.8727]], np.float32
    )
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    found = np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1) / 100
    return found.astype(np.float32)


def features(rgb: FloatArray) -> FloatArray:
    """sRGB N x 3 -> N x 10: one, L, a, b, their squares and products."""
    one = lab(rgb)
    pairs = [one[:, i] * one[:, j] for i in range(3) for j in range(i, 3)]
    return np.stack([np.ones(len(one), np.float32), *one.T, *pairs], axis=1)


class ColorMap:
    """The colors of one RGB image H x W x 3. weights: 10 x colors, of ``features``."""

    def __init__(self, image: ImageArray, weights: FloatArray) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        logits = features(small.reshape(-1, 3)) @ weights
        each = np.exp(logits - logits.max(1, keepdims=True))
        shares = (each / each.sum(1, keepdims=True)).reshape(size[1], size[0], -1)
        self._sums = np.pad(shares.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))
        self._scale = np.array([size[0] / width, size[1] / height] * 2)
        self._size = size

    def factor(self, boxes: FloatArray, color: str) -> FloatArray:
        """How far boxes N x 4 xyxy of the image have a color of ``COLORS``, 0..1."""
        center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        inner = np.concatenate((center - half * MIDDLE, center + half * MIDDLE), axis=1)
        places = np.round(inner * self._scale).astype(np.int64)
        low = np.clip(places[:, :2], 0, np.array(self._size) - 1)
        high = np.clip(np.maximum(places[:, 2:], low + 1), 1, self._size)
        sums = self._sums[:, :, COLORS.index(color)]
        (x0, y0), (x1, y1) = low.T, high.T
        total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        share = total / ((x1 - x0) * (y1 - y0))
        factor: FloatArray = np.clip(share / ENOUGH, 0, 1).astype(np.float32)
        return factor
