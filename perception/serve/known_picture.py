"""A segmenter that has encoded its one picture already."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from perception.segmenter.protocol import Segmenter
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class KnownPicture:
    """A ``Segmenter`` for one picture, whose embedding is given when it is first needed."""

    def __init__(self, segmenter: Segmenter, embedding: Callable[[], Embedding]) -> None:
        self._segmenter, self._embedding = segmenter, embedding
        self.name = segmenter.name

    def encode(self, image: ImageArray) -> Embedding:
        """The picture's embedding; image: the picture itself."""
        del image
        return self._embedding()

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """See ``Segmenter``."""
        return self._segmenter.decode(embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """See ``Segmenter``."""
        return self._segmenter.propose(embedding, points, least_quality=least_quality)
