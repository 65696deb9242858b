from __future__ import annotations

import copy

import pytest
import torch

from perception.runtime.convolutions import HalfBlock
from perception.segmenters.nano import NanoImageEncoder, TwoTrunkEncoder


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


def two_trunks(channels: int = 8) -> TwoTrunkEncoder:
    torch.manual_seed(0)
    own = NanoImageEncoder(
        widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), merge_depth=1, channels=channels
    )
    return TwoTrunkEncoder(own, fine=channels // 4, fine_width=6).eval()


@pytest.mark.parametrize("side", [32, 96])
def test_two_trunks_give_the_embedding_and_as_many_fine_channels(side: int) -> None:
    assert two_trunks()(torch.randn(2, 3, side, side)).shape == (2, 16, side // 8, side // 8)


def test_it_begins_near_the_first_trunk_and_with_nothing_fine() -> None:
    net = two_trunks()
    for lateral in net.laterals:
        torch.nn.init.zeros_(lateral[1].weight)
    pixels = torch.randn(1, 3, 64, 64)
    embedding = net(pixels)
    assert (embedding[:, :8] - net.own(pixels)).abs().max() < 1e-5
    assert not embedding[:, 8:].any()


def test_every_level_of_the_second_trunk_counts() -> None:
    net = two_trunks()
    pixels = torch.randn(1, 3, 64, 64)
    before = net(pixels)
    for n in range(3):
        changed = copy.deepcopy(net)
        changed.laterals[n][1].bias.data += torch.randn(8)
        assert ((changed(pixels) - before)[:, :8].abs().amax(1) > 0).all()


def test_four_cells_of_stride_4_are_packed_in_one() -> None:
    net = two_trunks()
    torch.nn.init.normal_(net.fine[-1].weight)
    pixels = torch.randn(1, 3, 64, 64)
    seen = []
    net.fine.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    packed = net(pixels)[:, 8:]
    assert seen[0].shape == (1, 2, 16, 16)
    assert torch.equal(torch.nn.functional.pixel_shuffle(packed, 2), seen[0])


def test_the_back_goes_on_from_the_front() -> None:
    net = two_trunks()
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(net.back(*net.front(pixels)), net(pixels))
