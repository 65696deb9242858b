"""Polygons that nobody has checked, before pycocotools sees them.

pycocotools writes beyond its memory for a polygon without corners, takes one of four numbers for a
box, and needs memory in proportion to the outline's length, however far outside the picture it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perception.formats.verify.records import Numbers
from perception.formats.verify.run_lengths import MOST_PIXELS

Corners = Numbers
"""One polygon, K x 2 (x, y)."""

# It walks in steps of a fifth of a pixel: this is a quarter of a gigabyte.
_LONGEST_OUTLINE = 2e6
# And this is more than loaders bear: at 1e8 pixels pycocotools takes 4 to 17 GB.
_BREAKING_OUTLINE = 1e7
# And counts these steps in 32 bits.
_FARTHEST = 1e8
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Polygons:
    """The union of one or more polygons. parts: each K x 2, at least three corners."""

    parts: tuple[Corners, ...]

    @cached_property
    def area(self) -> float:
        """The areas inside the outlines, added up: what COCO itself writes."""
        return float(sum(abs(_twice_area(corners)) / 2 for corners in self.parts))

    @cached_property
    def bbox(self) -> Numbers:
        """The box around the corners, x, y, width, height: what COCO itself writes."""
        corners = np.concatenate(self.parts)
        first, last = corners.min(axis=0), corners.max(axis=0)
        bbox: Numbers = np.concatenate([first, last - first])
        return bbox

    def closed_areas(self) -> Iterator[float]:
        """The area with the pixels on the outlines, if all corners are whole numbers.

        OpenCV's contours run through the centres of a mask's outermost pixels, which many tools
        write as polygons, beside the area of the mask: half a pixel more on all sides (Pick).
        """
        if all((corners % 1 == 0).all() for corners in self.parts):
            outlines = (np.abs(_steps(corners)).max(axis=1).sum() for corners in self.parts)
            yield self.area + sum(float(outline) / 2 + 1 for outline in outlines)

    @cached_property
    def outline_length(self) -> float:
        """The length of all outlines in pixels, along x and along y (the L1 norm)."""
        return sum(float(np.abs(_steps(corners)).sum()) for corners in self.parts)

    def can_be_drawn(self, hw: tuple[int, int]) -> bool:
        """Whether pycocotools can draw them in a picture of (height, width) in modest memory."""
        return hw[0] * hw[1] <= MOST_PIXELS and self.outline_length <= _LONGEST_OUTLINE

    def breaks_loaders(self) -> bool:
        """Return whether drawing them takes pycocotools gigabytes, in an image of any size."""
        return self.outline_length > _BREAKING_OUTLINE

    def drawn(self, hw: tuple[int, int]) -> Any:
        """The mask in a picture of (height, width), as pycocotools' run lengths."""
        from pycocotools import mask as coco_mask

        return coco_mask.merge(
            coco_mask.frPyObjects([corners.ravel().tolist() for corners in self.parts], *hw)
        )


def as_corners(numbers: object) -> Corners | None:
    """One polygon's x, y, x, y, ... as K x 2; None if they aren't pairs of numbers of pixels."""
    try:
        array = np.asarray(numbers)
    except (ValueError, OverflowError):
        return None  # Lists of several lengths.
    if array.ndim != 1 or array.dtype.kind not in "iuf" or len(array) % 2:
        return None
    corners: Corners = array.astype(np.float64).reshape(-1, 2)
    return corners if (np.abs(corners) <= _FARTHEST).all() else None  # NaN isn't, either.


def is_degenerate(corners: Corners) -> bool:
    """Whether all corners lie on one line or in one point."""
    # Not by the area: an outline that crosses itself may have none in sum, and yet be drawn.
    away = corners - corners[0]
    line = away[np.abs(away).sum(axis=1).argmax()]
    across = np.abs(away[:, 0] * line[1] - away[:, 1] * line[0])
    return bool(across.max() <= _ROUNDING * np.dot(line, line))


def _twice_area(corners: Corners) -> float:
    # From its own corner, so that places far away don't cost digits.
    x, y = (corners - corners[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def _steps(corners: Corners) -> Corners:
    steps: Corners = corners - np.roll(corners, 1, axis=0)
    return steps
