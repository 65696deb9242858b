"""Small regions of a mask: holes to fill, loose parts to drop."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np

from perception.masks import mask_to_box, rle_to_mask, window_to_rle
from perception.types import BoolArray, FloatArray, IntArray, Rle

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
    # So wide a margin, where it isn't cut off by the picture's edge, holds min_area pixels along
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
