"""The nano model's image encoder: a small convolutional network for CPUs.

Plain 3 x 3 convolutions on half of the channels (as in cross-stage partial networks), strides 2 to
32, merged top down into one embedding at stride 8.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.conv import pyramid_levels, pyramid_parts
from perception.segmenter.layer_norm import LayerNorm2d


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
