"""Masks predicted in crops around what is asked for, by a segmenter with a small input.

Such a segmenter sees little of a small object in the whole image. So each box is predicted in a
square crop with the box in its middle, and gets the box prior; a lone click is predicted at three
scales; further clicks are predicted in a crop around the mask that they correct, as Sofiiuk et al.
2020, "f-BRS", zoom in. All masks are refined by the colors of the image, and obey the clicks
(``obedience``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, floor

import numpy as np

from perception.ops.masks import mask_to_box
from perception.ops.windows import Tile
from perception.predictor.crop import CropsImage, ImageCrops
from perception.predictor.obedience import CellClicks, obeyed
from perception.predictor.predictions import LowResMask, PredictedMask
from perception.predictor.protocol import Embed
from perception.predictor.whole import boxes_by_window, check_one, decode_one, labels_of
from perception.runtime.batching import Stopwatch
from perception.segmenters.protocol import Segmenter
from perception.types import BoolArray, FloatArray, ImageArray, Prompt

_SCALES = (1.0, 0.3, 0.1)
"""Sides of the crops in which a lone click is predicted, as shares of the image's longer side."""

_MIN_CLICK_CROP = 24
"""Pixels; the least side of a crop around a click."""

_WIDER = 1.5
"""How many times the longer side of a box its crop is wide."""

_MIN_BOX_CROP = 16
"""Pixels; the least side of a crop around a box."""


class ZoomPredictor:
    """A ``MaskPredictor`` over a segmenter with a small input (nano)."""

    kind = "zoom"

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def encode(
        self,
        image: ImageArray,
        *,
        file_name: str = "",
        embed: Embed | None = None,
        watch: Stopwatch | None = None,
    ) -> ZoomImage:
        """Return the image as prompts are predicted on it; see ``MaskPredictor``."""
        crops = ImageCrops(self.segmenter, image, refined=True, embed=embed, watch=watch)
        return ZoomImage(crops, file_name)


class ZoomImage(CropsImage):
    """An ``EncodedImage`` whose prompts are predicted in crops of it."""

    refines_proposals = True

    def predict(
        self, prompt: Prompt, previous: LowResMask | None = None
    ) -> tuple[PredictedMask, ...]:
        """Return the candidates of one prompt, the one to show first; see ``EncodedImage``.

        Points are clicks in their order. Without a previous mask they are replayed: the box first,
        then click by click, each correcting the mask of those before it.
        """
        checked = check_one(prompt, self._crops.image_hw)
        if previous is not None:
            return self._correct(checked, previous)
        candidates, first = self._begin(checked)
        for count in range(first + 1, len(checked.points) + 1):
            part = _clicks(checked, count)
            candidates = self._correct(part, candidates[0].low_res)
        return candidates

    def predict_boxes(
        self, boxes: FloatArray, *, tile: int = 0
    ) -> Iterator[tuple[int, tuple[PredictedMask, ...]]]:
        """Yield the candidates of each of N boxes; see ``EncodedImage``. Tiles change nothing."""
        del tile
        image_hw = self._crops.image_hw
        yield from boxes_by_window(
            self._crops, boxes, lambda box: zoom_window(box, image_hw), alone=True
        )

    def _begin(self, prompt: Prompt) -> tuple[tuple[PredictedMask, ...], int]:
        """Return the candidates of the box, or of the clicks up to the first positive one.

        With how many clicks that used.
        """
        if len(prompt.boxes):
            window = zoom_window(prompt.boxes[0], self._crops.image_hw)
            return self._predict_in(window, Prompt(boxes=prompt.boxes)), 0
        positive = np.flatnonzero(labels_of(prompt) > 0)
        count = int(positive[0]) + 1 if len(positive) else len(prompt.points)
        part = _clicks(prompt, count)
        if count == 1:
            return self._lone(part), 1
        return self._predict_in(self._crops.whole, part), count

    def _lone(self, prompt: Prompt) -> tuple[PredictedMask, ...]:
        """Return the best candidate at each scale, by falling quality."""
        found = [self._predict_in(self._crops.whole, prompt)[0]]
        for window in click_windows(prompt.points[0], self._crops.image_hw):
            found.append(replace(self._predict_in(window, prompt)[0], may_be_cut=True))
        return tuple(sorted(found, key=lambda one: -one.quality))

    def _correct(self, prompt: Prompt, previous: LowResMask) -> tuple[PredictedMask, ...]:
        """Predict in a crop around the previous mask, the box and the positive points.

        Points beyond that crop are negative and far away: the network isn't shown them, unless
        there is nothing else.
        """
        mask = previous.mask()
        points, labels = prompt.points, labels_of(prompt)
        if not mask.any() and not len(prompt.boxes):
            return self._predict_in(self._crops.whole, prompt)
        inside = points[labels > 0]
        boxes = [*prompt.boxes, *([mask_to_box(mask)] if mask.any() else [])]
        low = np.min([*(box[:2] for box in boxes), *inside], axis=0)
        high = np.max([*(box[2:] for box in boxes), *(inside + 1)], axis=0)
        window = zoom_window(np.concatenate([low, high]), self._crops.image_hw)
        inside_window = (points >= window[:2]) & (points < window[2:])
        shown: BoolArray = np.asarray(inside_window.all(axis=1), np.bool_)
        near = Prompt(points[shown], labels[shown], prompt.boxes)
        if not len(near):
            low, high = np.min([low, *points], axis=0), np.max([high, *(points + 1)], axis=0)
            window, near = zoom_window(np.concatenate([low, high]), self._crops.image_hw), prompt
            shown[:] = True
        # A last click far from all that is shown is no reason to change anything there.
        stays = len(points) > 0 and bool(shown[-1])
        return self._predict_in(window, near, previous, stays=stays)

    def _predict_in(
        self,
        window: Tile,
        prompt: Prompt,
        previous: LowResMask | None = None,
        *,
        stays: bool = False,
    ) -> tuple[PredictedMask, ...]:
        """Return the candidates in one crop, those first that obey more of the clicks.

        stays: whether what is far from the last click stays as the previous mask has it.
        """
        crop = self._crops.crop(window)
        with self._crops.watch("decode"):
            found = decode_one(crop, prompt, previous)
            if not len(prompt.points):
                return found
            clicks = _in_cells(found[0], prompt)
            before = previous.logits_in(window) if previous is not None and stays else None
            raw = found[0].decoded.logits[0, [one.index for one in found]]
            order = np.argsort((~obeyed(raw, clicks)).sum(axis=1), kind="stable")
            return tuple(replace(found[n], clicks=clicks, before=before) for n in order)


def _in_cells(one: PredictedMask, prompt: Prompt) -> CellClicks:
    """Return a prompt's points, in pixels of the image, in cells of a mask's logits."""
    frame, cells = one.decoded.frame, one.decoded.logits.shape[-1]
    corner = np.array(one.window[:2], np.float32)
    places = frame.points_to_model(prompt.points - corner) * np.float32(cells / frame.side)
    return CellClicks(places, labels_of(prompt))


def _clicks(prompt: Prompt, count: int) -> Prompt:
    """Return a prompt with its first clicks only."""
    return Prompt(prompt.points[:count], labels_of(prompt)[:count], prompt.boxes)


def click_windows(point: FloatArray, image_hw: tuple[int, int]) -> list[Tile]:
    """Return the two square crops around a lone click (x, y), the larger one first."""
    x, y = point
    windows = []
    for scale in _SCALES[1:]:
        side = max(round(max(image_hw) * scale), _MIN_CLICK_CROP)
        left, top = floor(float(x) - side / 2), floor(float(y) - side / 2)
        windows.append(Tile(left, top, left + side, top + side))
    return windows


def zoom_window(box: FloatArray, image_hw: tuple[int, int]) -> Tile:
    """Return the square crop of an image of (H, W) with a box, 4 (xyxy), in its middle.

    It may reach beyond the image.
    """
    height, width = image_hw
    low, high = (np.clip(corner, 0, (width, height)) for corner in (box[:2], box[2:]))
    if (high <= low).any():  # the segmenter says what is wrong with it
        return Tile(0, 0, width, height)
    side = max(ceil(float((high - low).max()) * _WIDER), _MIN_BOX_CROP)
    x, y = (floor(float(middle) - side / 2) for middle in (low + high) / 2)
    return Tile(x, y, x + side, y + side)
