"""Masks: run lengths, boxes, stability, overlaps, small regions, logits and probabilities.

A mask is a bool array ``H x W`` where a caller needs pixels, and a COCO run-length code (``Rle``)
everywhere else: a thousand masks of a large photo then cost kilobytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perception.imaging.preprocess import Frame
from perception.types import BoolArray, FloatArray, IntArray, Rle


def mask_to_rle(mask: NDArray[Any]) -> Rle:
    """A mask H x W (true or non-zero = inside) as COCO's compressed run lengths."""
    from pycocotools import mask as coco_mask

    if mask.ndim != 2:
        raise ValueError(f"expected one mask of shape H x W, got {mask.shape}")
    height, width = mask.shape
    pixels = np.asfortranarray(mask != 0).view(np.uint8)
    code = coco_mask.encode(pixels)
    return Rle(size=(height, width), counts=code["counts"].decode("ascii"))


def rle_to_mask(rle: Rle) -> BoolArray:
    """The mask H x W that a run-length code stands for; in memory it lies column by column."""
    from pycocotools import mask as coco_mask

    mask: BoolArray = coco_mask.decode(_coco(rle)).view(np.bool_)
    return mask


def rle_area(rle: Rle) -> int:
    """How many pixels are inside."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(_coco(rle)))


def rle_shares(rles: Sequence[Rle]) -> NDArray[np.float64]:
    """How much of each of N masks of one size lies in each other one, N x N in 0..1."""
    from pycocotools import mask as coco_mask

    codes = [_coco(rle) for rle in rles]
    # As a crowd the other mask counts with what it shares, not with its whole area.
    shares = coco_mask.iou(codes, codes, [1] * len(codes))
    return np.asarray(shares, np.float64).reshape(len(codes), len(codes))


def rle_to_box(rle: Rle) -> FloatArray:
    """The tight half-open box of a mask, 4 (xyxy); all zeros for an empty mask."""
    from pycocotools import mask as coco_mask

    x, y, width, height = coco_mask.toBbox(_coco(rle))
    return np.array([x, y, x + width, y + height], np.float32)


def mask_to_box(mask: BoolArray) -> FloatArray:
    """The tight half-open box of a mask H x W, 4 (xyxy); all zeros for an empty mask."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def window_to_rle(pixels: BoolArray, left_top: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """The run-length code of a mask that lies in a window h x w of an image of (H, W).

    left_top: (x, y) of the window's first pixel. The same as ``mask_to_rle`` of the whole image
    with nothing outside the window, without making it.
    """
    from pycocotools import mask as coco_mask

    (x0, y0), (image_h, image_w), (height, width) = left_top, image_hw, pixels.shape
    if not (0 <= x0 <= image_w - width and 0 <= y0 <= image_h - height):
        raise ValueError(f"a window of {pixels.shape} at {left_top} on an image of {image_hw}")
    # One empty pixel before the first column and after each one: every run has both its ends.
    flat = np.zeros(1 + width * (height + 1), np.bool_)
    flat[1:].reshape(width, height + 1)[:, :height] = pixels.T
    ends = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)  # runs x (first, behind the last)
    column = ends[:, :1] // (height + 1)
    ends += (x0 + column) * image_h + y0 - column * (height + 1)
    # A run to the foot of one column goes on at the head of the next: both ends there fall away.
    places = ends.ravel()
    meet = np.flatnonzero(places[1:] == places[:-1])
    places = np.delete(places, np.concatenate([meet, meet + 1]))
    counts = np.diff(places, prepend=0, append=image_h * image_w)
    if len(counts) > 1 and not counts[-1]:
        counts = counts[:-1]
    size = [image_h, image_w]
    code = coco_mask.frPyObjects({"size": size, "counts": counts}, image_h, image_w)
    return Rle(size=(image_h, image_w), counts=code["counts"].decode("ascii"))


def logits_to_rles(logits: FloatArray, frame: Frame) -> tuple[Rle, ...]:
    """Low-resolution logits N x h x w as N run-length codes at the image's full size."""
    found = (cut_out(one, frame, offset=0.0) for one in logits)
    return tuple(window_to_rle(cut.pixels, cut.left_top, frame.image_hw) for cut in found)


class CutOut(NamedTuple):
    """One mask at its image's size, in a window outside which it is empty.

    pixels: h x w; left_top: (x, y) of the first one in the image; stability: as
    ``stability_score`` has it, of the logits at the image's size.
    """

    pixels: BoolArray
    left_top: tuple[int, int]
    stability: float


def cut_out(logits: FloatArray, frame: Frame, *, offset: float = 1.0) -> CutOut:
    """The mask of low-resolution logits h x w; offset: of stability, at least 0."""
    window = frame.window_above(logits, -offset)
    columns = np.empty((window.x1 - window.x0, window.y1 - window.y0), np.bool_)
    inner = outer = 0
    for start, some in frame.logits_to_columns(logits, window):
        np.greater(some, 0, out=columns[start : start + len(some)])
        inner += int(np.count_nonzero(some > offset))
        outer += int(np.count_nonzero(some > -offset))
    return CutOut(columns.T, (window.x0, window.y0), inner / max(outer, 1))


def stability_score(logits: FloatArray, *, offset: float = 1.0) -> FloatArray:
    """How little each of N masks, logits N x h x w, changes with its threshold, N in 0..1.

    The IoU of the mask cut at +offset with the mask cut at -offset (SAM's definition, around a
    threshold of 0). A mask that is empty at both cuts has 0.
    """
    inner = (logits > offset).sum(axis=(1, 2), dtype=np.int64)
    outer = (logits > -offset).sum(axis=(1, 2), dtype=np.int64)
    scores: FloatArray = (inner / np.maximum(outer, 1)).astype(np.float32)
    return scores


def consensus(logits: FloatArray) -> FloatArray:
    """How far a model's masks for one prompt are the same mask, N in 0..1: N prompts' logits.

    logits: N x M x h x w, of M masks each. What all M have in common as a share of what any of them
    has; 1 where all are empty.
    """
    inside = logits > 0
    shared = inside.all(axis=1).sum(axis=(1, 2), dtype=np.int64)
    covered = inside.any(axis=1).sum(axis=(1, 2), dtype=np.int64)
    shares: FloatArray = np.where(covered, shared / np.maximum(covered, 1), 1).astype(np.float32)
    return shares


def _coco(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}


@dataclass(frozen=True, eq=False)
class Overlaps:
    """N masks, pair by pair. areas: N pixels; shared: N x N pixels that both masks have."""

    areas: IntArray
    shared: IntArray

    @classmethod
    def of(cls, rles: Sequence[Rle]) -> Overlaps:
        """Of the masks of one image."""
        areas = np.array([rle_area(rle) for rle in rles], np.int64)
        # A share times its area is a whole number again, whatever the division has rounded.
        shared = np.rint(rle_shares(rles) * areas[:, None]).astype(np.int64)
        return cls(areas, shared)

    def __getitem__(self, index: Any) -> Overlaps:
        """The masks that an index array or a boolean array picks."""
        return Overlaps(self.areas[index], self.shared[index][:, index])

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, N x N; 0 where both masks are empty."""
        union = self.areas[:, None] + self.areas - self.shared
        iou: NDArray[np.float64] = self.shared / np.maximum(union, 1)
        return iou

    @property
    def inside(self) -> NDArray[np.float64]:
        """How much of each mask lies in each other one, N x N in 0..1."""
        return self.shared / np.maximum(self.areas, 1)[:, None]


_WITH_CORNERS = 8
"""Pixels that touch at a corner are of one region."""


def clean_mask(mask: BoolArray, min_area: int) -> BoolArray:
    """The mask H x W with holes filled and loose parts dropped that have fewer pixels than this.

    The largest part stays in any case. Returns ``mask`` itself where there is nothing to do.
    """
    regions, areas = _regions(~mask)
    holes = np.flatnonzero(areas < min_area) + 1
    if len(holes):
        mask = mask | np.isin(regions, holes)
    regions, areas = _regions(mask)
    if not (areas < min_area).any():
        return mask
    kept = np.flatnonzero(areas >= min_area) + 1
    return np.isin(regions, kept if len(kept) else [np.argmax(areas) + 1])


def clean_rle(rle: Rle, box: FloatArray, min_area: int) -> tuple[Rle, FloatArray]:
    """``clean_mask`` on a mask and its tight box, 4 (xyxy); works only around the box.

    Returns ``rle`` itself where there is nothing to do.
    """
    height, width = rle.size
    # So wide a margin, where it isn't cut off by the image's edge, holds min_area pixels along
    # every side: what reaches beyond the window is no small hole.
    margin = max(ceil(sqrt(min_area)), ceil(min_area / min(height, width)))
    left, top = np.maximum(box[:2].astype(int) - margin, 0).tolist()
    right, bottom = np.minimum(box[2:].astype(int) + margin, [width, height]).tolist()
    mask = rle_to_mask(rle)[top:bottom, left:right]
    cleaned = clean_mask(mask, min_area)
    if cleaned is mask:
        return rle, box
    corner = np.array([left, top] * 2, np.float32)
    return window_to_rle(cleaned, (left, top), rle.size), mask_to_box(cleaned) + corner


def _regions(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """The connected regions of a mask H x W, numbered from 1 (0 is outside), and R areas."""
    import cv2

    _, regions, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=_WITH_CORNERS
    )
    return np.asarray(regions), np.asarray(stats[1:, cv2.CC_STAT_AREA], np.int64)


def sigmoid(logits: FloatArray) -> FloatArray:
    """The chances in 0..1 that logits stand for."""
    chances: FloatArray = 0.5 * (1 + np.tanh(0.5 * logits))  # the form that never overflows
    return chances


def logit(chances: FloatArray, *, least: float) -> FloatArray:
    """The log-odds of chances; none, nor its opposite, is taken as less than ``least``."""
    within = np.clip(chances, least, 1 - least)
    logits: FloatArray = np.log(within / (1 - within))
    return logits
