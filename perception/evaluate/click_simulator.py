"""Where a person would click next: in the middle of the largest part that is still wrong.

The protocol of interactive segmentation (Xu et al., "Deep Interactive Object Selection", 2016; as
in RITM, Sofiiuk et al. 2021, and SimpleClick, Liu et al. 2023): of all pixels that are wrong, the
one farthest from any that is right, measured among those missed and those in excess apart. The
largest part is the one that holds the largest circle. The picture's border counts as right, and so
do pixels that are unknown, and those that were clicked before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perception.evaluate.overlap import error_masks
from perception.masks import mask_to_box
from perception.types import BoolArray


class Click(NamedTuple):
    """A place in pixels, which is a pixel's centre; label: 1 = in the thing, 0 = outside it."""

    x: float
    y: float
    label: int

    @property
    def pixel(self) -> tuple[int, int]:
        """Row and column of the pixel."""
        return int(self.y), int(self.x)


def next_click(
    answer: BoolArray,
    truth: BoolArray,
    known: BoolArray | None = None,
    clicked: tuple[Click, ...] = (),
) -> Click | None:
    """The next click on an answer, H x W, whose truth is H x W; None if nothing is wrong.

    known: the pixels that count, H x W (default: all). A tie is taken for an excess, as RITM does,
    and of places as good as each other it is the first row's, then the first column's.
    """
    missed, excess = error_masks(answer, truth, known)
    for click in clicked:
        missed[click.pixel] = excess[click.pixel] = False
    inside, depth_inside = deepest(missed)
    outside, depth_outside = deepest(excess)
    if max(depth_inside, depth_outside) == 0:
        return None
    (row, column), label = (inside, 1) if depth_inside > depth_outside else (outside, 0)
    return Click(column + 0.5, row + 0.5, label)


def first_click(truth: BoolArray) -> Click:
    """The click in the middle of a thing, H x W, which isn't empty."""
    click = next_click(np.zeros_like(truth), truth)
    if click is None:
        raise ValueError("an empty thing has no middle")
    return click


def deepest(region: BoolArray) -> tuple[tuple[int, int], float]:
    """The pixel (row, column) of a region H x W that is farthest from what isn't, and how far.

    The distance is exact, between the centres of pixels; 0 for an empty region.
    """
    import cv2

    x0, y0, x1, y1 = mask_to_box(region).astype(int)
    if x1 == x0:
        return (0, 0), 0.0
    # Beyond its tight box there is nothing of it: the distances are those of the whole picture.
    part = np.pad(region[y0:y1, x0:x1].astype(np.uint8), 1)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return (int(row) + y0, int(column) + x0), float(distance[row, column])
