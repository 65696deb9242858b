"""The embedded detector's network: regions scored against the words of each phrase.

Li et al. 2021, "Grounded Language-Image Pre-training": a region's class score is the dot product of
the region with each token of a phrase. Here the fusion goes one way, from the image to the words
(as the image-pooling attention of Cheng et al. 2024, "YOLO-World"): so a phrase's answer does not
depend on which other phrases are asked, its text is encoded once for all images, and any number
of phrases works.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.nano.onnx import MAX_TOKENS
from perception.runtime.convolutions import HalfBlock, pyramid_levels, pyramid_parts

STRIDES = (8, 16, 32)
"""Of the three levels that make regions, in pixels of the model's input."""


class Backbone(nn.Module):
    """Pixels B x 3 x S x S -> features B x C x S/8 x S/8, S/16, S/32, for any S that 32 divides.

    widths, depths, channels: see ``pyramid_parts``.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int, int],
        depths: tuple[int, int, int, int],
        channels: int,
    ) -> None:
        super().__init__()
        self.stem, self.stages, self.laterals, self.merges = pyramid_parts(widths, depths, channels)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.stem, self.stages, self.laterals, self.merges
        return pyramid_levels(parts, pixels)


class ImageToText(nn.Module):
    """Each token looks at the coarsest cells of an image; the result has unit length."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Conv2d(channels, 2 * width, 1)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """tokens: T x D, cells: B x C x h x w -> B x T x D."""
        kv = self.key_value(cells).flatten(2).unflatten(1, (2, self.heads, -1))  # B x 2 x H x d x S
        k, v = kv.transpose(-1, -2).unbind(1)  # B x H x S x d each
        q = self.query(tokens).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # H x T x d
        q = q.expand(len(cells), -1, -1, -1)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # B x T x D
        return F.normalize(tokens + self.out(seen), dim=-1)


class LevelHead(nn.Module):
    """One level's regions: features B x C x h x w -> words' side B x h·w x D, edges B x h·w x 4."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.region = nn.Sequential(
            HalfBlock(channels, depth=2), nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width)
        )
        self.edges = nn.Sequential(HalfBlock(channels, depth=2), nn.Conv2d(channels, 4, 1))
        nn.init.constant_(self.edges[1].bias, 1.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        regions = self.region(features).flatten(2).transpose(1, 2)
        edges = F.softplus(self.edges(features).float()).flatten(2).transpose(1, 2)
        return regions, edges


class NanoNetwork(nn.Module):
    """Pictures and phrases -> boxes and the score of every region for every token.

    channels: C of the feature pyramid; width: D of the text; heads: of the fusion.
    """

    def __init__(
        self, backbone: Backbone, text: TextEncoder, *, channels: int, width: int, heads: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.text = text
        self.fusion = ImageToText(channels, width, heads)
        self.heads = nn.ModuleList(LevelHead(channels, width) for _ in STRIDES)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.full((), -5.0))

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels B x 3 x S x S and the tokens of all phrases T x D (from ``text``, no padding).

        Returns boxes B x Q x 4, xyxy in pixels of the model's input, and logits B x Q x T.
        """
        boxes, regions, words = self.regions(pixels, tokens)
        return boxes, self.score(regions, words)

    def regions(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes B x Q x 4, regions B x Q x D, words as each image shows them B x T x D."""
        levels = self.backbone(pixels)
        words = self.fusion(tokens, levels[-1])
        boxes, regions = [], []
        for head, features, stride in zip(self.heads, levels, STRIDES, strict=True):
            region, edges = head(features)
            regions.append(region)
            boxes.append(edges_to_boxes(edges, features.shape[-2:], stride))
        return torch.cat(boxes, dim=1), torch.cat(regions, dim=1), words

    def score(self, regions: Tensor, words: Tensor) -> Tensor:
        """Logits B x Q x T of regions B x Q x D against words B x T x D.

        It is linear in the words: the mean of a phrase's logits is the logit of its mean word.
        """
        return (regions @ words.transpose(1, 2)) * self.log_scale.exp() + self.bias


def cell_centers(hw: tuple[int, int], stride: int) -> Tensor:
    """Centres of h x w cells in pixels of the model's input: h·w x 2 (x, y)."""
    y, x = torch.meshgrid(torch.arange(hw[0]), torch.arange(hw[1]), indexing="ij")
    return (torch.stack((x, y), dim=-1).flatten(0, 1) + 0.5) * stride


def edges_to_boxes(edges: Tensor, hw: tuple[int, int], stride: int) -> Tensor:
    """Distances left, top, right, bottom in strides, B x h·w x 4 -> boxes xyxy B x h·w x 4."""
    centers = cell_centers((hw[0], hw[1]), stride).to(edges)
    reach = edges * stride
    return torch.cat((centers - reach[..., :2], centers + reach[..., 2:]), dim=-1)


def build_nano_detector(vocabulary: int) -> NanoNetwork:
    """The embedded nano detector, with random weights; vocabulary: how many pieces there are."""
    return NanoNetwork(
        Backbone(widths=(24, 32, 64, 128, 192), depths=(1, 3, 6, 4), channels=96),
        TextEncoder(vocabulary=vocabulary, width=128, depth=2, heads=4, hidden=256),
        channels=96,
        width=128,
        heads=4,
    ).eval()


class TextEncoder(nn.Module):
    """Token ids N x L -> N x L x D; a phrase's answer does not depend on the other phrases.

    vocabulary: how many pieces there are; width: D; depth: layers; heads: of the attention;
    hidden: width of the perceptrons.
    """

    def __init__(self, *, vocabulary: int, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width, padding_idx=0)
        self.place = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
        self.layers = nn.ModuleList(TextLayer(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: N x L, 0 = padding -> N x L x D; what stands at padding means nothing."""
        seen = (ids > 0)[:, None, None, :]  # N x 1 x 1 x L: who may be looked at
        x = self.token(ids) + self.place[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, seen)
        out: Tensor = self.norm(x)
        return out


class TextLayer(nn.Module):
    """Pre-norm self-attention and a perceptron: N x L x D -> N x L x D."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))  # N x L x 3 x H x d
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # N x H x L x d each
        x = x + self.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        )
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
