from __future__ import annotations

import math

import pytest
import torch
from muon import LIKE_ADAM, Muon, matrices, orthogonal
from torch import nn


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_all_directions_of_a_step_are_alike(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.logspace(0, -1.2, min(shape))  # from 1 to 0.06
    turned = orthogonal((u * values) @ v)
    assert turned.shape == shape
    seen = (u.T @ turned @ v.T).diagonal()
    assert ((seen > 0.6) & (seen < 1.25)).all()
    rest = turned - (u * seen) @ v
    assert rest.norm() < 1e-3 * turned.norm()  # in the directions of the matrix, none other


def test_no_gradient_no_direction() -> None:
    assert torch.equal(orthogonal(torch.zeros(8, 9)), torch.zeros(8, 9))


def test_steps_are_as_long_as_those_of_adam() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 32, 3)
    before = layer.weight.detach().clone()
    optimizer = Muon([layer.weight], lr=0.01, weight_decay=0)
    layer.weight.grad = torch.randn_like(before)
    optimizer.step()
    moved = (before - layer.weight.detach()) / 0.01
    assert moved.square().mean().sqrt().item() == pytest.approx(LIKE_ADAM, rel=0.2)
    assert (moved * layer.weight.grad).sum() > 0  # down
    assert layer.weight.shape == before.shape


def test_the_length_of_the_gradient_does_not_matter() -> None:
    steps = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(torch.zeros(8, 8))
        weight.grad = scale * torch.arange(64.0).sin().reshape(8, 8)
        Muon([weight], lr=0.1, weight_decay=0).step()
        steps.append(weight.detach())
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-4, atol=1e-6)


def test_decays_and_leaves_alone_what_has_no_gradient() -> None:
    used, unused = (nn.Parameter(torch.ones(8, 8)) for _ in range(2))
    used.grad = torch.zeros(8, 8)
    Muon([used, unused], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(used.detach(), torch.full((8, 8), 0.95))
    assert torch.equal(unused.detach(), torch.ones(8, 8))


def test_learns_what_gradient_descent_learns_slowly() -> None:
    """Least squares of features of very different sizes."""
    torch.manual_seed(0)
    x = torch.randn(256, 16) * torch.logspace(0, -1.5, 16)
    truth = torch.randn(16, 16)

    def left(kind: type[torch.optim.Optimizer], rate: float) -> float:
        weight = nn.Parameter(torch.zeros(16, 16))
        optimizer = kind([weight], lr=rate)  # type: ignore[call-arg]
        for step in range(200):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 + math.cos(math.pi * step / 200)) / 2
            optimizer.zero_grad()
            (x @ weight - x @ truth).square().mean().backward()
            optimizer.step()
        return float((weight.detach() - truth).norm() / truth.norm())

    muon = left(Muon, 0.5)
    assert muon < 0.1
    assert muon < 0.25 * min(left(torch.optim.SGD, rate) for rate in (1.0, 4.0))


def test_takes_wide_layers_alone() -> None:
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(8, 8),
            "conv": nn.Conv2d(3, 8, 3),
            "narrow": nn.Conv2d(64, 4, 1),
            "each": nn.Conv2d(32, 32, 3, groups=32),
            "table": nn.Embedding(50, 16),
            "norm": nn.LayerNorm(16),
        }
    )
    found = matrices(model)
    assert [id(p) for p in found] == [id(model[name].weight) for name in ("linear", "conv")]
