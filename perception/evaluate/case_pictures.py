"""A case as two pictures: the part that matters, with the truth and with the answer on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from perception.boxes import as_boxes, box_area
from perception.evaluate.measurement import Case
from perception.instances import Instances
from perception.masks import mask_to_box, mask_to_rle, rle_to_mask
from perception.overlay import draw_overlay
from perception.types import FloatArray, ImageArray, IntArray
from perception.upsampling import Window

SIDE = 320
"""The longer side of each picture."""
_AROUND = 1.3
"""How much larger than what matters the part is that is shown."""
_LEAST = 48
"""Its least side, in pixels of the picture."""
_WHOLE = 0.6
"""Where it would be more than this share of the picture, the whole picture is shown."""
_MOST_NAMED = 8
"""Of more instances the names would cover the picture."""
_COLOUR = 0.3
"""How much of its colour a picture keeps: red on a red picture would be lost."""
_IN, _OUT, _RING = (0, 150, 60), (214, 30, 30), (255, 255, 255)


def draw_case(case: Case, image: ImageArray) -> tuple[ImageArray, ImageArray]:
    """The truth and the answer, with the clicks on both, each h x w x 3; image: H x W x 3."""
    window = _window(case)
    part = Image.fromarray(image[window.y0 : window.y1, window.x0 : window.x1])
    scale = SIDE / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    paler = ImageEnhance.Color(part.resize(size, Image.Resampling.BICUBIC)).enhance(_COLOUR)
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
    length = min(max(round((high - low) * _AROUND), _LEAST), room)
    start = min(max(round((low + high - length) / 2), 0), room - length)
    return start, start + length


def _draw(crop: ImageArray, found: Instances, window: Window) -> ImageArray:
    """What was found, on a part of the picture that may have been scaled, h x w x 3."""
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
        colour = _IN if labels[n] else _OUT
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour, _RING)
        arm = radius - 2
        draw.line((x - arm, y, x + arm, y), _RING, 2)
        if labels[n]:
            draw.line((x, y - arm, x, y + arm), _RING, 2)
    return np.asarray(picture)
