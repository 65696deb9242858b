"""OmDet-Turbo as three ONNX files: phrases, image, fusion.

The weights are those of transformers' ``OmDetTurboForObjectDetection``; see ``omdet_turbo`` for the
same steps in torch. Every image is one square, so all sizes but those of the texts are constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.detectors.clip_export import (
    ExportableClipText,
    at_the_end,
    byte_pairs_content,
    clip_metadata,
)
from perception.detectors.deformable import DeformableReader
from perception.detectors.grounding_dino.fusion import Attention
from perception.detectors.onnx_files import OMDET_TURBO
from perception.errors import ExportError
from perception.runtime.files import whole_file
from perception.runtime.onnx_export import CELLS_TOLERANCE as TOLERANCE
from perception.runtime.onnx_export import Case, fits_of_chosen, write_onnx

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

    Boxes are cxcywh as parts of the image; cells: which ones the queries begin at; fits: how well
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


def export_omdet_turbo(
    network: nn.Module, tokenizer: Any, processor: Any, folder: Path, *, name: str, source: str
) -> dict[str, float]:
    """Writes the text side, the image side, what makes boxes of both, and the vocabulary.

    network, tokenizer, processor: transformers'; name: of the model, and how the files' names
    begin; source: sha256 of its weights. Returns the largest difference from torch by file name.
    Raises ExportError where a graph disagrees, for a tokenizer that isn't CLIP's and for a network
    or preprocessing of another make than the published.
    """
    net: Any = network.eval()
    if net.config.text_config.model_type != "clip_text_model":
        raise ExportError("only published networks can be exported, with CLIP's text side")
    vocabulary = byte_pairs_content(tokenizer)
    about = clip_metadata(
        net,
        processor,
        vocabulary,
        name=name,
        source=source,
        side=processor.size.get("height", 0),
        queries=net.config.num_queries,
    )
    draw = torch.Generator().manual_seed(0)
    paths = [folder / f"{name}-{part}.onnx" for part in ("text", "image", "boxes")]
    text = write_onnx(
        ExportableOmDetText(net),
        paths[0],
        [_text(*shape, tokenizer, draw) for shape in ((3, 5), (1, about.limit), (7, 3))],
        outputs=["words", "phrases"],
        dynamic={"ids": {0: "N", 1: "L"}},
        metadata=about.to_map(OMDET_TURBO[0]),
        tolerance=TOLERANCE,
        answer=partial(_texts, net),
    )
    images = [
        {"pixels": torch.randn(1, 3, about.side, about.side, generator=draw)} for _ in range(2)
    ]
    module = ExportableOmDetImage(net)
    maps = module(images[0]["pixels"])
    image = write_onnx(
        module,
        paths[1],
        images,
        outputs=[f"level{level}" for level in range(len(maps))],
        dynamic={},
        metadata=about.to_map(OMDET_TURBO[1]),
        tolerance=TOLERANCE,
    )
    last = ExportableOmDetBoxes(net)
    boxes = write_onnx(
        last,
        paths[2],
        list(_questions(net, maps, draw)),
        outputs=["boxes", "logits", "fits", "cells"],
        dynamic={"phrases": {0: "P"}, "words": {0: "T"}},
        metadata=about.to_map(OMDET_TURBO[2]),
        tolerance=TOLERANCE,
        answer=partial(_with_the_same_cells, last),
    )
    with whole_file(folder / f"{name}-vocab.json") as file:
        file.write(vocabulary)
    return dict(zip((path.name for path in paths), (text, image, boxes), strict=True))


def _text(count: int, length: int, tokenizer: Any, draw: torch.Generator) -> Case:
    """Texts of several lengths, padded with the end token."""
    ids = torch.randint(1, tokenizer.bos_token_id, (count, length), generator=draw)
    ends = torch.linspace(2, length - 1, count).long()
    ids[:, 0] = tokenizer.bos_token_id
    late = torch.arange(length) >= ends[:, None]
    return {"ids": ids.masked_fill(late, tokenizer.eos_token_id)}


def _questions(
    network: Any, maps: Sequence[Tensor], draw: torch.Generator
) -> Iterator[dict[str, Tensor]]:
    """Numbers of phrases and lengths of sentences, over images like those of ``maps``."""
    phrases, words = network.config.text_projection_out_dim, network.config.class_embed_dim
    for count, length in ((4, 9), (1, 5), (25, 77)):
        yield {
            "phrases": torch.randn(count, phrases, generator=draw),
            "words": torch.randn(length, words, generator=draw),
            **{
                f"map{level}": torch.randn(one.shape, generator=draw)
                for level, one in enumerate(maps)
            },
        }


def _texts(network: Any, case: Case, _: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What transformers' network gives."""
    read, ids = network.language_backbone, case["ids"]
    words, _ = read(ids, mask=torch.ones_like(ids), encode_type="task")
    return [words.transpose(0, 1).numpy(), read(ids, encode_type="class").numpy()]


def _with_the_same_cells(
    module: ExportableOmDetBoxes, case: Case, have: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """What torch gives for the cells that the file chose; see ``fits_of_chosen``."""
    phrases, words, *maps = case.values()
    cells, features, fits = module.judge(phrases, *maps)
    chosen = torch.from_numpy(have[3])
    boxes, logits = module.decode(phrases, words, cells, features, chosen, maps)
    return [boxes.numpy(), logits.numpy(), fits_of_chosen(fits, chosen).numpy(), have[3]]
