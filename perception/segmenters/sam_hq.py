"""SAM-HQ: SAM with one more token, whose mask is added to each of SAM's.

Ke et al. 2023, "Segment Anything in High Quality". The image encoder is transformers', the order
of work behind it ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.imaging.preprocess import RGB_MEAN, RGB_STD
from perception.segmenters.multi_scale import Good, PreparedLevels, TwoWay, mixed, pick_good
from perception.segmenters.sam.transformer import Cells
from perception.types import MASKS


class SamHq(nn.Module):
    """A ``LevelsNetwork`` over ``SamHQModel``."""

    stretched = False
    mean, std = RGB_MEAN, RGB_STD

    def __init__(self, network: Any) -> None:
        super().__init__()
        decoder = network.mask_decoder
        self.two_way = TwoWay(
            network, [decoder.iou_token, decoder.mask_tokens, decoder.hq_token], newer=False
        )
        self.vision = EarlyAndLast(network.vision_encoder)
        self.hypernetworks = nn.ModuleList(
            [*decoder.output_hypernetworks_mlps, decoder.hq_mask_mlp]
        )
        self.quality = decoder.iou_prediction_head
        self.from_early = TwoConvolutions(
            decoder.compress_vit_conv1, decoder.compress_vit_norm, decoder.compress_vit_conv2
        )
        self.from_last = TwoConvolutions(
            decoder.encoder_conv1, decoder.encoder_norm, decoder.encoder_conv2
        )
        self.sharpen = TwoConvolutions(decoder.mask_conv1, decoder.mask_norm, decoder.mask_conv2)
        self.side: int = self.two_way.places.image_size
        self.embedding_shape = self.two_way.embedding_shape
        self.mask_size = 4 * self.embedding_shape[1]

    def levels(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The embedding B x C x h x w, and cells of an early layer B x h x w x D -> two levels.

        The embedding, and what sharpens the masks, B x C/8 x 4h x 4w.
        """
        embedding, early = features
        return embedding, self.from_last(embedding) + self.from_early(early.permute(0, 3, 1, 2))

    def prepare(self, levels: tuple[Tensor, ...]) -> PreparedLevels:
        """One image's levels -> what its prompts share."""
        embedding, sharp = levels
        image = self.two_way.prepare(embedding)
        return PreparedLevels(image, (sharp.permute(0, 2, 3, 1).contiguous(),))

    def decode_good(
        self,
        image: PreparedLevels,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> Good:
        """P prompts -> the masks whose quality reaches least_quality (4); see ``LevelsNetwork``."""
        tokens, cells = self.two_way.look(image.image, coords, labels, earlier)
        quality = self.quality(tokens[:, 0])  # P x 4

        def upscale(rows: Tensor) -> Tensor:
            return self._upscale(tokens[rows, 1:], cells.picked(rows), image)

        return pick_good(upscale, quality, least_quality)

    def _upscale(self, tokens: Tensor, cells: Cells, image: PreparedLevels) -> Tensor:
        """Mask tokens P x 5 x C and the cells of P prompts -> logits P x 4 x 4h x 4w."""
        (sharp,) = image.levels
        whole = self.two_way.upscale_again(self.two_way.upscale(cells))
        sharper = self.sharpen(whole.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + sharp
        weights = [head(tokens[:, n]) for n, head in enumerate(self.hypernetworks)]
        plain = mixed(torch.stack(weights[:MASKS], dim=1), whole)
        return plain + mixed(torch.stack(weights[MASKS:], dim=1), sharper)


class EarlyAndLast(nn.Module):
    """Pixels -> the encoder's embedding and the cells after its first layer that sees all."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x S x S -> B x C x h x w and B x h x w x D."""
        found = self.encoder(pixels)
        return found.last_hidden_state, found.intermediate_embeddings[0]


class TwoConvolutions(nn.Module):
    """Two convolutions with a norm and GELU between."""

    def __init__(self, first: nn.Module, norm: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(first, norm, nn.GELU(), second)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w -> B x C' x h' x w'."""
        out: Tensor = self.layers(x)
        return out
