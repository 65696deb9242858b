"""Whether an annotation's area is that of its mask.

Run lengths have one area, to the pixel. Polygons have several: inside the outline, with the pixels
on it, and of the pixels drawn; tools round corners as well, so 2 % off one of them is still right.
COCO's own crowd regions, whose area is of an earlier outline, are further off than that.
"""

from __future__ import annotations

from perception.formats.verify.boxes import Fault, as_bbox
from perception.formats.verify.faults import brief
from perception.formats.verify.records import is_number
from perception.formats.verify.segmentation import Mask

_PIXEL = 1.0
_PART_OF_POLYGON = 0.02
_PART_OF_BOX = 0.001


def area_fault(value: object, bbox: object, mask: Mask | None) -> Fault | None:
    """What is wrong with one area: of an annotation with this bbox and mask."""
    if value is None:
        return "area-missing", ""
    if not is_number(value) or value < 0:
        return "area-value", brief(value)
    sides = as_bbox(bbox)
    box_area = None if sides is None else float(sides[2] * sides[3])
    if mask is None:
        return _against_box(value, box_area)
    part = _PART_OF_POLYGON if mask.is_polygons else 0.0
    right = value
    for right in mask.areas():
        if abs(value - right) <= _PIXEL + part * right:
            return None
    details = f"{value:.10g}, the mask's is {right:.10g}"
    if box_area is not None and abs(value - box_area) <= _PIXEL + _PART_OF_BOX * box_area:
        return "area-is-box", details
    return "area-wrong", details


def _against_box(area: float, box_area: float | None) -> Fault | None:
    """Without a mask, an area may be the box's, or that of a mask which was left out."""
    if not box_area or box_area < 0 or area <= box_area * (1 + _PART_OF_POLYGON) + _PIXEL:
        return None
    return "area-beyond-box", f"{area:.10g}, the box's is {box_area:.10g}"
