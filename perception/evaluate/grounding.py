"""Recall of phrases: is one of the first k boxes the object that a phrase names?

The protocol of Flickr30k Entities (Plummer and others, 2015): a phrase is found at k if one of its
k best boxes overlaps with what it names by an IoU of at least 0.5. Where a phrase names several
boxes, "any" takes one of them, and "merged" the box around all: Kamath and others ("MDETR", 2021)
describe both, and report both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from perception import __version__
from perception.detectors.decode import SAME_CLASS_IOU
from perception.evaluate.cache import kept
from perception.evaluate.ground_truth import Truth, picture_paths
from perception.evaluate.phrase_boxes import NamedBoxes, PhraseTruth, RankedBoxes
from perception.evaluate.predictions import Answers, Found, spoken
from perception.imaging.read import read_image
from perception.instances import Instances
from perception.models.model import Model
from perception.ops.boxes import as_boxes, box_iou, nms
from perception.prompts.grammar import normalize, parse
from perception.report.html import Watch, unwatched
from perception.report.measurement import Case, Line, Plot, Table, rounded, worst
from perception.types import Candidates, FloatArray, ImageArray

Protocol = Literal["any", "merged"]
PROTOCOLS: tuple[Protocol, ...] = ("any", "merged")

IOU = 0.5
"""From here a box is the one."""

TOP = (1, 5, 10)
"""Of how many boxes one has to be the one."""

MOST = max(TOP)
"""Boxes of a phrase that count."""


@dataclass(frozen=True, eq=False)
class GroundingResult:
    """A ``Measurement``. ious: by protocol, phrases x MOST, of the best of the first k boxes."""

    title: str
    info: Mapping[str, Any]
    ious: Mapping[Protocol, FloatArray]
    worst: tuple[Case, ...] = ()

    def recall(self, k: int, protocol: Protocol = "any", *, iou: float = IOU) -> float:
        """The share of phrases that are found among k boxes, 0 < k <= ``MOST``."""
        return float((self.ious[protocol][:, k - 1] >= iou).mean())

    def to_json(self) -> dict[str, Any]:
        return {
            protocol: {
                **{f"R@{k}": rounded(self.recall(k, protocol)) for k in TOP},
                "IoU of the first": rounded(self.ious[protocol][:, 0].mean()),
            }
            for protocol in self.ious
        }

    def tables(self) -> tuple[Table, ...]:
        columns = ("several boxes of one phrase", *(f"R@{k}" for k in TOP), "IoU of the first")
        rows = tuple((protocol, *row.values()) for protocol, row in self.to_json().items())
        return (Table(self.title, columns, rows),)

    def plots(self) -> tuple[Plot, ...]:
        lines = tuple(
            Line(
                f"{protocol}, IoU {iou:g}",
                tuple((float(k), self.recall(k, protocol, iou=iou)) for k in range(1, MOST + 1)),
            )
            for protocol in self.ious
            for iou in (IOU, 0.75)
        )
        return (Plot("Recall by number of boxes", "boxes", "recall", lines),)

    def cases(self) -> tuple[Case, ...]:
        return self.worst


def measure_grounding(
    truth: PhraseTruth,
    answers: Sequence[RankedBoxes],
    *,
    info: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, int]],
) -> GroundingResult:
    """The recall of phrases; one without an answer isn't found.

    info: who answered; sizes: (height, width) of the images where that is known, without which a
    phrase can't be shown.
    """
    by_phrase = {(one.picture, one.phrase): one.boxes for one in answers}
    nothing = np.zeros((0, 4), np.float32)
    rows = [(one, by_phrase.get((one.picture, one.phrase), nothing)) for one in truth.phrases]
    ious: dict[Protocol, FloatArray] = {
        protocol: np.array(
            [_best_ious(boxes, _wanted(one.boxes, protocol)) for one, boxes in rows], np.float32
        )
        for protocol in PROTOCOLS
    }
    cases = [
        _case(one, boxes, float(ious["any"][n, 0]), sizes[one.picture])
        for n, (one, boxes) in enumerate(rows)
        if one.picture in sizes
    ]
    noted = {
        "truth": truth.name,
        "truth sha256": truth.sha256,
        "pictures": len(truth.pictures),
        "phrases": len(rows),
        **info,
        "phrases without an answer": sum(not len(boxes) for _, boxes in rows),
    }
    title = f"Grounding of phrases on {truth.name}"
    return GroundingResult(title, noted, ious, worst(cases))


def ranked_of(answers: Answers, truth: Truth) -> list[RankedBoxes]:
    """What was found for each category in each image, as an answer to the category's name."""
    files = {picture.id: picture.file_name for picture in truth.pictures}
    names = {category.id: spoken(category.name) for category in truth.categories}
    groups: dict[tuple[int, int], list[Found]] = defaultdict(list)
    for one in answers.found:
        groups[one.picture, one.category].append(one)
    ranked = []
    for (picture, category), some in groups.items():
        some.sort(key=lambda one: -one.score)
        boxes = np.array([one.box for one in some], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        ranked.append(RankedBoxes(files[picture], names[category], boxes))
    return ranked


def _wanted(boxes: FloatArray, protocol: Protocol) -> FloatArray:
    """What is right, N x 4."""
    if protocol == "any":
        return boxes
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])[None]


def _best_ious(boxes: FloatArray, wanted: FloatArray) -> FloatArray:
    """The best IoU of the first 1, 2, ... boxes of K x 4 with any of N x 4; MOST, rising."""
    best = np.zeros(MOST, np.float32)
    some = boxes[:MOST]
    if len(some):
        ious = box_iou(some, wanted).max(axis=1)
        best[: len(some)] = np.maximum.accumulate(ious)
        best[len(some) :] = ious.max()
    return best


def _case(one: NamedBoxes, boxes: FloatArray, iou: float, image_hw: tuple[int, int]) -> Case:
    first = boxes[:1]
    return Case(
        file_name=one.picture,
        value=iou,
        caption=f"{one.phrase}: IoU {iou:.2f}" if len(first) else f"{one.phrase}: no answer",
        truth=_instances(one.phrase, one.boxes, image_hw),
        answer=_instances(one.phrase, first, image_hw),
    )


def _instances(phrase: str, boxes: FloatArray, image_hw: tuple[int, int]) -> Instances:
    return Instances(
        image_hw=image_hw,
        classes=(phrase,),
        boxes=boxes,
        scores=np.full(len(boxes), np.nan, np.float32),
        class_ids=np.zeros(len(boxes), np.int64),
    )


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
    """Asks for the phrases of each image, all together, and measures the answers.

    keep: a file for the answers of finished images, which the same call goes on with. Raises
    ImageError for an image that can't be read, and EvaluationError as ``kept`` and
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
    """Each phrase's best boxes, and the image's size, as plain values."""
    phrases = parse(asked)
    (found,) = model.detector.candidates([image], phrases, floor=0.0)
    column = {text: n for n, text in enumerate(phrases.phrases)}
    return {
        "image_hw": list(image.shape[:2]),
        "boxes": {phrase: _ranked(found, column[normalize(phrase)]) for phrase in asked},
    }


def _ranked(found: Candidates, column: int) -> list[list[float]]:
    """Best first, without those that repeat a better one."""
    scores = found.scores[:, column]
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0][:_AT_MOST]
    chosen = order[nms(found.boxes[order], scores[order], iou_threshold=SAME_CLASS_IOU)]
    boxes: list[list[float]] = np.round(found.boxes[chosen[:MOST]].astype(np.float64), 2).tolist()
    return boxes
