"""Asking a detector for phrases, picture by picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from perception.annotate.review.watch import Watch, unwatched
from perception.boxes import as_boxes, nms
from perception.detector.decode import SAME_CLASS_IOU
from perception.evaluate.grounding import MOST, GroundingResult, measure_grounding
from perception.evaluate.kept_answers import kept
from perception.evaluate.phrase_boxes import PhraseTruth, RankedBoxes
from perception.evaluate.picture_files import picture_paths
from perception.images import read_image
from perception.model import Model
from perception.phrases import normalise, parse
from perception.types import Candidates, ImageArray
from perception.version import __version__

_AT_MOST = 1000
"""Boxes of one phrase that are compared with one another."""


def ground(
    model: Model,
    truth: PhraseTruth,
    images: Path,
    *,
    keep: Path | None = None,
    watch: Watch = unwatched,
) -> GroundingResult:
    """Asks for the phrases of each picture, all together, and measures the answers.

    keep: a file for the answers of finished pictures, which the same call goes on with. Raises
    ImageError for a picture that can't be read, and EvaluationError as ``kept`` and
    ``picture_paths``.
    """
    info = {key: value for key, value in model.info(text="").items() if key != "text"}
    asked = {"measured": "grounding", "truth sha256": truth.sha256, "version": __version__, **info}
    phrases: dict[str, list[str]] = {name: [] for name in truth.pictures}
    for one in truth.phrases:
        phrases[one.picture].append(one.phrase)
    paths = dict(zip(phrases, picture_paths(list(phrases), images), strict=True))
    answers, sizes = [], {}
    with kept(keep, asked) as (before, add):
        for name in watch(list(phrases), total=len(phrases)):
            answer = before.get(name)
            if answer is None:
                answer = _answer(model, read_image(paths[name]), phrases[name])
                add(name, answer)
            height, width = answer["image_hw"]
            sizes[name] = (height, width)
            answers += [
                RankedBoxes(name, phrase, as_boxes(boxes))
                for phrase, boxes in answer["boxes"].items()
            ]
    return measure_grounding(truth, answers, info=info, sizes=sizes)


def _answer(model: Model, image: ImageArray, asked: list[str]) -> dict[str, Any]:
    """Each phrase's best boxes, and the picture's size, as plain values."""
    phrases = parse(asked)
    (found,) = model.detector.candidates([image], phrases, floor=0.0)
    column = {text: n for n, text in enumerate(phrases.phrases)}
    return {
        "image_hw": list(image.shape[:2]),
        "boxes": {phrase: _ranked(found, column[normalise(phrase)]) for phrase in asked},
    }


def _ranked(found: Candidates, column: int) -> list[list[float]]:
    """Best first, without those that repeat a better one."""
    scores = found.scores[:, column]
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0][:_AT_MOST]
    chosen = order[nms(found.boxes[order], scores[order], iou_threshold=SAME_CLASS_IOU)]
    boxes: list[list[float]] = np.round(found.boxes[chosen[:MOST]].astype(np.float64), 2).tolist()
    return boxes
