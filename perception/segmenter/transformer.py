"""SAM's two-way transformer: prompt tokens and image cells look at each other.

The P prompts of one image may share its cells: these then have 1 row instead of P, are projected
once, and get a row per prompt where the first layer writes into them.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.segmenter.mlp import MlpBlock


class TwoWayTransformer(nn.Module):
    """depth layers in both directions, then a last look of the tokens at the image."""

    def __init__(self, *, depth: int, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(channels, heads=heads, hidden=hidden, is_first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(channels, heads=heads, inner=channels // 2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, cells: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens P x T x C and cells (P or 1) x S x C -> both, updated, P x T x C and P x S x C.

        position: 1 x S x C, the cells' positional code; the tokens' code is their first value.
        """
        first = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, first, position)
        look = self.final_attn_token_to_image.tokens_to_cells(
            tokens + first, cells + position, cells
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
        self, tokens: Tensor, cells: Tensor, first: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens P x T x C, cells (P or 1) x S x C -> the same, cells with P rows."""
        if self.is_first:  # the tokens still are their own code, and nothing is worth keeping
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            coded = tokens + first
            tokens = tokens + self.self_attn(coded, coded, tokens)
        tokens = self.norm1(tokens)
        coded_cells = cells + position
        look = self.cross_attn_token_to_image.tokens_to_cells(tokens + first, coded_cells, cells)
        tokens = self.norm2(tokens + look)
        tokens = self.norm3(tokens + self.mlp(tokens))
        look = self.cross_attn_image_to_token.cells_to_tokens(coded_cells, tokens + first, tokens)
        return tokens, self.norm4(cells + look)


class Attention(nn.Module):
    """Multi-head attention that works in ``inner`` channels.

    Few tokens T meet many cells S. Projecting the cells costs S·C·inner multiplications each time;
    moving the projection to the tokens' side gives the same numbers for S·C·heads·T, and nothing
    of S x inner has to be stored. ``forward`` is the plain order, for tokens among themselves.
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
            self._split(self.q_proj(q)),
            self._split(self.k_proj(k)),
            self._split(self.v_proj(v)),
        )
        out = nn.functional.scaled_dot_product_attention(q, k, v)  # P x H x A x d
        merged: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return merged

    def tokens_to_cells(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Tokens look at cells: q: P x T x C, k and v: (P or 1) x S x C -> P x T x C.

        (q Wk) Xᵀ in place of q (X Wk)ᵀ; the keys' bias adds the same to every cell, and softmax
        drops it. (A X) Wv + bv in place of A (X Wv + bv): the rows of A sum to one.
        """
        rows, count, channels = q.shape
        q = self._split(self.q_proj(q)) * self.scale  # P x H x T x d
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
        rows, count, _ = k.shape
        k = self._split(self.k_proj(k)) * self.scale  # P x H x T x d
        asked = (k @ self._by_head(self.q_proj)).flatten(1, 2)  # P x H·T x C
        lift = (k @ self.q_proj.bias.reshape(self.heads, -1, 1)).flatten(1)  # P x H·T
        scores = q @ asked.transpose(1, 2) + lift[:, None]  # P x S x H·T
        by_head = scores.reshape(rows, scores.shape[1], self.heads, count)
        weights = by_head.softmax(-1).flatten(2)  # P x S x H·T
        out = self.out_proj.weight.T.reshape(self.heads, -1, self.out_proj.out_features)
        merged: Tensor = weights @ (self._split(self.v_proj(v)) @ out).flatten(1, 2)
        return merged + self.out_proj.bias

    def _split(self, x: Tensor) -> Tensor:
        """P x T x inner -> P x H x T x d."""
        rows, count, inner = x.shape
        return x.reshape(rows, count, self.heads, inner // self.heads).transpose(1, 2)

    def _by_head(self, proj: nn.Linear) -> Tensor:
        """The weight of a projection: H x d x C."""
        return proj.weight.reshape(self.heads, -1, proj.in_features)
