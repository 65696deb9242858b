"""Postprocessing: duplicates, containment and mask priority among the masks of one image.

Boxes that differ can still give one and the same mask: a box of a part and one of the whole, say.

A part wins over its whole. Otherwise the better score wins, and a part fights others with the
score of its whole where that is higher: who wins over a car wins over its wheels, and only then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.instances import Instances
from perception.ops.masks import (
    Overlaps,
    mask_to_box,
    rle_area,
    rle_to_box,
    rle_to_mask,
    window_to_rle,
)
from perception.types import BoolArray, IntArray, Rle

SAME_CLASS_MASK_IOU = 0.7
"""Masks of one class that overlap further than this are one thing, and the better score stays."""

ANY_CLASS_MASK_IOU = 0.9
"""Masks of two classes that overlap further than this are one thing, and the better label stays."""


def best_first(found: Instances, overlaps: Overlaps) -> IntArray:
    """N instances by falling score, as indices.

    Of equal scores the better mask, then the larger one comes first, and so on: their order in
    ``found`` never matters.
    """
    quality = found.scores if found.quality is None else found.quality
    phrases = found.class_ids if found.prompt_ids is None else found.prompt_ids
    keys = [
        (-score, -good, -area, class_id, phrase, rle.counts)
        for score, good, area, class_id, phrase, rle in zip(
            found.scores.tolist(),
            quality.tolist(),
            overlaps.areas.tolist(),
            found.class_ids.tolist(),
            phrases.tolist(),
            found.rles,
            strict=True,
        )
    ]
    return np.array(sorted(range(len(found)), key=keys.__getitem__), np.int64)


def without_duplicates(
    found: Instances,
    overlaps: Overlaps,
    order: IntArray,
    *,
    same_class_iou: float = SAME_CLASS_MASK_IOU,
    any_class_iou: float = ANY_CLASS_MASK_IOU,
) -> tuple[Instances, IntArray]:
    """The instances of which no better one is the same thing, and which of N they are.

    order: N, as ``best_first`` has it. Greedy like box NMS, so that a higher threshold gives the
    same for what is above it. The class that a better label displaces becomes its runner-up where
    that scores higher than the one it had.
    """
    one_class = found.class_ids[:, None] == found.class_ids
    same = overlaps.iou > np.where(one_class, same_class_iou, any_class_iou)
    stays_for = np.full(len(found), -1, np.int64)
    for n in order:
        if stays_for[n] < 0:
            stays_for[same[n] & (stays_for < 0)] = n
            stays_for[n] = n
    kept = np.flatnonzero(stays_for == np.arange(len(found)))
    return _with_runners_up(found, stays_for)[kept], kept


def _with_runners_up(found: Instances, stays_for: IntArray) -> Instances:
    """The instances; each knows the best class that it displaced. stays_for: N, by whom."""
    if found.runner_up is None or found.margin is None:
        return found
    runner_up, margin = found.runner_up.copy(), found.margin.copy()
    for loser in np.flatnonzero(found.class_ids[stays_for] != found.class_ids):
        winner = stays_for[loser]
        gap, class_id = found.scores[winner] - found.scores[loser], found.class_ids[loser]
        # Of equal scores the class that was asked for first.
        if (gap, class_id) < (margin[winner], runner_up[winner]):
            runner_up[winner], margin[winner] = class_id, gap
    return replace(found, runner_up=runner_up, margin=margin)


NESTED = 0.9
"""A mask of which at least this much lies in a larger one is a part of it, 0..1."""


def holders(overlaps: Overlaps) -> BoolArray:
    """Whether a mask of N (the row) is a part of another (the column), N x N."""
    larger: BoolArray = overlaps.areas > overlaps.areas[:, None]
    return larger & (overlaps.inside >= NESTED)


def parents(overlaps: Overlaps, order: IntArray) -> IntArray:
    """The smallest mask that each of N masks is a part of, N; -1 where there is none.

    order: N, which of masks of one size is taken. A parent is larger than its part, so there are
    no rings.
    """
    count = len(overlaps.areas)
    if not count:
        return np.zeros(0, np.int64)
    holds = holders(overlaps)
    smallest_first = order[np.argsort(overlaps.areas[order], kind="stable")]
    first = holds[:, smallest_first].argmax(axis=1)
    found: IntArray = np.where(holds.any(axis=1), smallest_first[first], -1)
    return found


def contained_in_class(overlaps: Overlaps, class_ids: IntArray) -> BoolArray:
    """Whether each of N masks is a part of a larger one of its class, N."""
    nested: BoolArray = (holders(overlaps) & (class_ids[:, None] == class_ids)).any(axis=1)
    return nested


def without_overlaps(
    found: Instances, overlaps: Overlaps, order: IntArray
) -> tuple[Instances, IntArray]:
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


def postprocess_masks(
    found: Instances,
    *,
    same_class_iou: float = SAME_CLASS_MASK_IOU,
    any_class_iou: float = ANY_CLASS_MASK_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
) -> tuple[Instances, IntArray]:
    """The instances without masks that repeat a better one, and which of N they are.

    Each that is left has the parent of which it is a part. same_class_iou: beyond it masks of one
    class are one thing; any_class_iou: beyond it, or beyond the other if that is more, those of two
    classes; drop_nested: leave out what is a part of a larger mask of its class; disjoint: each
    pixel belongs to one instance. Boxes without masks are returned as they are.
    """
    if len(found.rles) != len(found):
        return found, np.arange(len(found))
    overlaps = Overlaps.of(found.rles)
    found, kept = without_duplicates(
        found,
        overlaps,
        best_first(found, overlaps),
        same_class_iou=same_class_iou,
        any_class_iou=max(same_class_iou, any_class_iou),
    )
    overlaps = overlaps[kept]
    order = best_first(found, overlaps)
    found = replace(found, parent=parents(overlaps, order))
    if drop_nested:
        whole = np.flatnonzero(~contained_in_class(overlaps, found.class_ids))
        found, kept, overlaps = found[whole], kept[whole], overlaps[whole]
    if disjoint:
        found, left = without_overlaps(found, overlaps, best_first(found, overlaps))
        kept = kept[left]
    return found, kept
