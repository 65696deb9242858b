"""The embedded segmenter's image encoders: EfficientNet-Lite0, and the first generation's.

Tan and Le 2019, "EfficientNet", in the "Lite" variant for devices: inverted residual blocks
(Sandler et al. 2018, "MobileNetV2") with ReLU6, without squeeze and excitation. Convolutions pad
as TensorFlow's "SAME" does, which for a stride of 2 is more on the right and below.

``NanoImageEncoder``: plain 3 x 3 convolutions on half of the channels (as in cross-stage partial
networks), strides 2 to 32, merged top down into one embedding at stride 8. ``TwoTrunkEncoder``: the
same beside a trunk that has seen the world, whose levels are added to its own before they merge;
and finer features at stride 4, which the mask decoder adds where it upscales.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.imaging.preprocess import RGB_MEAN, RGB_STD
from perception.runtime.convolutions import conv_norm, pyramid_levels, pyramid_parts
from perception.segmenters.sam.blocks import LayerNorm2d

LEVEL_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""

STEM_CHANNELS = 32
_MIDDLE, _SPREAD = 127.0, 128.0  # its pixels are (x - 127) / 128


class Stage(NamedTuple):
    """Blocks of one width. expand: how many times as wide a block is inside."""

    expand: int
    kernel: int
    stride: int
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
_SPLIT = 3  # stages of the front
_LEVEL_ENDS = (0, 1, 2, 4, 6)
"""The stages after which the features of strides 2, 4, 8, 16 and 32 are complete."""


class LiteTrunk(nn.Module):
    """B x 3 x S x S, normalized as ``Frame.pixels``, to features at five strides.

    32 divides S.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = same_conv(3, STEM_CHANNELS, kernel=3, stride=2)
        widths = (STEM_CHANNELS, *(stage.channels for stage in STAGES))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    InvertedResidual(
                        stage.channels if n else width,
                        stage.channels,
                        expand=stage.expand,
                        kernel=stage.kernel,
                        stride=1 if n else stage.stride,
                    )
                    for n in range(stage.blocks)
                )
            )
            for width, stage in zip(widths, STAGES, strict=False)
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x S x S -> five maps B x ``LEVEL_CHANNELS[n]`` x S/2^(n+1) x S/2^(n+1)."""
        fine = self.front(pixels)
        return (*fine, *self.back(fine[-1]))

    def front(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x S x S -> the three maps at strides 2, 4 and 8."""
        return self._levels(self.stem(lite_pixels(pixels)), 0, _SPLIT)

    def back(self, at_8: Tensor) -> tuple[Tensor, ...]:
        """The map at stride 8 -> those at strides 16 and 32."""
        return self._levels(at_8, _SPLIT, len(self.stages))

    def _levels(self, x: Tensor, first: int, end: int) -> tuple[Tensor, ...]:
        levels = []
        for n in range(first, end):
            x = self.stages[n](x)
            if n in _LEVEL_ENDS:
                levels.append(x)
        return tuple(levels)


def lite_pixels(pixels: Tensor) -> Tensor:
    """B x 3 x S x S as ``Frame.pixels`` normalizes -> the same as the trunk was taught."""
    scale = pixels.new_tensor([std / _SPREAD for std in RGB_STD])[:, None, None]
    shift = pixels.new_tensor([(mean - _MIDDLE) / _SPREAD for mean in RGB_MEAN])[:, None, None]
    return pixels * scale + shift


class InvertedResidual(nn.Module):
    """Widens by a 1 x 1 convolution, filters each channel, narrows without an activation."""

    def __init__(
        self, channels_in: int, channels_out: int, *, expand: int, kernel: int, stride: int
    ) -> None:
        super().__init__()
        width = channels_in * expand
        widen = [same_conv(channels_in, width, kernel=1)] if expand > 1 else []
        self.body = nn.Sequential(
            *widen,
            same_conv(width, width, kernel=kernel, stride=stride, groups=width),
            same_conv(width, channels_out, kernel=1, activate=False),
        )
        self.is_residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """B x C x h x w -> B x C' x h/stride x w/stride."""
        out: Tensor = self.body(x)
        return x + out if self.is_residual else out


def same_conv(
    channels_in: int,
    channels_out: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Convolution, batch norm and ReLU6, padded as TensorFlow's "SAME" for sizes stride divides."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    padding = before if before == after else 0
    parts: list[nn.Module] = []
    if before != after:
        parts.append(nn.ZeroPad2d((before, after, before, after)))
    parts += [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    if activate:
        parts.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*parts)


FIRST_SHARE = 0.1
"""The scale at which the levels of the second trunk begin to count, beside a trained first one."""


class NanoImageEncoder(nn.Module):
    """B x 3 x S x S normalized pixels -> B x C x S/8 x S/8, for any S that 32 divides.

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
