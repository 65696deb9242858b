"""SAM's image encoder: a vision transformer with windowed and global attention.

Li et al. 2022, "Exploring plain vision transformer backbones for object detection", with the
decomposed relative position of "MViTv2". The names of the parameters are those of the published
checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from perception.segmenter.layer_norm import LayerNorm2d
from perception.segmenter.mlp import MlpBlock

ROWS = 16
"""Rows of a grid that attend at once. All of SAM's 64 rows have 0.8 GB of scores, and adding the
bias to so much memory takes as long as the matrix products; windows have fewer rows.
"""


class ViTImageEncoder(nn.Module):
    """B x 3 x S x S normalised pixels -> B x C x h x w embedding, h = w = S / patch.

    image_size: S; width, depth, heads: of the transformer; window: side of the attention window in
    cells; global_blocks: the blocks that look at the whole picture instead; channels: C.
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
    """Cuts the picture into patches and projects each: B x 3 x S x S -> B x h x w x D."""

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
        self.mlp = MlpBlock(width, width * mlp_ratio, nn.GELU())
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
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


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
        q_grid = q.reshape(b, self.heads, h, w, -1)
        by_row, by_column = offsets(self.rel_pos_h, h), offsets(self.rel_pos_w, w)
        parts = [
            attend(q_grid[:, :, y : y + ROWS], k, v, by_row[y : y + ROWS], by_column)
            for y in range(0, h, ROWS)
        ]
        out = torch.cat(parts, dim=2)  # B x heads x S x d
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(b, h, w, -1))
        return projected


def attend(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Some rows of a grid look at all of it, with a bias for how far apart two cells are.

    q: B x heads x r x w x d; k, v: B x heads x S x d, S = h·w; by_row: r x h x d, by_column:
    w x w x d -> B x heads x r·w x d. The bias sees the query before its scaling, as in the
    published network.
    """
    b, heads, rows, w, d = q.shape
    row_bias = torch.einsum("bnyxd,yid->bnyxi", q, by_row)  # B x heads x r x w x h
    column_bias = torch.einsum("bnyxd,xjd->bnyxj", q, by_column)  # B x heads x r x w x w
    scores = (q * d**-0.5).flatten(2, 3) @ k.transpose(2, 3)  # B x heads x r·w x S
    scores = scores.reshape(b, heads, rows * w, -1, w) + row_bias.flatten(2, 3)[..., None]
    scores = scores + column_bias.flatten(2, 3)[..., None, :]
    mixed: Tensor = scores.flatten(3).softmax(-1) @ v
    return mixed


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
