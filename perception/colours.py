"""Masks that agree with the colours of the picture.

A small network knows what a thing looks like, but its edges are a little off. The picture knows
better where the colours change: what has a colour that is frequent in a mask and rare around it
belongs to the mask. This is the colour model of GrabCut (Rother et al. 2004), with histograms
instead of Gaussians, and asked softly: by the rule of Bayes, its log-likelihood ratio is added to
the network's log-odds, for each cell of the mask. Then the edges of the mask are drawn to those of
the picture (``guided_filter``).
"""

from __future__ import annotations

import numpy as np

from perception.frame import Frame
from perception.guided_filter import GuidedFilter
from perception.tiles import Tile
from perception.types import FloatArray, ImageArray, IntArray

_BINS = 16
"""Of a histogram along L, a and b each."""

_CHROMA = 96
"""The range of a and of b that is divided into bins, around grey; few colours are stronger."""

_ROUNDS = 2
"""From a mask follow its colours, from them a better mask ..."""

_MOST = 3.0
"""The largest log-likelihood ratio: colours don't outvote a network that is sure."""

_UNSEEN = 2.0
"""How many cells every bin is taken to have more than were seen: rare colours say little."""

_RADII = 32
"""A mask is so many times as wide as a window of the filter is to each side of its middle."""

_LEAST = 1e-4
"""The least probability of a cell, and of its opposite."""


class Colours:
    """What a view of a picture H x W x 3 shows, with which masks h x w in its frame agree.

    What of the view lies beyond the picture has no colours, and its cells stay as they are.
    """

    def __init__(
        self, image: ImageArray, view: Tile, frame: Frame, cells_hw: tuple[int, int]
    ) -> None:
        self._cells = rows, columns = _seen_cells(image, view, frame, cells_hw)
        size = rows.stop - rows.start, columns.stop - columns.start
        self._are_seen = min(size) > 0
        if self._are_seen:
            seen = _shrunk(image, view, size)
            self._bins = colour_bins(seen)
            self._smooth = GuidedFilter(seen, round(cells_hw[1] / _RADII))

    def mend(self, logits: FloatArray) -> FloatArray:
        """The logits of M masks, M x h x w, each mask made to agree with the colours."""
        mended = logits.copy()
        for mask in mended if self._are_seen else ():
            agreed = agreeing(mask[self._cells], self._bins)
            mask[self._cells] = _log_odds(self._smooth(_chance(agreed)))
        return mended


def agreeing(logits: FloatArray, bins: IntArray) -> FloatArray:
    """A mask's logits h x w with what the colours say of it; bins: h x w, see ``colour_bins``."""
    flat = bins.ravel()
    seen = _histogram(flat, np.ones(flat.size, np.float32))
    answer = logits
    for _ in range(_ROUNDS):
        inside = _histogram(flat, _chance(answer).ravel())
        answer = logits + _log_likelihood_ratio(inside, seen - inside)[bins]
    return answer


def colour_bins(image: ImageArray) -> IntArray:
    """The bin of each pixel's colour, H x W, of a picture H x W x 3."""
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int64)
    lightness = lab[..., 0] * _BINS // 256
    chroma = np.clip((lab[..., 1:] - 128 + _CHROMA // 2) * _BINS // _CHROMA, 0, _BINS - 1)
    bins: IntArray = (lightness * _BINS + chroma[..., 0]) * _BINS + chroma[..., 1]
    return bins


def _histogram(bins: IntArray, weights: FloatArray) -> FloatArray:
    """What each bin has; neighbouring bins share it, as noise and shade spread a colour."""
    cube = np.bincount(bins, weights, _BINS**3).astype(np.float32).reshape((_BINS,) * 3)
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
    """Of each bin: how much more frequent its colour is in a mask than around it."""
    unseen = _UNSEEN / float(inside.sum() + around.sum())
    inside, around = (cells / max(float(cells.sum()), 1e-6) + unseen for cells in (inside, around))
    ratio: FloatArray = np.clip(np.log(inside / around), -_MOST, _MOST)
    return ratio


def _chance(logits: FloatArray) -> FloatArray:
    """The probabilities that logits stand for."""
    chance: FloatArray = np.reciprocal(1 + np.exp(-np.clip(logits, -30, 30)))
    return chance


def _log_odds(chance: FloatArray) -> FloatArray:
    """The logits of probabilities, which a filter may have moved beyond 0 and 1."""
    within = np.clip(chance, _LEAST, 1 - _LEAST)
    logits: FloatArray = np.log(within / (1 - within))
    return logits


def _seen_cells(
    image: ImageArray, view: Tile, frame: Frame, cells_hw: tuple[int, int]
) -> tuple[slice, slice]:
    """The rows and columns of cells in which a view shows the picture."""
    seen = view.inside((image.shape[0], image.shape[1]))
    per_pixel = [
        float(ratio) * cells / frame.side
        for ratio, cells in zip(frame.ratio_xy[::-1], cells_hw, strict=True)
    ]
    first = (seen.y0 - view.y0) * per_pixel[0], (seen.x0 - view.x0) * per_pixel[1]
    last = (seen.y1 - view.y0) * per_pixel[0], (seen.x1 - view.x0) * per_pixel[1]
    return slice(round(first[0]), round(last[0])), slice(round(first[1]), round(last[1]))


def _shrunk(image: ImageArray, view: Tile, cells_hw: tuple[int, int]) -> ImageArray:
    """What a view shows of the picture, as many pixels as it has cells."""
    import cv2

    seen = view.inside((image.shape[0], image.shape[1]))
    part = np.ascontiguousarray(image[seen.y0 : seen.y1, seen.x0 : seen.x1])
    how = cv2.INTER_AREA if cells_hw[0] < part.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, cells_hw[::-1], interpolation=how), np.uint8)
