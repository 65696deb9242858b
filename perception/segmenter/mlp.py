"""The two perceptrons of the SAM network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn


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
