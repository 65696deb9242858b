"""Synthetic ground truth, and a stub segmenter that predicts it to the pixel.

Six images; "disc", "square" and "star" have two each; in each stand two things of 40 x 40 pixels,
whatever they are called. So a class has four instances, and 6 of 18 pairs of an image and a class
are present.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from perception.evaluate.ground_truth import Box, Category, Instance, Picture, Truth
from perception.evaluate.predictions import Answers, Found
from perception.imaging.preprocess import Frame
from perception.ops.masks import window_to_rle
from perception.types import (
    BoolArray,
    Embedding,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
    Rle,
)

Tell = Callable[[Prompt], BoolArray]
"""The four masks 4 x H x W for one prompt."""

_QUALITY = (0.6, 0.9, 0.8, 0.7)
"""What it predicts of its masks: of the candidates, the first is best."""


class StubSegmenter:
    """A ``Segmenter``; tell: see ``Tell``. Its input has the image's size, so nothing blurs."""

    name = "told"

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def encode(self, image: ImageArray) -> Embedding:
        height, width = image.shape[:2]
        frame = Frame((height, width), max(height, width))
        return Embedding(np.zeros((1, 1, 1), np.float32), frame, self.name)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        frame = embedding.frame
        prompt = frame.fit_prompt(prompt)
        each = [prompt] * len(prompt.points[:1]) or [
            Prompt(boxes=box[None]) for box in prompt.boxes
        ]
        logits = np.full((len(each), 4, frame.side, frame.side), -4, np.float32)
        for n, one in enumerate(each):
            height, width = frame.image_hw
            logits[n, :, :height, :width] = np.where(self._tell(one), 4, -4)
        quality = np.tile(np.array(_QUALITY, np.float32), (len(each), 1))
        return MaskCandidates(logits, quality, frame, ambiguous=prompt.is_ambiguous)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        decoded = [self.decode(embedding, Prompt(points=point[None])) for point in points]
        side = embedding.frame.side
        good = [n for n in (1, 2, 3) if _QUALITY[n] >= least_quality]
        logits = [one.logits[0, good] for one in decoded] or [np.zeros((0, side, side), np.float32)]
        return Proposals(
            np.concatenate(logits),
            np.tile(np.array([_QUALITY[n] for n in good], np.float32), len(decoded)),
            np.repeat(np.arange(len(decoded)), len(good)),
            np.tile(np.array(good, np.int64), len(decoded)),
            embedding.frame,
        )


SIDE = 40
NAMES = ("disc", "square", "star")
_IMAGE_HW = (100, 180)
_PLACES = ((20, 30), (110, 30))  # left, top


def drawn_truth(*, absent: bool = False) -> Truth:
    """The truth above; absent: with the absence of all other classes noted, as in LVIS."""
    ids = range(1, len(NAMES) + 1)
    pictures, instances = [], []
    for n in range(2 * len(NAMES)):
        category = n // 2 + 1
        others = frozenset(ids) - {category} if absent else frozenset[int]()
        pictures.append(Picture(n + 1, f"{n + 1}.png", _IMAGE_HW, absent=others))
        for left, top in _PLACES:
            box = (float(left), float(top), float(SIDE), float(SIDE))
            instances.append(Instance(n + 1, category, box, SIDE**2, mask_of(box)))
    categories = tuple(
        Category(key, name, frequency=letter)
        for key, name, letter in zip(ids, NAMES, "rcf", strict=True)
    )
    return Truth("drawn", tuple(pictures), categories, tuple(instances))


def mask_of(box: Box) -> Rle:
    """The mask that fills a box of whole pixels."""
    x, y, width, height = map(int, box)
    return window_to_rle(np.ones((height, width), np.bool_), (x, y), _IMAGE_HW)


def same(truth: Truth) -> Answers:
    """The truth as its own answers, without crowds; all scores differ."""
    things = [one for one in truth.instances if not one.crowd]
    step = 1 / (len(things) + 1)
    found = [
        Found(one.picture, one.category, 1 - n * step, one.box, one.mask)
        for n, one in enumerate(things)
    ]
    return Answers(tuple(sorted(found, key=lambda one: one.picture)), {"answers": "the truth"})


def shifted(answers: Answers, by: int) -> Answers:
    """All moved to the right: an IoU of (40 - by) / (40 + by)."""
    return _moved(answers, lambda box: (box[0] + by, *box[1:]))


def shrunk(answers: Answers, by: int) -> Answers:
    """Less on all four sides: an IoU of (40 - 2 by)^2 / 40^2."""

    def move(box: Box) -> Box:
        x, y, width, height = box
        return x + by, y + by, width - 2 * by, height - 2 * by

    return _moved(answers, move)


def swapped(answers: Answers) -> Answers:
    """Discs called squares, squares called discs."""
    other = {1: 2, 2: 1}
    return _with(
        answers,
        [replace(one, category=other.get(one.category, one.category)) for one in answers.found],
    )


def every_other_picture(answers: Answers) -> Answers:
    """Each class in the first of its two images only."""
    return _with(answers, [one for one in answers.found if one.picture % 2])


def with_one_wrong(answers: Answers, picture: int, category: int) -> Answers:
    """And one more of a class where none is, with the best score of all."""
    box = (70.0, 2.0, 20.0, 20.0)
    wrong = Found(picture, category, 2.0, box, mask_of(box))
    return _with(answers, [wrong, *answers.found])


def nothing(answers: Answers) -> Answers:
    """None of them."""
    return _with(answers, [])


def _moved(answers: Answers, move: Callable[[Box], Box]) -> Answers:
    return _with(
        answers,
        [replace(one, box=move(one.box), mask=mask_of(move(one.box))) for one in answers.found],
    )


def _with(answers: Answers, found: Sequence[Found]) -> Answers:
    return replace(answers, found=tuple(sorted(found, key=lambda one: one.picture)))
