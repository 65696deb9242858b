"""Swin layers, window by window, for torch and for ONNX.

Liu et al. 2021, "Swin Transformer". The weights and the call are those of transformers'
``SwinLayer``. There the image is shifted, padded, cut into windows and put together again as a
whole, in copies of it; here each window's cells are looked up where they are.

The weights are those of transformers' ``SwinBackbone``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.onednn_linear import QuickLinear, quick_linear
from perception.detectors.swin_windows import find_windows

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


class ExportableSwin(nn.Module):
    """Patches S x 48 and the lists -> the wanted stages' cells, S x C each.

    backbone: a ``SwinBackbone`` with exact GELUs and no absolute positions.
    """

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        embeddings, norms = backbone.swin.embeddings, backbone.hidden_states_norms
        self.patches, self.norm = embeddings.patch_embeddings.projection, embeddings.norm
        stages = backbone.swin.encoder.layers
        self.stages = nn.ModuleList(nn.ModuleList(map(_Layer, stage.blocks)) for stage in stages)
        self.merges = nn.ModuleList(stage.downsample for stage in stages[:-1])
        names = backbone.stage_names[1:]
        self.wanted = [name in norms for name in names]
        self.norms = nn.ModuleList(
            norms[name] if name in norms else nn.Identity() for name in names
        )

    def forward(self, patches: Tensor, lists: Iterator[Tensor]) -> list[Tensor]:
        """Finest first; takes from ``lists`` what it needs."""
        x = self.norm(patches @ self.patches.weight.flatten(1).T + self.patches.bias)
        found = []
        for stage, blocks in enumerate(self.stages):
            if stage:
                merge: Any = self.merges[stage - 1]
                x = merge.reduction(merge.norm(look_up(x, next(lists)).flatten(1)))
            plain = (next(lists), next(lists), None)
            moved = (next(lists), next(lists), next(lists))
            for block in cast(nn.ModuleList, blocks):
                x = block(x, *(moved if block.shifted else plain))
            if self.wanted[stage]:
                found.append(self.norms[stage](x))
        return found


class _Layer(nn.Module):
    """One layer, S x C -> S x C."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention
        self.shifted, self.heads = layer.shift_size > 0, attention.num_attention_heads
        self.before, self.after = layer.layernorm_before, layer.layernorm_after
        self.projections = nn.ModuleList((attention.q_proj, attention.k_proj, attention.v_proj))
        self.out, self.fc1, self.fc2 = attention.o_proj, layer.mlp.fc1, layer.mlp.fc2
        self.register_buffer("near", attention.relative_position_bias().detach().clone())

    def forward(self, x: Tensor, cells: Tensor, places: Tensor, region: Tensor | None) -> Tensor:
        own = look_up(self.before(x), cells)  # N x s² x C
        q, k, v = (
            project(own).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in self.projections
        )
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + self.near
        if region is not None:
            scores = scores + (region[:, None, :, None] != region[:, None, None, :]) * -100.0
        seen = self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x + seen.flatten(0, 1)[places]
        hidden = self.fc1(self.after(x))
        # The exact GELU, spelled as the runtime recognises it and runs it in one pass.
        out: Tensor = x + self.fc2(hidden * (torch.erf(hidden / math.sqrt(2)) + 1) * 0.5)
        return out


def look_up(x: Tensor, cells: Tensor) -> Tensor:
    """Rows of S x C at the places of any shape; what is beyond the last is zero."""
    return torch.cat((x, x.new_zeros(1, x.shape[1])))[cells]
