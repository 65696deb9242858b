"""The convolutional parts that both nano networks are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """Convolution, batch normalisation, SiLU; the size is kept but for the stride."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(inplace=True),
    )


class HalfBlock(nn.Module):
    """Half of the channels passes through ``depth`` residual 3 x 3 convolutions, half goes round.

    As in cross-stage partial networks (Wang et al. 2019): plain convolutions, which CPUs like, at a
    quarter of the cost.
    """

    def __init__(self, channels: int, *, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.split = conv_norm(channels, 2 * half, 1)
        self.convs = nn.ModuleList(conv_norm(half, half, 3) for _ in range(depth))
        self.join = conv_norm(2 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w -> B x C x h x w."""
        through, around = self.split(x).chunk(2, dim=1)
        for conv in self.convs:
            through = through + conv(through)
        out: Tensor = self.join(torch.cat((through, around), dim=1))
        return out


Pyramid = tuple[nn.Module, nn.ModuleList, nn.ModuleList, nn.ModuleList]
"""Stem, stages, laterals and merges: what ``pyramid_parts`` makes and ``pyramid_levels`` runs.

Parts and not a module, so that each network holds them as its own, as its published keys have them.
"""


def pyramid_parts(
    widths: tuple[int, int, int, int, int],
    depths: tuple[int, int, int, int],
    channels: int,
    *,
    merge_depth: int = 1,
) -> Pyramid:
    """The parts of a feature pyramid over an RGB image.

    widths: channels at strides 2, 4, 8, 16, 32; depths: 3 x 3 convolutions in the blocks at strides
    4, 8, 16, 32; merge_depth: the same in the two blocks that merge; channels: C of each level.
    """
    stem = conv_norm(3, widths[0], 3, stride=2)
    stages = nn.ModuleList(
        nn.Sequential(conv_norm(a, b, 3, stride=2), HalfBlock(b, depth=depth))
        for a, b, depth in zip(widths[:-1], widths[1:], depths, strict=True)
    )
    laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths[2:])
    merges = nn.ModuleList(HalfBlock(channels, depth=merge_depth) for _ in range(2))
    return stem, stages, laterals, merges


def pyramid_levels(parts: Pyramid, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels B x 3 x S x S -> B x C x S/8 x S/8, S/16, S/32, merged from the coarsest down.

    32 divides S.
    """
    stem, stages, laterals, merges = parts
    x = stages[0](stem(pixels))
    levels = []
    for stage, lateral in zip(list(stages)[1:], laterals, strict=True):
        x = stage(x)
        levels.append(lateral(x))
    at_8, at_16, at_32 = levels
    at_16 = merges[0](at_16 + F.interpolate(at_32, scale_factor=2.0, mode="nearest"))
    at_8 = merges[1](at_8 + F.interpolate(at_16, scale_factor=2.0, mode="nearest"))
    return at_8, at_16, at_32
