"""Grounding DINO, MM-Grounding-DINO and LLMDet as a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perception.detectors.decode import join_passes, scored, span_scores
from perception.detectors.grounding_dino.network import EncodedImages, EncodedText, GroundingDino
from perception.detectors.onnx_files import boxes_in_image
from perception.detectors.pretrained import batches, to_pixels
from perception.detectors.protocol import Detector
from perception.detectors.text import (
    Marks,
    TextMemory,
    TextPass,
    longest_phrase,
    pack,
    token_ids,
    too_long,
)
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases
from perception.types import Candidates, ImageArray

KEPT_TEXTS = 256
"""Texts whose encoding is kept, about a third of a megabyte each."""

KEPT_VOCABULARIES = 8
"""Vocabularies whose division into texts is kept."""


class GroundingDinoDetector(Detector):
    """A ``Detector`` over the network's three steps, its tokenizer and its preprocessing.

    A text holds as many phrases as its limit of tokens allows; more are asked in several texts,
    of which each has boxes of its own. On a GPU the images of one call go through together.
    side: of the largest square that the network sees unreduced.
    """

    phrases_independent = False  # Words and images are fused, so each word touches each box.

    def __init__(
        self, network: GroundingDino, tokenizer: Any, processor: Any, *, name: str
    ) -> None:
        self.name = name
        self._network = network
        self._tokenizer = tokenizer
        self._processor = processor
        self.side: int = processor.size["shortest_edge"]
        self._limit: int = network.network.config.max_text_len
        self._marks = Marks(
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            tokenizer.convert_tokens_to_ids("."),
        )
        self._passes: TextMemory[tuple[str, ...], list[TextPass]] = TextMemory(KEPT_VOCABULARIES)
        self._texts: TextMemory[tuple[int, ...], EncodedText] = TextMemory(KEPT_TEXTS)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        passes = self._passes.get(phrases.phrases, lambda: self._pack(phrases.phrases))
        parts = batches(images, self._network.device)
        return [one for part in parts for one in self._batch(part, passes, floor)]

    def _batch(
        self, images: Sequence[ImageArray], passes: Sequence[TextPass], floor: float
    ) -> list[Candidates]:
        encoded = self._network.encode_images(to_pixels(self._processor, images))
        parts = [self._ask(images, encoded, text, floor) for text in passes]
        queries = self._network.network.config.num_queries
        return [
            join_passes(one, [text.phrases for text in passes], queries=queries)
            for one in zip(*parts, strict=True)
        ]

    def _ask(
        self, images: Sequence[ImageArray], encoded: EncodedImages, text: TextPass, floor: float
    ) -> list[Candidates]:
        """What one text finds in each image."""
        words = self._texts.get(text.key, lambda: self._network.encode_text(text))
        boxes, logits = self._network.fuse(encoded, words)
        found = []
        for image, own, tokens in zip(
            images, boxes.cpu().numpy(), logits.cpu().numpy(), strict=True
        ):
            height, width = image.shape[:2]
            placed = clip_boxes(boxes_in_image(own, width, height), (height, width))
            found.append(scored(placed, span_scores(tokens, text.spans), floor=floor))
        return found

    def _pack(self, phrases: tuple[str, ...]) -> list[TextPass]:
        tokens = token_ids(self._tokenizer, phrases, model=self.name)
        most = longest_phrase(self._limit)
        for phrase, ids in zip(phrases, tokens, strict=True):
            if len(ids) > most:
                raise too_long(phrase, len(ids), most)
        return pack(tokens, self._marks, limit=self._limit)
