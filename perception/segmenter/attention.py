"""Multi-head attention, in the orders that cost least where few tokens meet many image cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.segmenter.graph_forms import softmax_over_rows

FEW_TOKENS = 16
"""Up to here projecting on the tokens' side costs less: S·C·heads·T against S·C·inner."""


class Attention(nn.Module):
    """Multi-head attention that works in ``inner`` channels.

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
        return self.merge(nn.functional.scaled_dot_product_attention(q, k, v))

    def tokens_to_cells(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens look at cells: q: P x T x C, k and v: (P or 1) x S x C -> P x T x C.

        (q Wk) Xᵀ in place of q (X Wk)ᵀ; the keys' bias adds the same to every cell, and softmax
        drops it. (A X) Wv + bv in place of A (X Wv + bv): the rows of A sum to one.
        """
        if is_many(q):
            return self.forward(q, k.expand(len(q), -1, -1), v.expand(len(q), -1, -1))
        rows, count, channels = q.shape
        asked = (self.asked(q) @ by_head(self.k_proj, self.heads)).flatten(1, 2)  # P x H·T x C
        weights = (asked @ k.transpose(1, 2)).softmax(-1)  # P x H·T x S
        seen = (weights @ v).reshape(rows, self.heads, count, channels)  # P x H x T x C
        out = seen @ by_head(self.v_proj, self.heads).transpose(1, 2)  # P x H x T x d
        return self.merge(out, self.v_proj.bias)

    def cells_to_tokens(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Cells look at tokens: q: (P or 1) x S x C, k and v: P x T x C -> P x S x C.

        X (k Wq)ᵀ + k·bq in place of (X Wq + bq) kᵀ, and A (v Wo) in place of (A v) Wo.
        """
        if is_many(k):
            return self.forward(q.expand(len(k), -1, -1), k, v)
        rows, count, _ = k.shape
        k = self.asking(k)  # P x H x T x d
        asked = (k @ by_head(self.q_proj, self.heads)).flatten(1, 2)  # P x H·T x C
        lift = k @ self.q_proj.bias.reshape(self.heads, -1, 1)  # P x H x T x 1
        scores = (asked @ q.transpose(1, 2)).reshape(rows, self.heads, count, q.shape[1]) + lift
        return self.mix(scores, v)

    def asked(self, q: Tensor) -> Tensor:
        """Tokens as queries, with softmax's scale: P x T x C -> P x H x T x d."""
        asked: Tensor = split(self.q_proj(q), self.heads) * self.scale
        return asked

    def asking(self, k: Tensor) -> Tensor:
        """Tokens as keys, with softmax's scale: P x T x C -> P x H x T x d."""
        asking: Tensor = split(self.k_proj(k), self.heads) * self.scale
        return asking

    def mix(self, scores: Tensor, v: Tensor) -> Tensor:
        """Scores P x H x T x S of cells for tokens, and the tokens v P x T x C -> P x S x C.

        The softmax runs over the tokens of a head, T, with the cells in a row: so that it is a few
        long vector operations and not S·H short ones.
        """
        weights = softmax_over_rows(scores).flatten(1, 2).transpose(1, 2)  # P x S x H·T
        # A head's weights sum to one, so its share of the bias can ride on each of its tokens.
        out = self.out_by_head()
        rows = split(self.v_proj(v), self.heads) @ out + self.out_proj.bias / self.heads
        return weights @ rows.flatten(1, 2)

    def merge(self, out: Tensor, lift: Tensor | None = None) -> Tensor:
        """P x H x T x d -> P x T x C. lift: H·d, added to each token's heads before."""
        joined = out.transpose(1, 2).flatten(2)
        merged: Tensor = self.out_proj(joined if lift is None else joined + lift)
        return merged

    def out_by_head(self) -> Tensor:
        """The weight of the projection of the answer: H x d x C."""
        return self.out_proj.weight.T.reshape(self.heads, -1, self.out_proj.out_features)


def by_head(proj: nn.Linear, heads: int) -> Tensor:
    """The weight of a projection: H x d x C."""
    return proj.weight.reshape(heads, -1, proj.in_features)


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
