"""Masks that share no pixel: each belongs to one instance.

A part wins over its whole. Otherwise the better score wins, and a part fights others with the
score of its whole where that is higher: who wins over a car wins over its wheels, and only then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.instances import Instances
from perception.masks import mask_to_box, rle_area, rle_to_box, rle_to_mask, window_to_rle
from perception.overlaps import Overlaps
from perception.types import BoolArray, IntArray, Rle


def disjoint(found: Instances, overlaps: Overlaps, order: IntArray) -> tuple[Instances, IntArray]:
    """The instances without the pixels that others win, and which of N they are.

    order: N, as ``duplicates.best_first`` has it. Boxes follow the masks; an instance that loses
    all its pixels is left out. Quality and stability stay what the segmenter said of the mask.
    """
    taken = np.zeros(found.image_hw, np.bool_, order="F")
    alone = np.count_nonzero(overlaps.shared, axis=1) == 1
    rles = list(found.rles)
    for n in _by_claim(found, order):
        if not alone[n]:
            rles[n] = _claim(rles[n], taken)
    boxes = np.array([rle_to_box(rle) for rle in rles], np.float32).reshape(-1, 4)
    kept = np.flatnonzero([rle_area(rle) > 0 for rle in rles])
    return replace(found, rles=tuple(rles), boxes=boxes)[kept], kept


def _by_claim(found: Instances, order: IntArray) -> IntArray:
    """N instances as they take their pixels, first the one that wins over all, as indices."""
    ranks = np.empty(len(found), np.int64)
    ranks[order] = np.arange(len(found))
    claims, depths = ranks.copy(), np.zeros(len(found), np.int64)
    above = np.full(len(found), -1, np.int64) if found.parent is None else found.parent
    at = above
    while (at >= 0).any():
        inner = at >= 0
        claims[inner] = np.minimum(claims[inner], ranks[at[inner]])
        depths += inner
        at = np.where(inner, above[at], -1)
    return np.lexsort((ranks, -depths, claims))


def _claim(rle: Rle, taken: BoolArray) -> Rle:
    """What of a mask isn't taken, H x W; takes it."""
    x0, y0, x1, y1 = rle_to_box(rle).astype(int)
    mine, others = rle_to_mask(rle)[y0:y1, x0:x1], taken[y0:y1, x0:x1]
    free = mine & ~others
    others |= mine
    if np.array_equal(free, mine):
        return rle
    left, top, right, bottom = mask_to_box(free).astype(int)
    return window_to_rle(free[top:bottom, left:right], (x0 + left, y0 + top), rle.size)
