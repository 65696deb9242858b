"""What every segmenter can do, whatever runs it."""

from __future__ import annotations

from math import inf
from typing import Protocol

from perception.types import Embedding, FloatArray, ImageArray, MaskCandidates, Prompt, Proposals


class Segmenter(Protocol):
    """Encodes an image once and answers any number of prompts on it; keeps nothing in between."""

    @property
    def name(self) -> str:
        """The model, as results and error messages call it."""
        ...

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> the image's embedding.

        Raises ImageError for another kind of array.
        """
        ...

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; N may be 0.

        Raises PromptError for another model's embedding, a point outside the image, a box wholly
        outside, or an earlier mask of another size.
        """
        ...

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The three candidates of each of N lone points whose quality reaches ``least_quality``.

        points: N x 2 (x, y) in pixels of the image; N may be 0. What falls short is never
        upscaled. Raises PromptError for another model's embedding and a point outside the image.
        """
        ...
