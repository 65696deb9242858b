"""SAM's mask decoder: tokens and an image embedding become four masks with predicted quality."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from perception.segmenters.sam.blocks import LayerNorm2d, Mlp, gelu, norm_of_centerd
from perception.segmenters.sam.cells import EarlierMask, PreparedImage, centerd
from perception.segmenters.sam.transformer import Cells, TwoWayTransformer
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

    def prepare(
        self,
        embeddings: Tensor,
        position: Tensor,
        dense: Tensor,
        *,
        fine: Tensor | None = None,
        mask_rows: Tensor | None = None,
        factored: bool = True,
    ) -> PreparedImage:
        """What doesn't depend on the places of a prompt, with B rows.

        embeddings: B x C x h x w, or 1 x C x h x w shared by B earlier masks; position:
        1 x C x h x w, the positional code of the cells; dense: (B or 1) x C x (h or 1) x (w or 1),
        added to the embeddings. fine: B x C x h x w, features of C/4 channels at twice the
        resolution, four cells in one, added where the masks are upscaled. mask_rows: of an
        ``EarlierMask``. factored: for many prompts; preparing for one costs less.
        """
        cells = (embeddings + dense).flatten(2).transpose(1, 2)  # B x S x C
        code = position.flatten(2).transpose(1, 2)  # 1 x S x C
        finer = tuple(centerd_row_weights(self._upscaler(0))) if factored else ()
        image = self.transformer.prepare(cells.contiguous(), code.contiguous(), finer, mask_rows)
        return image if fine is None else image._replace(skips=skip_rows(fine))

    def look(
        self, image: PreparedImage, sparse: Tensor, mask: EarlierMask | None = None
    ) -> tuple[Tensor, Cells, Tensor]:
        """The prompts' tokens P x K x C look at an image of 1 or P rows, and it looks at them.

        mask: what earlier masks of the P prompts add to the image.
        Returns mask tokens P x 4 x C, the cells of P prompts and quality P x 4; ``upscale`` makes
        the masks, of those whose quality is worth it.
        """
        answers = torch.cat((self.iou_token.weight, self.mask_tokens.weight))  # 5 x C
        tokens = torch.cat((answers.expand(sparse.shape[0], -1, -1), sparse), dim=1)
        tokens, cells = self.transformer(tokens, image, answers=len(answers), mask=mask)
        quality: Tensor = self.iou_prediction_head(tokens[:, 0])  # P x 4
        return tokens[:, 1:], cells, quality

    def upscale(self, tokens: Tensor, cells: Cells) -> Tensor:
        """Mask tokens P x 4 x C and the cells of P prompts -> logits P x 4 x 4h x 4w."""
        first, second = self._upscaler(0), self._upscaler(3)
        norm = cast(LayerNorm2d, self.output_upscaling[1])
        mix = self._hypernetworks(tokens)  # P x 4 x C/8
        parts = []
        for n, weight in enumerate(centerd_row_weights(first)):
            half = cells.projected(weight, centerd_row_bias(first), n)
            if cells.image.skips:
                half = half + cells.image.skips[n]
            half = gelu(norm_of_centerd(norm, in_order(half, first)))  # P x h·2w x C/4
            for weight_of_quarter in row_weights(second):
                quarter = gelu(half @ weight_of_quarter + row_bias(second))
                quarter = in_order(quarter, second)  # P x h·4w x C/8
                parts.append(mix @ quarter.transpose(1, 2))  # P x 4 x h·4w
        prompts, side = tokens.shape[0], math.isqrt(parts[0].shape[2] // 4)
        rows = [part.reshape(prompts, MASKS, side, 4 * side) for part in parts]
        logits = torch.stack(rows, dim=3)  # P x 4 x h x 4 x 4w
        return logits.reshape(prompts, MASKS, 4 * side, 4 * side)

    def _upscaler(self, layer: int) -> nn.ConvTranspose2d:
        return cast(nn.ConvTranspose2d, self.output_upscaling[layer])

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


def skip_rows(fine: Tensor) -> tuple[Tensor, Tensor]:
    """Fine features B x 4·D x h x w, four cells in one -> what the even and odd rows add.

    B x S x 2·D each, in the order of ``row_weights``; less their mean over the D channels, as the
    norm that follows takes its input.
    """
    rows, packed, height, width = fine.shape
    cells = fine.reshape(rows, packed // 4, 2, 2, height, width).permute(0, 2, 4, 5, 3, 1)
    even, odd = centerd(cells).flatten(4).flatten(2, 3).unbind(1)
    return even, odd


def row_weights(conv: nn.ConvTranspose2d) -> list[Tensor]:
    """A stride-2, kernel-2 transposed convolution, as it makes the even and the odd rows.

    A cell's A channels times A x 2·B are the 2 cells of B channels that it becomes in such a row.
    No two cells write into one.
    """
    return [weight.flatten(1) for weight in conv.weight.permute(2, 0, 3, 1)]


def row_bias(conv: nn.ConvTranspose2d) -> Tensor:
    """The bias of a row of ``row_weights``: 2·B."""
    return (
        conv.weight.new_zeros(2 * conv.out_channels) if conv.bias is None else conv.bias.repeat(2)
    )


def centerd_row_weights(conv: nn.ConvTranspose2d) -> list[Tensor]:
    """``row_weights`` of which each cell comes less its mean over the channels.

    For a norm that follows: it takes the mean off in any case, and has less to do.
    """
    cells = (weight.reshape(len(weight), 2, -1) for weight in row_weights(conv))
    return [centerd(weight).flatten(1) for weight in cells]


def centerd_row_bias(conv: nn.ConvTranspose2d) -> Tensor:
    """The bias of a row of ``centerd_row_weights``: 2·B."""
    return centerd(row_bias(conv).reshape(2, -1)).flatten()


def in_order(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """What ``row_weights`` made, P x S x 2·B, as P x 2·S x B.

    The two cells that come of one lie side by side in their row already.
    """
    return x.reshape(x.shape[0], 2 * x.shape[1], conv.out_channels)
