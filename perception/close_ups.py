"""Masks of things that are small in a picture, each from a view in which it is large.

A segmenter sees a picture scaled down to its input; of a small thing little is left, and nothing of
its thin parts. So a segmenter with a small input, which is quick, looks closer: each box is
answered in a view of its own, with the box in the middle, so that every thing is seen in one size
and in one place, as in training. And where a large picture is looked at in tiles, each box is
answered in the smallest view that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil, floor

import numpy as np

from perception.answers import Answers, answer, own_answers
from perception.look import is_near_sighted
from perception.masks import rle_area, rle_to_box, rle_to_mask, window_to_rle
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.tiles import Tile, tiles
from perception.types import BoxMasks, FloatArray, ImageArray, IntArray, Prompt, Rle

_WIDER = 1.5
"""How many times as long as a box's longer side the side of its closer view is."""

_LEAST_VIEW = 16
"""Pixels; a closer view shows nothing less."""

_AROUND = 0.1
"""How much of its width and height a thing's view shows on each side of it, where there is more."""


def answer_boxes(
    segmenter: Segmenter,
    image: ImageArray,
    boxes: FloatArray,
    *,
    own: BoxMasks | None = None,
    side: int = 0,
    watch: Stopwatch | None = None,
) -> Answers:
    """The masks of N boxes in a picture H x W x 3, each box a prompt; see ``answer``.

    own: the boxes' masks, where the detector gave them: then the segmenter isn't asked. side: of
    the tiles in which boxes that are small enough are answered; 0: none. One view is in work at a
    time. A box's mask never depends on the other boxes.
    """
    if own is not None:
        return own_answers(own, watch=watch)
    height, width = image.shape[:2]
    parts = []
    alone = is_near_sighted(segmenter)
    for view, rows in _views(boxes, view_chooser(segmenter, (height, width), side), alone=alone):
        found = answer_in(view, segmenter, image, Prompt(boxes=boxes[rows]), watch=watch)
        parts.append(replace(found, prompt_ids=rows[found.prompt_ids]))
    return together(parts)


def answer_in(
    view: Tile,
    segmenter: Segmenter,
    image: ImageArray,
    prompt: Prompt,
    *,
    watch: Stopwatch | None = None,
) -> Answers:
    """The masks of a prompt in a picture H x W x 3, seen in one view; see ``answer``."""
    height, width = image.shape[:2]
    found = answer(segmenter, image, prompt, view=view, watch=watch)
    return in_picture(found, view, (height, width))


def view_chooser(
    segmenter: Segmenter, image_hw: tuple[int, int], side: int = 0
) -> Callable[[FloatArray], Tile]:
    """How the view of a box, 4 (xyxy), is chosen; side: of the tiles, see ``answer_boxes``."""
    height, width = image_hw
    if is_near_sighted(segmenter):
        return lambda box: closer_view(box, image_hw)
    if side and max(height, width) > side:
        grid = tiles(image_hw, side)
        return lambda box: view_of(box, image_hw, grid, side)
    return lambda _: Tile(0, 0, width, height)


def closer_view(box: FloatArray, image_hw: tuple[int, int]) -> Tile:
    """The square of a picture of (height, width) in which a box, 4 (xyxy), is looked at closer.

    The box is in its middle; it may reach beyond the picture.
    """
    height, width = image_hw
    low, high = (np.clip(corner, 0, (width, height)) for corner in (box[:2], box[2:]))
    if (high <= low).any():  # the segmenter will say what is wrong with it
        return Tile(0, 0, width, height)
    side = max(ceil(float((high - low).max()) * _WIDER), _LEAST_VIEW)
    x, y = (floor(float(middle) - side / 2) for middle in (low + high) / 2)
    return Tile(x, y, x + side, y + side)


def view_of(box: FloatArray, image_hw: tuple[int, int], grid: Sequence[Tile], side: int) -> Tile:
    """The part of a picture of (height, width) in which a box, 4 (xyxy), is answered.

    A tile of the grid that holds it with something around it, the one in whose middle it is most;
    or one of its own, twice, four times ... as large, until that holds it; or the whole picture. It
    depends on nothing else, so a thing's mask never depends on what else is found.
    """
    height, width = image_hw
    around = _AROUND * (box[2:] - box[:2])
    limits = np.array([width, height] * 2, np.float32)
    wanted = np.clip(np.concatenate([box[:2] - around, box[2:] + around]), 0, limits)
    holding = [tile for tile in grid if tile.holds(wanted)]
    if holding:
        return min(holding, key=lambda tile: _off_centre(tile, box))
    while side < max(height, width):
        view = _centred(box, (height, width), side)
        if view.holds(wanted):
            return view
        side *= 2
    return Tile(0, 0, width, height)


def _off_centre(tile: Tile, box: FloatArray) -> float:
    """How far the middle of a box is from that of a tile, twice and squared."""
    x, y = (
        (tile.x0 + tile.x1) - float(box[0] + box[2]),
        (tile.y0 + tile.y1) - float(box[1] + box[3]),
    )
    return x * x + y * y


def _centred(box: FloatArray, image_hw: tuple[int, int], side: int) -> Tile:
    """The tile of side x side around the middle of a box that lies in the picture."""
    height, width = image_hw
    x = int(np.clip((box[0] + box[2] - side) / 2, 0, max(width - side, 0)))
    y = int(np.clip((box[1] + box[3] - side) / 2, 0, max(height - side, 0)))
    return Tile(x, y, min(x + side, width), min(y + side, height))


def _views(
    boxes: FloatArray, view_for: Callable[[FloatArray], Tile], *, alone: bool
) -> Iterator[tuple[Tile, IntArray]]:
    """Each view that is needed, and which of N boxes are answered in it.

    alone: each box is answered by itself, also where another has the same view.
    """
    rows: dict[tuple[Tile, int], list[int]] = {}
    for n, box in enumerate(boxes):
        rows.setdefault((view_for(box), n if alone else 0), []).append(n)
    for view, n in sorted(rows):
        yield view, np.array(rows[view, n], np.int64)


def in_picture(found: Answers, view: Tile, image_hw: tuple[int, int]) -> Answers:
    """A view's answers as those of the picture of (height, width), less what lies beyond it."""
    if view == (0, 0, *image_hw[::-1]):
        return found
    rles = [
        _moved(rle, box, view, image_hw)
        for rle, box in zip(found.rles, found.boxes.astype(int), strict=True)
    ]
    kept = np.array([n for n, rle in enumerate(rles) if rle_area(rle)], np.int64)
    return Answers(
        rles=tuple(rles[n] for n in kept),
        boxes=np.array([rle_to_box(rles[n]) for n in kept], np.float32).reshape(-1, 4),
        quality=found.quality[kept],
        stability=found.stability[kept],
        consensus=found.consensus[kept],
        prompt_ids=found.prompt_ids[kept],
    )


def _moved(rle: Rle, box: IntArray, view: Tile, image_hw: tuple[int, int]) -> Rle:
    """A view's mask as one of the picture; box: 4, tight around it."""
    x0, y0, x1, y1 = box.tolist()
    part = Tile(view.x0 + x0, view.y0 + y0, view.x0 + x1, view.y0 + y1)
    seen = part.inside(image_hw)
    if seen.x1 <= seen.x0 or seen.y1 <= seen.y0:
        return window_to_rle(np.zeros((0, 0), np.bool_), (0, 0), image_hw)
    pixels = rle_to_mask(rle)[
        seen.y0 - view.y0 : seen.y1 - view.y0, seen.x0 - view.x0 : seen.x1 - view.x0
    ]
    return window_to_rle(pixels, (seen.x0, seen.y0), image_hw)


def together(parts: Sequence[Answers]) -> Answers:
    """The answers of all views, in the order of their prompts."""
    none = np.zeros(0, np.float32)
    parts = parts or [
        Answers((), np.zeros((0, 4), np.float32), none, none, none, np.zeros(0, np.int64))
    ]
    prompt_ids = np.concatenate([part.prompt_ids for part in parts])
    order = np.argsort(prompt_ids, kind="stable")
    rles = [rle for part in parts for rle in part.rles]
    return Answers(
        rles=tuple(rles[n] for n in order),
        boxes=np.concatenate([part.boxes for part in parts])[order],
        quality=np.concatenate([part.quality for part in parts])[order],
        stability=np.concatenate([part.stability for part in parts])[order],
        consensus=np.concatenate([part.consensus for part in parts])[order],
        prompt_ids=prompt_ids[order],
    )
