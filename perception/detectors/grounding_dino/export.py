"""Grounding DINO networks as the three ONNX files that the core runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from perception.detectors.grounding_dino.exportable import (
    ExportableFusion,
    ExportableImage,
    ExportableText,
)
from perception.detectors.grounding_dino.onnx import FUSION, IMAGE, TEXT, GroundingMetadata
from perception.detectors.swin_windows import PATCH, level_shapes, plan
from perception.errors import ExportError
from perception.runtime.files import whole_file
from perception.runtime.onnx_export import CELLS_TOLERANCE as TOLERANCE
from perception.runtime.onnx_export import Case, fits_of_chosen, write_onnx

VERSION = "1"
PARTS = {TEXT: "text", IMAGE: "image", FUSION: "fusion"}

Cells = tuple[int, int]


def export_grounding_dino(
    network: nn.Module, tokenizer: Any, processor: Any, folder: Path, *, name: str, source: str
) -> dict[str, float]:
    """Writes the text, the image and the fusion side and the vocabulary.

    network: one of transformers' two, not made faster; tokenizer, processor: transformers' for it;
    name: of the model, and how the files' names begin; source: sha256 of its weights. Returns the
    largest difference from torch by file name. Raises ExportError where a graph disagrees, and for
    a network of another make than the published ones.
    """
    _check(network)
    net: Any = network.eval()
    draw = torch.Generator().manual_seed(0)
    about = _metadata(net, tokenizer, processor, name=name, source=source)
    _write_vocabulary(tokenizer, folder / f"{name}-vocab.txt")
    paths = {part: folder / f"{name}-{short}.onnx" for part, short in PARTS.items()}
    text = write_onnx(
        ExportableText(net),
        paths[TEXT],
        [_text(length, net, draw) for length in (7, 3, min(64, about.limit))],
        outputs=["words"],
        dynamic=_tokens("ids"),
        metadata=about.to_map(TEXT),
    )
    images = [_image(cells, about, draw) for cells in _shapes(about)]
    levels = net.config.num_feature_levels
    image = write_onnx(
        ExportableImage(net),
        paths[IMAGE],
        images,
        outputs=[f"level{level}" for level in range(levels)],
        dynamic=_lists(images[0]),
        metadata=about.to_map(IMAGE),
        tolerance=TOLERANCE,
    )
    cases = list(_fusions(net, about, draw))
    module = ExportableFusion(net)
    fusion = write_onnx(
        module,
        paths[FUSION],
        cases,
        outputs=["boxes", "logits", "fits", "cells"],
        dynamic=_tokens("words") | {f"map{n}": {2: f"h{n}", 3: f"w{n}"} for n in range(levels)},
        metadata=about.to_map(FUSION),
        tolerance=TOLERANCE,
        answer=partial(_with_the_same_cells, module),
    )
    return dict(zip((path.name for path in paths.values()), (text, image, fusion), strict=True))


def _with_the_same_cells(
    module: ExportableFusion, case: Case, have: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """What torch gives for the cells that the file chose; see ``fits_of_chosen``."""
    words, sees, positions, *maps = case.values()
    cells, words, fits, start = module.enhance(words, sees, positions, *maps)
    chosen = torch.from_numpy(have[3])
    boxes, logits = module.decode(cells, words, start[chosen], maps)
    return [boxes.numpy(), logits.numpy(), fits_of_chosen(fits, chosen).numpy(), have[3]]


def _check(network: Any) -> None:
    """Refuses what the graphs don't do."""
    config, backbone = network.config, network.model.backbone.conv_encoder.model.config
    wanted = {
        "a Swin backbone": backbone.model_type == "swin",
        "exact GELUs": getattr(backbone, "hidden_act", "") == "gelu",
        "no absolute positions": not getattr(backbone, "use_absolute_embeddings", False),
        "BERT": config.text_config.model_type == "bert",
        "two stages": config.two_stage and config.embedding_init_target,
        "positions by sines": config.position_embedding_type == "sine",
    }
    missing = [what for what, there in wanted.items() if not there]
    if missing:
        raise ExportError(f"only published networks can be exported, with {', '.join(missing)}")


def _metadata(
    network: Any, tokenizer: Any, processor: Any, *, name: str, source: str
) -> GroundingMetadata:
    config = network.config
    backbone = config.backbone_config
    red, green, blue = processor.image_mean
    red_std, green_std, blue_std = processor.image_std
    return GroundingMetadata(
        name=name,
        version=VERSION,
        source=source,
        limit=config.max_text_len,
        queries=config.num_queries,
        window=backbone.window_size,
        extra=config.num_feature_levels - len(backbone.out_indices),
        shortest=processor.size["shortest_edge"],
        longest=processor.size["longest_edge"],
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
        vocabulary=len(tokenizer),
        lower_case=bool(getattr(tokenizer, "do_lower_case", True)),
    )


def _write_vocabulary(tokenizer: Any, path: Path) -> None:
    """One piece a line, in the order of their numbers."""
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if [number for _, number in pieces] != list(range(len(pieces))):
        raise ExportError(f"{path.name}: the tokenizer's numbers have gaps: not a BERT vocabulary")
    with whole_file(path) as file:
        file.write("\n".join(piece for piece, _ in pieces).encode())


def _tokens(first: str) -> dict[str, dict[int, str]]:
    return {first: {0: "T"}, "sees": {0: "T", 1: "T"}, "positions": {0: "T"}}


def _lists(case: Case) -> dict[str, dict[int, str]]:
    """Lists of one stage count its cells, S, or its windows, N."""
    kinds = {"patches": "S0", "quarters": "S", "neighbours": "S", "places": "S"}
    names = {}
    for key in case:
        kind, stage = key.rstrip("0123456789"), key[len(key.rstrip("0123456789")) :]
        kind = kinds.get(kind.removeprefix("shifted_"), "N")
        names[key] = {0: kind + stage}
    return names


def _text(length: int, network: Any, draw: torch.Generator) -> Case:
    """A text of phrases of three tokens."""
    most = network.config.text_config.vocab_size
    block = torch.arange(length) // 3
    return {
        "ids": torch.randint(most, (length,), generator=draw),
        "sees": (block[:, None] == block).float(),
        "positions": torch.arange(length) % 3,
    }


def _shapes(about: GroundingMetadata) -> tuple[Cells, ...]:
    """Pictures in patches: wide, high, strips; the first has several windows on every level."""
    side = about.window
    return (8 * side + 3, 10 * side + 2), (9 * side, 5 * side), (side - 1, 12 * side + 1)


def _image(cells: Cells, about: GroundingMetadata, draw: torch.Generator) -> Case:
    patches = torch.randn(cells[0] * cells[1], 3 * PATCH * PATCH, generator=draw)
    lists = plan(*cells, side=about.window, extra=about.extra)
    return {"patches": patches, **{key: torch.from_numpy(own) for key, own in lists.items()}}


def _fusions(network: Any, about: GroundingMetadata, draw: torch.Generator) -> Iterator[Case]:
    """Sizes of images that have enough cells for all queries, and lengths of texts."""
    levels, width = network.config.num_feature_levels, network.config.d_model
    side = int((about.queries / 1.2) ** 0.5) + 1
    for length, cells in ((7, (side, side + 5)), (3, (side + 4, side)), (30, (side, 2 * side))):
        text = _text(length, network, draw)
        maps = {
            f"map{level}": torch.randn(1, width, *shape, generator=draw)
            for level, shape in enumerate(level_shapes(*cells, levels))
        }
        words = torch.randn(length, width, generator=draw)
        yield {"words": words, "sees": text["sees"], "positions": text["positions"], **maps}
