"""How far what was found overlaps with what is right, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.evaluate.average_precision import Kind
from perception.evaluate.found import Found
from perception.evaluate.truth import Instance


def pair_ious(found: Sequence[Found], true: Sequence[Instance], kind: Kind) -> NDArray[np.float64]:
    """IoU of N found and M true instances of one picture, N x M in 0..1.

    With a crowd it is the part of what was found that lies in it, as COCO has it.
    """
    from pycocotools import mask as coco_mask

    if not found or not true:
        return np.zeros((len(found), len(true)))
    shapes = [[_shape(one, kind) for one in some] for some in (found, true)]
    ious = coco_mask.iou(*shapes, [int(one.crowd) for one in true])
    # Two empty masks: nothing over nothing.
    return np.nan_to_num(np.asarray(ious, np.float64).reshape(len(found), len(true)))


def _shape(one: Found | Instance, kind: Kind) -> Any:
    if kind == "box":
        return list(one.box)
    if one.mask is None:
        raise ValueError("mask overlap needs masks on both sides")
    return {"size": list(one.mask.size), "counts": one.mask.counts.encode("ascii")}
