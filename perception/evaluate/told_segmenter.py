"""A segmenter that answers what it is told, to the pixel: measurements prove themselves with it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from perception.frame import Frame
from perception.types import (
    BoolArray,
    Embedding,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)

Tell = Callable[[Prompt], BoolArray]
"""The four masks 4 x H x W for one prompt."""

_QUALITY = (0.6, 0.9, 0.8, 0.7)
"""What it predicts of its masks: of the candidates, the first is best."""


class ToldSegmenter:
    """A ``Segmenter``; tell: see ``Tell``. Its input has the picture's size, so nothing blurs."""

    name = "told"

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def encode(self, image: ImageArray) -> Embedding:
        height, width = image.shape[:2]
        frame = Frame((height, width), max(height, width))
        return Embedding(np.zeros((1, 1, 1), np.float32), frame, self.name)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        frame = embedding.frame
        prompt = frame.fit_prompt(prompt)
        each = [prompt] * len(prompt.points[:1]) or [
            Prompt(boxes=box[None]) for box in prompt.boxes
        ]
        logits = np.full((len(each), 4, frame.side, frame.side), -4, np.float32)
        for n, one in enumerate(each):
            height, width = frame.image_hw
            logits[n, :, :height, :width] = np.where(self._tell(one), 4, -4)
        quality = np.tile(np.array(_QUALITY, np.float32), (len(each), 1))
        return MaskCandidates(logits, quality, frame, ambiguous=prompt.is_ambiguous)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        decoded = [self.decode(embedding, Prompt(points=point[None])) for point in points]
        side = embedding.frame.side
        good = [n for n in (1, 2, 3) if _QUALITY[n] >= least_quality]
        logits = [one.logits[0, good] for one in decoded] or [np.zeros((0, side, side), np.float32)]
        return Proposals(
            np.concatenate(logits),
            np.tile(np.array([_QUALITY[n] for n in good], np.float32), len(decoded)),
            np.repeat(np.arange(len(decoded)), len(good)),
            np.tile(np.array(good, np.int64), len(decoded)),
            embedding.frame,
        )
