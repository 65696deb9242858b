"""The mask of an annotation in a COCO file, as pycocotools draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perception.formats.verify.polygons import Polygons
from perception.formats.verify.segmentation import read_segmentation
from perception.types import Rle


def annotation_mask(annotation: Mapping[str, Any], image_hw: tuple[int, int]) -> Rle | None:
    """Its pixels in a picture of (height, width), perhaps none; None where there is no mask."""
    mask = read_segmentation(annotation.get("segmentation"), image_hw).mask
    if mask is None:
        return None
    if not isinstance(mask.outline, Polygons):
        return Rle(image_hw, mask.outline.counts())
    if not mask.outline.can_be_drawn(image_hw):
        return None
    return Rle(image_hw, mask.outline.drawn(image_hw)["counts"].decode("ascii"))
