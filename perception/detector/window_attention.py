"""A Swin layer that goes through its windows a few at a time.

Liu et al. 2021, "Swin Transformer". The weights and the call are those of transformers'
``SwinLayer``. There the picture is shifted, padded, cut into windows and put together again as a
whole, in copies of it; here each window's cells are looked up where they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detector.quick_linear import QuickLinear, quick_linear
from perception.detector.swin_plan import find_windows

ROWS = 2048
"""Cells at a time: what is made of them on the way stays in the processor's cache."""


class Windows(NamedTuple):
    """Which cells N windows of s x s hold.

    cells: N·s², 0 for padding; real: N·s² x 1, 0.0 for padding; places: h·w, where the windows hold
    each cell; mask: N x 1 x s² x s², added to the scores, or None without a shift.
    """

    cells: Tensor
    real: Tensor
    places: Tensor
    mask: Tensor | None


class SwinLayer(nn.Module):
    """Stands in for transformers' ``SwinLayer`` on a CPU."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention
        self.heads: int = attention.num_attention_heads
        self.side: int = layer.window_size
        self.shift: int = layer.shift_size
        self.before, self.after = layer.layernorm_before, layer.layernorm_after
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.weight = torch.cat([part.weight for part in parts]).detach()
        self.bias = None
        if attention.q_proj.bias is not None:
            self.bias = torch.cat([part.bias for part in parts]).detach()
        self.out = QuickLinear(attention.o_proj)
        self.near = attention.relative_position_bias().detach()  # 1 x H x s² x s²
        self.fc1, self.fc2 = (
            QuickLinear(layer.mlp.fc1, activation="gelu"),
            QuickLinear(layer.mlp.fc2),
        )

    def forward(
        self, hidden_states: Tensor, input_dimensions: tuple[int, int], **_: Any
    ) -> tuple[Tensor, None]:
        """Cells B x h·w x C, of h x w -> B x h·w x C."""
        height, width = map(int, input_dimensions)
        windows = _windows(height, width, self.side, self.shift)
        out = torch.empty_like(hidden_states)
        for number, cells in enumerate(hidden_states):
            seen = self._attend(cells, windows)
            for start in range(0, len(cells), ROWS):
                part = slice(start, start + ROWS)
                x = cells[part] + seen.index_select(0, windows.places[part])
                out[number, part] = x + self.fc2(self.fc1(self.after(x)))
        return out, None

    def _attend(self, cells: Tensor, windows: Windows) -> Tensor:
        """Cells h·w x C -> what those of each window see in it, N·s² x C."""
        area = self.side * self.side
        seen = cells.new_empty(len(windows.cells), cells.shape[1])
        step = max(1, ROWS // area)
        for first in range(0, len(seen) // area, step):
            part = slice(first * area, (first + step) * area)
            x = self.before(cells.index_select(0, windows.cells[part])) * windows.real[part]
            qkv = quick_linear(x, self.weight, self.bias).view(
                -1, area, 3, self.heads, x.shape[1] // self.heads
            )
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # n x H x s² x d each
            mask = self.near
            if windows.mask is not None:
                mask = mask + windows.mask[first : first + step]
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            seen[part] = self.out(found.transpose(1, 2).reshape(len(x), -1))
        return seen


@lru_cache(maxsize=32)
def _windows(height: int, width: int, side: int, shift: int) -> Windows:
    found = find_windows(height, width, side, shift)
    cells, region = torch.from_numpy(found.cells).flatten(), torch.from_numpy(found.region)
    real = cells < height * width
    mask = None
    if shift:
        mask = (region[:, None, :, None] != region[:, None, None, :]) * -100.0
    return Windows(cells * real, real[:, None].float(), torch.from_numpy(found.places), mask)
