"""Checks of bounding boxes, areas and categories.

How tight depends on the mask. Around run lengths a box has one right answer, and one that is so
common that it has a name of its own: the last pixel less the first, which is 1 short on each side.
Around polygons the corners' box and the box of the pixels drawn are both right: a sharp tip covers
no pixel. Beyond that, everything off by more than a pixel on some side is reported.

Run lengths have one area, to the pixel. Polygons have several: inside the outline, with the pixels
on it, and of the pixels drawn; tools round corners as well, so 2 % off one of them is still right.
COCO's own crowd regions, whose area is of an earlier outline, are further off than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from perception.coco.lint.faults import Findings, brief
from perception.coco.lint.read import (
    LONGEST_SIDE,
    Key,
    Numbers,
    Placed,
    Record,
    as_key,
    is_int,
    is_number,
    pixels,
    shown,
)
from perception.coco.lint.segmentation import Mask, Size, are_parts, leaves

_TIGHT = 1.0 + 1e-3  # Pixels; boxes are often rounded to two decimals.
_NEARLY_ALL = 0.95
_TOO_MANY_OUTSIDE = 1 / 3
_FEWEST = 3

Fault = tuple[str, str]
"""A fault's code and its details."""


def as_bbox(value: object) -> Numbers | None:
    """Four numbers that can be pixels as an array; None for anything else."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        return None
    bbox = np.array(value, np.float64)
    return bbox if np.abs(bbox).max() <= LONGEST_SIDE else None


def are_corners(boxes: Iterable[tuple[Numbers, Size]]) -> bool:
    """Whether a file's boxes, each with its image's size, are meant as two corners.

    Nearly all of them make sense so, and a third can't be x, y, width, height, because they would
    leave their images.
    """
    rows = [(*bbox, *hw) for bbox, hw in boxes]
    if len(rows) < _FEWEST:
        return False
    table = np.array(rows, np.float64)
    first, last, picture = table[:, :2], table[:, 2:4], table[:, 5:3:-1]  # each N x 2 (x, y)
    corners = ((first >= -0.5) & (last > first) & (last <= picture + 0.5)).all(axis=1)
    too_far = (first + last > picture + 0.5).any(axis=1)
    return bool(corners.mean() >= _NEARLY_ALL and too_far.mean() >= _TOO_MANY_OUTSIDE)


def corners_to_bbox(corners: Numbers, hw: Size) -> Numbers | None:
    """A box given by two corners as x, y, width, height; None if that is no box in the image."""
    first, last = corners[:2], corners[2:]
    bbox: Numbers = np.concatenate([first, last - first])
    return bbox if (last > first).all() and not leaves(bbox, hw) else None


def bbox_fault(
    value: object, mask: Mask | None, hw: Size | None, *, corners: bool = False
) -> Fault | None:
    """What is wrong with one bbox: of an annotation with this mask, in an image of this size.

    corners: boxes without a mask are two corners in this file; of others, the mask tells.
    """
    if value is None:
        return "bbox-missing", ""
    bbox = as_bbox(value)
    if bbox is None:
        return "bbox-form", brief(value)
    known = mask if mask is not None and not mask.is_empty() else None
    fault = None if known is None else _against_mask(bbox, known)
    if bbox[2:].min() > 0 and known is not None and fault is None:
        return _outside(bbox, hw)
    if are_parts(bbox):
        return "bbox-normalized", brief(value)
    if corners and known is None:
        return "bbox-xyxy", brief(value)
    if bbox[2:].min() <= 0:
        return "bbox-empty", brief(value)
    return fault or _outside(bbox, hw)


def _outside(bbox: Numbers, hw: Size | None) -> Fault | None:
    if hw is None or not leaves(bbox, hw):
        return None
    return "bbox-outside", f"{_numbers(bbox)} in an image of {pixels(hw)}"


def _against_mask(bbox: Numbers, mask: Mask) -> Fault | None:
    """What is wrong with a box around this mask, which isn't empty."""
    right = mask.bbox
    if not mask.is_polygons and np.array_equal(bbox, right - (0, 0, 1, 1)):
        code = "bbox-inclusive"
    elif any(np.abs(_corners(bbox) - _corners(box)).max() <= _TIGHT for box in mask.boxes()):
        return None
    elif np.abs(bbox - _corners(right)).max() <= _TIGHT:
        code = "bbox-xyxy"
    else:
        code = "bbox-elsewhere" if _are_apart(bbox, right) else "bbox-not-tight"
    return code, f"{_numbers(bbox)}, the mask's is {_numbers(right)}"


def _are_apart(bbox: Numbers, other: Numbers) -> bool:
    """Whether two boxes x, y, width, height with an inside don't touch."""
    ours, theirs = _corners(bbox), _corners(other)
    apart = np.maximum(ours[:2], theirs[:2]) >= np.minimum(ours[2:], theirs[2:])
    return bool(bbox[2:].min() > 0 and apart.any())


def _corners(bbox: Numbers) -> Numbers:
    corners: Numbers = np.concatenate([bbox[:2], bbox[:2] + bbox[2:]])
    return corners


def _numbers(bbox: Numbers) -> str:
    return "[" + ", ".join(f"{number:.10g}" for number in bbox) + "]"


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


_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


def check_classes(findings: Findings, categories: Sequence[Placed]) -> None:
    """Checks the names of the classes."""
    first: dict[str, Placed] = {}
    alike: dict[str, Placed] = {}
    for one in categories:
        place, category = one
        name = category.get("name")
        if not isinstance(name, str) or not name.strip():
            findings.add("category-name-missing", place, shown(category, "name"))
            continue
        folded = " ".join(name.casefold().split())
        if first.setdefault(name, one) is not one:
            findings.add("category-name-duplicate", place, f"{brief(name)}, as {first[name].place}")
        elif alike.setdefault(folded, one) is not one:
            other = alike[folded]
            detail = f"{brief(name)}, and {brief(other.record['name'])} of {other.place}"
            findings.add("category-name-similar", place, detail)


def check_negatives(
    findings: Findings,
    images: Sequence[Placed],
    annotations: Sequence[Placed],
    categories: Mapping[Key, Placed],
) -> None:
    """Checks LVIS's fields: classes that an image doesn't hold, or of which it doesn't show all.

    categories: by their ids.
    """
    lists = [one for one in images if any(field in one.record for field in _LISTS)]
    annotated = _annotated(annotations) if lists else {}
    for place, image in lists:
        for field in _LISTS:
            ids = image.get(field, [])
            if not isinstance(ids, list) or not all(map(is_int, ids)):
                findings.add("negative-form", place, shown(image, field))
                continue
            unknown = [n for n in ids if n not in categories]
            if unknown:
                findings.add("negative-unknown", place, f"{field} {brief(unknown)}")
            found = annotated.get(as_key(image.get("id")), set()).intersection(ids)
            if found and field == "neg_category_ids":
                findings.add("negative-annotated", place, _names(sorted(found), categories))


def _annotated(annotations: Sequence[Placed]) -> dict[Key | None, set[Key]]:
    """The classes that are annotated in each image, by ids."""
    found: dict[Key | None, set[Key]] = {}
    for _, annotation in annotations:
        category = as_key(annotation.get("category_id"))
        if category is not None:
            found.setdefault(as_key(annotation.get("image_id")), set()).add(category)
    return found


def _names(ids: Sequence[Key], categories: Mapping[Key, Placed]) -> str:
    records: list[Record] = [categories[n].record if n in categories else {} for n in ids]
    return ", ".join(
        f"{n} {brief(record.get('name'))}" for n, record in zip(ids, records, strict=True)
    )
