"""What stands in place of a detector or a segmenter where a model has only the other."""

# ruff: noqa: ARG002  # The Protocols' methods, which all do the same here.

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NoReturn

from perception.errors import PromptError
from perception.prompts.grammar import Phrases
from perception.types import (
    Candidates,
    Detections,
    Embedding,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class MissingDetector:
    """A ``Detector`` that raises PromptError. beside: the segmenter that the model has."""

    name = "none"
    phrases_independent = True

    def __init__(self, beside: str) -> None:
        self._beside = beside

    def detect(
        self, images: Sequence[ImageArray], phrases: Phrases, *, threshold: float = 0.3
    ) -> list[Detections]:
        """Raises PromptError."""
        self._refuse()

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """Raises PromptError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PromptError(
            f"{self._beside} cuts out what points and boxes show, and reads no text; for text name "
            f"a detector, too, such as grounding-dino-tiny+{self._beside}"
        )


class MissingSegmenter:
    """A ``Segmenter`` that raises PromptError. beside: the detector that the model has."""

    name = "none"

    def __init__(self, beside: str) -> None:
        self._beside = beside

    def encode(self, image: ImageArray) -> Embedding:
        """Raises PromptError."""
        self._refuse()

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Raises PromptError."""
        self._refuse()

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """Raises PromptError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PromptError(
            f"{self._beside} finds boxes only (perception detect); for masks name a segmenter, "
            f"too, such as {self._beside}+sam-vit-b"
        )
