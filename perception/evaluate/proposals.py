"""Proposals: how much of what is there does segment-everything find, whatever it is?

AR@K is COCO's average recall: the share of things that one of a picture's K best proposals, by
predicted quality, covers at an IoU of 0.5, 0.55, ... 0.95, averaged over these. Classes don't
count. Crowd regions are no things here: they change no recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.evaluate.average_precision import NOTHING, Kind, Precision, accumulate
from perception.evaluate.found import Found
from perception.evaluate.pair_overlap import pair_ious
from perception.evaluate.things import TruePicture
from perception.evaluate.truth import Category, Instance, Picture, Truth, box_of
from perception.masks import rle_area
from perception.types import Rle

BUDGETS = (10, 100, 1000)
"""How many proposals of a picture count."""

KINDS: tuple[Kind, ...] = ("mask", "box")
_OBJECT = Category(1, "object")


@dataclass(frozen=True)
class ProposedPicture:
    """A picture with its proposals, K by falling quality."""

    picture: TruePicture
    rles: tuple[Rle, ...]
    quality: tuple[float, ...]


def measure_recall(rows: Sequence[ProposedPicture], kind: Kind) -> Precision:
    """Recall with each of ``BUDGETS``: of all things, and by size of the mask."""
    pictures = [
        Picture(n, row.picture.file_name, row.picture.image_hw) for n, row in enumerate(rows)
    ]
    true = [one for n, row in enumerate(rows) for one in _true(row, n)]
    found = [one for n, row in enumerate(rows) for one in _found(row, n)]
    truth = Truth("", tuple(pictures), (_OBJECT,), tuple(true))
    return accumulate(truth, found, kind, most=BUDGETS)


def recall_curve(recalls: Precision, budget: int) -> NDArray[np.float64]:
    """Recall at each of ``average_precision.IOUS``, nan where there is nothing to find."""
    values = recalls.recall[:, 0, 0, recalls.most.index(budget)]
    curve: NDArray[np.float64] = np.where(values > NOTHING, values, np.nan)
    return curve


def best_matches(row: ProposedPicture) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of a picture's N things the proposal that covers it best, and its IoU, both N.

    -1 and 0 where nothing is proposed.
    """
    count = len(row.picture.things)
    if not row.rles:
        return np.full(count, -1, np.int64), np.zeros(count)
    ious = pair_ious(_found(row, 0), _true(row, 0), "mask")  # K x N
    return ious.argmax(axis=0).astype(np.int64), ious.max(axis=0)


def _true(row: ProposedPicture, picture: int) -> list[Instance]:
    return [
        Instance(
            picture, _OBJECT.id, _box(thing.inside), float(rle_area(thing.inside)), thing.inside
        )
        for thing in row.picture.things
    ]


def _found(row: ProposedPicture, picture: int) -> list[Found]:
    return [
        Found(picture, _OBJECT.id, quality, _box(rle), rle)
        for rle, quality in zip(row.rles, row.quality, strict=True)
    ]


def _box(rle: Rle) -> tuple[float, float, float, float]:
    return box_of(None, rle) or (0.0, 0.0, 0.0, 0.0)
