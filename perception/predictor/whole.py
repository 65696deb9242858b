"""Masks predicted in the whole image, as SAM does (Kirillov et al. 2023, "Segment Anything").

Where a large image is looked at in tiles, a small box is predicted in the smallest tile or crop
that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.ops.windows import Tile, tiles
from perception.predictor.crop import CropsImage, EncodedCrop, ImageCrops
from perception.predictor.predictions import LowResMask, PredictedMask, obedient_first
from perception.predictor.protocol import Embed
from perception.runtime.batching import Stopwatch
from perception.segmenters.protocol import Segmenter
from perception.types import MASKS, FloatArray, ImageArray, IntArray, Prompt

_BOXES_PER_CALL = 32

_MARGIN = 0.1
"""How much of its width and height a box's crop shows on each side of it, where there is more."""


class WholeImagePredictor:
    """A ``MaskPredictor`` over a segmenter with a large input (SAM, SAM 2.1, SAM-HQ, SAM 3)."""

    kind = "whole"

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def encode(
        self,
        image: ImageArray,
        *,
        file_name: str = "",
        embed: Embed | None = None,
        watch: Stopwatch | None = None,
    ) -> WholeImage:
        """Return the image as prompts are predicted on it; see ``MaskPredictor``."""
        crops = ImageCrops(self.segmenter, image, refined=False, embed=embed, watch=watch)
        return WholeImage(crops, file_name)


class WholeImage(CropsImage):
    """An ``EncodedImage`` whose prompts see all of it."""

    refines_proposals = False

    def predict(
        self, prompt: Prompt, previous: LowResMask | None = None
    ) -> tuple[PredictedMask, ...]:
        """Return the candidates of one prompt, the one to show first; see ``EncodedImage``."""
        checked = check_one(prompt, self._crops.image_hw)
        crop = self._crops.crop(self._crops.whole)
        with self._crops.watch("decode"):
            candidates = decode_one(crop, checked, previous)
            return obedient_first(candidates, checked.points, labels_of(checked))

    def predict_boxes(
        self, boxes: FloatArray, *, tile: int = 0
    ) -> Iterator[tuple[int, tuple[PredictedMask, ...]]]:
        """Yield the candidates of each of N boxes; see ``EncodedImage``."""
        whole, image_hw = self._crops.whole, self._crops.image_hw
        if tile and max(image_hw) > tile:
            grid = tiles(image_hw, tile)
            yield from boxes_by_window(
                self._crops, boxes, lambda box: tile_window(box, image_hw, grid, tile)
            )
        else:
            yield from boxes_by_window(self._crops, boxes, lambda _: whole)


def check_one(prompt: Prompt, image_hw: tuple[int, int]) -> Prompt:
    """Return one prompt with its box clipped to the image; PromptError for none or for several."""
    if len(prompt) != 1:
        asked = f"{len(prompt)} boxes" if len(prompt) else "neither points nor a box"
        raise PromptError(f"expected one prompt, got {asked}: give points, a box, or both")
    return Frame(image_hw, max(image_hw)).fit_prompt(prompt)


def labels_of(prompt: Prompt) -> IntArray:
    """Return the labels of a prompt's points, K, 1 = in, 0 = out."""
    return np.asarray(prompt.point_labels, np.int64)


def decode_one(
    crop: EncodedCrop, prompt: Prompt, previous: LowResMask | None = None
) -> tuple[PredictedMask, ...]:
    """Return the candidates of one prompt in a crop.

    The three candidates of an ambiguous prompt, by falling quality; else all four masks in order.
    """
    if previous is not None:
        logits = previous.logits_in(crop.window)[None]
        prompt = Prompt(prompt.points, prompt.point_labels, prompt.boxes, logits)
    decoded = crop.decode(prompt)
    order = np.arange(MASKS)
    if decoded.ambiguous:
        order = 1 + np.argsort(-decoded.quality[0, 1:], kind="stable")
    return tuple(PredictedMask(crop, decoded, 0, int(index)) for index in order)


def boxes_by_window(
    crops: ImageCrops,
    boxes: FloatArray,
    window_of: Callable[[FloatArray], Tile],
    *,
    alone: bool = False,
) -> Iterator[tuple[int, tuple[PredictedMask, ...]]]:
    """Yield which of N boxes, and its candidates, window by window, a few boxes at a time.

    alone: one box at a time. A box's mask is the same to the last bit, whatever others are asked.
    """
    per_call = 1 if alone else _BOXES_PER_CALL
    rows: dict[Tile, list[int]] = {}
    for n, box in enumerate(boxes):
        rows.setdefault(window_of(box), []).append(n)
    for window in sorted(rows):
        crop = crops.crop(window)
        for first in range(0, len(rows[window]), per_call):
            some = rows[window][first : first + per_call]
            # Products of one row and of several round differently, and on a CPU networks of this
            # size decode two boxes at a time: their number is made even.
            even = some if alone or len(some) % 2 == 0 else [*some, some[-1]]
            with crops.watch("decode"):
                decoded = crop.decode(Prompt(boxes=boxes[even]))
            for row, n in enumerate(some):
                yield n, tuple(PredictedMask(crop, decoded, row, index) for index in range(MASKS))


def tile_window(
    box: FloatArray, image_hw: tuple[int, int], grid: Sequence[Tile], side: int
) -> Tile:
    """Return the part of an image of (H, W) in which a box, 4 (xyxy), is predicted.

    A tile of the grid that holds it with a margin, the one in whose middle it is most; or a crop of
    its own, 1, 2, 4 ... times as large as a tile, until that holds it; or the whole image. It
    depends on nothing else, so an object's mask never depends on what else is found.
    """
    height, width = image_hw
    around = _MARGIN * (box[2:] - box[:2])
    limits = np.array([width, height] * 2, np.float32)
    wanted = np.clip(np.concatenate([box[:2] - around, box[2:] + around]), 0, limits)
    holding = [tile for tile in grid if tile.holds(wanted)]
    if holding:
        return min(holding, key=lambda tile: _off_center(tile, box))
    while side < max(height, width):
        window = _centered(box, (height, width), side)
        if window.holds(wanted):
            return window
        side *= 2
    return Tile(0, 0, width, height)


def _off_center(tile: Tile, box: FloatArray) -> float:
    """Return how far the center of a box is from that of a tile, twice and squared."""
    x, y = (
        (tile.x0 + tile.x1) - float(box[0] + box[2]),
        (tile.y0 + tile.y1) - float(box[1] + box[3]),
    )
    return x * x + y * y


def _centered(box: FloatArray, image_hw: tuple[int, int], side: int) -> Tile:
    """Return the tile of side x side around the center of a box that lies in the image."""
    height, width = image_hw
    x = int(np.clip((box[0] + box[2] - side) / 2, 0, max(width - side, 0)))
    y = int(np.clip((box[1] + box[3] - side) / 2, 0, max(height - side, 0)))
    return Tile(x, y, min(x + side, width), min(y + side, height))
