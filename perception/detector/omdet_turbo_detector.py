"""OmDet-Turbo as a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception.boxes import clip_boxes
from perception.detector.decode import candidates, join_passes
from perception.detector.fitting import boxes_in_image
from perception.detector.omdet_turbo import EncodedTask, OmDetTurbo
from perception.detector.pixels import batches, to_pixels
from perception.detector.protocol import Detector
from perception.detector.spelling import token_ids, too_long
from perception.detector.text_memory import TextMemory
from perception.detector.text_passes import groups
from perception.phrases import Phrases
from perception.types import Candidates, ImageArray, IntArray

KEPT_PHRASES = 8192
KEPT_TASKS = 1024
PHRASES_PER_CALL = 64


@dataclass(frozen=True, eq=False)
class _Question:
    """Which phrases one sentence asks for, and its token ids."""

    phrases: IntArray
    ids: tuple[int, ...]


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
        questions = self._questions(phrases.phrases)
        vectors = torch.stack(self._phrases.get_all(phrases.phrases, self._encode))
        found: list[Candidates] = []
        for part in batches(images, self._network.device):
            pyramid = self._network.encode_images(to_pixels(self._processor, part))
            answers = [self._ask(part, pyramid, vectors, one, floor) for one in questions]
            found += [
                join_passes(
                    one,
                    [question.phrases for question in questions],
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
        question: _Question,
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

    def _questions(self, phrases: Sequence[str]) -> list[_Question]:
        """The phrases as sentences like "detect cat, dog.", as the model was trained with."""
        tokens = token_ids(self._tokenizer, phrases, model=self.name)
        before, comma, after = token_ids(self._tokenizer, ["detect", ",", "."], model=self.name)
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        room = self._limit - 2 - len(before)
        for phrase, ids in zip(phrases, tokens, strict=True):
            if len(ids) + len(after) > room:
                raise too_long(phrase, len(ids), room - len(after))
        questions = []
        for some in groups([len(ids) + 1 for ids in tokens], room):
            inner = [token for phrase in some for token in (*comma, *tokens[phrase])]
            sentence = (begin, *before, *inner[len(comma) :], *after, end)
            questions.append(_Question(np.array(some, np.int64), sentence))
        return questions

    def _encode(self, phrases: Sequence[str]) -> list[Tensor]:
        """The class features of each phrase, D."""
        tokens = token_ids(self._tokenizer, phrases, model=self.name)
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        vectors: list[Tensor] = []
        for start in range(0, len(tokens), PHRASES_PER_CALL):
            part = tokens[start : start + PHRASES_PER_CALL]
            # What follows the first end token is never read.
            rows = np.full((len(part), 2 + max(map(len, part))), end, np.int64)
            for row, ids in zip(rows, part, strict=True):
                row[: len(ids) + 1] = [begin, *ids]
            vectors += self._network.encode_phrases(rows)
        return vectors
