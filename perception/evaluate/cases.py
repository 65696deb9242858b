"""Cases as images: ground truth and predictions side by side, the worst first.

How good an image is: the sum of the IoU of its matches, over the matches and half of what is
missed and half of what is wrong: the panoptic quality of all its classes together (Kirillov and
others, "Panoptic Segmentation", 2019).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from perception.defaults import THRESHOLD
from perception.evaluate.average_precision import Kind, pair_ious
from perception.evaluate.ground_truth import Instance, Picture, Truth
from perception.evaluate.predictions import Answers, Found
from perception.formats.draw import draw_overlay
from perception.imaging.resample import Window
from perception.instances import Instances
from perception.ops.boxes import as_boxes, box_area
from perception.ops.masks import mask_to_box, mask_to_rle, rle_to_mask
from perception.report.measurement import MOST_CASES, Case
from perception.types import FloatArray, ImageArray, IntArray

SIDE = 320
"""The longer side of each image."""
_AROUND = 1.3
"""How much larger than what matters the part is that is shown."""
_MIN = 48
"""Its least side, in pixels of the image."""
_WHOLE = 0.6
"""Where it would be more than this share of the image, the whole image is shown."""
_MOST_NAMED = 8
"""Of more instances the names would cover the image."""
_COLOR = 0.3
"""How much of its color an image keeps: red on a red image would be lost."""
_IN, _OUT, _RING = (0, 150, 60), (214, 30, 30), (255, 255, 255)


def draw_case(case: Case, image: ImageArray) -> tuple[ImageArray, ImageArray]:
    """The truth and the answer, with the clicks on both, each h x w x 3; image: H x W x 3."""
    window = _window(case)
    part = Image.fromarray(image[window.y0 : window.y1, window.x0 : window.x1])
    scale = SIDE / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    paler = ImageEnhance.Color(part.resize(size, Image.Resampling.BICUBIC)).enhance(_COLOR)
    crop = np.asarray(paler)
    places = (case.points - np.array([window.x0, window.y0], np.float32)) * np.float32(scale)
    truth, answer = (
        _draw_clicks(_draw(crop, found, window), places, case.point_labels)
        for found in (case.truth, case.answer)
    )
    return truth, answer


def _window(case: Case) -> Window:
    """What matters: the truth, the answer and the clicks, with some room around."""
    height, width = case.truth.image_hw
    judged = case.truth[np.array([label != "unknown" for label in case.truth.labels], np.bool_)]
    boxes = np.concatenate([judged.boxes, case.answer.boxes])
    # An empty mask lies nowhere, whatever its box says.
    corners = [*boxes[box_area(boxes) > 0].reshape(-1, 2), *case.points]
    if not corners:
        return Window(0, 0, width, height)
    (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
    left, right = _span(float(x0), float(x1), width)
    top, bottom = _span(float(y0), float(y1), height)
    if (right - left) * (bottom - top) > _WHOLE * width * height:
        return Window(0, 0, width, height)
    return Window(left, top, right, bottom)


def _span(low: float, high: float, room: int) -> tuple[int, int]:
    """A span with room around it, moved and cut so that it lies within 0 to ``room``."""
    length = min(max(round((high - low) * _AROUND), _MIN), room)
    start = min(max(round((low + high - length) / 2), 0), room - length)
    return start, start + length


def _draw(crop: ImageArray, found: Instances, window: Window) -> ImageArray:
    """What was found, on a part of the image that may have been scaled, h x w x 3."""
    height, width = crop.shape[:2]
    scale = np.array([width, height] * 2) / np.array(
        [window.x1 - window.x0, window.y1 - window.y0] * 2
    )
    if not found.rles:
        boxes = (found.boxes - np.array([window.x0, window.y0] * 2)) * scale
        moved = as_boxes(np.clip(boxes, 0, [width, height] * 2))
        shown = replace(found, image_hw=(height, width), boxes=moved, image=None)
        return draw_overlay(shown, crop, labels=_named(found))
    masks = []
    for rle in found.rles:
        inside = rle_to_mask(rle)[window.y0 : window.y1, window.x0 : window.x1]
        levels = Image.fromarray(np.ascontiguousarray(inside).astype(np.uint8) * 255)
        scaled = np.asarray(levels.resize((width, height), Image.Resampling.BOX))
        # One that is too thin to fill half a pixel isn't lost.
        masks.append(scaled > 127 if (scaled > 127).any() else scaled > 0)
    shown = replace(
        found,
        image_hw=(height, width),
        boxes=as_boxes([mask_to_box(mask) for mask in masks]),
        rles=tuple(mask_to_rle(mask) for mask in masks),
        image=None,
    )
    return draw_overlay(shown, crop, labels=_named(found))


def _named(found: Instances) -> bool:
    """Whether names say something: where there are several classes, and few instances."""
    return len({*found.classes} - {"unknown"}) > 1 and len(found) <= _MOST_NAMED


def _draw_clicks(drawn: ImageArray, places: FloatArray, labels: IntArray) -> ImageArray:
    """Clicks K x 2, a plus in the thing, a minus outside it; the first lies on top."""
    picture = Image.fromarray(drawn)
    draw = ImageDraw.Draw(picture)
    for n in reversed(range(len(places))):
        (x, y), radius = places[n].tolist(), 7 if n == 0 else 5
        color = _IN if labels[n] else _OUT
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), color, _RING)
        arm = radius - 2
        draw.line((x - arm, y, x + arm, y), _RING, 2)
        if labels[n]:
            draw.line((x, y - arm, x, y + arm), _RING, 2)
    return np.asarray(picture)


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
    """The worst images; threshold: the least score that is shown and counts.

    An image with nothing in it, where nothing was found, is no case; nor is what was found of
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
    """For drawing: classes have the same order, and so the same colors, on both sides."""
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
