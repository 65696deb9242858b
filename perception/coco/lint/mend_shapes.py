"""Mask, box and area of one annotation, mended where one of them says what another should be."""

from __future__ import annotations

from collections import Counter
from typing import Any

from perception.coco.lint.fields import area_fault, as_bbox, bbox_fault, corners_to_bbox
from perception.coco.lint.read import Numbers, Record
from perception.coco.lint.segmentation import (
    Mask,
    Size,
    are_parts,
    polygon_lists,
    read_polygon,
    read_segmentation,
)
from perception.coco.lint.shapes import RunLengths, RunLengthsError, read_run_lengths, text_of_bytes

_NO_PART = {"polygon-degenerate", "polygon-short"}
# Where a box and its mask don't even touch, either may be right.
_UNCERTAIN = {"bbox-elsewhere"}
_DECIMALS = 2


def is_nothing(annotation: Record, hw: Size | None) -> str:
    """The fault for which an annotation stands for nothing, "" if it stands for something.

    Its mask is lines, points, or run lengths without a pixel, and its box is missing or narrow.
    """
    value, bbox = annotation.get("segmentation"), as_bbox(annotation.get("bbox"))
    if bbox is not None and (are_parts(bbox) or bbox[2:].min() > 1):
        return ""
    if isinstance(value, list) and value:
        codes = {read_polygon(numbers)[1] for numbers in polygon_lists(value)[0]}
        return min(codes) if codes <= _NO_PART else ""
    codes = {code for code, _ in read_segmentation(value, hw).faults}
    return "mask-empty" if "mask-empty" in codes else ""


def mend_shape(
    annotation: Record, hw: Size | None, *, corners: bool, counts: Counter[str]
) -> Record:
    """An annotation whose mask, box and area are mended, in an image of (height, width)."""
    new = dict(annotation)
    if "segmentation" in new:
        new["segmentation"] = _segmentation(new["segmentation"], hw, new.get("bbox"), counts)
    mask = read_segmentation(new.get("segmentation"), hw).mask
    known = mask if mask is not None and not mask.is_empty() else None
    fault = bbox_fault(new.get("bbox"), known, hw, corners=corners)
    bbox = _bbox(new.get("bbox"), fault[0], known, hw) if fault else None
    if fault and bbox is not None:
        new["bbox"] = bbox
        counts[fault[0]] += 1
    wrong = area_fault(new.get("area"), new.get("bbox"), known)
    area = _area(wrong[0], known, as_bbox(new.get("bbox")), hw) if wrong else None
    if wrong and area is not None:
        new["area"] = area
        counts[wrong[0]] += 1
    return new


def _bbox(value: object, code: str, mask: Mask | None, hw: Size | None) -> list[Any] | None:
    """The right box, None if it can't be known."""
    if mask is not None:
        tight = None if code in _UNCERTAIN else mask.bbox
    else:
        given = as_bbox(value)
        xyxy = code == "bbox-xyxy" and given is not None and hw is not None
        tight = corners_to_bbox(given, hw) if xyxy and given is not None and hw else None
    if tight is None:
        return None
    bbox = [_rounded(side) for side in tight]
    # A polygon outside the image has no box in it.
    return bbox if bbox_fault(bbox, mask, hw) is None else None


def _area(
    code: str, mask: Mask | None, bbox: Numbers | None, hw: Size | None
) -> float | int | None:
    """The right area, None if it can't be known."""
    if mask is not None:
        return _rounded(mask.area)
    if bbox is None or code not in ("area-missing", "area-value"):
        return None
    in_order = bbox_fault(bbox.tolist(), None, hw) is None
    return _rounded(float(bbox[2] * bbox[3])) if in_order else None


def _segmentation(value: Any, hw: Size | None, bbox: object, counts: Counter[str]) -> Any:
    if isinstance(value, dict) and "counts" in value:
        return _run_lengths(value, hw, bbox, counts)
    if isinstance(value, list) and value:
        return _polygons(value, counts)
    return value


def _polygons(value: list[Any], counts: Counter[str]) -> list[Any]:
    lists, form = polygon_lists(value)
    codes = [read_polygon(numbers)[1] for numbers in lists]
    if form:
        counts[form] += 1
    if "" not in codes:
        return lists
    counts.update(code for code in codes if code in _NO_PART)
    return [part for part, code in zip(lists, codes, strict=True) if code not in _NO_PART]


def _run_lengths(
    value: dict[str, Any], hw: Size | None, bbox: object, counts: Counter[str]
) -> dict[str, Any]:
    text, size = text_of_bytes(value["counts"]), value.get("size")
    new = value if text is None else {**value, "counts": text}
    if hw is not None and size == [hw[1], hw[0]] and hw[0] != hw[1]:
        new = _turned(new, hw, bbox)
    mask = read_segmentation(new, hw).mask
    if mask is None:
        return value  # Nothing is known to be right in it.
    counts["rle-bytes-text"] += text is not None
    counts["rle-size-swapped"] += new.get("size") != size
    if isinstance(new["counts"], list) and isinstance(mask.outline, RunLengths):
        counts["rle-uncompressed"] += 1
        new = {**new, "counts": mask.outline.counts()}
    return new


def _turned(value: dict[str, Any], hw: Size, bbox: object) -> dict[str, Any]:
    """Run lengths with their size the right way round, if the mask then fits its box."""
    try:
        mask = Mask(read_run_lengths(value["counts"], hw), hw)
    except RunLengthsError:
        return value
    fault = bbox_fault(bbox, mask, hw)
    fits = not mask.is_empty() and (fault is None or fault[0] == "bbox-inclusive")
    return {**value, "size": list(hw)} if fits else value


def _rounded(value: float) -> float | int:
    number = round(float(value), _DECIMALS)
    return int(number) if number.is_integer() else number
