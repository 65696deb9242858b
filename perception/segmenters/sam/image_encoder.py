"""SAM's image encoder: a vision transformer with windowed and global attention.

Li et al. 2022, "Exploring plain vision transformer backbones for object detection", with the
decomposed relative position of "MViTv2". The names of the parameters are those of the published
checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from perception.segmenters.sam.blocks import LayerNorm2d, MlpBlock, gelu

ROWS = 16
"""Rows of SAM's grid that attend, one head at a time, and that go through the perceptron, on a CPU.

All 64 rows and all heads have 0.8 GB of scores, and passing over so much memory takes as long as
the matrix products. Below 32 MB arrays stay in the caches, and torch gets them without asking the
system for new pages each time: together this takes a third off the encoder's time.
"""

FEW_CELLS = 256
"""A grid up to here, such as a window, attends as a whole."""


class ViTImageEncoder(nn.Module):
    """B x 3 x S x S normalized pixels -> B x C x h x w embedding, h = w = S / patch.

    image_size: S; width, depth, heads: of the transformer; window: side of the attention window in
    cells; global_blocks: the blocks that look at the whole image instead; channels: C.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        window: int,
        global_blocks: Collection[int],
        channels: int,
    ) -> None:
        super().__init__()
        grid = image_size // patch
        self.patch_embed = PatchEmbed(patch, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads=heads,
                mlp_ratio=mlp_ratio,
                window=0 if i in global_blocks else window,
                grid=grid,
            )
            for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, channels, 1, bias=False),
            LayerNorm2d(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            LayerNorm2d(channels),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """B x 3 x S x S -> B x C x h x w."""
        x = self.patch_embed(pixels) + self.pos_embed  # B x h x w x D
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.neck(x.permute(0, 3, 1, 2))  # B x C x h x w
        return out


class PatchEmbed(nn.Module):
    """Cuts the image into patches and projects each: B x 3 x S x S -> B x h x w x D."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """B x 3 x S x S -> B x h x w x D."""
        x: Tensor = self.proj(pixels)
        return x.permute(0, 2, 3, 1)


class Block(nn.Module):
    """One transformer layer; ``window`` 0 attends over the whole grid."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: int, window: int, grid: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = GridAttention(width, heads=heads, grid=window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MlpBlock(width, width * mlp_ratio, gelu)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """B x h x w x D -> B x h x w x D."""
        attended = self.norm1(x)
        if self.window:
            windows = windows_of(attended, self.window)
            attended = grid_of(self.attn(windows), x.shape[1], x.shape[2])
        else:
            attended = self.attn(attended)
        x = x + attended
        if torch.compiler.is_exporting():  # the runtime keeps its memory, and gains nothing
            out: Tensor = x + self.mlp(self.norm2(x))
            return out
        parts = torch.split(x, rows_at_once(x), dim=1)
        return torch.cat([part + self.mlp(self.norm2(part)) for part in parts], dim=1)


class GridAttention(nn.Module):
    """Self-attention over a grid x grid map with a relative position term per axis."""

    def __init__(self, width: int, *, heads: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, width * 3)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """B x h x w x D -> B x h x w x D."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x).reshape(b, h * w, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each B x heads x S x d
        q = q.reshape(b, self.heads, h, w, -1)
        by_row, by_column = offsets(self.rel_pos_h, h), offsets(self.rel_pos_w, w)
        if x.is_cuda:
            out = attend_fused(q, k, v, by_row, by_column)
        elif h * w <= FEW_CELLS:
            out = attend(q, k, v, by_row, by_column)
        else:
            heads = zip(
                torch.split(q, 1, 1), torch.split(k, 1, 1), torch.split(v, 1, 1), strict=True
            )
            out = torch.cat([attend_by_rows(*head, by_row, by_column) for head in heads], dim=1)
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(b, h, w, -1))
        return projected


def rows_at_once(x: Tensor) -> int:
    """How many rows of a grid B x h x w x D to work on at once: all on a GPU, and of few cells."""
    _, height, width, _ = x.shape
    return height if x.is_cuda or height * width <= FEW_CELLS else ROWS


def attend_by_rows(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """``attend`` for all rows of a grid, some at a time: B x heads x S x d."""
    parts = zip(torch.split(q, ROWS, dim=2), torch.split(by_row, ROWS), strict=True)
    return torch.cat([attend(part, k, v, of_part, by_column) for part, of_part in parts], dim=2)


def attend(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Some rows of a grid look at all of it, with a bias for how far apart two cells are.

    q: B x heads x r x w x d; k, v: B x heads x S x d, S = h·w; by_row: r x h x d, by_column:
    w x w x d -> B x heads x r·w x d. The bias sees the query before its scaling, as in the
    published network.
    """
    w, d = q.shape[3:]
    row_bias, column_bias = biases(q, by_row, by_column)
    scores = (q * d**-0.5).flatten(2, 3) @ k.transpose(2, 3)  # B x heads x r·w x S
    scores = scores.unflatten(3, (-1, w)) + row_bias[..., None]
    scores = scores + column_bias[..., None, :]
    mixed: Tensor = scores.flatten(3).softmax(-1) @ v
    return mixed


def attend_fused(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """``attend`` through torch's fused attention, which keeps no scores.

    That takes no bias of this kind without writing all of it. But the bias of a query and a key is
    a product, too: of the query's h + w biases and two ones at the key's row and column. So both
    get h + w more channels, and the values as many zeros, because the kernels want equal widths.
    """
    h, w, d = *q.shape[2:4], q.shape[4]
    places = torch.arange(h * w, device=q.device)
    is_row = (places[:, None] // w == torch.arange(h, device=q.device)).to(q.dtype)  # S x h
    is_column = (places[:, None] % w == torch.arange(w, device=q.device)).to(q.dtype)  # S x w
    place = torch.cat((is_row, is_column), dim=1).expand(*k.shape[:2], -1, -1)
    bias = torch.cat(biases(q, by_row, by_column), dim=-1)  # B x heads x S x h+w
    longer_q = torch.cat(((q * d**-0.5).flatten(2, 3), bias), dim=-1)
    longer_k = torch.cat((k, place), dim=-1)
    longer_v = nn.functional.pad(v, (0, h + w))
    mixed = nn.functional.scaled_dot_product_attention(longer_q, longer_k, longer_v, scale=1.0)
    return mixed[..., :d]


def biases(q: Tensor, by_row: Tensor, by_column: Tensor) -> tuple[Tensor, Tensor]:
    """How much each query likes each row, B x heads x r·w x h, and each column, ... x r·w x w."""
    row_bias = torch.einsum("bnyxd,yid->bnyxi", q, by_row).flatten(2, 3)
    column_bias = torch.einsum("bnyxd,xjd->bnyxj", q, by_column).flatten(2, 3)
    return row_bias, column_bias


def offsets(table: Tensor, n: int) -> Tensor:
    """From 2n-1 x d, a row for each distance, to n x n x d: [query, key] is the row of q - k."""
    places = torch.arange(n, device=table.device)
    return table[places[:, None] - places[None, :] + n - 1]


def windows_of(x: Tensor, window: int) -> Tensor:
    """B x h x w x D -> B·n x window x window x D, padded with zeros at the right and the bottom."""
    b, h, w, d = x.shape
    x = nn.functional.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    rows, columns = x.shape[1] // window, x.shape[2] // window
    x = x.reshape(b, rows, window, columns, window, d).transpose(2, 3)
    return x.reshape(-1, window, window, d)


def grid_of(windows: Tensor, h: int, w: int) -> Tensor:
    """The way back from ``windows_of``, without the padding: B x h x w x D."""
    _, window, _, d = windows.shape
    rows, columns = -(-h // window), -(-w // window)
    x = windows.reshape(-1, rows, columns, window, window, d).transpose(2, 3)
    return x.reshape(-1, rows * window, columns * window, d)[:, :h, :w]
