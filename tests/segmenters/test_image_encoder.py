from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling import Sam as ReferenceSam
from torch import nn

from perception.segmenters.sam.image_encoder import (
    ViTImageEncoder,
    attend,
    attend_fused,
    grid_of,
    offsets,
    windows_of,
)
from perception.segmenters.sam.network import Sam

from .tiny import SIDE, add_noise


def test_agrees_with_the_published_network(tiny: Sam, reference: ReferenceSam) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE)
    want = reference.image_encoder(pixels)
    assert want.std() > 0.1
    assert (tiny.encode(pixels) - want).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("side", "window", "global_blocks"),
    [
        (32, 4, (0, 1)),  # all global
        (32, 4, ()),  # all windowed, whole windows
        (40, 4, ()),  # 5 cells: padded by 3
        (24, 14, (1,)),  # a window larger than the grid
        (8 * 19, 4, (0,)),  # more rows than attend or think at once, and one left over
    ],
)
def test_windows_and_padding_agree(side: int, window: int, global_blocks: tuple[int, ...]) -> None:
    ours = ViTImageEncoder(
        image_size=side,
        patch=8,
        width=16,
        depth=2,
        heads=2,
        mlp_ratio=2,
        window=window,
        global_blocks=global_blocks,
        channels=8,
    )
    theirs = ImageEncoderViT(
        img_size=side,
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
        mlp_ratio=2,
        out_chans=8,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=global_blocks,
    )
    add_noise(ours)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    pixels = torch.randn(1, 3, side, side)
    assert (ours(pixels) - theirs(pixels)).abs().max() <= 1e-5


@pytest.mark.parametrize(("h", "w", "window"), [(6, 6, 3), (7, 5, 3), (2, 2, 4), (1, 9, 2)])
def test_windows_there_and_back(h: int, w: int, window: int) -> None:
    x = torch.randn(2, h, w, 3)
    windows = windows_of(x, window)
    assert windows.shape == (2 * -(-h // window) * -(-w // window), window, window, 3)
    assert torch.equal(grid_of(windows, h, w), x)


def test_offsets_index_the_table_by_query_less_key() -> None:
    table = torch.arange(-2.0, 3.0)[:, None]  # the row of distance d holds d
    want = [[0.0, -1.0, -2.0], [1.0, 0.0, -1.0], [2.0, 1.0, 0.0]]
    assert offsets(table, 3)[..., 0].tolist() == want


@pytest.mark.parametrize(("h", "w"), [(3, 5), (1, 1)])
def test_fused_attention_gives_the_same(h: int, w: int) -> None:
    q = 3 * torch.randn(2, 4, h, w, 8)
    k, v = torch.randn(2, 2, 4, h * w, 8)
    by_row, by_column = torch.randn(h, h, 8), torch.randn(w, w, 8)
    want = attend(q, k, v, by_row, by_column)
    have = attend_fused(q, k, v, by_row, by_column)
    torch.testing.assert_close(have, want, rtol=0, atol=1e-5)
