from __future__ import annotations

import pytest
import torch

from perception.conv import HalfBlock
from perception.segmenter.nano_encoder import NanoImageEncoder


def encoder() -> NanoImageEncoder:
    return NanoImageEncoder(
        widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), merge_depth=1, channels=12
    ).eval()


@pytest.mark.parametrize("side", [32, 96, 160])
def test_the_embedding_has_stride_8(side: int) -> None:
    assert encoder()(torch.randn(2, 3, side, side)).shape == (2, 12, side // 8, side // 8)


def test_every_cell_comes_out_on_one_scale() -> None:
    cells = encoder()(100 * torch.randn(1, 3, 64, 64))
    assert cells.mean(1).abs().max() < 1e-4
    assert (cells.std(1) - 1).abs().max() < 0.1


def test_the_coarsest_stage_reaches_every_cell() -> None:
    net = encoder()
    pixels = torch.randn(1, 3, 64, 64)
    before = net(pixels)
    net.laterals[2].bias += torch.randn(12)
    assert ((net(pixels) - before).abs().amax(1) > 0).all()


@pytest.mark.parametrize("channels", [8, 7])
def test_a_block_keeps_the_shape(channels: int) -> None:
    x = torch.randn(1, channels, 5, 6)
    assert HalfBlock(channels, depth=2)(x).shape == x.shape


def test_works_in_bfloat16_channels_last() -> None:
    pixels = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = encoder().to(memory_format=torch.channels_last)(pixels)
    assert torch.isfinite(out).all()
