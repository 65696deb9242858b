"""SAM's mask decoder: tokens and an image embedding become four masks with predicted quality."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from perception.segmenter.layer_norm import LayerNorm2d
from perception.segmenter.mlp import Mlp
from perception.segmenter.transformer import TwoWayTransformer

MASKS = 4
"""The single-mask answer, then the three candidates for an ambiguous prompt."""


class MaskDecoder(nn.Module):
    """P prompts -> logits P x 4 x 4h x 4w and quality P x 4 (index 0: the single-mask answer).

    channels: C, of the embedding and the tokens; quality_depth, quality_hidden: the perceptron that
    predicts each mask's IoU with the truth.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        *,
        channels: int,
        quality_depth: int,
        quality_hidden: int,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(channels, channels, channels // 8, depth=3) for _ in range(MASKS)
        )
        self.iou_prediction_head = Mlp(channels, quality_hidden, MASKS, depth=quality_depth)

    def forward(
        self, embeddings: Tensor, position: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode P prompts.

        embeddings: P x C x h x w, one per prompt, or 1 x C x h x w shared by all;
        position: 1 x C x h x w, the positional code of the cells;
        sparse: P x K x C, the prompts' tokens;
        dense: (P or 1) x C x (h or 1) x (w or 1), added to the embeddings.
        Returns logits P x 4 x 4h x 4w, quality P x 4.
        """
        h, w = embeddings.shape[-2:]
        answers = torch.cat((self.iou_token.weight, self.mask_tokens.weight))  # 5 x C
        tokens = torch.cat((answers.expand(sparse.shape[0], -1, -1), sparse), dim=1)
        cells = (embeddings + dense).flatten(2).transpose(1, 2)  # (P or 1) x S x C
        code = position.flatten(2).transpose(1, 2)  # 1 x S x C
        tokens, cells = self.transformer(tokens, cells, code)
        quality: Tensor = self.iou_prediction_head(tokens[:, 0])  # P x 4
        return self._masks(tokens[:, 1 : 1 + MASKS], cells, h, w), quality

    def _masks(self, tokens: Tensor, cells: Tensor, h: int, w: int) -> Tensor:
        """Mask tokens P x 4 x C and cells P x S x C -> logits P x 4 x 4h x 4w."""
        layers = self.output_upscaling
        first, second = cast(nn.ConvTranspose2d, layers[0]), cast(nn.ConvTranspose2d, layers[3])
        norm, gelu = cast(LayerNorm2d, layers[1]), layers[2]
        # Stride 2, kernel 2: no two inputs write one output, so each transposed convolution is one
        # matrix product per cell. The pixels stay inside their cell until only 4 channels are left.
        x = quarters(cells, first)  # P x S x 4 x C/4
        x = quarters(gelu(norm.last(x)), second)  # P x S x 4 x 4 x C/8
        mixes = zip(self.output_hypernetworks_mlps, tokens.unbind(1), strict=True)
        mix = torch.stack([mlp(token) for mlp, token in mixes], dim=-1)  # P x C/8 x 4
        logits: Tensor = gelu(x).flatten(1, 3) @ mix  # P x S·16 x 4
        # Cell y x, half y x, quarter y x, mask -> mask, rows, columns.
        prompts = tokens.shape[0]
        logits = logits.reshape(prompts, h, w, 2, 2, 2, 2, MASKS).permute(0, 7, 1, 3, 5, 2, 4, 6)
        return logits.reshape(prompts, MASKS, 4 * h, 4 * w)


def quarters(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """A stride-2, kernel-2 transposed convolution of channels-last cells.

    ... x A -> ... x 4 x B: for each cell its 2 x 2 finer cells, row by row.
    """
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # A x 4·B
    finer: Tensor = (x @ weight).reshape(*x.shape[:-1], 4, conv.out_channels)
    return finer if conv.bias is None else finer + conv.bias
