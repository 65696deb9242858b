"""LVIS' federated average precision, of boxes and masks.

Of each category only some pictures have been judged (Gupta and others, "LVIS: A Dataset for Large
Vocabulary Instance Segmentation", 2019). So of each picture's 300 best answers those count whose
category is present or verified to be absent there; where not every instance of a category is
marked, an answer that matches none isn't wrong. There are no crowds. All else is as in ``coco``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perception.errors import EvaluationError
from perception.evaluate.at_threshold import at_threshold
from perception.evaluate.average_precision import Precision, accumulate
from perception.evaluate.found import Answers, Found
from perception.evaluate.picture_cases import picture_cases
from perception.evaluate.precision_result import (
    Figures,
    PrecisionResult,
    basics,
    kind_result,
    kinds_of,
)
from perception.evaluate.truth import Truth

MOST = 300
"""Answers of all classes in one picture, best first."""

_GROUPS = {"APr": "r", "APc": "c", "APf": "f"}


def measure_lvis(truth: Truth, answers: Answers) -> PrecisionResult:
    """The federated average precision of what was found; APr, APc, APf where frequency is noted.

    Raises EvaluationError for a truth in which no absence is noted.
    """
    if not truth.is_federated:
        raise EvaluationError(
            f"{truth.name}: no picture has neg_category_ids, so nothing is known to be absent; "
            "measure with coco, if all categories are marked in all pictures"
        )
    truth = replace(truth, instances=tuple(replace(one, crowd=False) for one in truth.instances))
    counted = tuple(judged_only(truth, best_of_pictures(answers.found)))
    open_pairs = {(picture.id, key) for picture in truth.pictures for key in picture.open}
    kinds = []
    for kind in kinds_of(truth, answers):
        precision = accumulate(truth, counted, kind, most=[MOST], open_pairs=open_pairs)
        figures = _figures(precision, truth)
        kinds.append(kind_result(kind, precision, figures, truth, answers))
    info = basics(truth, answers) | {"counted": len(counted)}
    worst = picture_cases(truth, answers, kinds[-1].kind)
    title = f"LVIS federated average precision on {truth.name}"
    return PrecisionResult(title, info, tuple(kinds), worst, at_threshold(truth, answers))


def best_of_pictures(found: Sequence[Found], most: int = MOST) -> Iterator[Found]:
    """Each picture's best answers; of equal scores the first."""
    by_picture: dict[int, list[Found]] = defaultdict(list)
    for one in found:
        by_picture[one.picture].append(one)
    for some in by_picture.values():
        yield from sorted(some, key=lambda one: -one.score)[:most]


def judged_only(truth: Truth, found: Iterator[Found]) -> Iterator[Found]:
    """The answers of categories that are known to be there, or not to be, in their picture."""
    judged = {picture.id: truth.judged(picture) for picture in truth.pictures}
    return (one for one in found if one.category in judged[one.picture])


def _figures(precision: Precision, truth: Truth) -> Figures:
    figures = {
        "AP": precision.ap(),
        "AP50": precision.ap(iou=0.5),
        "AP75": precision.ap(iou=0.75),
        "APs": precision.ap(size="small"),
        "APm": precision.ap(size="medium"),
        "APl": precision.ap(size="large"),
        f"AR{MOST}": precision.ar(),
    }
    if any(category.frequency for category in truth.categories):
        for name, letter in _GROUPS.items():
            ids = [category.id for category in truth.categories if category.frequency == letter]
            figures[name] = precision.ap(only=ids)
    return figures
