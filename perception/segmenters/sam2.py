"""SAM 2 and 2.1 for single images: transformers' image encoder, our order of work behind it.

Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos". Two finer levels of the encoder's
features go into the masks. A single-mask answer that isn't stable gives way to the best of the
three candidates, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.imaging.preprocess import RGB_MEAN, RGB_STD
from perception.segmenters.multi_scale import Good, PreparedLevels, TwoWay, mixed, pick_good
from perception.segmenters.sam.prompt_encoder import PAD
from perception.segmenters.sam.transformer import Cells
from perception.types import MASKS

EARLIER_LIMIT = 32.0
"""Logits that are fed back were cut to this in training."""


class Sam2(nn.Module):
    """A ``LevelsNetwork``.

    network: ``Sam2Model`` or ``Sam2VideoModel``, or what has the same parts beside another image
    encoder; vision: that encoder, pixels B x 3 x S x S -> its levels from fine to coarse; mean,
    std: of red, green and blue on 0..255.
    """

    stretched = True

    def __init__(
        self,
        network: Any,
        vision: nn.Module,
        *,
        mean: Sequence[float] = RGB_MEAN,
        std: Sequence[float] = RGB_STD,
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        decoder = network.mask_decoder
        self.two_way = TwoWay(
            network, [decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens], newer=True
        )
        self.vision = vision
        self.no_memory = network.no_memory_embedding
        self.fine, self.finer = decoder.conv_s1, decoder.conv_s0
        self.hypernetworks = decoder.output_hypernetworks_mlps
        self.quality = decoder.iou_prediction_head
        self.fallback = decoder.dynamic_multimask_via_stability
        self.delta = decoder.dynamic_multimask_stability_delta
        self.least_stability = decoder.dynamic_multimask_stability_thresh
        self.side: int = self.two_way.places.image_size
        self.embedding_shape = self.two_way.embedding_shape
        self.mask_size = 4 * self.embedding_shape[1]

    def levels(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The encoder's three levels B x C x ..., from fine to coarse -> embedding and two finer.

        B x C x h x w, B x C/4 x 2h x 2w and B x C/8 x 4h x 4w.
        """
        finer, fine, coarse = features
        return coarse + self.no_memory.reshape(1, -1, 1, 1), self.fine(fine), self.finer(finer)

    def prepare(self, levels: tuple[Tensor, ...]) -> PreparedLevels:
        """One image's levels -> what its prompts share."""
        embedding, *finer = levels
        image = self.two_way.prepare(embedding)
        return PreparedLevels(
            image, tuple(level.permute(0, 2, 3, 1).contiguous() for level in finer)
        )

    def decode_good(
        self,
        image: PreparedLevels,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> Good:
        """P prompts -> the masks whose quality reaches least_quality (4); see ``LevelsNetwork``."""
        coords, labels = _padded(coords, labels)
        if earlier is not None:
            earlier = earlier.clamp(-EARLIER_LIMIT, EARLIER_LIMIT)
        tokens, cells = self.two_way.look(image.image, coords, labels, earlier)
        quality = self.quality(tokens[:, 1])  # P x 4
        is_single_wanted = bool(least_quality[0] < torch.inf)

        def upscale(rows: Tensor) -> Tensor:
            return self._upscale(tokens[rows, 2 : 2 + MASKS], cells.picked(rows), image)

        if not (self.fallback and is_single_wanted):
            return pick_good(upscale, quality, least_quality)
        logits = upscale(torch.arange(len(tokens), device=tokens.device))
        logits, quality = self._stable(logits, quality)
        return pick_good(lambda rows: logits[rows], quality, least_quality)

    def _upscale(self, tokens: Tensor, cells: Cells, image: PreparedLevels) -> Tensor:
        """Mask tokens P x 4 x C and the cells of P prompts -> logits P x 4 x 4h x 4w."""
        fine, finer = image.levels
        whole = self.two_way.upscale_again(self.two_way.upscale(cells, fine), finer)
        weights = [head(tokens[:, n]) for n, head in enumerate(self.hypernetworks)]
        return mixed(torch.stack(weights, dim=1), whole)

    def _stable(self, logits: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Logits P x 4 x h x w and quality P x 4; an unstable single answer is replaced."""
        single = logits[:, 0].flatten(1)
        inner = (single > self.delta).sum(1, dtype=torch.float32)
        outer = (single > -self.delta).sum(1, dtype=torch.float32)
        stability = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
        prompts = torch.arange(len(logits), device=logits.device)
        best = quality[:, 1:].argmax(dim=1) + 1
        chosen = torch.where(stability >= self.least_stability, 0, best)
        logits, quality = logits.clone(), quality.clone()
        logits[:, 0], quality[:, 0] = logits[prompts, chosen], quality[prompts, chosen]
        return logits, quality


def _padded(coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Places P x K x 2 and labels P x K, closed by a padding place: a box's, too."""
    if labels.shape[1] and bool((labels[:, -1] == PAD).all()):
        return coords, labels
    return nn.functional.pad(coords, (0, 0, 0, 1)), nn.functional.pad(labels, (0, 1), value=PAD)
