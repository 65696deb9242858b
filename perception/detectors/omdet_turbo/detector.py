"""OmDet-Turbo by torch: its network in three steps, and the detector.

The modules and weights are those of transformers' ``OmDetTurboForObjectDetection``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.detectors.decode import candidates, join_passes
from perception.detectors.omdet_turbo.onnx import (
    KEPT_PHRASES,
    KEPT_TASKS,
    Question,
    phrase_rows,
    questions,
)
from perception.detectors.onednn_linear import computing_in
from perception.detectors.onnx_files import boxes_in_image
from perception.detectors.pretrained import batches, to_pixels
from perception.detectors.protocol import Detector
from perception.detectors.text import TextMemory
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases
from perception.types import Candidates, ImageArray, IntArray


class OmDetTurboDetector(Detector):
    """A ``Detector`` over the network's three steps, its tokenizer and its preprocessing.

    The model reads each phrase by itself, and a sentence with all of them. A sentence holds as many
    as the text encoder has room for; more are asked in several, of which each has boxes of its own.
    side: of the square that every image becomes.
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
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
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
        """What one sentence finds in each image."""
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


@dataclass(frozen=True, eq=False)
class EncodedTask:
    """The sentence that asks for some phrases. features: T x 1 x D; mask: 1 x T, all 1."""

    features: Tensor
    mask: Tensor


class OmDetTurbo:
    """The three steps over the network, which is in evaluation mode.

    dtype: of the backbones' and the encoder's matrix products; the decoder, where coordinates are
    made, stays in float32.
    """

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
        self.network: Any = network
        self.dtype = dtype
        self.device: torch.device = next(network.parameters()).device

    @torch.inference_mode()
    def encode_phrases(self, ids: IntArray) -> Tensor:
        """Token ids N x L, padded with the end token -> class features N x D."""
        with computing_in(self.dtype, self.device):
            found: Tensor = self.network.language_backbone(self._tensor(ids), encode_type="class")
        return found.float()

    @torch.inference_mode()
    def encode_task(self, ids: IntArray) -> EncodedTask:
        """The token ids T of one sentence."""
        mask = torch.ones(1, len(ids), dtype=torch.long, device=self.device)
        with computing_in(self.dtype, self.device):
            features, mask = self.network.language_backbone(
                self._tensor(ids)[None], mask=mask, encode_type="task"
            )
        return EncodedTask(features.float(), mask)

    @torch.inference_mode()
    def encode_images(self, pixels: Sequence[Tensor]) -> list[Tensor]:
        """Pictures 3 x H x W of one size, normalized -> a pyramid of B x D x h x w."""
        with computing_in(self.dtype, self.device):
            found = self.network.vision_backbone(torch.stack(list(pixels)).to(self.device))
            pyramid = self.network.encoder(found, return_dict=True).extracted_states
        return [level.float() for level in pyramid]

    @torch.inference_mode()
    def fuse(
        self, pyramid: Sequence[Tensor], phrases: Tensor, task: EncodedTask
    ) -> tuple[Tensor, Tensor]:
        """Boxes B x Q x 4, cxcywh as parts of each image, and logits B x Q x P of P phrases."""
        count = len(pyramid[0])
        found = self.network.decoder(
            list(pyramid),
            phrases[:, None].expand(-1, count, -1),
            task.features.expand(-1, count, -1),
            task.mask.expand(count, -1),
            return_dict=True,
        )
        return found.decoder_coords[-1], found.decoder_classes[-1]

    def _tensor(self, ids: IntArray) -> Tensor:
        return torch.from_numpy(ids).to(self.device)
