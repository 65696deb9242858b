"""SAM 3 as one model that is a detector and a segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from perception.detector.protocol import Detector, ExampleDetector
from perception.phrases import Phrases
from perception.sam3.finder import Finder
from perception.segmenter.levels_segmenter import LevelsSegmenter
from perception.types import (
    Candidates,
    Embedding,
    Examples,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class Sam3(ExampleDetector):
    """An ``ExampleDetector`` and a ``Segmenter`` over the same weights.

    Text and examples go through ``finder``, points and boxes through ``clicker``. What a text finds
    comes with masks, which no prompt to the segmenter makes again.
    """

    phrases_independent = True  # Each has a pass of its own.
    example_phrase = "visual"

    def __init__(self, finder: Finder, clicker: LevelsSegmenter) -> None:
        self.name, self.side = clicker.name, clicker.side
        self._finder, self._clicker = finder, clicker

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes, with masks, that reach ``floor``; see ``Detector``."""
        return self._finder.candidates(images, phrases, floor=floor)

    def shown(self, examples: Examples) -> ShownSam3:
        """The detector that finds what is like these examples; see ``ExampleDetector``."""
        return ShownSam3(self.name, self._finder, examples)

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding for points and boxes; see ``Segmenter``."""
        return self._clicker.encode(image)

    def encode_batch(self, images: Sequence[ImageArray]) -> list[Embedding]:
        """Pictures of any sizes, in one call of the network; otherwise as ``encode`` of each."""
        return self._clicker.encode_batch(images)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return self._clicker.decode(embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return self._clicker.propose(embedding, points, least_quality=least_quality)


@dataclass(frozen=True)
class ShownSam3(Detector):
    """A ``Detector`` that was shown examples: what it finds depends on their places, too."""

    name: str
    finder: Finder
    examples: Examples
    phrases_independent = True

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes, with masks, that reach ``floor``; see ``Detector``."""
        return self.finder.candidates(images, phrases, floor=floor, examples=self.examples)
