"""SAM's two-way transformer: prompt tokens and image cells look at each other.

Few tokens T meet many cells S, so the work is put where T is small, with the same numbers: what the
layers need of the image itself is projected once per image (``PreparedImage``), and what a prompt
changes about the cells is kept as a few factors (``FactoredCells``) or, for many tokens or a single
prompt, written out (``WrittenCells``).
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from perception.segmenters.sam.blocks import Attention, MlpBlock, is_many, split
from perception.segmenters.sam.cells import (
    EarlierMask,
    FactoredCells,
    PreparedCode,
    PreparedImage,
    PreparedLayer,
    WrittenCells,
    centerd,
    factored,
    lift_weight,
)

Cells = FactoredCells | WrittenCells


class TwoWayTransformer(nn.Module):
    """depth layers in both directions, then a last look of the tokens at the image."""

    def __init__(self, *, depth: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(channels, heads=heads, hidden=hidden, is_first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(channels, heads=heads, inner=channels // 2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def prepare(
        self,
        cells: Tensor,
        position: Tensor,
        finer: tuple[Tensor, ...] = (),
        mask_rows: Tensor | None = None,
    ) -> PreparedImage:
        """Cells B x S x C and their positional code 1 x S x C -> what all prompts share.

        finer: the weights C x N of the products with the cells that are asked for in the end. With
        none the image is prepared for a single prompt: its first layer alone. mask_rows: R x C, of
        an ``EarlierMask``; without them the prompts can't have any.
        """
        first = self._layers()[0]
        seen, looking = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        coded = cells + position
        layer = PreparedLayer(
            # Their biases add the same to every cell, or ride on what is made of them.
            keys=columns(coded, seen.k_proj.weight, seen.heads),
            values=split(cells @ seen.v_proj.weight.T, seen.heads).contiguous(),
            queries=split(looking.q_proj(coded), looking.heads).transpose(2, 3).contiguous(),
        )
        if not finer:
            return PreparedImage(cells, position, (layer,))
        layers, last = self._prepare_layers(cells, layer, mask_rows)
        halves = tuple(last @ weight for weight in finer)
        return PreparedImage(cells, position, layers, self.prepare_codes(position), halves)

    def _prepare_layers(
        self, base: Tensor, prepared: PreparedLayer, mask_rows: Tensor | None
    ) -> tuple[tuple[PreparedLayer, ...], Tensor]:
        """All layers and the last look; and what becomes of the image's cells, B x S x C.

        base: the image's cells; prepared: the first layer, still without lifts and power.
        """
        layers: list[PreparedLayer] = []
        makers: list[Tensor] = []  # H x (d+1) x C each
        shift = None
        for i, layer in enumerate(self._layers()):
            looking, norm = layer.cross_attn_image_to_token, layer.norm4
            if i > 0:
                queries = columns(base, looking.q_proj.weight, looking.heads)
                prepared = prepared_look(layer.cross_attn_token_to_image, base)
                prepared = prepared._replace(queries=queries)
            base = centerd(base)
            makers = [centerd(maker) for maker in (*makers, lift_weight(looking, shift))]
            lifts = tuple(maker @ base.transpose(1, 2)[:, None] for maker in makers)
            if mask_rows is not None:
                mask_rows = centerd(mask_rows)
                prepared = prepared._replace(mask_lift=mask_rows @ base.transpose(1, 2))
                mask_rows = mask_rows * norm.weight
            power = base.square().sum(-1)[:, None]  # B x 1 x S
            layers.append(prepared._replace(lifts=lifts, power=power))
            base, makers = base * norm.weight, [maker * norm.weight for maker in makers]
            shift = norm.bias
        layers.append(prepared_look(self.final_attn_token_to_image, base))
        return tuple(layers), base

    def prepare_codes(self, position: Tensor) -> tuple[PreparedCode, ...]:
        """The positional code 1 x S x C, as the layers after the first see it."""
        codes = []
        for before, layer in pairwise(self._layers()):
            seen, looking = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            queries = split(looking.q_proj(position + before.norm4.bias), looking.heads)
            keys = columns(position, seen.k_proj.weight, seen.heads)
            codes.append(PreparedCode(keys, queries.transpose(2, 3).contiguous()))
        last = self.final_attn_token_to_image
        return (*codes, PreparedCode(columns(position, last.k_proj.weight, last.heads)))

    def _layers(self) -> list[TwoWayLayer]:
        return cast("list[TwoWayLayer]", list(self.layers))

    def forward(
        self,
        tokens: Tensor,
        image: PreparedImage,
        *,
        answers: int,
        mask: EarlierMask | None = None,
    ) -> tuple[Tensor, Cells]:
        """Tokens P x T x C and an image of 1 or P rows -> tokens P x A x C, the cells they leave.

        The tokens' positional code is their first value. answers: A, how many of the first tokens
        are wanted in the end; the others don't take part in the last look. mask: what earlier
        masks of the P prompts add to the cells.
        """
        first, cells = tokens, start(image, tokens, mask)
        for layer in self._layers():
            tokens, cells = layer(tokens, cells, first)
        tokens = tokens[:, :answers]
        look = cells.seen_by(self.final_attn_token_to_image, tokens + first[:, :answers])
        return self.norm_final_attn(tokens + look), cells


class TwoWayLayer(nn.Module):
    """Tokens to tokens, tokens to image, perceptron, image to tokens."""

    def __init__(self, channels: int, *, heads: int, hidden: int, is_first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads=heads, inner=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads=heads, inner=channels // 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MlpBlock(channels, hidden, torch.relu)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads=heads, inner=channels // 2)
        self.is_first = is_first

    def forward(self, tokens: Tensor, cells: Cells, first: Tensor) -> tuple[Tensor, Cells]:
        """Tokens P x T x C, with their positional code first P x T x C, and cells -> the same."""
        if self.is_first:  # the tokens still are their own code, and nothing is worth keeping
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            asking = tokens + first
            tokens = tokens + self.self_attn(asking, asking, tokens)
        tokens = self.norm1(tokens)
        tokens = tokens + cells.seen_by(self.cross_attn_token_to_image, tokens + first)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        looking = self.cross_attn_image_to_token
        return tokens, cells.after_looking(looking, self.norm4, tokens + first, tokens)


def start(image: PreparedImage, tokens: Tensor, mask: EarlierMask | None) -> Cells:
    """The image's cells in the form that costs least for tokens P x T x C."""
    if image.cells is None or (image.is_factored and not is_many(tokens)):
        return factored(image, mask)
    if mask is None:
        return WrittenCells(image, image.cells)
    return WrittenCells(image, image.cells + mask.added(), is_first=False)


def prepared_look(attention: Attention, base: Tensor) -> PreparedLayer:
    """For tokens that look at cells: of B x S x C the keys and values, without their biases."""
    return PreparedLayer(
        keys=columns(base, attention.k_proj.weight, attention.heads),
        values=split(base @ attention.v_proj.weight.T, attention.heads).contiguous(),
    )


def columns(x: Tensor, weight: Tensor, heads: int) -> Tensor:
    """B x S x C times a projection's weight inner x C, a cell a column: B x H x d x S."""
    rows, _, _ = x.shape
    return (weight @ x.transpose(1, 2)).reshape(rows, heads, -1, x.shape[1])
