"""After the models: what a picture's masks are to one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.disjoint import disjoint as without_overlaps
from perception.duplicates import (
    ANY_CLASS_MASK_IOU,
    SAME_CLASS_MASK_IOU,
    best_first,
    without_duplicates,
)
from perception.instances import Instances
from perception.nesting import nested_in_its_class, parents
from perception.overlaps import Overlaps
from perception.types import IntArray


def settle(
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
        whole = np.flatnonzero(~nested_in_its_class(overlaps, found.class_ids))
        found, kept, overlaps = found[whole], kept[whole], overlaps[whole]
    if disjoint:
        found, left = without_overlaps(found, overlaps, best_first(found, overlaps))
        kept = kept[left]
    return found, kept
