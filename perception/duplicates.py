"""Masks that are one thing, seen twice.

Boxes that differ can still give one and the same mask: a box of a part and one of the whole, say.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.instances import Instances
from perception.overlaps import Overlaps
from perception.types import IntArray

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
