"""OmDet-Turbo as a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.boxes import clip_boxes
from perception.detector.decode import candidates, join_passes
from perception.detector.fitting import boxes_in_image
from perception.detector.omdet_turbo import EncodedTask, OmDetTurbo
from perception.detector.omdet_turbo_text import (
    KEPT_PHRASES,
    KEPT_TASKS,
    Question,
    phrase_rows,
    questions,
)
from perception.detector.pixels import batches, to_pixels
from perception.detector.protocol import Detector
from perception.detector.text_memory import TextMemory
from perception.phrases import Phrases
from perception.types import Candidates, ImageArray


class OmDetTurboDetector(Detector):
    """A ``Detector`` over the network's three steps, its tokenizer and its preprocessing.

    The model reads each phrase by itself, and a sentence with all of them. A sentence holds as many
    as the text encoder has room for; more are asked in several, of which each has boxes of its own.
    side: of the square that every picture becomes.
    """

    phrases_independent = False  # The sentence touches each box.

    def __init__(self, network: OmDetTurbo, tokenizer: Any, processor: Any, *, name: str) -> None:
        self.name = name
        self._network = network
        self._tokenizer = tokenizer
        self._processor = processor
        self.side: int = processor.size["height"]
        self._limit: int = network.network.config.text_config.max_position_embeddings
        self._phrases: TextMemory[str, Tensor] = TextMemory(KEPT_PHRASES)
        self._tasks: TextMemory[tuple[int, ...], EncodedTask] = TextMemory(KEPT_TASKS)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB picture H x W x 3 that reach ``floor``; see ``Detector``."""
        asked = self._questions(phrases.phrases)
        vectors = torch.stack(self._phrases.get_all(phrases.phrases, self._encode))
        found: list[Candidates] = []
        for part in batches(images, self._network.device):
            pyramid = self._network.encode_images(to_pixels(self._processor, part))
            answers = [self._ask(part, pyramid, vectors, one, floor) for one in asked]
            found += [
                join_passes(
                    one,
                    [question.phrases for question in asked],
                    queries=self._network.network.config.num_queries,
                )
                for one in zip(*answers, strict=True)
            ]
        return found

    def _ask(
        self,
        images: Sequence[ImageArray],
        pyramid: Sequence[Tensor],
        vectors: Tensor,
        question: Question,
        floor: float,
    ) -> list[Candidates]:
        """What one sentence finds in each picture."""
        ids = np.array(question.ids, np.int64)
        task = self._tasks.get(question.ids, lambda: self._network.encode_task(ids))
        own = vectors[torch.from_numpy(question.phrases).to(vectors.device)]
        boxes, logits = self._network.fuse(pyramid, own, task)
        found = []
        for image, places, scores in zip(images, boxes.cpu(), logits.cpu(), strict=True):
            height, width = image.shape[:2]
            placed = clip_boxes(boxes_in_image(places.numpy(), width, height), (height, width))
            found.append(candidates(placed, scores.numpy(), floor=floor))
        return found

    def _questions(self, phrases: Sequence[str]) -> list[Question]:
        return questions(self._tokenizer, phrases, limit=self._limit, model=self.name)

    def _encode(self, phrases: Sequence[str]) -> list[Tensor]:
        """The class features of each phrase, D."""
        rows = phrase_rows(self._tokenizer, phrases, model=self.name)
        return [vector for part in rows for vector in self._network.encode_phrases(part)]
