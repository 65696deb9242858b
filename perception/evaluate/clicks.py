"""Interactive segmentation by simulated clicks: how many until a mask is right?

The first click is in the thing's middle, each next one in the middle of the largest part that is
wrong (``click_simulator``); the mask before is fed back. The model's own choice is what a user
sees: of a lone click's three candidates the one that it believes best, from then on its single
mask. The oracle is told which of the masks is best: of the three after the first click, of all four
after each further one. It goes its own way: its choice is fed back, and the next click is made for
it.

NoC@85 is the mean number of clicks to an IoU of 0.85; a thing that never gets there counts with
the most clicks there are, and as a failure.

A click is obeyed if its pixel is in the mask right after a positive one, outside after a negative
one. A further click is harmful if the IoU right after it is lower by more than 0.05.

The protocol of interactive segmentation (Xu et al., "Deep Interactive Object Selection", 2016; as
in RITM, Sofiiuk et al. 2021, and SimpleClick, Liu et al. 2023): of all pixels that are wrong, the
one farthest from any that is right, measured among those missed and those in excess apart. The
largest part is the one that holds the largest circle. The image's border counts as right, and so
do pixels that are unknown, and those that were clicked before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from perception.evaluate.average_precision import error_masks, mask_iou
from perception.evaluate.objects import Thing
from perception.ops.masks import mask_to_box, mask_to_rle
from perception.predictor.predictions import PredictedMask
from perception.predictor.protocol import EncodedImage
from perception.types import BoolArray, Prompt, Rle

MOST = 20
"""Clicks for one thing, as in the literature."""

HARM = 0.05
"""An IoU that is lower by more than this after a click was harmed by it."""

TARGETS = (0.85, 0.90)
"""The IoUs to which clicks are counted."""

Choose = Callable[[Sequence[PredictedMask], BoolArray, BoolArray | None], PredictedMask]
"""Of the masks for some clicks, the truth and what is known of it: which one is taken."""


@dataclass(frozen=True)
class Walk:
    """The clicks for one thing. ious: after 1, 2, ... clicks; first, last: the first and last mask.

    obeyed: whether each click was, right after it. There may be fewer clicks than IoUs: where
    nothing is wrong any more, the IoU stays.
    """

    ious: tuple[float, ...]
    clicks: tuple[Click, ...]
    first: Rle
    last: Rle
    obeyed: tuple[bool, ...] = ()

    def obedience(self, label: int, until: int) -> tuple[bool, ...]:
        """Whether each of the clicks 2 to ``until`` with a label (1 = in, 0 = out) was obeyed."""
        further = zip(self.clicks[1:until], self.obeyed[1:until], strict=True)
        return tuple(obeyed for click, obeyed in further if click.label == label)

    def harmed(self, until: int) -> tuple[bool, ...]:
        """Whether each of the clicks 2 to ``until`` lowered the IoU by more than ``HARM``."""
        ious = self.ious[: min(len(self.clicks), until)]
        return tuple(after < before - HARM for before, after in pairwise(ious))

    def clicks_to(self, target: float) -> int | None:
        """How many clicks it took to reach an IoU; None if it was never reached."""
        return next((n for n, iou in enumerate(self.ious, start=1) if iou >= target), None)

    def to_row(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "ious": list(self.ious),
            "clicks": [list(click) for click in self.clicks],
            "first": self.first.counts,
            "last": self.last.counts,
            "obeyed": list(self.obeyed),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any], image_hw: tuple[int, int]) -> Walk:
        clicks = tuple(Click(*click) for click in row["clicks"])
        first, last = (Rle(image_hw, row[key]) for key in ("first", "last"))
        return cls(tuple(row["ious"]), clicks, first, last, tuple(row["obeyed"]))


def own_choice(
    found: Sequence[PredictedMask], _truth: BoolArray, _known: BoolArray | None
) -> PredictedMask:
    """What a user sees."""
    return found[0]


def oracle_choice(
    found: Sequence[PredictedMask], truth: BoolArray, known: BoolArray | None
) -> PredictedMask:
    """The best one of what a user could choose from; the first of equally good ones."""
    return max(found, key=lambda one: mask_iou(one.mask(), truth, known))


def click_through(
    encoded: EncodedImage, thing: Thing, *, choose: Choose = own_choice, most: int = MOST
) -> Walk:
    """Clicks until nothing is wrong, at most ``most`` times."""
    truth, known = thing.truth, thing.known
    clicks: tuple[Click, ...] = ()
    click: Click | None = first_click(truth)
    ious: list[float] = []
    masks: list[BoolArray] = []
    earlier: PredictedMask | None = None
    obeyed: list[bool] = []
    while click is not None and len(ious) < most:
        clicks = (*clicks, click)
        points = np.array([(click.x, click.y) for click in clicks], np.float32)
        labels = np.array([click.label for click in clicks], np.int64)
        previous = earlier.low_res if earlier else None
        earlier = choose(encoded.predict(Prompt(points, labels), previous), truth, known)
        mask = earlier.mask()
        ious.append(mask_iou(mask, truth, known))
        obeyed.append(bool(mask[click.pixel]) == bool(click.label))
        masks = [*masks[:1], mask]
        click = next_click(mask, truth, known, clicks)
    ious += ious[-1:] * (most - len(ious))
    first, last = mask_to_rle(masks[0]), mask_to_rle(masks[-1])
    return Walk(tuple(ious), clicks, first, last, tuple(obeyed))


class Click(NamedTuple):
    """A place in pixels, which is a pixel's center; label: 1 = in the thing, 0 = outside it."""

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

    The distance is exact, between the centers of pixels; 0 for an empty region.
    """
    import cv2

    x0, y0, x1, y1 = mask_to_box(region).astype(int)
    if x1 == x0:
        return (0, 0), 0.0
    # Beyond its tight box there is nothing of it: the distances are those of the whole image.
    part = np.pad(region[y0:y1, x0:x1].astype(np.uint8), 1)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return (int(row) + y0, int(column) + x0), float(distance[row, column])
