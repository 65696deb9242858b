"""Masks of things in a large picture, each from a view in which it is large.

A segmenter sees a picture scaled down to its input; of a picture of many megapixels little is left
of a thing, and nothing of its thin parts. So each box is answered in the smallest view that holds
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perception.answers import Answers, answer, own_answers
from perception.masks import rle_to_mask, window_to_rle
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.tiles import Tile, tiles
from perception.types import BoxMasks, FloatArray, ImageArray, IntArray, Prompt, Rle

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
    the tiles in which boxes that are small enough are answered; 0: all are answered in the picture
    as it is. One view is in work at a time.
    """
    if own is not None:
        return own_answers(own, watch=watch)
    height, width = image.shape[:2]
    if not side or max(height, width) <= side:
        return answer(segmenter, image, Prompt(boxes=boxes), watch=watch)
    parts = []
    for view, rows in _views(boxes, (height, width), side):
        corner = np.array([view.x0, view.y0] * 2, np.float32)
        pixels = np.ascontiguousarray(view.cut_from(image))
        found = answer(segmenter, pixels, Prompt(boxes=boxes[rows] - corner), watch=watch)
        parts.append(_in_picture(found, view, rows, (height, width)))
    return _together(parts)


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
    boxes: FloatArray, image_hw: tuple[int, int], side: int
) -> Iterator[tuple[Tile, IntArray]]:
    """Each view that is needed, and which of N boxes are answered in it."""
    grid = tiles(image_hw, side)
    rows: dict[Tile, list[int]] = {}
    for n, box in enumerate(boxes):
        rows.setdefault(view_of(box, image_hw, grid, side), []).append(n)
    for view in sorted(rows):
        yield view, np.array(rows[view], np.int64)


def _in_picture(found: Answers, view: Tile, rows: IntArray, image_hw: tuple[int, int]) -> Answers:
    """A view's answers as those of the picture; rows: which of the boxes its prompts were."""
    corner = np.array([view.x0, view.y0] * 2, np.float32)
    return Answers(
        rles=tuple(
            _moved(rle, box, view, image_hw)
            for rle, box in zip(found.rles, found.boxes.astype(int), strict=True)
        ),
        boxes=found.boxes + corner,
        quality=found.quality,
        stability=found.stability,
        consensus=found.consensus,
        prompt_ids=rows[found.prompt_ids],
    )


def _moved(rle: Rle, box: IntArray, view: Tile, image_hw: tuple[int, int]) -> Rle:
    """A view's mask as one of the picture; box: 4, tight around it."""
    x0, y0, x1, y1 = box.tolist()
    return window_to_rle(rle_to_mask(rle)[y0:y1, x0:x1], (view.x0 + x0, view.y0 + y0), image_hw)


def _together(parts: Sequence[Answers]) -> Answers:
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
