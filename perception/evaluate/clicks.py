"""Interactive segmentation: how many clicks until a mask is right?

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
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from perception.evaluate.click_simulator import Click, first_click, next_click
from perception.evaluate.overlap import mask_iou
from perception.evaluate.things import Thing
from perception.masks import mask_to_rle
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
