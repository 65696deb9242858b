"""Box arithmetic on ``N x 4`` arrays.

A box is xyxy, float32, in pixels, half-open: its width is x1 - x0. Another layout carries its name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from perception.types import FloatArray, IntArray

_BOXES_AT_ONCE = 256
"""Boxes that are compared with all others at once: thousands make no large array."""


def as_boxes(boxes: ArrayLike) -> FloatArray:
    """Any sequence of four-number boxes as N x 4; an empty one as 0 x 4."""
    array = np.asarray(boxes, np.float32)
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"expected boxes of shape N x 4, got {array.shape}")
    return array


def box_area(boxes: ArrayLike) -> FloatArray:
    """Area of each box N x 4, N; a box turned inside out has none."""
    x0, y0, x1, y1 = as_boxes(boxes).T
    area: FloatArray = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    return area


def box_iou(boxes: ArrayLike, others: ArrayLike) -> FloatArray:
    """Intersection over union of boxes N x 4 with others M x 4, N x M; 0 where both are empty."""
    ours, theirs = as_boxes(boxes), as_boxes(others)
    x0, y0, x1, y1 = ours.T[:, :, None]
    width = np.minimum(x1, theirs[:, 2]) - np.maximum(x0, theirs[:, 0])
    height = np.minimum(y1, theirs[:, 3]) - np.maximum(y0, theirs[:, 1])
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    union = box_area(ours)[:, None] + box_area(theirs) - overlap
    iou: FloatArray = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return iou


def clip_boxes(boxes: ArrayLike, image_hw: tuple[int, int]) -> FloatArray:
    """Boxes N x 4 cut at the edges of an image of (height, width)."""
    height, width = image_hw
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(as_boxes(boxes), 0, limits)


def xyxy_to_xywh(boxes: ArrayLike) -> FloatArray:
    """Corner boxes N x 4 as left, top, width, height (COCO's layout)."""
    x0, y0, x1, y1 = as_boxes(boxes).T
    return np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)


def xywh_to_xyxy(boxes: ArrayLike) -> FloatArray:
    """Left, top, width, height N x 4 as corner boxes."""
    x, y, width, height = as_boxes(boxes).T
    return np.stack([x, y, x + width, y + height], axis=1)


def xyxy_to_cxcywh(boxes: ArrayLike) -> FloatArray:
    """Corner boxes N x 4 as center x, center y, width, height."""
    x0, y0, x1, y1 = as_boxes(boxes).T
    return np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], axis=1)


def cxcywh_to_xyxy(boxes: ArrayLike) -> FloatArray:
    """Centre x, center y, width, height N x 4 as corner boxes."""
    cx, cy, width, height = as_boxes(boxes).T
    return np.stack(
        [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2],
        axis=1,
    )


def nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    class_ids: ArrayLike | None = None,
    *,
    iou_threshold: float = 0.5,
) -> IntArray:
    """Greedy non-maximum suppression: the indices to keep, by falling score.

    boxes: N x 4; scores: N; class_ids: N, and boxes of different classes never suppress each
    other (default: one class). Of two boxes whose IoU is above ``iou_threshold`` the one with the
    higher score stays; equal scores keep their order.
    """
    array = as_boxes(boxes)
    order = np.argsort(-np.asarray(scores, np.float32).reshape(-1), kind="stable")
    classes = np.zeros(len(array), np.int64) if class_ids is None else np.asarray(class_ids)
    if not len(order) == len(array) == len(classes):
        raise ValueError(
            f"{len(array)} boxes need as many scores and class ids, "
            f"got {len(order)} and {len(classes)}"
        )
    kept: list[int] = []
    while len(order):
        block = order[:_BOXES_AT_ONCE]
        beaten = box_iou(array[block], array[order]) > iou_threshold
        beaten &= classes[block, None] == classes[order]
        left = np.ones(len(order), np.bool_)
        for n, index in enumerate(block):
            if left[n]:
                kept.append(int(index))
                left[n + 1 :] &= ~beaten[n, n + 1 :]
        order = order[len(block) :][left[len(block) :]]
    return np.array(kept, np.int64)


class BoxMeans:
    """Means of an array H x W or H x W x C over boxes, from its summed-area table (Crow 1984)."""

    def __init__(self, values: FloatArray) -> None:
        edges = [(1, 0), (1, 0), *[(0, 0)] * (values.ndim - 2)]
        self._sums = np.pad(values.cumsum(0).cumsum(1), edges)

    def __call__(self, low: IntArray, high: IntArray) -> FloatArray:
        """Return the means, N or N x C, from corners N x 2 (x, y) to others, which are outside."""
        (x0, y0), (x1, y1) = low.T, high.T
        sums = self._sums
        total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        area = (x1 - x0) * (y1 - y0)
        means: FloatArray = total / area.reshape(-1, *[1] * (total.ndim - 1))
        return means
