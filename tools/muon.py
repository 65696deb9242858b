"""Muon: gradient descent for matrices whose steps turn all directions alike.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with the scale of Liu
et al. 2025, "Muon is scalable for LLM training", section 2.2. torch has one since 2.9, for layers
of two dimensions alone; most of ours are convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
LIKE_ADAM = 0.2  # the root mean square of a step's numbers at a rate of 1, as AdamW's mostly are
NARROWEST = 8  # rows or columns
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Steps weights of two or more dimensions, each seen as a matrix of its first by all others."""

    def __init__(
        self, weights: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        """One step down the gradients; weights without one stay."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"]
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                ahead = weight.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
                turn = orthogonal(ahead) * (LIKE_ADAM * max(ahead.shape) ** 0.5)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(turn.reshape(weight.shape), alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix M x N with its own directions, all of about the same length: 0.7 to 1.2.

    Rounds of a polynomial of Newton and Schulz, which take the singular values from 0..1 to near 1.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x if wide is matrix else x.T


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon is for: of linear layers and convolutions, if they aren't too narrow.

    Tables of embeddings aren't: their rows are used one by one.
    """
    found = []
    for layer in model.modules():
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            weight = layer.weight
            if min(len(weight), weight[0].numel()) >= NARROWEST:
                found.append(weight)
    return found
