"""The nano models' image encoders: small convolutional networks for CPUs.

``NanoImageEncoder``: plain 3 x 3 convolutions on half of the channels (as in cross-stage partial
networks), strides 2 to 32, merged top down into one embedding at stride 8. ``TwoTrunkEncoder``: the
same beside a trunk that has seen the world, whose levels are added to its own before they merge;
and finer features at stride 4, which the mask decoder adds where it upscales.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.conv import conv_norm, pyramid_levels, pyramid_parts
from perception.segmenter.layer_norm import LayerNorm2d
from perception.segmenter.lite_trunk import LEVEL_CHANNELS, LiteTrunk

FIRST_SHARE = 0.1
"""The scale at which the levels of the second trunk begin to count, beside a trained first one."""


class NanoImageEncoder(nn.Module):
    """B x 3 x S x S normalised pixels -> B x C x S/8 x S/8, for any S that 32 divides.

    widths, depths, merge_depth, channels: see ``pyramid_parts``.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int, int],
        depths: tuple[int, int, int, int],
        merge_depth: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.widths, self.channels = widths, channels
        self.stem, self.stages, self.laterals, self.merges = pyramid_parts(
            widths, depths, channels, merge_depth=merge_depth
        )
        self.out = nn.Sequential(nn.Conv2d(channels, channels, 1), LayerNorm2d(channels))

    def forward(self, pixels: Tensor) -> Tensor:
        """B x 3 x S x S -> B x C x S/8 x S/8."""
        parts = self.stem, self.stages, self.laterals, self.merges
        at_8, _, _ = pyramid_levels(parts, pixels)
        out: Tensor = self.out(at_8)
        return out


class TwoTrunkEncoder(nn.Module):
    """B x 3 x S x S normalized pixels -> B x (C + 4·D) x S/8 x S/8, for any S that 32 divides.

    own: of C channels; fine: D, the channels of the features at stride 4, packed four cells in one
    after the C of the embedding; fine_width: of the layers that make them.
    """

    def __init__(self, own: NanoImageEncoder, *, fine: int, fine_width: int) -> None:
        super().__init__()
        self.own, self.trunk = own, LiteTrunk()
        self.laterals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, own.channels, 1, bias=False), nn.BatchNorm2d(own.channels)
            )
            for width in LEVEL_CHANNELS[2:]
        )
        for lateral in self.laterals:
            nn.init.constant_(lateral[1].weight, FIRST_SHARE)  # type: ignore[index]
        at_2, at_4 = own.widths[0] + LEVEL_CHANNELS[0], own.widths[1] + LEVEL_CHANNELS[1]
        self.fine = nn.Sequential(
            conv_norm(at_4 + 4 * at_2, fine_width, 1),
            conv_norm(fine_width, fine_width, 3),
            nn.Conv2d(fine_width, fine, 1),
        )
        last = self.fine[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """B x 3 x S x S -> B x (C + 4·D) x S/8 x S/8."""
        return self.back(*self.front(pixels))

    def front(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The features of both trunks at strides 2, 4 and 8: own, then the other's.

        Most of the work and few of the weights: a training may leave these as they are.
        """
        at_2 = self.own.stem(pixels)
        at_4 = self.own.stages[0](at_2)
        return at_2, at_4, self.own.stages[1](at_4), *self.trunk.front(pixels)

    def back(self, *front: Tensor) -> Tensor:
        """What ``front`` gave -> B x (C + 4·D) x S/8 x S/8."""
        own, (at_2, at_4, x, seen_2, seen_4, seen_8) = self.own, front
        seen = (seen_8, *self.trunk.back(seen_8))
        levels = []
        for n, lateral in enumerate(own.laterals):
            x = own.stages[n + 1](x) if n else x
            levels.append(lateral(x) + self.laterals[n](seen[n]))
        at_8, at_16, at_32 = levels
        at_16 = own.merges[0](at_16 + F.interpolate(at_32, scale_factor=2.0, mode="nearest"))
        at_8 = own.merges[1](at_8 + F.interpolate(at_16, scale_factor=2.0, mode="nearest"))
        finest = F.pixel_unshuffle(torch.cat((at_2, seen_2), dim=1), 2)
        fine = self.fine(torch.cat((at_4, seen_4, finest), dim=1))
        return torch.cat((own.out(at_8), F.pixel_unshuffle(fine, 2)), dim=1)
