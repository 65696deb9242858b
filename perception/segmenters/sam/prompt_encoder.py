"""SAM's prompt encoder: points, boxes and an earlier mask become tokens and a feature map.

A prompt is a row of K places with a label each; a box is its two corners.

=====  ===========================================
label  meaning
=====  ===========================================
   -1  padding: says nothing about any place
    0  a point outside the thing
    1  a point inside the thing
    2  the top left corner of a box
    3  the bottom right corner of a box
=====  ===========================================
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.segmenters.sam.blocks import LayerNorm2d, gelu_of_any
from perception.segmenters.sam.cells import EarlierMask

PAD, OUT, IN, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3


class PromptEncoder(nn.Module):
    """Places -> P x K x C tokens; earlier masks -> P x C x h x w, added to the image embedding.

    channels: C; image_size: side of the model's input in pixels; embedding_size: h = w;
    mask_channels: width of the layers that shrink an earlier mask. No parameter depends on
    image_size or embedding_size.
    """

    def __init__(
        self, *, channels: int, image_size: int, embedding_size: int, mask_channels: int
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.embedding_size = embedding_size
        self.pe_layer = FourierPosition(channels)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Places P x K x 2 (x, y; pixels of the model's input) and labels P x K -> P x K x C."""
        # SAM takes a pixel's index for its place and moves it to the pixel's center. This is the
        # only line that does it.
        where = self.pe_layer((coords + 0.5) / self.image_size)  # P x K x C
        where = torch.where((labels == PAD)[..., None], torch.zeros_like(where), where)
        kinds = [self.not_a_point_embed, *self.point_embeddings]
        table = torch.cat([kind.weight for kind in kinds])  # 5 x C, in the order of the labels
        return where + table[labels.long() + 1]

    def dense(self, mask_input: Tensor | None = None, has_mask: Tensor | None = None) -> Tensor:
        """Earlier logits P x 1 x 4h x 4w -> P x C x h x w; no masks at all -> 1 x C x 1 x 1.

        has_mask: P, which rows of mask_input hold a mask; None means all.
        """
        none = self.no_mask_embed.weight[:, :, None, None]  # 1 x C x 1 x 1
        if mask_input is None:
            return none
        dense: Tensor = self.mask_downscaling(mask_input)
        if has_mask is None:
            return dense
        return torch.where(has_mask.bool()[:, None, None, None], dense, none.to(dense.dtype))

    def earlier(self, masks: Tensor) -> EarlierMask:
        """Earlier logits P x E x 4h x 4w, E of a prompt: none or one -> what they add.

        To an image prepared without a mask, whose ``no_mask_embed`` it takes off again.
        """
        prompts, each, height, width = masks.shape
        *layers, _ = self.mask_downscaling
        x = masks.reshape(prompts * each, 1, height, width)
        for layer in layers:
            x = gelu_of_any(x) if isinstance(layer, nn.GELU) else layer(x)
        x = F.pad(x.flatten(2), (0, 0, 0, 1), value=1.0)  # P·E x R x S
        return EarlierMask(x.reshape(prompts, each, *x.shape[1:]), self.mask_rows())

    def mask_rows(self) -> Tensor:
        """The rows of every ``EarlierMask``, R x C: a mask channel each, and the constant."""
        last = cast(nn.Conv2d, self.mask_downscaling[-1])
        bias = cast(Tensor, last.bias) - self.no_mask_embed.weight[0]
        return torch.cat((last.weight.flatten(1).T, bias[None]))

    def image_position(self) -> Tensor:
        """The positional code of the embedding's cells: 1 x C x h x w."""
        n = self.embedding_size
        centers = (torch.arange(n, device=self.no_mask_embed.weight.device) + 0.5) / n
        y, x = torch.meshgrid(centers, centers, indexing="ij")
        position: Tensor = self.pe_layer(torch.stack((x, y), dim=-1))  # h x w x C
        return position.permute(2, 0, 1)[None]


class FourierPosition(nn.Module):
    """Places in 0..1 as sines and cosines of random frequencies: ... x 2 -> ... x C.

    Tancik et al. 2020, "Fourier features let networks learn high frequency functions".
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Places ... x 2 (x, y) -> ... x C."""
        frequency_x, frequency_y = self.positional_encoding_gaussian_matrix  # C/2 each
        x, y = (2 * places - 1)[..., None].unbind(-2)  # ... x 1 each
        # Not a matrix product, which autocast would run in 8 bits of mantissa: a place needs more.
        angle = 2 * math.pi * (x * frequency_x + y * frequency_y)  # ... x C/2
        return torch.cat((angle.sin(), angle.cos()), dim=-1)
