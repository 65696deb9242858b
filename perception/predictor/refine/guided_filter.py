"""The guided filter (He et al. 2010): a map is smoothed, but keeps the edges of a picture.

In each window the map is taken for a linear function of the picture's colours, found by least
squares; a place has the mean of what the windows around it say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perception.types import FloatArray, ImageArray

EPSILON = 1e-4
"""The variance of colours, each in 0..1, below which a window counts as flat."""


Float = TypeVar("Float", np.float32, np.float64)


class GuidedFilter:
    """Smooths maps h x w as the edges of a picture h x w x 3 have it; one picture, many maps.

    radius: a window is 2 · radius + 1 cells wide.
    """

    def __init__(self, guide: ImageArray, radius: int) -> None:
        self._window = (2 * radius + 1,) * 2
        # Channels first: every operation then runs over one plane. Colours of greys are nearly
        # collinear: single precision would lose their covariances.
        planes = guide.transpose(2, 0, 1) / 255.0
        means = [self._mean(plane) for plane in planes]

        def covariance(i: int, j: int) -> NDArray[np.float64]:
            found: NDArray[np.float64] = self._mean(planes[i] * planes[j]) - means[i] * means[j]
            if i == j:
                found += EPSILON
            return found

        (rr, rg, rb), (gg, gb), (bb,) = ([covariance(i, j) for j in range(i, 3)] for i in range(3))
        # The inverse of a symmetric 3 x 3 matrix for each cell, by its cofactors.
        a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        determinant = rr * a + rg * b + rb * c
        self._inverse = [
            [_single(cofactor / determinant) for cofactor in row]
            for row in ((a, b, c), (b, d, e), (c, e, f))
        ]
        self._guide = [_single(plane) for plane in planes]
        self._means = [_single(mean) for mean in means]

    def __call__(self, values: FloatArray) -> FloatArray:
        """A map h x w of float32, smoothed."""
        mean = self._mean(values)
        covariances = [
            self._mean(plane * values) - own * mean
            for plane, own in zip(self._guide, self._means, strict=True)
        ]
        slopes = [_dot(row, covariances) for row in self._inverse]
        start = mean - _dot(slopes, self._means)
        return self._mean(start) + _dot([self._mean(slope) for slope in slopes], self._guide)

    def _mean(self, values: NDArray[Float]) -> NDArray[Float]:
        """The mean of the window around each cell, what is beyond the edge mirrored."""
        import cv2

        return np.asarray(cv2.blur(values, self._window), values.dtype)


def _single(values: NDArray[np.float64]) -> FloatArray:
    return values.astype(np.float32)


def _dot(some: Sequence[FloatArray], others: Sequence[FloatArray]) -> FloatArray:
    """The dot product of two vectors for each cell, given by their components."""
    total = some[0] * others[0]
    for one, other in zip(some[1:], others[1:], strict=True):
        total += one * other
    return total
