"""Masks from boxes: around the thing to the pixel, and as a person or a detector would draw them.

A jittered box has each of its sides moved by a part of the box's width or height that is drawn
evenly from -0.1 to 0.1, then is cut at the picture's edges. The draws follow from a fixed seed, the
picture's name and the thing's id: they are the same whatever else is measured, and in which order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.boxes import as_boxes, clip_boxes
from perception.evaluate.box_masks import BoxMasks
from perception.evaluate.overlap import mask_iou
from perception.evaluate.things import Thing, TruePicture
from perception.masks import mask_to_rle
from perception.types import BoolArray, FloatArray, ImageArray, Rle

JITTER = 0.1
"""By how much of a box's width or height a side is moved at most."""
DRAWS = 3
"""Jittered boxes of each thing: their IoUs are averaged."""
SEED = 0


@dataclass(frozen=True)
class BoxedThing:
    """One thing's IoUs. tight, jittered: of the answerer's own choice, the second a mean.

    oracle, oracle_jittered: of its best mask; box: of the tight box itself, taken for a mask;
    answer: the mask for the tight box. Where nothing was jittered, these figures are None.
    """

    picture: TruePicture
    thing: Thing
    tight: float
    jittered: float | None
    oracle: float
    oracle_jittered: float | None
    box: float
    answer: Rle


def jittered_boxes(
    box: FloatArray, image_hw: tuple[int, int], key: str, *, draws: int = DRAWS, seed: int = SEED
) -> FloatArray:
    """A box, 4, as ``draws`` boxes that are a little off, draws x 4; each has a pixel at least.

    key: what the draws follow from, beside the seed.
    """
    digest = hashlib.blake2b(f"{seed} {key}".encode("utf-8", "backslashreplace"), digest_size=8)
    draw = np.random.default_rng(int.from_bytes(digest.digest(), "big"))
    width, height = box[2] - box[0], box[3] - box[1]
    moves = draw.uniform(-JITTER, JITTER, (draws, 4)) * np.array([width, height] * 2)
    moved = clip_boxes(box + moves, image_hw)
    # A thing of a pixel or two at the edge could lose its box.
    too_thin = (moved[:, 2:] - moved[:, :2] < 1).any(axis=1)
    moved[too_thin] = box
    return as_boxes(moved)


def answer_boxes(
    answerer: BoxMasks,
    image: ImageArray,
    picture: TruePicture,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> list[dict[str, Any]]:
    """The IoUs of a picture's things, as plain values; draws: jittered boxes of each, perhaps 0."""
    boxes = []
    for thing in picture.things:
        key = f"{picture.file_name} {thing.id}"
        jittered = jittered_boxes(thing.box, picture.image_hw, key, draws=draws, seed=seed)
        boxes += [thing.box[None], jittered]
    answers = answerer.masks(image, np.concatenate(boxes))
    return [_row(thing, [next(answers) for _ in range(1 + draws)]) for thing in picture.things]


def _row(thing: Thing, answers: Sequence[BoolArray]) -> dict[str, Any]:
    """answers: for the tight box and the jittered ones, each M x H x W."""
    truth, known = thing.truth, thing.known
    ious = [[mask_iou(mask, truth, known) for mask in masks] for masks in answers]
    x0, y0, x1, y1 = thing.box.astype(int)
    filled = np.zeros_like(truth)
    filled[y0:y1, x0:x1] = True
    return {
        "tight": ious[0][0],
        "jittered": _mean([one[0] for one in ious[1:]]),
        "oracle": max(ious[0]),
        "oracle_jittered": _mean([max(one) for one in ious[1:]]),
        "box": mask_iou(filled, truth, known),
        "answer": mask_to_rle(answers[0][0]).counts,
    }


def _mean(ious: Sequence[float]) -> float | None:
    return float(np.mean(ious)) if ious else None


def boxed_things(picture: TruePicture, rows: Sequence[dict[str, Any]]) -> list[BoxedThing]:
    """What ``answer_boxes`` said of a picture's things."""
    return [
        BoxedThing(picture, thing, **{**row, "answer": Rle(picture.image_hw, row["answer"])})
        for thing, row in zip(picture.things, rows, strict=True)
    ]
