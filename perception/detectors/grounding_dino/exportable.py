"""Grounding DINO's three steps as graphs take them: flat tensors, one image, nothing padded.

The weights are those of transformers' networks, which must not be made faster before. See
``grounding_dino`` for the same steps in torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.detectors.deformable import DeformableReader
from perception.detectors.grounding_dino.fusion import Attention, CrossAttention
from perception.detectors.swin import ExportableSwin, look_up


class ExportableText(nn.Module):
    """ids T, sees T x T (1.0 where a token sees another, else 0.0), positions T -> words T x D."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.bert, self.project = network.model.text_backbone, network.model.text_projection

    def forward(self, ids: Tensor, sees: Tensor, positions: Tensor) -> Tensor:
        embeddings = self.bert.embeddings
        x = embeddings.word_embeddings(ids) + embeddings.position_embeddings(positions)
        x = embeddings.LayerNorm(x + embeddings.token_type_embeddings.weight[0])
        unseen = (1 - sees) * torch.finfo(x.dtype).min
        for layer in self.bert.encoder.layer:
            x = _bert_layer(layer, x, unseen)
        return self.project(x)  # type: ignore[no-any-return]


class ExportableImage(nn.Module):
    """patches S x 48 and the lists of ``swin_plan`` -> L levels' cells 1 x D x S, finest first."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone = ExportableSwin(network.model.backbone.conv_encoder.model)
        self.project = network.model.input_proj_vision

    def forward(self, patches: Tensor, *lists: Tensor) -> tuple[Tensor, ...]:
        rest = iter(lists)
        found = self.backbone(patches, rest)
        out = [_project(one, x) for one, x in zip(self.project, found, strict=False)]
        for one in self.project[len(found) :]:
            # A convolution of 3 x 3 cells, whose rows are looked up.
            x = found[-1] if len(out) == len(found) else out[-1][0].transpose(0, 1)
            out.append(_project(one, look_up(x, next(rest)).transpose(1, 2).flatten(1)))
        return tuple(out)


class ExportableFusion(nn.Module):
    """words T x D, sees, positions and maps -> boxes Q x 4, logits Q x T, fits Q and cells Q.

    Boxes are cxcywh as parts of the image; cells: which ones the queries begin at; fits: how well
    some word fits them, by which they are chosen and ranked.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        body = network.model
        self.body, self.queries = body, network.config.num_queries
        self.last_box = network.bbox_embed[-1]
        self.last_class = network.class_embed[-1]
        self.temperature = network.config.positional_embedding_temperature
        self.encoder = nn.ModuleList(_EncoderLayer(layer) for layer in body.encoder.layers)
        self.decoder = nn.ModuleList(_DecoderLayer(layer) for layer in body.decoder.layers)

    def forward(
        self, words: Tensor, sees: Tensor, positions: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cells, words, fits, start = self.enhance(words, sees, positions, *maps)
        best, chosen = torch.topk(fits, self.queries)
        boxes, logits = self.decode(cells, words, start[chosen], maps)
        return boxes, logits, best, chosen

    def enhance(
        self, words: Tensor, sees: Tensor, positions: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cells 1 x S x D and words 1 x T x D, fits S, and the box around each cell, S x 4."""
        shapes = _shapes(maps)
        cells = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1)
        places = torch.cat([self._places(level, *shape) for level, shape in enumerate(shapes)])
        centers = torch.cat([_centers(*shape) for shape in shapes])  # S x 2
        code = _sines(positions[:, None].float(), words.shape[1], 10000)
        unseen = (1 - sees) * torch.finfo(words.dtype).min
        words = words[None]
        for layer in self.encoder:
            cells, words = layer(cells, words, code, unseen, places, centers, shapes)
        fits, start = self._judge(cells, words, centers, shapes)
        return cells, words, fits, start

    def decode(
        self, cells: Tensor, words: Tensor, references: Tensor, maps: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Boxes Q x 4 and logits Q x T, from the boxes to begin with, Q x 4."""
        shapes, decoder = _shapes(maps), self.body.decoder
        x = self.body.query_position_embeddings.weight
        before = references  # Of the last layer.
        for layer, move in zip(self.decoder, decoder.bbox_embed, strict=True):
            before = references
            code = decoder.reference_points_head(_sines(references, cells.shape[-1] // 2, 10000))
            x = layer(x, code, cells, words, references, shapes)
            references = (move(x) + _logit(references)).sigmoid()
        last = decoder.layer_norm(x)
        boxes = (self.last_box(last) + _logit(before)).sigmoid()
        return boxes, _contrast(self.last_class, last, words[0])

    def _places(self, level: int, height: int, width: int) -> Tensor:
        """The code of where each cell of a level is, h·w x D."""
        half = self.body.level_embed.shape[1] // 2
        down = (torch.arange(height) + 1)[:, None].float() / (height + 1e-6)
        across = (torch.arange(width) + 1)[:, None].float() / (width + 1e-6)
        y = _sines(down, half, self.temperature)[:, None].expand(-1, width, -1)
        x = _sines(across, half, self.temperature)[None].expand(height, -1, -1)
        code: Tensor = torch.cat((y, x), -1).flatten(0, 1) + self.body.level_embed[level]
        return code

    def _judge(
        self, cells: Tensor, words: Tensor, centers: Tensor, shapes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """How well some word fits each cell, S, and the box around it, S x 4."""
        body = self.body
        sizes = [torch.full((h * w, 2), 0.05 * 2.0**level) for level, (h, w) in enumerate(shapes)]
        boxes = torch.cat((centers, torch.cat(sizes)), 1)
        inside = ((boxes > 0.01) & (boxes < 0.99)).all(-1, keepdim=True)
        start = torch.where(inside, torch.log(boxes / (1 - boxes)), torch.inf)
        features = body.enc_output_norm(body.enc_output(cells[0] * inside.float()))
        fits = _contrast(body.encoder_output_class_embed, features, words[0]).amax(-1)
        return fits, (body.encoder_output_bbox_embed(features) + start).sigmoid()


class _EncoderLayer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.fusion = CrossAttention(layer.fusion_layer)
        self.text, self.attention = (
            layer.text_enhancer_layer,
            Attention(layer.text_enhancer_layer.self_attn),
        )
        self.cells = layer.deformable_layer
        self.read = DeformableReader(layer.deformable_layer.self_attn)

    def forward(
        self,
        cells: Tensor,
        words: Tensor,
        code: Tensor,
        unseen: Tensor,
        places: Tensor,
        centers: Tensor,
        shapes: list[tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        (cells, _), (words, _) = self.fusion(cells, words)
        text = self.text
        asked = words + code
        words = text.layer_norm_before(words + self.attention(asked, asked, words, unseen)[0])
        words = text.layer_norm_after(words + text.fc2(text.activation(text.fc1(words))))
        layer = self.cells
        seen = self.read(cells[0] + places, cells, centers, shapes)
        x = layer.self_attn_layer_norm(cells[0] + seen)
        x = layer.final_layer_norm(x + layer.fc2(layer.activation_fn(layer.fc1(x))))
        return x[None], words


class _DecoderLayer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.own, self.words = Attention(layer.self_attn), Attention(layer.encoder_attn_text)
        self.read = DeformableReader(layer.encoder_attn)

    def forward(
        self,
        x: Tensor,
        code: Tensor,
        cells: Tensor,
        words: Tensor,
        references: Tensor,
        shapes: list[tuple[int, int]],
    ) -> Tensor:
        """Queries Q x D -> Q x D."""
        layer = self.layer
        asked = (x + code)[None]
        x = layer.self_attn_layer_norm(x + self.own(asked, asked, x[None])[0][0])
        seen = self.words((x + code)[None], words, words)[0][0]
        x = layer.encoder_attn_text_layer_norm(x + seen)
        x = layer.encoder_attn_layer_norm(x + self.read(x + code, cells, references, shapes))
        moved = layer.fc2(layer.activation_fn(layer.fc1(x)))
        return layer.final_layer_norm(x + moved)  # type: ignore[no-any-return]


def _project(project: Any, x: Tensor) -> Tensor:
    """S x C -> 1 x D x S, normalized."""
    convolution, norm = project
    x = x @ convolution.weight.flatten(1).T + convolution.bias
    return norm(x.transpose(0, 1)[None])  # type: ignore[no-any-return]


def _bert_layer(layer: Any, x: Tensor, unseen: Tensor) -> Tensor:
    """One of BERT's layers, T x D -> T x D; unseen: T x T, added to the scores."""
    own, out = layer.attention.self, layer.attention.output
    heads = own.num_attention_heads
    q, k, v = (
        project(x).unflatten(-1, (heads, -1)).transpose(0, 1)
        for project in (own.query, own.key, own.value)
    )
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + unseen
    seen = (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)
    x = out.LayerNorm(x + out.dense(seen))
    hidden = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(x))
    return layer.output.LayerNorm(x + layer.output.dense(hidden))  # type: ignore[no-any-return]


def _shapes(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(one.shape[2], one.shape[3]) for one in maps]


def _centers(height: int, width: int) -> Tensor:
    """Of the cells of a level, (x, y) as parts of the image: h·w x 2."""
    y = ((torch.arange(height) + 0.5) / height)[:, None].expand(-1, width)
    x = ((torch.arange(width) + 0.5) / width)[None].expand(height, -1)
    return torch.stack((x, y), -1).flatten(0, 1)


def _sines(values: Tensor, features: int, temperature: float) -> Tensor:
    """Values N x K -> codes N x K·F, the first two values' in turned order as in DETR."""
    steps = torch.arange(features // 2).float() * 2 / features
    angles = values[..., None] * (2 * math.pi / temperature**steps)
    codes = torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)  # N x K x F
    if values.shape[-1] > 1:
        codes = torch.cat((codes[:, 1:2], codes[:, :1], codes[:, 2:]), 1)
    return codes.flatten(1)


def _contrast(head: Any, x: Tensor, words: Tensor) -> Tensor:
    """Logits Q x T; MM-Grounding-DINO scales and shifts them."""
    logits = x @ words.transpose(0, 1)
    bias = getattr(head, "bias", None)
    return logits if bias is None else logits / math.sqrt(x.shape[-1]) + bias


def _logit(x: Tensor) -> Tensor:
    x = x.clamp(1e-5, 1 - 1e-5)
    return torch.log(x / (1 - x))
