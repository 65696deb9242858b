"""What an annotation's segmentation is: polygons, run lengths, nothing, or nothing usable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.coco.lint.faults import brief
from perception.coco.lint.read import LONGEST_SIDE, Numbers, is_int, is_number, pixels
from perception.coco.lint.shapes import (
    Corners,
    Polygons,
    RunLengths,
    RunLengthsError,
    as_corners,
    is_degenerate,
    read_run_lengths,
    text_of_bytes,
)

Size = tuple[int, int]
Faults = list[tuple[str, str]]
"""Codes of faults with their details."""

_SLACK = 0.5  # Pixels by which polygons and boxes may leave the image.
_FEWEST_CORNERS = 3
_SURELY_DRAWN = 2.0  # Square pixels: a polygon with less may cover no pixel's center.


@dataclass(frozen=True)
class Mask:
    """A segmentation that can be worked with. hw: (height, width) of its image, if known."""

    outline: RunLengths | Polygons
    hw: Size | None

    @property
    def is_polygons(self) -> bool:
        """Polygons, not run lengths."""
        return isinstance(self.outline, Polygons)

    def areas(self) -> Iterator[float]:
        """The areas that can be called right, the cheapest first.

        Polygons: inside the outline, which is what COCO writes, with the pixels on it, and of the
        pixels drawn.
        """
        yield self.outline.area
        if isinstance(self.outline, Polygons):
            yield from self.outline.closed_areas()
        yield from (area for area, _ in self._drawn())

    def boxes(self) -> Iterator[Numbers]:
        """The boxes (x, y, width, height) that can be called tight, the cheapest first.

        Polygons: around the corners, which is what COCO writes, those inside the image, and
        around the pixels drawn.
        """
        yield self.outline.bbox
        yield self.bbox
        yield from (bbox for _, bbox in self._drawn())

    @property
    def area(self) -> float:
        """The area to write: of the pixels, if the mask can be drawn and covers any.

        Where polygons overlap or cross themselves, what their outlines hold says too much.
        """
        return next((area for area, _ in self._drawn()), self.outline.area)

    @property
    def bbox(self) -> Numbers:
        """The box to write: tight, half-open, inside the image."""
        x, y, width, height = self.outline.bbox
        if self.hw is None:
            return self.outline.bbox
        x0, x1 = np.clip([x, x + width], 0, self.hw[1])
        y0, y1 = np.clip([y, y + height], 0, self.hw[0])
        return np.array([x0, y0, x1 - x0, y1 - y0])

    def is_empty(self) -> bool:
        """Whether it covers no pixel."""
        if isinstance(self.outline, RunLengths):
            return not self.outline.area
        if self.hw is None or self.outline.area >= _SURELY_DRAWN:
            return False
        return self.outline.can_be_drawn(self.hw) and not next(self._drawn(), None)

    def _drawn(self) -> Iterator[tuple[float, Numbers]]:
        from pycocotools import mask as coco_mask

        if not isinstance(self.outline, Polygons) or self.hw is None:
            return
        if self.outline.can_be_drawn(self.hw):
            code = self.outline.drawn(self.hw)
            area = float(coco_mask.area(code))
            if area:
                yield area, coco_mask.toBbox(code)


@dataclass(frozen=True)
class Segmentation:
    """mask: None where there is none, or none that can be worked with (then there are faults)."""

    mask: Mask | None
    faults: Faults


def read_segmentation(value: object, hw: Size | None) -> Segmentation:
    """An annotation's segmentation in an image of (height, width), None if that isn't known."""
    if is_absent(value):
        return Segmentation(None, [])
    if isinstance(value, dict) and "counts" in value:
        return _read_run_lengths(value, hw)
    if isinstance(value, list):
        return _read_polygons(value, hw)
    return Segmentation(None, [("segmentation-form", brief(value))])


def is_absent(value: object) -> bool:
    """Whether a segmentation says that there is no mask: null, [], {}, [[]]."""
    return value in (None, [], {}, "", [[]])


def polygon_lists(value: list[Any]) -> tuple[list[Any], str]:
    """Polygons as lists of x, y, x, y, ..., and the code of the form that they were in, if bad."""
    if all(is_number(number) for number in value):
        return [value], "polygon-flat"
    if len(value) >= _FEWEST_CORNERS and _are_pairs(value):
        return [_unpacked(value)], "polygon-pairs"
    if all(isinstance(part, list) and part and _are_pairs(part) for part in value):
        return [_unpacked(part) for part in value], "polygon-pairs"
    return value, ""


def read_polygon(numbers: object) -> tuple[Corners | None, str]:
    """One polygon x, y, x, y, ...: its corners and "", or None and the code of what is wrong."""
    corners = as_corners(numbers)
    if corners is None:
        odd = isinstance(numbers, list) and all(map(is_number, numbers)) and len(numbers) % 2
        return None, "polygon-odd" if odd else "polygon-numbers"
    if len(corners) < _FEWEST_CORNERS:
        return None, "polygon-short"
    return (None, "polygon-degenerate") if is_degenerate(corners) else (corners, "")


def _read_polygons(value: list[Any], hw: Size | None) -> Segmentation:
    if not all(isinstance(part, list) or is_number(part) for part in value):
        return Segmentation(None, [("segmentation-form", brief(value))])
    lists, form = polygon_lists(value)
    faults = [(form, brief(value))] if form else []
    parts = [read_polygon(numbers) for numbers in lists]
    faults += [(code, brief(lists[n])) for n, (_, code) in enumerate(parts) if code]
    corners = tuple(part for part, _ in parts if part is not None)
    if len(corners) < len(lists):
        return Segmentation(None, faults)
    if all(map(are_parts, corners)):
        return Segmentation(None, [*faults, ("polygon-normalized", brief(value))])
    polygons = Polygons(corners)
    mask = Mask(polygons, hw)
    if hw is not None and leaves(polygons.bbox, hw):
        faults.append(("polygon-outside", f"{_corners(polygons.bbox)} in {pixels(hw)}"))
    if polygons.breaks_loaders():
        faults.append(("polygon-too-long", f"{polygons.outline_length:,.0f} pixels"))
    elif hw is not None and not polygons.can_be_drawn(hw):
        faults.append(("mask-too-large", brief(value)))
    elif mask.is_empty():
        faults.append(("mask-empty", brief(value)))
    return Segmentation(mask, faults)


def _read_run_lengths(value: Mapping[str, Any], hw: Size | None) -> Segmentation:
    counts, size = value["counts"], value.get("size")
    faults: Faults = []
    inside = text_of_bytes(counts)
    if inside is not None:
        faults.append(("rle-bytes-text", brief(counts)))
        counts = inside
    elif isinstance(counts, list):
        faults.append(("rle-uncompressed", f"{len(counts)} runs"))
    wrong = _size_fault(size, hw)
    if wrong:
        return Segmentation(None, [*faults, wrong])
    try:
        mask = Mask(read_run_lengths(counts, hw or _pair(size)), hw)
    except RunLengthsError as error:
        return Segmentation(None, [*faults, (error.code, str(error))])
    if mask.is_empty():
        faults.append(("mask-empty", f"run lengths {brief(value)}"))
    return Segmentation(mask, faults)


def _size_fault(size: Any, hw: Size | None) -> tuple[str, str] | None:
    sides = size if isinstance(size, list) and all(map(is_int, size)) else []
    if len(sides) != 2 or not 0 < min(sides) <= max(sides) <= LONGEST_SIDE:
        return "rle-size", f"size {brief(size)}"
    if hw is None or tuple(size) == hw:
        return None
    code = "rle-size-swapped" if tuple(size) == hw[::-1] else "rle-size"
    return code, f"size {brief(size)}, the image has height, width {list(hw)}"


def are_parts(numbers: Numbers) -> bool:
    """Whether numbers are parts of an image's sides, 0 to 1, and hardly pixels."""
    inside = ((numbers >= 0) & (numbers <= 1)).all()
    return bool(inside and (numbers % 1 > 0).any())


def leaves(bbox: Numbers, hw: Size) -> bool:
    """Whether a box x, y, width, height leaves an image by more than half a pixel."""
    x, y, width, height = (float(number) for number in bbox)
    return min(x, y) < -_SLACK or x + width > hw[1] + _SLACK or y + height > hw[0] + _SLACK


def _corners(bbox: Numbers) -> str:
    x, y, width, height = (float(number) for number in bbox)
    return f"from {x:g}, {y:g} to {x + width:g}, {y + height:g}"


def _pair(size: Any) -> Size:
    return size[0], size[1]


def _are_pairs(value: list[Any]) -> bool:
    return all(
        isinstance(pair, list) and len(pair) == 2 and is_number(pair[0]) and is_number(pair[1])
        for pair in value
    )


def _unpacked(pairs: list[Any]) -> list[Any]:
    return [number for pair in pairs for number in pair]
