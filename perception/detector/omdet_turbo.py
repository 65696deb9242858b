"""OmDet-Turbo's network in three steps: phrases, pictures, and what both give together.

The modules and weights are those of transformers' ``OmDetTurboForObjectDetection``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perception.detector.precision import computing_in
from perception.types import IntArray


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
        """Pictures 3 x H x W of one size, normalised -> a pyramid of B x D x h x w."""
        with computing_in(self.dtype, self.device):
            found = self.network.vision_backbone(torch.stack(list(pixels)).to(self.device))
            pyramid = self.network.encoder(found, return_dict=True).extracted_states
        return [level.float() for level in pyramid]

    @torch.inference_mode()
    def fuse(
        self, pyramid: Sequence[Tensor], phrases: Tensor, task: EncodedTask
    ) -> tuple[Tensor, Tensor]:
        """Boxes B x Q x 4, cxcywh as parts of each picture, and logits B x Q x P of P phrases."""
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
