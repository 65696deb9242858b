"""COCO's average precision, of boxes and masks.

Matching, accumulation and constants are pycocotools' (Lin and others, "Microsoft COCO: Common
Objects in Context", 2014): AP is the mean over classes, ten IoUs from 0.5 to 0.95 and 101 recalls;
at most 100 answers a class and picture count; what lies in a crowd region is neither right nor
wrong; small is an area below 32 x 32 pixels, large one above 96 x 96.
"""

from __future__ import annotations

from perception.evaluate.at_threshold import at_threshold
from perception.evaluate.average_precision import Precision, accumulate
from perception.evaluate.found import Answers
from perception.evaluate.picture_cases import picture_cases
from perception.evaluate.precision_result import (
    Figures,
    PrecisionResult,
    basics,
    kind_result,
    kinds_of,
)
from perception.evaluate.truth import Truth

MOST = (1, 10, 100)
"""Answers for one class in one picture, best first: AR1, AR10, AR100."""


def measure_coco(truth: Truth, answers: Answers) -> PrecisionResult:
    """The average precision of what was found, of boxes and, where both sides have them, masks."""
    kinds = []
    for kind in kinds_of(truth, answers):
        precision = accumulate(truth, answers.found, kind, most=MOST)
        kinds.append(kind_result(kind, precision, _figures(precision), truth, answers))
    worst = picture_cases(truth, answers, kinds[-1].kind)
    title = f"COCO average precision on {truth.name}"
    return PrecisionResult(
        title, basics(truth, answers), tuple(kinds), worst, at_threshold(truth, answers)
    )


def _figures(precision: Precision) -> Figures:
    return {
        "AP": precision.ap(),
        "AP50": precision.ap(iou=0.5),
        "AP75": precision.ap(iou=0.75),
        "APs": precision.ap(size="small"),
        "APm": precision.ap(size="medium"),
        "APl": precision.ap(size="large"),
        "AR1": precision.ar(most=1),
        "AR10": precision.ar(most=10),
        "AR100": precision.ar(most=100),
        "ARs": precision.ar(size="small"),
        "ARm": precision.ar(size="medium"),
        "ARl": precision.ar(size="large"),
    }
