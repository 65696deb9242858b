"""SAM's mask decoder: tokens and an image embedding become four masks with predicted quality."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from perception.segmenter.graph_forms import gelu
from perception.segmenter.layer_norm import LayerNorm2d
from perception.segmenter.mlp import Mlp
from perception.segmenter.transformer import PreparedImage, TwoWayTransformer
from perception.types import MASKS


class MaskDecoder(nn.Module):
    """Three steps: ``prepare`` an image, ``look`` with prompts, ``upscale`` the masks wanted.

    There are four masks a prompt; index 0 is the single-mask answer.

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

    def prepare(self, embeddings: Tensor, position: Tensor, dense: Tensor) -> PreparedImage:
        """What doesn't depend on the places of a prompt, with B rows.

        embeddings: B x C x h x w, or 1 x C x h x w shared by B earlier masks; position:
        1 x C x h x w, the positional code of the cells; dense: (B or 1) x C x (h or 1) x (w or 1),
        added to the embeddings.
        """
        cells = (embeddings + dense).flatten(2).transpose(1, 2)  # B x S x C
        code = position.flatten(2).transpose(1, 2)  # 1 x S x C
        return self.transformer.prepare(cells.contiguous(), code.contiguous())

    def look(self, image: PreparedImage, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The prompts' tokens P x K x C look at an image of 1 or P rows, and it looks at them.

        Returns mask tokens P x 4 x C, cells P x S x C and quality P x 4; ``upscale`` makes the
        masks, of those whose quality is worth it.
        """
        answers = torch.cat((self.iou_token.weight, self.mask_tokens.weight))  # 5 x C
        tokens = torch.cat((answers.expand(sparse.shape[0], -1, -1), sparse), dim=1)
        tokens, cells = self.transformer(tokens, image, answers=len(answers))
        quality: Tensor = self.iou_prediction_head(tokens[:, 0])  # P x 4
        return tokens[:, 1:], cells, quality

    def upscale(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Mask tokens P x 4 x C and square cells P x S x C -> logits P x 4 x 4h x 4w."""
        layers = self.output_upscaling
        first, second = cast(nn.ConvTranspose2d, layers[0]), cast(nn.ConvTranspose2d, layers[3])
        norm = cast(LayerNorm2d, layers[1])
        prompts, side = tokens.shape[0], math.isqrt(cells.shape[1])
        mix = self._hypernetworks(tokens)  # P x 4 x C/8
        parts = []
        for half in row_halves(cells, first):  # P x h·2w x C/4, the w of a row side by side
            for quarter in row_halves(gelu(norm.last(half)), second, gelu):  # P x h·4w x C/8
                parts.append(
                    (mix @ quarter.transpose(1, 2)).reshape(prompts, MASKS, side, 4 * side)
                )
        logits = torch.stack(parts, dim=3)  # P x 4 x h x 4 x 4w
        return logits.reshape(prompts, MASKS, 4 * side, 4 * side)

    def _hypernetworks(self, tokens: Tensor) -> Tensor:
        """Mask tokens P x 4 x C -> how each mask mixes the channels P x 4 x C/8.

        The four perceptrons, of one shape, run as one.
        """
        x = tokens.transpose(0, 1)  # 4 x P x C
        depth = len(cast(Mlp, self.output_hypernetworks_mlps[0]).layers)
        for i in range(depth):
            layers = [
                cast(nn.Linear, cast(Mlp, m).layers[i]) for m in self.output_hypernetworks_mlps
            ]
            weight = torch.stack([layer.weight.T for layer in layers])  # 4 x C x C'
            bias = torch.stack([layer.bias for layer in layers])[:, None]
            x = x @ weight + bias
            x = x if i == depth - 1 else x.relu()
        return x.transpose(0, 1)


def row_halves(
    x: Tensor, conv: nn.ConvTranspose2d, activation: Callable[[Tensor], Tensor] | None = None
) -> list[Tensor]:
    """A stride-2, kernel-2 transposed convolution of channels-last cells, as its even and odd rows.

    P x S x A, the cells row by row -> twice P x 2·S x B. No two inputs write one output, so it is a
    matrix product per cell; and two cells of one row that come of one cell already lie side by
    side. activation: applied to each half.
    """
    rows, cells, _ = x.shape
    halves = []
    for weight in conv.weight.permute(2, 0, 3, 1):  # A x 2 x B each
        finer = x @ weight.flatten(1)  # P x S x 2·B
        if conv.bias is not None:
            finer = finer + conv.bias.repeat(2)
        finer = finer if activation is None else activation(finer)
        halves.append(finer.reshape(rows, 2 * cells, conv.out_channels))
    return halves
