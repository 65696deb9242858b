"""OmDet-Turbo's three steps as graphs take them: texts, one picture, and what both give together.

The weights are those of transformers' ``OmDetTurboForObjectDetection``; see ``omdet_turbo`` for the
same steps in torch. Every picture is one square, so all sizes but those of the texts are constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.detector.cross_attention import Attention
from perception.detector.exportable_clip import ExportableClipText, at_the_end
from perception.detector.exportable_deformable import DeformableReader

COSINE = "cosine"
SHARPNESS = 1 / 0.07
"""By which cosines become logits, as in training."""


class ExportableOmDetText(nn.Module):
    """ids N x L -> words N x L x D, for a sentence; phrases N x C, for phrases by themselves."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        backbone = network.language_backbone
        self.text, self.project = ExportableClipText(backbone.model), backbone.text_projection

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        words = self.text(ids)
        return words, at_the_end(words, ids) @ self.project


class ExportableOmDetImage(nn.Module):
    """pixels 1 x 3 x S x S -> levels 1 x D x h x w, finest first."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone, self.encoder = network.vision_backbone, network.encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found = self.encoder(self.backbone(pixels), return_dict=True)
        return tuple(found.extracted_states)


class ExportableOmDetBoxes(nn.Module):
    """phrases P x C, words T x D and maps -> boxes Q x 4, logits Q x P, fits Q and cells Q.

    Boxes are cxcywh as parts of the picture; cells: which ones the queries begin at; fits: how well
    some phrase fits them, by which they are chosen and ranked.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.body, self.queries = network.decoder, network.decoder.num_queries
        self.layers = nn.ModuleList(_Layer(layer) for layer in network.decoder.layers)

    def forward(
        self, phrases: Tensor, words: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cells, features, fits = self.judge(phrases, *maps)
        best, chosen = torch.topk(fits, self.queries)
        boxes, logits = self.decode(phrases, words, cells, features, chosen, maps)
        return boxes, logits, best, chosen

    def judge(self, phrases: Tensor, *maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cells 1 x S x D, what they are asked by, S x D, and how well some phrase fits, S."""
        body = self.body
        projections = body.channel_projection_layers
        levels = [project(one) for project, one in zip(projections, maps, strict=True)]
        cells = torch.cat([one.flatten(2).transpose(1, 2) for one in levels], 1)
        inside = _start(_shapes(maps))[1]
        features = body.encoder_vision_features(cells[0] * inside.float())
        fits = self._compare(features, body.encoder_class_head(phrases)).amax(-1)
        return cells, features, fits

    def decode(
        self,
        phrases: Tensor,
        words: Tensor,
        cells: Tensor,
        features: Tensor,
        chosen: Tensor,
        maps: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Boxes Q x 4 and logits Q x P, from the cells that were chosen, Q."""
        body, shapes = self.body, _shapes(maps)
        words = body.task_encoder(words)
        if getattr(body, "task_project", None) is not None:
            words = body.task_project(words)
        own = features[chosen]
        start = _start(shapes)[0][chosen]
        references = (body.encoder_bbox_head(own) + start).sigmoid()
        x = body.tgt_embed.weight if body.learn_initial_query else own
        for layer, move in zip(self.layers, body.decoder_bbox_head, strict=True):
            code = body.query_position_head(references)
            x, words = layer(x, words, code, cells, references, shapes)
            references = (move(x) + _logit(references)).sigmoid()
        return references, self._compare(x, body.decoder_class_head[-1](phrases))

    def _compare(self, x: Tensor, phrases: Tensor) -> Tensor:
        """Logits N x P of N x D and P x D."""
        if self.body.class_distance_type != COSINE:
            return x @ phrases.transpose(0, 1)
        return SHARPNESS * (_unit(x) @ _unit(phrases).transpose(0, 1))


class _Layer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.own = layer, Attention(layer.self_attn)
        self.read = DeformableReader(layer.cross_attn)

    def forward(
        self,
        x: Tensor,
        words: Tensor,
        code: Tensor,
        cells: Tensor,
        references: Tensor,
        shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """Queries Q x D and words T x D -> the same, knowing of one another."""
        layer, count = self.layer, x.shape[0]
        asked, both = torch.cat((x + code, words))[None], torch.cat((x, words))
        both = layer.norm1(both + self.own(asked, asked, both[None])[0][0])
        x, words = both[:count], both[count:]
        x = layer.norm2(x + self.read(x + code, cells, references, shapes))
        x = layer.norm3(x + layer.linear2(layer.act(layer.linear1(x))))
        return x, words


def _start(shapes: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The box around each cell before it is moved, S x 4 logits, and whether it is one, S x 1."""
    levels = []
    for level, (height, width) in enumerate(shapes):
        y = ((torch.arange(height) + 0.5) / height)[:, None].expand(-1, width)
        x = ((torch.arange(width) + 0.5) / width)[None].expand(height, -1)
        side = torch.full((height, width), 0.05 * 2.0**level)
        levels.append(torch.stack((x, y, side, side), -1).flatten(0, 1))
    boxes = torch.cat(levels)
    inside = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True)
    return torch.where(inside, torch.log(boxes / (1 - boxes)), torch.inf), inside


def _shapes(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(one.shape[2], one.shape[3]) for one in maps]


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit


def _logit(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5))
