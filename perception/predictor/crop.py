"""Crops of one image, each encoded once, and prompts to a segmenter in pixels of the image."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from math import inf

import numpy as np

from perception.imaging.preprocess import check_rgb
from perception.ops.windows import Tile
from perception.predictor.protocol import Embed
from perception.predictor.refine import ColorModel, box_logits, shown_cells
from perception.runtime.batching import Stopwatch
from perception.segmenters.protocol import Segmenter
from perception.types import Embedding, FloatArray, ImageArray, MaskCandidates, Prompt, Proposals

_MAX_CROPS = 4
"""Encoded crops of one image that are kept, beside the whole of it."""


class EncodedCrop:
    """A crop of an image H x W x 3 with its embedding.

    refined: whether boxes add a prior to the logits, and masks agree with the image's colors.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        image: ImageArray,
        window: Tile,
        embedding: Embedding,
        *,
        refined: bool,
    ) -> None:
        self.window, self._refined = window, refined
        self._segmenter, self._image, self._embedding = segmenter, image, embedding
        self._colors: ColorModel | None = None
        self._lab: ImageArray | None = None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the whole image."""
        return self._image.shape[0], self._image.shape[1]

    def decode(self, prompt: Prompt) -> MaskCandidates:
        """Run the segmenter on prompts in pixels of the image; the logits are in the crop's frame.

        Where the crop is refined, prompts of boxes alone add a log-odds prior (``box_prior``).
        """
        corner = np.array(self.window[:2], np.float32)
        if corner.any():
            boxes = moved_boxes(prompt.boxes, corner)
            prompt = replace(prompt, points=prompt.points - corner, boxes=boxes)
        decoded = self._segmenter.decode(self._embedding, prompt)
        if len(prompt.points) or not len(prompt.boxes) or not self._refined:
            return decoded
        boxes = decoded.frame.fit_prompt(prompt).boxes
        prior = box_logits(boxes, decoded.frame, decoded.logits.shape[2:])
        return replace(decoded, logits=decoded.logits + prior[:, None])

    def propose(self, points: FloatArray, *, min_quality: float) -> Proposals:
        """Return the good candidates of N lone points, N x 2 in pixels of the crop; not refined."""
        return self._segmenter.propose(self._embedding, points, least_quality=min_quality)

    def lab_cells(self, hw: tuple[int, int]) -> ImageArray:
        """Return the colors of the cells of logits h x w, h x w x 3 in CIELAB; gray beyond it."""
        if self._lab is None:
            import cv2

            shown, place = shown_cells(self._image, self.window, self._embedding.frame, hw)
            self._lab = np.full((*hw, 3), 128, np.uint8)
            if shown.size:
                self._lab[place] = cv2.cvtColor(shown, cv2.COLOR_RGB2LAB)
        return self._lab

    def refine(self, logits: FloatArray) -> FloatArray:
        """Return logits M x h x w, of a refined crop so that they agree with the image's colors."""
        if not self._refined:
            return logits
        if self._colors is None:
            hw = logits.shape[1], logits.shape[2]
            self._colors = ColorModel(self._image, self.window, self._embedding.frame, hw)
        return self._colors.refine_masks(logits)


class ImageCrops:
    """The encoded crops of one image: the whole, and those that were asked for last."""

    def __init__(
        self,
        segmenter: Segmenter,
        image: ImageArray,
        *,
        refined: bool,
        embed: Embed | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        check_rgb(image)
        self.segmenter, self.image, self.watch = segmenter, image, watch or Stopwatch()
        self._refined, self._embed = refined, embed or self._encode
        self._crops: OrderedDict[Tile, EncodedCrop] = OrderedDict()

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def whole(self) -> Tile:
        """The window of all of the image."""
        return Tile(0, 0, self.image.shape[1], self.image.shape[0])

    def crop(self, window: Tile) -> EncodedCrop:
        """Return the crop of a window, which may reach beyond the image."""
        found = self._crops.get(window)
        if found is None:
            embedding = self.embedding(window)
            found = EncodedCrop(
                self.segmenter, self.image, window, embedding, refined=self._refined
            )
            self._crops[window] = found
        self._crops.move_to_end(window)
        for old in [one for one in self._crops if one != self.whole][:-_MAX_CROPS]:
            del self._crops[old]
        return found

    def embedding(self, window: Tile) -> Embedding:
        """Encode a window; nothing of it is kept."""
        with self.watch("encode"):
            return self._embed(window)

    def _encode(self, window: Tile) -> Embedding:
        return self.segmenter.encode(np.ascontiguousarray(window.cut_from(self.image)))


class CropsImage:
    """What the two kinds of ``EncodedImage`` share: the image, its crops, and proposals in one."""

    def __init__(self, crops: ImageCrops, file_name: str = "") -> None:
        self._crops, self.file_name = crops, file_name

    @property
    def image(self) -> ImageArray:
        """The image, H x W x 3."""
        return self._crops.image

    def propose(
        self, points: FloatArray, *, crop: Tile | None = None, min_quality: float = -inf
    ) -> Proposals:
        """Return the good candidates of N lone points; see ``EncodedImage``."""
        window = self._crops.crop(crop or self._crops.whole)
        with self._crops.watch("decode"):
            return window.propose(points, min_quality=min_quality)


def moved_boxes(boxes: FloatArray, corner: FloatArray) -> FloatArray:
    """Return boxes N x 4 of an image in pixels of a crop whose corner is at (x, y).

    Rounding may close a box that is thinner than single precision tells apart; none is closed here.
    """
    low, high = boxes[:, :2] - corner, boxes[:, 2:] - corner
    return np.hstack([low, np.maximum(high, np.nextafter(low, np.float32(np.inf)))])
