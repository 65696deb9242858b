"""Deformable attention as a graph takes it: the runtime reads between cells with GridSample."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableReader(nn.Module):
    """Queries Q x D over the cells 1 x S x D of L levels -> Q x D.

    attention: transformers' ``…MultiscaleDeformableAttention``, whose weights it takes.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.levels = attention.n_heads, attention.n_levels
        self.points: int = attention.n_points
        self.offsets, self.weights = attention.sampling_offsets, attention.attention_weights
        self.value, self.out = attention.value_proj, attention.output_proj

    def forward(
        self, queries: Tensor, cells: Tensor, references: Tensor, shapes: list[tuple[int, int]]
    ) -> Tensor:
        """references: Q x 2 or Q x 4, parts of the picture; shapes: each level's (h, w)."""
        heads, levels, points = self.heads, self.levels, self.points
        # H x L x P x Q (x 2), so that what is added up lies apart and the queries side by side.
        offsets = self.offsets(queries).unflatten(1, (heads, levels, points, 2))
        offsets = offsets.permute(1, 2, 3, 0, 4)
        weights = self.weights(queries).unflatten(1, (heads, levels * points)).softmax(-1)
        weights = weights.permute(1, 2, 0).unflatten(1, (levels, points))
        if references.shape[-1] == 4:
            offsets = offsets * (references[:, 2:] * (0.5 / points))
        values = self.value(cells)[0].transpose(0, 1)  # D x S
        parts = values.split([h * w for h, w in shapes], dim=1)
        read = torch.zeros(())
        for level, (h, w) in enumerate(shapes):
            moved = offsets[:, level]  # H x P x Q x 2
            if references.shape[-1] == 2:
                moved = moved / torch.stack((torch.scalar_tensor(w), torch.scalar_tensor(h)))
            grid = (references[:, :2] + moved) * 2 - 1
            level_values = parts[level].unflatten(1, (h, w)).unflatten(0, (heads, -1))
            found = F.grid_sample(level_values, grid, align_corners=False)  # H x d x P x Q
            read = read + (found * weights[:, None, level]).sum(2)
        return self.out(read.flatten(0, 1).transpose(0, 1))  # type: ignore[no-any-return]
