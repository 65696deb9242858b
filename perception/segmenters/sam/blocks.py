"""Attention in the orders that cost least, perceptrons and norms, as ONNX Runtime likes them.

Outside of a trace they are torch's own. The numbers are the same; tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gelu(x: Tensor) -> Tensor:
    """The exact GELU, spelled as the runtime recognises it and runs it in one pass."""
    if not torch.compiler.is_exporting():
        return F.gelu(x)
    return x * (torch.erf(x / math.sqrt(2)) + 1) * 0.5


def gelu_of_any(x: Tensor) -> Tensor:
    """The same, of an array that may be empty: the runtime's own then divides by zero."""
    if not torch.compiler.is_exporting():
        return F.gelu(x)
    half = 0.5 * x
    return half + half * torch.erf(x / math.sqrt(2))


def softmax_over_rows(scores: Tensor) -> Tensor:
    """The softmax of ... x T x S over T.

    The runtime's own turns the array so that T comes last, and then works on rows of seven numbers;
    spelled out it is five passes of long vectors.
    """
    if not torch.compiler.is_exporting():
        return scores.softmax(-2)
    powers = (scores - scores.amax(-2, keepdim=True)).exp()
    return powers / powers.sum(-2, keepdim=True)


def sum_of_rows(x: Tensor) -> Tensor:
    """The sum of P x R x S over R: P x 1 x S.

    The runtime's own takes ten times as long as a product with ones.
    """
    if not torch.compiler.is_exporting():
        return x.sum(1, keepdim=True)
    return x.new_ones(1, 1, x.shape[1]) @ x


def norm_of_sum(norm: nn.LayerNorm, a: Tensor, b: Tensor) -> Tensor:
    """norm(a + b) of B x S x C each. The runtime would fuse the two into one slower operator."""
    if not torch.compiler.is_exporting():
        out: Tensor = norm(a + b)
        return out
    spread: Tensor = norm((a + b).unsqueeze(1))
    return spread.squeeze(1)


def norm_of_centerd(norm: LayerNorm2d, x: Tensor) -> Tensor:
    """norm.last(x) of ... x C whose mean over the channels is zero.

    The runtime's norm takes its time over the mean and the spread; spelled out, what is left is an
    operator that takes a quarter of it.
    """
    if not torch.compiler.is_exporting():
        return norm.last(x)
    spread = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps)
    return x / spread * norm.weight + norm.bias


class LayerNorm2d(nn.Module):
    """Normalises the C channels of every cell of a B x C x h x w map, with a scale and a shift."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w -> B x C x h x w."""
        return self.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def last(self, x: Tensor) -> Tensor:
        """The same for cells that hold their channels last: ... x C -> ... x C."""
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class MlpBlock(nn.Module):
    """The feed-forward half of a transformer layer: ... x C -> ... x hidden -> ... x C."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """... x C -> ... x C."""
        out: Tensor = self.lin2(self.activation(self.lin1(x)))
        return out


class Mlp(nn.Module):
    """``depth`` linear layers with ReLU between: ... x width_in -> ... x width_out."""

    def __init__(self, width_in: int, hidden: int, width_out: int, *, depth: int) -> None:
        super().__init__()
        widths = [width_in, *[hidden] * (depth - 1), width_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """... x width_in -> ... x width_out."""
        for layer in self.layers[:-1]:
            x = nn.functional.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


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
