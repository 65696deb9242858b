"""Recall of phrases: is one of the first k boxes the thing that a phrase names?

The protocol of Flickr30k Entities (Plummer and others, 2015): a phrase is found at k if one of its
k best boxes overlaps with what it names by an IoU of at least 0.5. Where a phrase names several
boxes, "any" takes one of them, and "merged" the box around all: Kamath and others ("MDETR", 2021)
describe both, and report both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from perception.boxes import box_iou
from perception.evaluate.category_names import spoken
from perception.evaluate.found import Answers, Found
from perception.evaluate.measurement import Case, Line, Plot, Table, rounded, worst
from perception.evaluate.phrase_boxes import NamedBoxes, PhraseTruth, RankedBoxes
from perception.evaluate.truth import Truth
from perception.instances import Instances
from perception.types import FloatArray

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

    info: who answered; sizes: (height, width) of the pictures where that is known, without which a
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
    """What was found for each category in each picture, as an answer to the category's name."""
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
