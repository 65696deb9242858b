"""Grounding DINO's fusion of images and words, with the projections of the cells moved away.

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

from perception.detectors.onednn_linear import quick_linear, slices


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
        words = self.norm_words(text_features)
        if vision_features.device.type == "cpu" and not torch.compiler.is_exporting():
            cells, seen = self._in_slices(
                vision_features, words, attention_mask_vision, attention_mask_text
            )
        else:
            cells, seen = self._at_once(
                vision_features, words, attention_mask_vision, attention_mask_text
            )
        return (cells, None), (words + self.share_words * self._to_words(seen), None)

    def _at_once(
        self,
        cells: Tensor,
        words: Tensor,
        cell_padding: Tensor | None,
        word_padding: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The cells with what they see, and what each head of a token sees of them, B x H·T x D."""
        cells = self.norm_cells(cells)
        keys, offsets, values, known = self._asked(words)
        scores = torch.baddbmm(offsets[:, None], cells, keys.transpose(1, 2))  # B x S x H·T
        by_head = torch.unflatten(scores, -1, (self.heads, -1))
        if word_padding is not None:
            by_head = by_head.masked_fill(word_padding[:, None, None], -torch.inf)
        if cell_padding is not None:
            scores = scores.masked_fill(cell_padding[..., None], -torch.inf)
        seen = scores.transpose(1, 2).softmax(-1) @ cells
        return torch.baddbmm(cells + known, by_head.softmax(-1).flatten(2), values), seen

    def _in_slices(
        self,
        cells: Tensor,
        words: Tensor,
        cell_padding: Tensor | None,
        word_padding: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The same, a few cells at a time, which stay in the processor's cache."""
        keys, offsets, values, known = self._asked(words)
        values = values.transpose(1, 2).contiguous()  # B x D x H·T
        out, seen = torch.empty_like(cells), []
        for number, one in enumerate(cells):
            sums = _Sums(keys[number])
            hidden = None if word_padding is None else word_padding[number]
            for part in slices(len(one)):
                x = self.norm_cells(one[part])
                scores = quick_linear(x, keys[number], offsets[number])  # n x H·T
                by_head = torch.unflatten(scores, -1, (self.heads, -1))
                if hidden is not None:
                    by_head = by_head.masked_fill(hidden, -torch.inf)
                seen_here = quick_linear(by_head.softmax(-1).flatten(1), values[number], known)
                out[number, part] = x + seen_here
                if cell_padding is not None:
                    scores = scores.masked_fill(cell_padding[number, part, None], -torch.inf)
                sums.add(scores, x)
            seen.append(sums.mean())
        return out, torch.stack(seen)

    def _asked(self, words: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of B x T x D words keys B x H·T x D and offsets B x H·T, values B x H·T x D and known D.

        A cell's scores are its products with the keys, and the offsets; what it sees is the values
        by their shares, and what is known without any.
        """
        keys = self._heads(self.key(words)) * self.scale  # B x H x T x d
        projected = keys @ torch.unflatten(self.query.weight, 0, (self.heads, -1))
        offsets = (keys * torch.unflatten(self.query.bias, 0, (self.heads, 1, -1))).sum(-1)
        values = self._heads(self.word_values(words))
        weight = torch.unflatten(
            self.share_cells[:, None] * self.cells_out.weight, 1, (self.heads, -1)
        )
        return (
            projected.flatten(1, 2),
            offsets.flatten(1),
            (values @ weight.permute(1, 2, 0)).flatten(1, 2),
            self.share_cells * self.cells_out.bias,
        )

    def _to_words(self, seen: Tensor) -> Tensor:
        """What each head of a token sees of the cells, B x H·T x D -> B x T x D."""
        by_head = torch.unflatten(seen, 1, (self.heads, -1))
        weight = torch.unflatten(self.cell_values.weight, 0, (self.heads, -1))  # H x d x D
        values = (by_head @ weight.transpose(1, 2)).transpose(1, 2).flatten(2)
        out: Tensor = self.words_out(values + self.cell_values.bias)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """B x T x H·d -> B x H x T x d."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class _Sums:
    """The mean of cells by the softmax of their scores, taken up slice by slice.

    Each slice may raise the highest score yet; what was added up before shrinks accordingly.
    """

    def __init__(self, keys: Tensor) -> None:
        self.top = keys.new_full((len(keys),), torch.finfo(torch.float32).min, dtype=torch.float32)
        self.total = torch.zeros_like(self.top)
        self.cells = torch.zeros_like(keys, dtype=torch.float32)

    def add(self, scores: Tensor, cells: Tensor) -> None:
        """scores: n x H·T; cells: n x D."""
        scores = scores.float()
        top = torch.maximum(self.top, scores.amax(0))
        shrink, shares = (self.top - top).exp(), (scores - top).exp()
        self.top, self.total = top, self.total * shrink + shares.sum(0)
        self.cells = self.cells * shrink[:, None] + shares.T @ cells

    def mean(self) -> Tensor:
        """H·T x D."""
        return self.cells / self.total[:, None]


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
