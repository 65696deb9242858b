"""OWLv2 as a detector: each phrase a query of its own, compared with each patch of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.detectors.decode import candidates
from perception.detectors.onednn_linear import computing_in
from perception.detectors.owlv2.onnx import (
    KEPT_PHRASES,
    PHRASES_PER_CALL,
    boxes_from_square,
    to_square_pixels,
    token_rows,
)
from perception.detectors.pretrained import batches
from perception.detectors.protocol import Detector
from perception.detectors.text import TextMemory
from perception.prompts.grammar import Phrases
from perception.types import Candidates, ImageArray


class Owlv2Detector(Detector):
    """A ``Detector`` over transformers' ``Owlv2ForObjectDetection``, in evaluation mode.

    A phrase's score is the published one, the probability of its query; any number of phrases is
    asked at once. side: of the square that every image becomes. dtype: of the two towers' matrix
    products; the heads stay in float32.
    """

    phrases_independent = True  # A query is only multiplied with the patches, and they have boxes.

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Any,
        processor: Any,
        *,
        name: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self._network: Any = network
        config: Any = network.config
        self._tokenizer = tokenizer
        self._processor = processor
        self._dtype = dtype
        self._device: torch.device = next(network.parameters()).device
        self.side: int = processor.size["height"]
        self._limit: int = config.text_config.max_position_embeddings
        self._queries: TextMemory[str, Tensor] = TextMemory(KEPT_PHRASES)

    @torch.inference_mode()
    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        queries = torch.stack(self._queries.get_all(phrases.phrases, self._encode))  # P x D
        found = []
        for part in batches(images, self._device):
            boxes, logits = self._compare(part, queries)
            for image, own, scores in zip(part, boxes, logits, strict=True):
                placed = boxes_from_square(own.cpu().numpy(), image.shape[:2])
                found.append(candidates(placed, scores.cpu().numpy(), floor=floor))
        return found

    def _compare(self, images: Sequence[ImageArray], queries: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes B x Q x 4, cxcywh as parts of the square, and logits B x Q x P."""
        network = self._network
        pixels = torch.stack([self._pixels(image) for image in images])
        with computing_in(self._dtype, self._device):
            cells = network.owlv2.vision_model(
                pixel_values=pixels.to(self._device)
            ).last_hidden_state
        cells = network.owlv2.vision_model.post_layernorm(cells.float())  # B x (1 + Q) x D
        patches = network.layer_norm(cells[:, 1:] * cells[:, :1])
        logits, _ = network.class_predictor(patches, queries.expand(len(images), -1, -1))
        return network.box_predictor(patches, patches), logits

    def _pixels(self, image: ImageArray) -> Tensor:
        given = self._processor
        pixels = to_square_pixels(
            image, self.side, given.image_mean, given.image_std, scale=given.rescale_factor
        )
        return torch.from_numpy(pixels)

    def _encode(self, phrases: Sequence[str]) -> list[Tensor]:
        """The query of each of N phrases, D."""
        vectors: list[Tensor] = []
        for ids in torch.split(self._tokens(phrases), PHRASES_PER_CALL):
            with computing_in(self._dtype, self._device):
                # A query reads only what stands before its end, so nothing has to be masked.
                found = self._network.owlv2.get_text_features(ids, return_dict=True)
            vectors += found.pooler_output.float()
        return [vector / vector.norm() for vector in vectors]

    def _tokens(self, phrases: Sequence[str]) -> Tensor:
        """Token ids N x L of phrases in the template, padded with 0."""
        rows = token_rows(self._tokenizer, phrases, limit=self._limit, model=self.name)
        return torch.from_numpy(rows).to(self._device)
