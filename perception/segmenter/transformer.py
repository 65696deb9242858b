"""SAM's two-way transformer: prompt tokens and image cells look at each other.

Few tokens T meet many cells S, so the work is put where T is small, with the same numbers: what the
first layer needs of the cells doesn't depend on the prompt and is projected once per image
(``PreparedImage``), and the later layers move the cells' projections to the tokens' side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from perception.segmenter.graph_forms import norm_of_sum, softmax_over_rows
from perception.segmenter.mlp import MlpBlock

FEW_TOKENS = 16
"""Up to here projecting on the tokens' side costs less: S·C·heads·T against S·C·inner."""


class PreparedImage(NamedTuple):
    """What all prompts on one image share, or B rows of it; made by ``TwoWayTransformer.prepare``.

    cells: B x S x C; position: 1 x S x C, the cells' positional code; of the first layer, split
    into H heads of width d: keys B x H x d x S and values B x H x S x d (tokens look at cells),
    queries B x H x d x S (cells look at tokens).
    """

    cells: Tensor
    position: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor

    def rows(self, index: Tensor) -> PreparedImage:
        """The row ``index[p]`` for each of P prompts on different images."""
        cells, keys, values, queries = (part[index] for part in (self.cells, *self[2:]))
        return PreparedImage(cells, self.position, keys, values, queries)


class TwoWayTransformer(nn.Module):
    """depth layers in both directions, then a last look of the tokens at the image."""

    def __init__(self, *, depth: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(channels, heads=heads, hidden=hidden, is_first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(channels, heads=heads, inner=channels // 2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def prepare(self, cells: Tensor, position: Tensor) -> PreparedImage:
        """Cells B x S x C and their positional code 1 x S x C -> what all prompts share."""
        first: TwoWayLayer = self.layers[0]  # type: ignore[assignment]
        looking, seen = first.cross_attn_image_to_token, first.cross_attn_token_to_image
        coded = cells + position
        return PreparedImage(
            cells,
            position,
            keys=split(seen.k_proj(coded), seen.heads).transpose(2, 3).contiguous(),
            values=split(seen.v_proj(cells), seen.heads).contiguous(),
            queries=split(looking.q_proj(coded), looking.heads).transpose(2, 3).contiguous(),
        )

    def forward(
        self, tokens: Tensor, image: PreparedImage, *, answers: int
    ) -> tuple[Tensor, Tensor]:
        """Tokens P x T x C and an image of 1 or P rows -> tokens P x A x C, cells P x S x C.

        The tokens' positional code is their first value. answers: A, how many of the first tokens
        are wanted in the end; the others don't take part in the last look.
        """
        first, cells = tokens, image.cells
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, first, image)
        tokens = tokens[:, :answers]
        look = self.final_attn_token_to_image.tokens_to_cells(
            tokens + first[:, :answers], cells + image.position, cells
        )
        return self.norm_final_attn(tokens + look), cells


class TwoWayLayer(nn.Module):
    """Tokens to tokens, tokens to image, perceptron, image to tokens."""

    def __init__(self, channels: int, *, heads: int, hidden: int, is_first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads=heads, inner=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads=heads, inner=channels // 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MlpBlock(channels, hidden, nn.ReLU())
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads=heads, inner=channels // 2)
        self.is_first = is_first

    def forward(
        self, tokens: Tensor, cells: Tensor, first: Tensor, image: PreparedImage
    ) -> tuple[Tensor, Tensor]:
        """Tokens P x T x C, cells (P or 1) x S x C -> the same, cells with P rows."""
        if self.is_first:  # the tokens still are their own code, and nothing is worth keeping
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            asking = tokens + first
            tokens = tokens + self.self_attn(asking, asking, tokens)
        tokens = self.norm1(tokens)
        seen, looking = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        coded = cells if self.is_first else cells + image.position  # the first one is prepared
        if self.is_first:
            look = seen.tokens_to_prepared(tokens + first, image.keys, image.values)
        else:
            look = seen.tokens_to_cells(tokens + first, coded, cells)
        tokens = self.norm2(tokens + look)
        tokens = self.norm3(tokens + self.mlp(tokens))
        if self.is_first:
            look = looking.prepared_to_tokens(image.queries, tokens + first, tokens)
        else:
            look = looking.cells_to_tokens(coded, tokens + first, tokens)
        return tokens, norm_of_sum(self.norm4, cells, look)


class Attention(nn.Module):
    """Multi-head attention that works in ``inner`` channels, in the orders that cost least.

    ``forward`` is the plain order, for tokens among themselves. The others give the same numbers
    for tokens and cells; nothing of S x inner is stored per prompt.
    """

    def __init__(self, channels: int, *, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)
        self.scale = (inner // heads) ** -0.5

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: P x A x C, k and v: P x B x C -> P x A x C."""
        q, k, v = (
            split(self.q_proj(q), self.heads),
            split(self.k_proj(k), self.heads),
            split(self.v_proj(v), self.heads),
        )
        return self._merge(nn.functional.scaled_dot_product_attention(q, k, v))

    def tokens_to_prepared(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens look at projected cells: q P x T x C, keys (P or 1) x H x d x S and values
        (P or 1) x H x S x d -> P x T x C.
        """
        weights = times_image(split(self.q_proj(q), self.heads) * self.scale, keys).softmax(-1)
        return self._merge(times_image(weights, values))

    def prepared_to_tokens(self, queries: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Projected cells look at tokens: queries (P or 1) x H x d x S, k and v P x T x C ->
        P x S x C.
        """
        scores = times_image(split(self.k_proj(k), self.heads) * self.scale, queries)
        return self._mix(scores, v)

    def tokens_to_cells(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens look at cells: q: P x T x C, k and v: (P or 1) x S x C -> P x T x C.

        (q Wk) Xᵀ in place of q (X Wk)ᵀ; the keys' bias adds the same to every cell, and softmax
        drops it. (A X) Wv + bv in place of A (X Wv + bv): the rows of A sum to one.
        """
        if is_many(q):
            return self.forward(q, k.expand(len(q), -1, -1), v.expand(len(q), -1, -1))
        rows, count, channels = q.shape
        q = split(self.q_proj(q), self.heads) * self.scale  # P x H x T x d
        asked = (q @ self._by_head(self.k_proj)).flatten(1, 2)  # P x H·T x C
        weights = (asked @ k.transpose(1, 2)).softmax(-1)  # P x H·T x S
        seen = (weights @ v).reshape(rows, self.heads, count, channels)  # P x H x T x C
        out = seen @ self._by_head(self.v_proj).transpose(1, 2)  # P x H x T x d
        merged: Tensor = self.out_proj(out.transpose(1, 2).flatten(2) + self.v_proj.bias)
        return merged

    def cells_to_tokens(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Cells look at tokens: q: (P or 1) x S x C, k and v: P x T x C -> P x S x C.

        X (k Wq)ᵀ + k·bq in place of (X Wq + bq) kᵀ, and A (v Wo) in place of (A v) Wo.
        """
        if is_many(k):
            return self.forward(q.expand(len(k), -1, -1), k, v)
        rows, count, _ = k.shape
        k = split(self.k_proj(k), self.heads) * self.scale  # P x H x T x d
        asked = (k @ self._by_head(self.q_proj)).flatten(1, 2)  # P x H·T x C
        lift = k @ self.q_proj.bias.reshape(self.heads, -1, 1)  # P x H x T x 1
        scores = (asked @ q.transpose(1, 2)).reshape(rows, self.heads, count, q.shape[1]) + lift
        return self._mix(scores, v)

    def _mix(self, scores: Tensor, v: Tensor) -> Tensor:
        """Scores P x H x T x S of cells for tokens, and the tokens v P x T x C -> P x S x C.

        The softmax runs over the tokens of a head, T, with the cells in a row: so that it is a few
        long vector operations and not S·H short ones.
        """
        weights = softmax_over_rows(scores).flatten(1, 2).transpose(1, 2)  # P x S x H·T
        out = self.out_proj.weight.T.reshape(self.heads, -1, self.out_proj.out_features)
        # A head's weights sum to one, so its share of the bias can ride on each of its tokens.
        rows = split(self.v_proj(v), self.heads) @ out + self.out_proj.bias / self.heads
        return weights @ rows.flatten(1, 2)

    def _merge(self, out: Tensor) -> Tensor:
        """P x H x T x d -> P x T x C."""
        merged: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return merged

    def _by_head(self, proj: nn.Linear) -> Tensor:
        """The weight of a projection: H x d x C."""
        return proj.weight.reshape(self.heads, -1, proj.in_features)


def split(x: Tensor, heads: int) -> Tensor:
    """P x T x inner -> P x H x T x d."""
    rows, count, inner = x.shape
    return x.reshape(rows, count, heads, inner // heads).transpose(1, 2)


def times_image(x: Tensor, image: Tensor) -> Tensor:
    """P x H x T x A and an image's (P or 1) x H x A x B -> P x H x T x B.

    An image that all prompts share is multiplied once by the tokens of all: torch would copy it for
    every prompt.
    """
    if len(image) != 1 or torch.compiler.is_exporting():
        return x @ image
    rows, heads, count, width = x.shape
    folded = x.transpose(0, 1).reshape(heads, rows * count, width) @ image[0]  # H x P·T x B
    return folded.reshape(heads, rows, count, image.shape[-1]).transpose(0, 1)


def is_many(tokens: Tensor) -> bool:
    """Whether the plain order is the cheaper one. A traced graph, for any T, keeps one order."""
    return not torch.compiler.is_exporting() and tokens.shape[1] > FEW_TOKENS
