"""Grounding DINO's network in three steps: text, images, fusion; made faster exactly.

The modules and weights are those of transformers' ``GroundingDinoForObjectDetection`` and
``MMGroundingDinoForObjectDetection``; what stands here is how they are put together. Unlike their
``forward`` it encodes a text once for many images and an image once for many texts, takes the
phrases' spans instead of guessing them from the punctuation, and pads images after the backbone,
so that an image's answer doesn't depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.deformable import DeformableAttention, DeformableLayer
from perception.detectors.grounding_dino.fusion import Attention, CrossAttention
from perception.detectors.onednn_linear import computing_in
from perception.detectors.swin import SwinLayer
from perception.detectors.text import TextPass

Shape = tuple[int, int]


@dataclass(frozen=True, eq=False)
class EncodedText:
    """One text of T tokens. features: 1 x T x D; sees: 1 x T x T bool; positions: 1 x T."""

    features: Tensor
    sees: Tensor
    positions: Tensor


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """B images, level by level, each level padded to the largest image's size of it.

    cells: B x S x D, all levels' cells one after another; places: B x S x D, the code of where each
    is; real: B x S bool, False for padding; shapes: each level's (h, w); ratios: B x levels x 2,
    the part of each level's (w, h) that is real.
    """

    cells: Tensor
    places: Tensor
    real: Tensor
    shapes: tuple[Shape, ...]
    ratios: Tensor

    def __len__(self) -> int:
        return len(self.cells)


class GroundingDino:
    """The three steps over one of transformers' two networks, which is in evaluation mode.

    dtype: what matrix products are computed in; coordinates of boxes are always float32.
    """

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
        self.network: Any = network
        self.body: Any = network.model
        self.dtype = dtype
        self.device: torch.device = next(network.parameters()).device

    @torch.inference_mode()
    def encode_text(self, text: TextPass) -> EncodedText:
        """One text, on its own: nothing of any image goes into it."""
        ids = self._tensor(text.ids)[None]
        sees = self._tensor(text.attention())[None]
        positions = self._tensor(text.positions)[None]
        with self._precision():
            words = self.body.text_backbone(
                ids, sees[:, None], torch.zeros_like(ids), positions, return_dict=True
            )
            features = self.body.text_projection(words.last_hidden_state)
        return EncodedText(features, sees, positions)

    @torch.inference_mode()
    def encode_images(self, pixels: Sequence[Tensor]) -> EncodedImages:
        """Pictures 3 x H x W, normalized; those of one size go through the backbone together."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(pixels):
            sizes.setdefault(tuple(one.shape), []).append(number)
        levels: list[list[Tensor]] = [[] for _ in pixels]  # Of each image: D x h x w each.
        with self._precision():
            for numbers in sizes.values():
                batch = torch.stack([pixels[number] for number in numbers]).to(self.device)
                for maps in self._feature_maps(batch):
                    for number, one in zip(numbers, maps, strict=True):
                        levels[number].append(one)
            return self._gather(levels)

    @torch.inference_mode()
    def fuse(self, images: EncodedImages, text: EncodedText) -> tuple[Tensor, Tensor]:
        """Boxes B x Q x 4, cxcywh as parts of each image, and token logits B x Q x T."""
        with self._precision():
            cells, words = self._enhance(images, text)
            queries, references = self._select(images, cells, words)
            return self._decode(images, cells, words, queries, references)

    def _feature_maps(self, batch: Tensor) -> list[Tensor]:
        """Levels of B x D x h x w."""
        found = self.body.backbone.conv_encoder.model(batch, return_dict=True).feature_maps
        project = self.body.input_proj_vision
        maps = [project[level](one) for level, one in enumerate(found)]
        for level in range(len(found), self.network.config.num_feature_levels):
            maps.append(project[level](found[-1] if level == len(found) else maps[-1]))
        return maps

    def _gather(self, levels: list[list[Tensor]]) -> EncodedImages:
        """Pads each level to its largest size and lays all of them out as one row of cells."""
        cells, places, real, shapes, ratios = [], [], [], [], []
        for level, maps in enumerate(zip(*levels, strict=True)):
            height = max(one.shape[1] for one in maps)
            width = max(one.shape[2] for one in maps)
            inside = torch.zeros(len(maps), height, width, dtype=torch.bool, device=self.device)
            padded = maps[0].new_zeros(len(maps), maps[0].shape[0], height, width)
            for row, mask, one in zip(padded, inside, maps, strict=True):
                row[:, : one.shape[1], : one.shape[2]] = one
                mask[: one.shape[1], : one.shape[2]] = True
            code = self.body.backbone.position_embedding(padded, inside).to(padded.dtype)
            code = code.flatten(2).transpose(1, 2) + self.body.level_embed[level]
            cells.append(padded.flatten(2).transpose(1, 2))
            places.append(code)
            real.append(inside.flatten(1))
            shapes.append((height, width))
            ratios.append([[one.shape[2] / width, one.shape[1] / height] for one in maps])
        ratio = torch.tensor(ratios, dtype=torch.float32, device=self.device).transpose(0, 1)
        return EncodedImages(
            torch.cat(cells, 1), torch.cat(places, 1), torch.cat(real, 1), tuple(shapes), ratio
        )

    def _enhance(self, images: EncodedImages, text: EncodedText) -> tuple[Tensor, Tensor]:
        """The encoder: pictures' cells B x S x D and words B x T x D that know of one another."""
        count, tokens = len(images), text.features.shape[1]
        out = self.body.encoder(
            vision_features=images.cells,
            vision_attention_mask=~images.real,
            vision_position_embedding=images.places,
            valid_ratios=images.ratios,
            text_features=text.features.expand(count, -1, -1),
            text_attention_mask=self._no_padding(count, tokens),
            text_self_attention_masks=~text.sees.expand(count, -1, -1),
            text_position_ids=text.positions.expand(count, -1),
            return_dict=True,
            **self._levels(images),
        )
        return out.last_hidden_state_vision, out.last_hidden_state_text

    def _select(self, images: EncodedImages, cells: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """The cells that some word fits best: queries B x Q x D, and boxes B x Q x 4 to begin with.

        Padding is never chosen; in the published code it can be.
        """
        body = self.body
        # Proposals are made in the precision of the cells, and they are coordinates.
        features, proposals = body.generate_encoder_output_proposals(
            cells.float(), ~images.real, images.shapes
        )
        fits = body.encoder_output_class_embed(
            features, words, ~self._no_padding(len(images), words.shape[1])
        )
        best = fits.max(-1).values.masked_fill(~images.real, -torch.inf)
        chosen = torch.topk(best, self.network.config.num_queries, dim=1).indices[..., None]
        with self._full():
            # Only what was chosen needs a box.
            rows = torch.gather(features, 1, chosen.expand(-1, -1, features.shape[-1])).float()
            start = torch.gather(proposals, 1, chosen.expand(-1, -1, 4)).float()
            references = (body.encoder_output_bbox_embed(rows) + start).sigmoid()
        queries = body.query_position_embeddings.weight.expand(len(images), -1, -1)
        return queries, references

    def _decode(
        self,
        images: EncodedImages,
        cells: Tensor,
        words: Tensor,
        queries: Tensor,
        references: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The decoder, and the heads of its last layer: boxes B x Q x 4, logits B x Q x T.

        A box is coded as a part of its own image, not of the padded one as in the published code.
        """
        decoder, heads = self.body.decoder, self.network.bbox_embed
        ratios = torch.cat((images.ratios, images.ratios), -1)[:, None]  # B x 1 x levels x 4
        levels = self._levels(images)
        boxes, before = references, references
        for layer, head in zip(decoder.layers, decoder.bbox_embed, strict=True):
            before = boxes
            queries, *_ = layer(
                hidden_states=queries,
                position_embeddings=decoder.reference_points_head(self._code(boxes)),
                reference_points=boxes[:, :, None] * ratios,
                vision_encoder_hidden_states=cells,
                vision_encoder_attention_mask=images.real,
                text_encoder_hidden_states=words,
                **levels,
            )
            boxes = self._moved(before, head, queries)
        last = decoder.layer_norm(queries)
        with self._full():
            logits = self.network.class_embed[-1](
                last.float(), words.float(), ~self._no_padding(len(images), words.shape[1])
            )
        return self._moved(before, heads[-1], last), logits[..., : words.shape[1]]

    def _moved(self, boxes: Tensor, head: nn.Module, queries: Tensor) -> Tensor:
        """Boxes B x Q x 4 as a head of the decoder corrects them."""
        with self._full():
            moved: Tensor = head(queries.float()) + torch.special.logit(boxes, eps=1e-5)
            return moved.sigmoid()

    def _code(self, boxes: Tensor) -> Tensor:
        """Boxes B x Q x 4 as waves B x Q x 2D: y, x, width and height, D / 2 numbers each."""
        width = self.network.config.d_model // 2
        steps = torch.arange(0, width, 2, device=boxes.device, dtype=torch.float32)
        angles = boxes[..., [1, 0, 2, 3], None] * (2 * pi) / 10000 ** (steps / width)
        return torch.stack((angles.sin(), angles.cos()), -1).flatten(-3)

    def _levels(self, images: EncodedImages) -> dict[str, Any]:
        """Where each level's cells are, in the three forms that the modules want."""
        shapes = torch.tensor(images.shapes, dtype=torch.long, device=self.device)
        starts = F.pad(shapes.prod(1).cumsum(0)[:-1], (1, 0))
        return {
            "spatial_shapes": shapes,
            "spatial_shapes_list": list(images.shapes),
            "level_start_index": starts,
        }

    def _no_padding(self, count: int, tokens: int) -> Tensor:
        """Which tokens are padding: none, since all images are asked the same."""
        return torch.zeros(count, tokens, dtype=torch.bool, device=self.device)

    def _precision(self) -> AbstractContextManager[None]:
        return computing_in(self.dtype, self.device)

    def _full(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, enabled=False)

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def make_faster(network: nn.Module) -> None:
    """Replaces modules of ``GroundingDinoForObjectDetection``, or of its MM twin, by faster ones.

    They take over the loaded weights, so call it once these are where they stay: afterwards the
    network can't be saved, trained or moved. What they give differs by rounding only.
    """
    body: Any = network.model
    on_cpu = next(network.parameters()).device.type == "cpu"
    for layer in body.encoder.layers:
        layer.fusion_layer = CrossAttention(layer.fusion_layer)
        layer.text_enhancer_layer.self_attn = Attention(layer.text_enhancer_layer.self_attn)
    for layer in body.decoder.layers:
        layer.self_attn = Attention(layer.self_attn)
        layer.encoder_attn_text = Attention(layer.encoder_attn_text)
    if on_cpu:
        _make_faster_on_cpu(body)


def _make_faster_on_cpu(body: Any) -> None:
    backbone = body.backbone.conv_encoder.model
    if backbone.config.model_type == "swin" and backbone.config.hidden_act == "gelu":
        for stage in backbone.swin.encoder.layers:
            stage.blocks = nn.ModuleList(map(SwinLayer, stage.blocks))
    for layer in body.encoder.layers:
        if body.config.activation_function == "relu":
            layer.deformable_layer = DeformableLayer(layer.deformable_layer)
        else:
            layer.deformable_layer.self_attn = DeformableAttention(layer.deformable_layer.self_attn)
    for layer in body.decoder.layers:
        layer.encoder_attn = DeformableAttention(layer.encoder_attn)
