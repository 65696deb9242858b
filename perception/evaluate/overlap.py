"""How far an answer is right: overlap with the truth, where that is known."""

from __future__ import annotations

import numpy as np

from perception.types import BoolArray


def mask_iou(answer: BoolArray, truth: BoolArray, known: BoolArray | None = None) -> float:
    """Intersection over union of two masks H x W; 1 where both are empty.

    known: the pixels that count, H x W (default: all); the others are left out of both.
    """
    if known is not None:
        answer, truth = answer & known, truth & known
    union = int(np.count_nonzero(answer | truth))
    return int(np.count_nonzero(answer & truth)) / union if union else 1.0


def error_masks(
    answer: BoolArray, truth: BoolArray, known: BoolArray | None = None
) -> tuple[BoolArray, BoolArray]:
    """What an answer misses and what it has in excess, both H x W; known as in ``mask_iou``."""
    missed, excess = truth & ~answer, answer & ~truth
    return (missed, excess) if known is None else (missed & known, excess & known)
