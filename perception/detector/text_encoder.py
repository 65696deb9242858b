"""The nano detector's text side: tokens of one phrase, each seeing only that phrase."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detector.tokenizer import MAX_TOKENS


class TextEncoder(nn.Module):
    """Token ids N x L -> N x L x D; a phrase's answer does not depend on the other phrases.

    vocabulary: how many pieces there are; width: D; depth: layers; heads: of the attention;
    hidden: width of the perceptrons.
    """

    def __init__(self, *, vocabulary: int, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width, padding_idx=0)
        self.place = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
        self.layers = nn.ModuleList(TextLayer(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: N x L, 0 = padding -> N x L x D; what stands at padding means nothing."""
        seen = (ids > 0)[:, None, None, :]  # N x 1 x 1 x L: who may be looked at
        x = self.token(ids) + self.place[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, seen)
        out: Tensor = self.norm(x)
        return out


class TextLayer(nn.Module):
    """Pre-norm self-attention and a perceptron: N x L x D -> N x L x D."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))  # N x L x 3 x H x d
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # N x H x L x d each
        x = x + self.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        )
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
