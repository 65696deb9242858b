"""Refinement of low-resolution masks: color model, box prior, guided filter.

The masks of a small network are a little off at their edges. A pixel whose color is frequent inside
a mask and rare around it belongs to the mask. This is the color model of GrabCut (Rother et al.
2004) with histograms in place of Gaussian mixtures; its log-likelihood ratio is added to the
network's logits, cell by cell. A guided filter then moves the edges of the mask to those of the
image (``guided_filter``).

An object hardly reaches beyond its box. A small network forgets that where another object of the
same color continues behind the first one, so the prior is added to its logits: 0 inside the box,
falling linearly outside it, because hand-drawn and detected boxes miss edges by a little.

In each window the map is taken for a linear function of the image's colors, found by least
squares; a place has the mean of what the windows around it say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perception.imaging.preprocess import Frame
from perception.ops.masks import logit, sigmoid
from perception.ops.windows import Tile
from perception.types import FloatArray, ImageArray, IntArray

_BINS = 16
"""Of a histogram along L, a and b each."""

_CHROMA = 96
"""The range of a and of b that is divided into bins, around gray; few colors are stronger."""

_ROUNDS = 2
"""How often the colors are taken from the mask, and the mask from the colors."""

_MAX = 3.0
"""The largest log-likelihood ratio: colors don't outvote a network that is sure."""

_UNSEEN = 2.0
"""Cells that are added to every bin, so that a color seen seldom says little."""

_RADII = 32
"""How many times as wide as the filter's radius all cells are."""

_MIN = 1e-4
"""The least probability of a cell, and of its opposite."""


class ColorModel:
    """The colors of a window of an image H x W x 3, for masks h x w in the window's frame.

    Cells of the window that lie beyond the image have no color and stay as they are.
    """

    def __init__(
        self, image: ImageArray, window: Tile, frame: Frame, cells_hw: tuple[int, int]
    ) -> None:
        shrunk, self._cells = shown_cells(image, window, frame, cells_hw)
        self._has_cells = shrunk.size > 0
        if self._has_cells:
            self._histogram_of = ColorHistogram(shrunk)
            self._smooth = GuidedFilter(shrunk, round(cells_hw[1] / _RADII))

    def refine_masks(self, logits: FloatArray) -> FloatArray:
        """Return the logits of M masks, M x h x w, each made to agree with the colors."""
        refined = logits.copy()
        for mask in refined if self._has_cells else ():
            network = mask[self._cells]
            probability = self._smooth(sigmoid(self._histogram_of.agreeing(network)))
            # The filter may move a probability beyond 0 and 1.
            mask[self._cells] = _without_specks(logit(probability, least=_MIN), network)
        return refined


def _without_specks(refined: FloatArray, network: FloatArray) -> FloatArray:
    """Return refined logits h x w, with the network's own in parts in which it saw nothing.

    Colors move the edges of what a network saw. By themselves they find no further part: another
    thing of that color is another thing. If it saw nothing at all, they have the say.
    """
    import cv2

    seen = refined > 0
    count, parts = cv2.connectedComponents(seen.view(np.uint8), connectivity=8)
    if count <= 2:  # what isn't seen is part 0, so there is one at most
        return refined
    known = np.zeros(count, np.bool_)
    known[parts[seen & (network > 0)]] = True
    return np.where(seen & ~known[parts], network, refined) if known.any() else refined


class ColorHistogram:
    """The colors of an image h x w x 3: the bin of each pixel, and how full all bins are."""

    def __init__(self, image: ImageArray) -> None:
        self._bins = color_bins(image)
        self._everywhere = _histogram(self._bins, np.ones(self._bins.shape, np.float32))

    def agreeing(self, logits: FloatArray) -> FloatArray:
        """A mask's logits h x w with what the colors say of it."""
        answer = logits
        for _ in range(_ROUNDS):
            inside = _histogram(self._bins, sigmoid(answer))
            answer = logits + _log_likelihood_ratio(inside, self._everywhere - inside)[self._bins]
        return answer


def color_bins(image: ImageArray) -> IntArray:
    """The bin of each pixel's color, H x W, of an image H x W x 3."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int64)
    lightness = lab[..., 0] * _BINS // 256
    chroma = np.clip((lab[..., 1:] - 128 + _CHROMA // 2) * _BINS // _CHROMA, 0, _BINS - 1)
    bins: IntArray = (lightness * _BINS + chroma[..., 0]) * _BINS + chroma[..., 1]
    return bins


def _histogram(bins: IntArray, weights: FloatArray) -> FloatArray:
    """What each bin has; neighbouring bins share it, as noise and shade spread a color."""
    counts = np.bincount(bins.ravel(), weights.ravel(), _BINS**3)
    cube = counts.astype(np.float32).reshape((_BINS,) * 3)
    for _ in range(3):  # along each axis; the first one becomes the last one
        cube = np.tensordot(cube, _SHARED, (0, 1))
    return cube.ravel()


def _shared() -> FloatArray:
    """What bin i gets of what is in bin j, along one axis: a Gaussian as wide as a bin."""
    steps = np.subtract.outer(np.arange(_BINS), np.arange(_BINS))
    weights = np.exp(-(steps**2) / 2) * (np.abs(steps) <= 2)
    shares: FloatArray = (weights / weights.sum(axis=0)).astype(np.float32)
    return shares


_SHARED = _shared()


def _log_likelihood_ratio(inside: FloatArray, around: FloatArray) -> FloatArray:
    """Of each bin: how much more frequent its color is in a mask than around it."""
    unseen = _UNSEEN / float(inside.sum() + around.sum())
    inside, around = (cells / max(float(cells.sum()), 1e-6) + unseen for cells in (inside, around))
    ratio: FloatArray = np.clip(np.log(inside / around), -_MAX, _MAX)
    return ratio


def shown_cells(
    image: ImageArray, window: Tile, frame: Frame, cells_hw: tuple[int, int]
) -> tuple[ImageArray, tuple[slice, slice]]:
    """What cells show of an image H x W x 3 in a window, r x c x 3, and which rows and columns."""
    part = window.inside((image.shape[0], image.shape[1]))
    rows, columns = _cells_of(part, window, frame, cells_hw)
    size = columns.stop - columns.start, rows.stop - rows.start
    if min(size) <= 0:
        return np.zeros((0, 0, 3), np.uint8), (rows, columns)
    return _resized(image[part.y0 : part.y1, part.x0 : part.x1], size), (rows, columns)


def _cells_of(
    part: Tile, window: Tile, frame: Frame, cells_hw: tuple[int, int]
) -> tuple[slice, slice]:
    """The rows and columns of cells that a part of a window touches."""
    slices = []
    for first, last, start, pixels, resized, cells in (
        (part.y0, part.y1, window.y0, window.y1 - window.y0, frame.resized_hw[0], cells_hw[0]),
        (part.x0, part.x1, window.x0, window.x1 - window.x0, frame.resized_hw[1], cells_hw[1]),
    ):
        # Exactly, in whole numbers: a cell is frame.side / cells pixels of the model's input.
        low, high = (n * resized * cells for n in (first - start, last - start))
        slices.append(slice(low // (pixels * frame.side), -(-high // (pixels * frame.side))))
    return slices[0], slices[1]


def _resized(pixels: ImageArray, size: tuple[int, int]) -> ImageArray:
    """An image with another (width, height)."""
    import cv2

    how = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=how), np.uint8)


_REACH = 0.15
"""Share of a box's width and height over which the prior falls to its minimum."""

_MAX_PENALTY = 6.0
"""Subtracted from the logits there and farther away."""


def box_logits(boxes: FloatArray, frame: Frame, cells_hw: tuple[int, int]) -> FloatArray:
    """Return the prior of each of N boxes on the cells of its mask, N x h x w, at most 0.

    Args:
        boxes: N x 4 xyxy, in pixels of the image or crop that the frame fits.
        frame: How that image is fitted into the model's input.
        cells_hw: Size of the logits in that frame.
    """
    rows, columns = cells_hw
    scale = np.array([columns, rows] * 2, np.float32) / np.float32(frame.side)
    cells: FloatArray = frame.boxes_to_model(boxes) * scale
    across = _beyond(cells[:, [0, 2]], columns)[:, None, :]  # N x 1 x w
    down = _beyond(cells[:, [1, 3]], rows)[:, :, None]  # N x h x 1
    odds: FloatArray = -_MAX_PENALTY * np.clip(np.maximum(across, down), 0, 1).astype(np.float32)
    return odds


def _beyond(spans: FloatArray, count: int) -> FloatArray:
    """Return how far cell centers lie beyond spans N x 2, as a share of the reach, N x count."""
    middles = np.arange(count, dtype=np.float32) + 0.5
    low, high = spans[:, :1], spans[:, 1:]
    reach = np.maximum((high - low) * _REACH, 1)  # a cell at least: a mask knows no less
    shares: FloatArray = np.maximum(low - middles, middles - high) / reach
    return shares


EPSILON = 1e-4
"""The variance of colors, each in 0..1, below which a window counts as flat."""


Float = TypeVar("Float", np.float32, np.float64)


class GuidedFilter:
    """Smooths maps h x w as the edges of an image h x w x 3 have it; one image, many maps.

    radius: a window is 2 · radius + 1 cells wide.
    """

    def __init__(self, guide: ImageArray, radius: int) -> None:
        self._window = (2 * radius + 1,) * 2
        # Channels first: every operation then runs over one plane. Colors of greys are nearly
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
