"""OWLv2 networks as the two ONNX files that the core runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from perception.detector.clip_files import OWLV2, ClipMetadata
from perception.detector.exportable_owlv2 import (
    ExportableOwlv2Patches,
    ExportableOwlv2Text,
    normalised,
)
from perception.export.byte_pairs import byte_pairs_content
from perception.export.chosen_cells import TOLERANCE
from perception.export.clip_metadata import clip_metadata
from perception.export.onnx_file import Case, write_onnx
from perception.formats.atomic import whole_file


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
    return [normalised(found / found.norm(dim=-1, keepdim=True)).numpy()]


def _patches(network: Any, case: Case, _: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What transformers' network gives."""
    grid, _ = network.image_embedder(case["pixels"])
    patches, head = grid.flatten(1, 2), network.class_head
    _, embeddings = network.class_predictor(patches)
    found = (
        normalised(embeddings),
        network.box_predictor(patches, grid),
        network.objectness_predictor(patches),
        head.logit_shift(patches),
        F.elu(head.logit_scale(patches)) + 1,
    )
    return [one[0].numpy() for one in found]
