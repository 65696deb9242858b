"""EfficientNet-Lite0 without its classifier: the trunk that begins with ImageNet's weights.

Tan and Le 2019, "EfficientNet", in the "Lite" variant for devices: inverted residual blocks
(Sandler et al. 2018, "MobileNetV2") with ReLU6, without squeeze and excitation. Convolutions pad
as TensorFlow's "SAME" does, which for a stride of 2 is more on the right and below.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from perception.frame import RGB_MEAN, RGB_STD

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
