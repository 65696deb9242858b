"""The photograph half of the nano detector: NanoDet's network, with what ours adds to it.

The trunk is that of NanoDet-g (RangiLyu, github.com/RangiLyu/nanodet, Apache-2.0): cross-stage
partial blocks (Wang et al. 2019), a path aggregation network (Liu et al. 2018) and heads whose
edges are distributions (Li et al. 2020, "Generalized focal loss"). Its batch norms are folded into
the convolutions.

A region's vector is the logits of the known classes, followed by what was learned for other words;
a phrase's vector says how its logit is made of them. So a known class keeps its own logit exactly,
any number of phrases works, and none depends on the others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.nano.network import STRIDES, edges_to_boxes

CLASSES = 80
"""Known classes: COCO's, in the order of their ids."""

WORD_SIZE = 48
"""Numbers of a region, beside the known classes' logits, that other words are made of."""

SURE = 1.0
"""The logit, below zero, from which on a region's best known class makes it sure."""

BINS = 11
"""Values, 0 to 10 strides, over which each edge's distance is a distribution."""


def conv_leaky(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """3 x 3 convolution with a bias, then LeakyReLU; the size is kept but for the stride."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True)
    )


class CspStage(nn.Module):
    """B x C x h x w -> B x 2C x h/stride x w/stride: the stage's input goes round its blocks."""

    def __init__(self, channels: int, *, depth: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.first = conv_leaky(channels, channels, stride=stride)
        self.blocks = nn.ModuleList(
            nn.ModuleList([conv_leaky(channels, half), conv_leaky(half, half)])
            for _ in range(depth)
        )
        self.last = conv_leaky(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        x = first
        for block in self.blocks:
            near = block[0](x)  # type: ignore[index]
            x = torch.cat((block[1](near), near), dim=1)  # type: ignore[index]
        return torch.cat((self.last(x), first), dim=1)


class NanoDetTrunk(nn.Module):
    """Pixels B x 3 x H x W -> the pyramid at strides 8, 16, 32, and the features below it.

    32 divides H and W. width: channels after the stem; depths: blocks of the stages at strides 4,
    8, 16, 32; channels: of each level of the pyramid.
    """

    def __init__(self, *, width: int, depths: tuple[int, int, int, int], channels: int) -> None:
        super().__init__()
        self.stem = conv_leaky(3, width, stride=2)
        self.stages = nn.ModuleList(
            CspStage(width * 2**k, depth=depth, stride=2 if k else 1)
            for k, depth in enumerate(depths)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width * 2**k, channels, 1) for k in (2, 3, 4))

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the levels, B x channels x H/s x W/s each, and the stages' features, alike."""
        x = self.stages[0](F.max_pool2d(self.stem(pixels), 3, 2, 1))
        features = []
        for stage in list(self.stages)[1:]:
            x = stage(x)
            features.append(x)
        at_8, at_16, at_32 = (
            lateral(one) for lateral, one in zip(self.laterals, features, strict=True)
        )
        at_16 = at_16 + _doubled(at_32)
        at_8 = at_8 + _doubled(at_16)
        at_16 = at_16 + F.avg_pool2d(at_8, 2)  # Halving bilinearly at half-pixel centers.
        at_32 = at_32 + F.avg_pool2d(at_16, 2)
        return [at_8, at_16, at_32], features


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class NanoDetHead(nn.Module):
    """One level: B x C x h x w -> class logits B x h·w x classes, edges B x h·w x 4 in strides."""

    def __init__(self, channels: int, classes: int, bins: int) -> None:
        super().__init__()
        self.classes, self.bins = classes, bins
        self.conv = conv_leaky(channels, channels)
        self.out = nn.Conv2d(channels, classes + 4 * bins, 1)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(self.conv(level))

    def read(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What ``forward`` gives, of what ``conv`` gives."""
        out = self.out(hidden).flatten(2).transpose(1, 2)
        logits, edges = out.split((self.classes, 4 * self.bins), dim=-1)
        weights = edges.unflatten(-1, (4, self.bins)).softmax(-1)
        return logits, weights @ torch.arange(float(self.bins)).to(weights)


class NanoDet(nn.Module):
    """Pixels B x 3 x H x W -> boxes xyxy B x Q x 4 in pixels of the input, logits B x Q x classes.

    Regions of stride 8 first, row by row, then those of 16 and 32.
    """

    def __init__(self, trunk: NanoDetTrunk, *, channels: int, classes: int, bins: int) -> None:
        super().__init__()
        self.trunk, self.classes = trunk, classes
        self.heads = nn.ModuleList(NanoDetHead(channels, classes, bins) for _ in STRIDES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        levels, _ = self.trunk(pixels)
        return self.regions(levels)

    def regions(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The levels of the pyramid -> boxes and class logits as ``forward`` gives them."""
        boxes, logits = [], []
        for head, level, stride in zip(self.heads, levels, STRIDES, strict=True):
            found, edges = head(level)
            logits.append(found)
            boxes.append(edges_to_boxes(edges, (level.shape[-2], level.shape[-1]), stride))
        return torch.cat(boxes, dim=1), torch.cat(logits, dim=1)


class WordsHead(nn.Module):
    """What a region shows beside the known classes: B x h·w x ``size`` of all levels together.

    A small perceptron of each level's own over the pyramid, what NanoDet's head makes of it, and
    the stage's features below, so that it can learn what the known classes don't need. channels: of
    the first two; widths: of the features; hidden: of the perceptron.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], *, hidden: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * channels + width, hidden, 1),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Conv2d(hidden, size, 1),
            )
            for width in widths
        )

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """inputs: see ``PhotoNetwork.look``."""
        parts = [level(x).flatten(2) for level, x in zip(self.levels, inputs, strict=True)]
        return torch.cat(parts, dim=2).transpose(1, 2)


class DrawnGate(nn.Module):
    """Whether each cell of 16 x 16 pixels is drawn rather than photographed: logits B x h x w.

    A flat patch of sky could be either, so a cell is seen beside the mean of all cells.
    """

    def __init__(self, channels: int, *, hidden: int) -> None:
        super().__init__()
        self.cell = nn.Conv2d(channels, hidden, 1)
        self.image = nn.Conv2d(channels, hidden, 1)
        self.out = nn.Conv2d(hidden, 1, 1)

    def forward(self, cells: Tensor) -> Tensor:
        """cells: see ``PhotoNetwork.look``."""
        return self.compare(cells, cells.mean((2, 3), keepdim=True))

    def compare(self, cells: Tensor, mean: Tensor) -> Tensor:
        """Cells B x C x h x w and the means of their images B x C x 1 x 1."""
        out: Tensor = self.out(F.leaky_relu(self.cell(cells) + self.image(mean), 0.1))[:, 0]
        return out


class PhotoNetwork(nn.Module):
    """Photographs and phrases -> boxes, the logit of every region for every phrase, the gate.

    A phrase's vector holds a weight for each known class's logit, ``size`` weights for what the
    words' head gives, one for how sure a region is that it is of some known class, by which a name
    that is none of them is held back, and a bias: ``classes + size + 2`` numbers.
    """

    def __init__(self, nanodet: NanoDet, words: WordsHead, gate: DrawnGate) -> None:
        super().__init__()
        self.nanodet, self.words, self.gate = nanodet, words, gate
        self.phrase_size = nanodet.classes + words.size + 2

    def forward(self, pixels: Tensor, phrases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels B x 3 x H x W and phrases P x D -> boxes, logits, drawn.

        Boxes B x Q x 4 are xyxy in pixels of the input, logits are B x Q x P; drawn, B x h x w, is
        the probability that a cell is drawn.
        """
        boxes, classes, inputs, cells = self.look(pixels)
        sure = F.relu(classes.amax(-1, keepdim=True) + SURE)
        regions = torch.cat((classes, self.words(inputs), sure), dim=-1)
        logits = regions @ phrases[:, :-1].T + phrases[:, -1]
        return boxes, logits, self.gate(cells).sigmoid()

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Boxes and class logits as ``NanoDet``, what ``WordsHead`` and what ``DrawnGate`` take."""
        levels, features = self.nanodet.trunk(pixels)
        boxes, classes, inputs = [], [], []
        parts = zip(self.nanodet.heads, levels, features, STRIDES, strict=True)
        for head, level, feature, stride in parts:
            hidden = head.conv(level)  # type: ignore[operator]
            logits, edges = head.read(hidden)  # type: ignore[operator]
            classes.append(logits)
            boxes.append(edges_to_boxes(edges, (level.shape[-2], level.shape[-1]), stride))
            inputs.append(torch.cat((level, hidden, feature), dim=1))
        cells = torch.cat((features[1], _doubled(features[2])), dim=1)
        return torch.cat(boxes, dim=1), torch.cat(classes, dim=1), inputs, cells


def build_nanodet() -> NanoDet:
    """NanoDet-g, with random weights."""
    trunk = NanoDetTrunk(width=32, depths=(1, 2, 2, 3), channels=128)
    return NanoDet(trunk, channels=128, classes=CLASSES, bins=BINS).eval()


def build_photo_network() -> PhotoNetwork:
    """The embedded detector's photograph half, with random weights."""
    words = WordsHead(128, (128, 256, 512), hidden=128, size=WORD_SIZE)
    return PhotoNetwork(build_nanodet(), words, DrawnGate(256 + 512, hidden=32)).eval()
