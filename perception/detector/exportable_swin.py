"""Swin as a graph takes it: for pictures of any size, by the lists of ``swin_plan``.

The weights are those of transformers' ``SwinBackbone``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn


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
