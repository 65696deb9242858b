"""SAM 3's way from a phrase and examples to boxes with masks, in three steps.

Carion et al. 2025, "SAM 3: Segment Anything with Concepts". The modules are transformers'; here a
picture is encoded once for all phrases, and a phrase once for all pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class EncodedPhrase:
    """One phrase of L tokens. features: 1 x L x D; real: 1 x L, 0 where a token is padding."""

    features: Tensor
    real: Tensor


class EncodedPictures(NamedTuple):
    """B pictures' feature pyramid from fine to coarse, B x D x h x w each, and codes of places."""

    levels: tuple[Tensor, ...]
    places: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.levels[0])


class Found(NamedTuple):
    """What one phrase finds in B pictures, in Q places each.

    boxes: B x Q x 4 xyxy, as parts of the picture's width and height; scores: B x Q in 0..1;
    logits: B x Q x h x w, of masks.
    """

    boxes: Tensor
    scores: Tensor
    logits: Tensor


class Concepts:
    """The steps over transformers' ``Sam3Model``, which is in evaluation mode.

    dtype: of the products in the picture's encoder; all that follows is float32.
    """

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
        self.network: Any = network
        self.dtype = dtype
        self.device: torch.device = next(network.parameters()).device

    @torch.inference_mode()
    def encode_phrase(self, ids: Tensor, real: Tensor) -> EncodedPhrase:
        """Token ids 1 x L, and which are real, 1 x L -> the phrase, on its own."""
        ids, real = ids.to(self.device), real.to(self.device)
        words = self.network.get_text_features(input_ids=ids, attention_mask=real, return_dict=True)
        return EncodedPhrase(words.pooler_output, real)

    @torch.inference_mode()
    def encode_pictures(self, pixels: Tensor) -> EncodedPictures:
        """Normalised pixels B x 3 x S x S -> pictures, whatever will be asked."""
        is_lower = self.dtype is not torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=is_lower):
            seen = self.network.vision_encoder(pixels.to(self.device))
        return EncodedPictures(
            tuple(level.float() for level in seen.fpn_hidden_states),
            tuple(places.float() for places in seen.fpn_position_encoding),
        )

    @torch.inference_mode()
    def find(
        self,
        pictures: EncodedPictures,
        phrase: EncodedPhrase,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Found:
        """What a phrase finds, with examples: boxes B x N x 4 cxcywh in 0..1, labels B x N."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        count = len(pictures)
        found = self.network(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=pictures.levels, fpn_position_encoding=pictures.places
            ),
            text_embeds=BaseModelOutputWithPooling(
                pooler_output=phrase.features.expand(count, -1, -1)
            ),
            attention_mask=phrase.real.expand(count, -1),
            input_boxes=None if boxes is None else boxes.to(self.device),
            input_boxes_labels=None if labels is None else labels.to(self.device),
        )
        # Whether the phrase is in the picture at all, times whether it is in this place.
        scores = found.presence_logits.sigmoid() * found.pred_logits.sigmoid()
        return Found(found.pred_boxes, scores, found.pred_masks)
