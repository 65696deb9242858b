"""OmDet-Turbo networks as the three ONNX files that the core runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.detector.clip_files import OMDET_TURBO
from perception.detector.exportable_omdet_turbo import (
    ExportableOmDetBoxes,
    ExportableOmDetImage,
    ExportableOmDetText,
)
from perception.errors import ExportError
from perception.export.byte_pairs import byte_pairs_content
from perception.export.chosen_cells import TOLERANCE, fits_of_chosen
from perception.export.clip_metadata import clip_metadata
from perception.export.onnx_file import Case, write_onnx
from perception.formats.atomic import whole_file


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
    """Numbers of phrases and lengths of sentences, over pictures like those of ``maps``."""
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
