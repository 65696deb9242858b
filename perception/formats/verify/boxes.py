"""Whether an annotation's bbox is a box, in pixels, in the picture, and tight around the mask.

How tight depends on the mask. Around run lengths a box has one right answer, and one that is so
common that it has a name of its own: the last pixel less the first, which is 1 short on each side.
Around polygons the corners' box and the box of the pixels drawn are both right: a sharp tip covers
no pixel. Beyond that, everything off by more than a pixel on some side is reported.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from perception.formats.verify.faults import brief
from perception.formats.verify.records import LONGEST_SIDE, Numbers, is_number, pixels
from perception.formats.verify.segmentation import Mask, Size, are_parts, leaves

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
    """Whether a file's boxes, each with its picture's size, are meant as two corners.

    Nearly all of them make sense so, and a third can't be x, y, width, height, because they would
    leave their pictures.
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
    """A box given by two corners as x, y, width, height; None if that is no box in the picture."""
    first, last = corners[:2], corners[2:]
    bbox: Numbers = np.concatenate([first, last - first])
    return bbox if (last > first).all() and not leaves(bbox, hw) else None


def bbox_fault(
    value: object, mask: Mask | None, hw: Size | None, *, corners: bool = False
) -> Fault | None:
    """What is wrong with one bbox: of an annotation with this mask, in a picture of this size.

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
        return "bbox-normalised", brief(value)
    if corners and known is None:
        return "bbox-xyxy", brief(value)
    if bbox[2:].min() <= 0:
        return "bbox-empty", brief(value)
    return fault or _outside(bbox, hw)


def _outside(bbox: Numbers, hw: Size | None) -> Fault | None:
    if hw is None or not leaves(bbox, hw):
        return None
    return "bbox-outside", f"{_numbers(bbox)} in a picture of {pixels(hw)}"


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
