"""Layer normalisation over the channels of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
