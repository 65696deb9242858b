"""The guided filter (He et al. 2010): a map is smoothed, but keeps the edges of a picture.

In each window the map is taken for a linear function of the picture's colours, found by least
squares; a place has the mean of what the windows around it say.
"""

from __future__ import annotations

import numpy as np

from perception.types import FloatArray, ImageArray

EPSILON = 1e-4
"""The variance of colours, each in 0..1, below which a window counts as flat."""


class GuidedFilter:
    """Smooths maps h x w as the edges of a picture h x w x 3 have it; one picture, many maps.

    radius: a window is 2 · radius + 1 cells wide.
    """

    def __init__(self, guide: ImageArray, radius: int) -> None:
        self._window = (2 * radius + 1,) * 2
        # Channels first: every operation then runs over one plane.
        self._guide = guide.transpose(2, 0, 1).astype(np.float32) / 255
        self._means = [self._mean(channel) for channel in self._guide]
        (rr, rg, rb), (gg, gb), (bb,) = (
            [self._covariance(i, j) for j in range(i, 3)] for i in range(3)
        )
        # The inverse of a symmetric 3 x 3 matrix for each cell, by its cofactors.
        a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
        d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
        determinant = rr * a + rg * b + rb * c
        rows = (a, b, c), (b, d, e), (c, e, f)
        self._inverse = [[cofactor / determinant for cofactor in row] for row in rows]

    def _covariance(self, i: int, j: int) -> FloatArray:
        """Of two channels in each window; a variance with ``EPSILON`` more."""
        found = self._mean(self._guide[i] * self._guide[j]) - self._means[i] * self._means[j]
        return found + np.float32(EPSILON) if i == j else found

    def __call__(self, values: FloatArray) -> FloatArray:
        """A map h x w of float32, smoothed."""
        mean = self._mean(values)
        with_values = [
            self._mean(channel * values) - own * mean
            for channel, own in zip(self._guide, self._means, strict=True)
        ]
        slopes = [
            sum(n * covariance for n, covariance in zip(row, with_values, strict=True))
            for row in self._inverse
        ]
        start = mean - sum(slope * own for slope, own in zip(slopes, self._means, strict=True))
        smooth = self._mean(start)
        for slope, channel in zip(slopes, self._guide, strict=True):
            smooth += self._mean(slope) * channel
        return smooth

    def _mean(self, values: FloatArray) -> FloatArray:
        """The mean of the window around each cell, what is beyond the edge mirrored."""
        import cv2

        return np.asarray(cv2.blur(values, self._window), np.float32)
