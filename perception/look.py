"""One look at a part of a picture: it is encoded once, and asked in pixels of the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perception.box_prior import box_log_odds
from perception.colours import Colours
from perception.segmenter.protocol import Segmenter
from perception.tiles import Tile
from perception.types import FloatArray, ImageArray, MaskCandidates, Prompt

NEAR_SIGHTED = 512
"""A segmenter whose input is smaller than this, in pixels, looks closer at small things."""


def is_near_sighted(segmenter: Segmenter) -> bool:
    """Whether it has so small an input that it looks closer, and is helped by colours."""
    return bool(getattr(segmenter, "side", NEAR_SIGHTED) < NEAR_SIGHTED)


class Look:
    """A view of a picture H x W x 3 as a segmenter sees it; without one, all of the picture."""

    def __init__(self, segmenter: Segmenter, image: ImageArray, view: Tile | None = None) -> None:
        shown = image if view is None else np.ascontiguousarray(view.cut_from(image))
        self._embedding = segmenter.encode(shown)  # It says what is wrong with a picture.
        self._segmenter, self._image = segmenter, image
        self.view = view or Tile(0, 0, image.shape[1], image.shape[0])
        self._colours: Colours | None = None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self._image.shape[0], self._image.shape[1]

    @property
    def is_near_sighted(self) -> bool:
        """Whether its segmenter is."""
        return is_near_sighted(self._segmenter)

    def decode(self, prompt: Prompt) -> MaskCandidates:
        """What the segmenter says to a prompt in pixels of the picture, in the view's frame.

        A near-sighted one, asked by boxes alone, is reminded of them (``box_prior``).
        """
        corner = np.array(self.view[:2], np.float32)
        if corner.any():
            boxes = moved_boxes(prompt.boxes, corner)
            prompt = replace(prompt, points=prompt.points - corner, boxes=boxes)
        decoded = self._segmenter.decode(self._embedding, prompt)
        if len(prompt.points) or not len(prompt.boxes) or not is_near_sighted(self._segmenter):
            return decoded
        boxes = decoded.frame.fit_prompt(prompt).boxes
        known = box_log_odds(boxes, decoded.frame, decoded.logits.shape[2:])
        return replace(decoded, logits=decoded.logits + known[:, None])

    def mend(self, logits: FloatArray) -> FloatArray:
        """M of the masks that it said, M x h x w, as they are shown.

        Those of a near-sighted segmenter are made to agree with the colours of the picture.
        """
        if not is_near_sighted(self._segmenter):
            return logits
        if self._colours is None:
            hw = logits.shape[1], logits.shape[2]
            self._colours = Colours(self._image, self.view, self._embedding.frame, hw)
        return self._colours.mend(logits)


def moved_boxes(boxes: FloatArray, corner: FloatArray) -> FloatArray:
    """Boxes N x 4 of a picture as those of a view whose corner is at (x, y).

    Rounding may close one that is thinner than single precision tells apart; none is closed here.
    """
    low, high = boxes[:, :2] - corner, boxes[:, 2:] - corner
    return np.hstack([low, np.maximum(high, np.nextafter(low, np.float32(np.inf)))])
