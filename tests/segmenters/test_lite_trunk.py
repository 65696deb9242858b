"""The trunk of EfficientNet-Lite0: its shapes, its padding, and what it takes for a pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perception.imaging.preprocess import RGB_MEAN, RGB_STD
from perception.segmenters.nano import (
    LEVEL_CHANNELS,
    InvertedResidual,
    LiteTrunk,
    lite_pixels,
    same_conv,
)


@pytest.fixture(scope="module")
def trunk() -> LiteTrunk:
    torch.manual_seed(0)
    return LiteTrunk().eval()


@pytest.mark.parametrize("side", [32, 96])
def test_five_levels_of_halved_size(trunk: LiteTrunk, side: int) -> None:
    levels = trunk(torch.randn(2, 3, side, side))
    assert [tuple(level.shape) for level in levels] == [
        (2, channels, side >> n, side >> n) for n, channels in enumerate(LEVEL_CHANNELS, start=1)
    ]


def test_it_has_the_published_number_of_weights(trunk: LiteTrunk) -> None:
    """4,652,008 with the 1 x 1 convolution to 1,280 channels and the classifier."""
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in trunk.parameters()) == 4_652_008 - head


def test_front_and_back_are_the_whole(trunk: LiteTrunk) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    front = trunk.front(pixels)
    whole = trunk(pixels)
    for have, want in zip((*front, *trunk.back(front[-1])), whole, strict=True):
        assert torch.equal(have, want)


def test_a_pixel_of_127_is_zero_to_the_network() -> None:
    mean, std = (torch.tensor(n)[:, None, None] for n in (RGB_MEAN, RGB_STD))
    for value, want in ((127.0, 0.0), (255.0, 1.0), (-1.0, -1.0)):
        normalized = (value - mean) / std
        assert (lite_pixels(normalized) - want).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [(3, 2, (0, 1)), (5, 2, (1, 2)), (3, 1, (1, 1)), (5, 1, (2, 2)), (1, 1, (0, 0))],
)
def test_it_pads_as_tensorflow_does(kernel: int, stride: int, pad: tuple[int, int]) -> None:
    """SAME: a total of (out - 1) · stride + kernel - in, the larger half after."""
    block = same_conv(2, 3, kernel=kernel, stride=stride, activate=False).eval()
    conv = next(part for part in block if isinstance(part, nn.Conv2d))
    x = torch.randn(1, 2, 12, 12)
    total = (12 // stride - 1) * stride + kernel - 12
    assert sum(pad) == max(total, 0)
    want = F.conv2d(F.pad(x, pad * 2), conv.weight, stride=stride)
    assert (block(x) - want / (1 + 1e-5) ** 0.5).abs().max() < 1e-5


def test_a_block_is_added_to_its_input_where_it_keeps_the_shape() -> None:
    x = torch.randn(1, 8, 6, 6)
    same = InvertedResidual(8, 8, expand=6, kernel=3, stride=1).eval()
    assert torch.equal(same(x), x + same.body(x))
    for other in (
        InvertedResidual(8, 12, expand=6, kernel=3, stride=1).eval(),
        InvertedResidual(8, 8, expand=1, kernel=5, stride=2).eval(),
    ):
        assert torch.equal(other(x), other.body(x))
