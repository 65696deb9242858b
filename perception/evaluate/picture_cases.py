"""Pictures with what is right and what was found side by side, the worst first.

How good a picture is: the sum of the IoU of its matches, over the matches and half of what is
missed and half of what is wrong: the panoptic quality of all its classes together (Kirillov and
others, "Panoptic Segmentation", 2019).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perception.defaults import THRESHOLD
from perception.evaluate.average_precision import Kind
from perception.evaluate.found import Answers, Found
from perception.evaluate.measurement import MOST_CASES, Case
from perception.evaluate.pair_overlap import pair_ious
from perception.evaluate.truth import Instance, Picture, Truth
from perception.instances import Instances

_IOU = 0.5


class _Counts(NamedTuple):
    """ious: of the matches, added up; missed, wrong: how many."""

    matched: int
    ious: float
    missed: int
    wrong: int

    @property
    def quality(self) -> float:
        return self.ious / (self.matched + (self.missed + self.wrong) / 2)


def picture_cases(
    truth: Truth, answers: Answers, kind: Kind, *, threshold: float = THRESHOLD
) -> tuple[Case, ...]:
    """The worst pictures; threshold: the least score that is shown and counts.

    A picture with nothing in it, where nothing was found, is no case; nor is what was found of
    categories that nobody has judged.
    """
    true: dict[int, list[Instance]] = defaultdict(list)
    found: dict[int, list[Found]] = defaultdict(list)
    for one in truth.instances:
        true[one.picture].append(one)
    for answer in answers.found:
        if answer.score >= threshold:
            found[answer.picture].append(answer)
    rows = []
    for picture in truth.pictures:
        judged = truth.judged(picture)
        mine = [one for one in found[picture.id] if one.category in judged]
        counts = _count(true[picture.id], mine, picture, kind)
        if counts.matched + counts.missed + counts.wrong:
            rows.append((counts.quality, -counts.missed - counts.wrong, picture, counts, mine))
    rows.sort(key=lambda row: (*row[:2], row[2].file_name))
    return tuple(
        _case(truth, picture, counts, true[picture.id], mine, kind)
        for _, _, picture, counts, mine in rows[:MOST_CASES]
    )


def _count(
    true: Sequence[Instance], found: Sequence[Found], picture: Picture, kind: Kind
) -> _Counts:
    """Best score first, each takes the thing that it overlaps most, as COCO's matching has it."""
    matched, ious, missed, wrong = 0, 0.0, 0, 0
    for category in {one.category for one in true} | {one.category for one in found}:
        things = [one for one in true if one.category == category]
        mine = sorted((one for one in found if one.category == category), key=lambda f: -f.score)
        overlap = pair_ious(mine, things, kind)
        crowds = np.array([one.crowd for one in things], np.bool_)
        free = ~crowds
        for row in overlap:
            best = np.where(free, row, -1.0)
            if best.size and best.max() >= _IOU:
                matched, ious = matched + 1, ious + float(best.max())
                free[best.argmax()] = False
            elif category not in picture.open and not (row[crowds] >= _IOU).any():
                wrong += 1
        missed += int(free.sum())
    return _Counts(matched, ious, missed, wrong)


def _case(
    truth: Truth,
    picture: Picture,
    counts: _Counts,
    true: Sequence[Instance],
    found: Sequence[Found],
    kind: Kind,
) -> Case:
    names = {category.id: category.name for category in truth.categories}
    caption = (
        f"{counts.matched} of {counts.matched + counts.missed} found, {counts.wrong} wrong; "
        f"quality {counts.quality:.2f}"
    )
    shown = [one for one in true if not one.crowd]
    return Case(
        file_name=picture.file_name,
        value=counts.quality,
        caption=caption,
        truth=_instances(picture, shown, names, kind),
        answer=_instances(picture, found, names, kind),
    )


def _instances(
    picture: Picture, some: Sequence[Found | Instance], names: dict[int, str], kind: Kind
) -> Instances:
    """For drawing: classes have the same order, and so the same colours, on both sides."""
    ids = list(names)
    boxes = np.array([one.box for one in some], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = tuple(one.mask for one in some if one.mask is not None) if kind == "mask" else ()
    return Instances(
        image_hw=picture.image_hw,
        classes=tuple(names.values()),
        boxes=boxes,
        scores=np.array([getattr(one, "score", np.nan) for one in some], np.float32),
        class_ids=np.array([ids.index(one.category) for one in some], np.int64),
        rles=masks,
        file_name=picture.file_name,
    )
