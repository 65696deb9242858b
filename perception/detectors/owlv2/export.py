"""OWLv2 as two ONNX files: phrases and image.

The weights are those of transformers' ``Owlv2ForObjectDetection``; see ``owlv2`` for the same steps
in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.detectors.clip_export import (
    ExportableClipImage,
    ExportableClipText,
    at_the_end,
    byte_pairs_content,
    clip_metadata,
)
from perception.detectors.onnx_files import OWLV2, ClipMetadata
from perception.runtime.files import whole_file
from perception.runtime.onnx_export import CELLS_TOLERANCE as TOLERANCE
from perception.runtime.onnx_export import Case, write_onnx

TINY = 1e-6
"""Added to the lengths that vectors are divided by, as in training."""


class ExportableOwlv2Text(nn.Module):
    """ids N x L, what follows the end token being 0 -> queries N x D of length 1."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.text = ExportableClipText(network.owlv2.text_model)
        self.project = network.owlv2.text_projection

    def forward(self, ids: Tensor) -> Tensor:
        query = self.project(at_the_end(self.text(ids), ids))
        return normalized(query / query.norm(dim=-1, keepdim=True))


class ExportableOwlv2Patches(nn.Module):
    """pixels 1 x 3 x S x S -> embeddings Q x D, boxes Q x 4, objectness Q, shift and scale Q x 1.

    Of each of Q patches: the logit of a query is (embedding · query + shift) · scale; the box is
    cxcywh as parts of the square; the logit that there is anything at all.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.image = ExportableClipImage(network.owlv2.vision_model)
        self.norm, self.box_bias = network.layer_norm, network.box_bias
        self.class_head, self.box_head = network.class_head, network.box_head
        self.objectness_head = network.objectness_head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        cells = self.image(pixels)
        patches = self.norm(cells[1:] * cells[:1])
        head = self.class_head
        return (
            normalized(head.dense0(patches)),
            (self.box_head(patches) + self.box_bias).sigmoid(),
            self.objectness_head(patches)[:, 0],
            head.logit_shift(patches),
            F.elu(head.logit_scale(patches)) + 1,
        )


def normalized(vectors: Tensor) -> Tensor:
    """N x D -> the same of length 1, but for what keeps a zero a zero."""
    unit: Tensor = vectors / (vectors.norm(dim=-1, keepdim=True) + TINY)
    return unit


def export_owlv2(
    network: nn.Module, tokenizer: Any, processor: Any, folder: Path, *, name: str, source: str
) -> dict[str, float]:
    """Writes the text side, the image side and the vocabulary.

    network, tokenizer, processor: transformers'; name: of the model, and how the files' names
    begin; source: sha256 of its weights. Returns the largest difference from torch by file name.
    Raises ExportError where a graph disagrees, for a tokenizer that isn't CLIP's and for
    preprocessing of another make than the published.
    """
    net: Any = network.eval()
    vocabulary = byte_pairs_content(tokenizer)
    about = clip_metadata(
        net,
        processor,
        vocabulary,
        name=name,
        source=source,
        side=net.config.vision_config.image_size,
        queries=len(net.box_bias),
    )
    draw = torch.Generator().manual_seed(0)
    text_path, patches_path = (folder / f"{name}-{part}.onnx" for part in ("text", "patches"))
    text = write_onnx(
        ExportableOwlv2Text(net),
        text_path,
        [_text(count, tokenizer, about, draw) for count in (3, 1, 7)],
        outputs=["queries"],
        dynamic={"ids": {0: "N"}},
        metadata=about.to_map(OWLV2[0]),
        tolerance=TOLERANCE,
        answer=partial(_queries, net),
    )
    patches = write_onnx(
        ExportableOwlv2Patches(net),
        patches_path,
        [{"pixels": torch.randn(1, 3, about.side, about.side, generator=draw)} for _ in range(2)],
        outputs=["embeddings", "boxes", "objectness", "shift", "scale"],
        dynamic={},
        metadata=about.to_map(OWLV2[1]),
        tolerance=TOLERANCE,
        answer=partial(_patches, net),
    )
    with whole_file(folder / f"{name}-vocab.json") as file:
        file.write(vocabulary)
    return {text_path.name: text, patches_path.name: patches}


def _text(count: int, tokenizer: Any, about: ClipMetadata, draw: torch.Generator) -> Case:
    """Texts of every length, padded with 0."""
    ids = torch.randint(1, tokenizer.bos_token_id, (count, about.limit), generator=draw)
    ends = torch.linspace(2, about.limit - 1, count).long()
    ids[:, 0] = tokenizer.bos_token_id
    ids[torch.arange(count), ends] = tokenizer.eos_token_id
    return {"ids": ids.masked_fill(torch.arange(about.limit) > ends[:, None], 0)}


def _queries(network: Any, case: Case, _: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What transformers' network gives."""
    found = network.owlv2.get_text_features(case["ids"], return_dict=True).pooler_output
    return [normalized(found / found.norm(dim=-1, keepdim=True)).numpy()]


def _patches(network: Any, case: Case, _: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What transformers' network gives."""
    grid, _ = network.image_embedder(case["pixels"])
    patches, head = grid.flatten(1, 2), network.class_head
    _, embeddings = network.class_predictor(patches)
    found = (
        normalized(embeddings),
        network.box_predictor(patches, grid),
        network.objectness_predictor(patches),
        head.logit_shift(patches),
        F.elu(head.logit_scale(patches)) + 1,
    )
    return [one[0].numpy() for one in found]
