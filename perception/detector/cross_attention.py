"""Grounding DINO's fusion of pictures and words, with the projections of the cells moved away.

In each layer S cells (some 18,000) and T tokens (some 10 to 256) look at one another, with H heads
as wide as the cells themselves. Li et al. 2022 ("GLIP") project the cells three times for that, to
queries, to values and back, which costs 3·S·D·H·D products. The same numbers come out with the
projections on the side of the tokens:

- scores ``(x Wq)·k`` are ``x·(Wq k)``: each head's keys are projected instead;
- what the tokens see, ``A (X Wv)``, is ``(A X) Wv``;
- what the cells see, ``(P V) Wo``, is ``P (V Wo)``.

What remains costs S·D·H·T each, which the products of the attention cost anyway.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Stands in for transformers' ``…FusionLayer``.

    layer: the module whose weights it takes.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attn
        self.heads: int = attention.num_heads
        self.norm_cells, self.norm_words = layer.layer_norm_vision, layer.layer_norm_text
        self.share_cells, self.share_words = layer.vision_param, layer.text_param
        self.scale: float = attention.scale
        self.query, self.key = attention.vision_proj, attention.text_proj
        self.cell_values, self.word_values = (
            attention.values_vision_proj,
            attention.values_text_proj,
        )
        self.cells_out, self.words_out = attention.out_vision_proj, attention.out_text_proj

    def forward(
        self,
        vision_features: Tensor,
        text_features: Tensor,
        attention_mask_vision: Tensor | None = None,
        attention_mask_text: Tensor | None = None,
    ) -> tuple[tuple[Tensor, None], tuple[Tensor, None]]:
        """Cells B x S x D and words B x T x D -> the same, knowing of one another.

        attention_mask_vision: B x S, attention_mask_text: B x T, True for padding.
        """
        cells, words = self.norm_cells(vision_features), self.norm_words(text_features)
        scores = self._scores(cells, words)  # B x S x H·T
        seen = self._seen_by_words(cells, scores, attention_mask_vision)
        cells = self._seen_by_cells(cells, words, scores, attention_mask_text)
        return (cells, None), (words + self.share_words * seen, None)

    def _scores(self, cells: Tensor, words: Tensor) -> Tensor:
        keys = self._heads(self.key(words)) * self.scale  # B x H x T x d
        projected = keys @ self.query.weight.unflatten(0, (self.heads, -1))  # B x H x T x D
        offsets = (keys * self.query.bias.unflatten(0, (self.heads, 1, -1))).sum(-1)  # B x H x T
        return torch.baddbmm(
            offsets.flatten(1)[:, None], cells, projected.flatten(1, 2).transpose(1, 2)
        )

    def _seen_by_words(self, cells: Tensor, scores: Tensor, padding: Tensor | None) -> Tensor:
        if padding is not None:
            scores = scores.masked_fill(padding[..., None], -torch.inf)
        seen = scores.softmax(1).transpose(1, 2) @ cells  # B x H·T x D
        seen = torch.unflatten(seen, 1, (self.heads, -1))
        weight = self.cell_values.weight.unflatten(0, (self.heads, -1))  # H x d x D
        values = (seen @ weight.transpose(1, 2)).transpose(1, 2).flatten(2)
        out: Tensor = self.words_out(values + self.cell_values.bias)
        return out

    def _seen_by_cells(
        self, cells: Tensor, words: Tensor, scores: Tensor, padding: Tensor | None
    ) -> Tensor:
        """The cells with what they see."""
        by_head = torch.unflatten(scores, -1, (self.heads, -1))
        if padding is not None:
            by_head = by_head.masked_fill(padding[:, None, None], -torch.inf)
        values = self._heads(self.word_values(words))  # B x H x T x d
        weight = (self.share_cells[:, None] * self.cells_out.weight).unflatten(1, (self.heads, -1))
        projected = (values @ weight.permute(1, 2, 0)).flatten(1, 2)  # B x H·T x D
        known = cells + self.share_cells * self.cells_out.bias
        return torch.baddbmm(known, by_head.softmax(-1).flatten(2), projected)

    def _heads(self, x: Tensor) -> Tensor:
        """B x T x H·d -> B x H x T x d."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Stands in for transformers' ``…MultiheadAttention``, whose weights it takes."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads: int = attention.num_attention_heads
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.out_proj = attention.out_proj

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        attention_mask: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        """Queries B x Q x D over B x K x D; attention_mask: added to the scores B x H x Q x K."""
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        mask = None if attention_mask is None else attention_mask.to(q.dtype)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(seen.transpose(1, 2).flatten(2)), None
