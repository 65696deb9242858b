"""Masks: run lengths, boxes, stability.

A mask is a bool array ``H x W`` where a caller needs pixels, and a COCO run-length code (``Rle``)
everywhere else: a thousand masks of a large photo then cost kilobytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame
from perception.types import BoolArray, FloatArray, Rle


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


def logits_to_rles(logits: FloatArray, frame: Frame) -> tuple[Rle, ...]:
    """Low-resolution logits N x h x w as N run-length codes at the picture's full size.

    Only one full-size mask exists at a time.
    """
    # The code runs down the columns. Making each mask lying on its side spares turning it, which
    # would take twice as long as all the rest.
    turned = Frame((frame.image_hw[1], frame.image_hw[0]), frame.side)
    return tuple(mask_to_rle((turned.logits_to_image(one.T) > 0).T) for one in logits)


def stability_score(logits: FloatArray, *, offset: float = 1.0) -> FloatArray:
    """How little each of N masks, logits N x h x w, changes with its threshold, N in 0..1.

    The IoU of the mask cut at +offset with the mask cut at -offset (SAM's definition, around a
    threshold of 0). A mask that is empty at both cuts has 0.
    """
    inner = (logits > offset).sum(axis=(1, 2), dtype=np.int64)
    outer = (logits > -offset).sum(axis=(1, 2), dtype=np.int64)
    scores: FloatArray = (inner / np.maximum(outer, 1)).astype(np.float32)
    return scores


def _coco(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}
