"""SAM networks as ONNX files, in our signature or in that of ``segment_anything``'s own export."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from perception.runtime.onnx_export import Case, trace, write_agreed, write_int8, write_onnx
from perception.segmenters.sam.cells import image_to_tensors
from perception.segmenters.sam.exportable import (
    OUTPUTS,
    ExportableDecoder,
    ExportableEncoder,
    ExportablePreparer,
    ReferenceDecoder,
    ReferenceLogits,
    append_upsampling,
)
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.onnx import DECODER, ENCODER, PREPARER, SegmenterMetadata

VERSION = "1"
REFERENCE_DECODER = "segment-anything-decoder"
ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.3), (0.011, 1.0))
"""Heights and widths of the images that an export is tried with, over the longer side."""


def export_fast(
    sam: Sam, folder: Path, *, name: str, prefix: str, predictor: str = "whole"
) -> dict[str, float]:
    """Writes the image encoder, the preparer and the mask decoder, as ``OnnxSegmenter`` reads them.

    predictor: how prompts become masks, see ``SegmenterMetadata``.
    Returns the largest difference from torch by file name; raises ExportError if it is too large.
    """
    draw = torch.Generator().manual_seed(0)
    metadata = replace(_metadata(sam, name), predictor=predictor)
    paths = {
        part: folder / f"{prefix}-{part.removeprefix('segmenter-')}.onnx"
        for part in (ENCODER, PREPARER, DECODER)
    }
    encoder = write_onnx(
        ExportableEncoder(sam),
        paths[ENCODER],
        list(_encoder_cases(sam, draw)),
        outputs=["embedding"],
        dynamic={},
        metadata=metadata.to_map(ENCODER),
    )
    images = [{"embedding": torch.randn(1, *metadata.embedding, generator=draw)} for _ in range(2)]
    preparer = write_onnx(
        ExportablePreparer(sam),
        paths[PREPARER],
        images,
        outputs=list(_prepared(sam, images[0])),
        dynamic={},
        metadata=metadata.to_map(PREPARER),
    )
    decoder = write_onnx(
        ExportableDecoder(sam),
        paths[DECODER],
        list(_decoder_cases(sam, metadata, draw)),
        outputs=["logits", "masks", "quality"],
        dynamic={
            "coords": {0: "P", 1: "K"},
            "labels": {0: "P", 1: "K"},
            "earlier": {0: "P", 1: "E"},
        },
        metadata=metadata.to_map(DECODER),
    )
    worst = (encoder, preparer, decoder)
    return dict(zip((path.name for path in paths.values()), worst, strict=True))


def export_int8_encoder(sam: Sam, folder: Path, *, prefix: str) -> dict[str, float]:
    """Writes the image encoder that ``export_fast`` wrote again, with int8 weights.

    It takes the other one's place in ``OnnxSegmenter``. Returns the least cosine of its embeddings
    with torch's by file name; raises ExportError as ``write_int8``.
    """
    source = folder / f"{prefix}-encoder.onnx"
    path = folder / f"{prefix}-encoder-int8.onnx"
    cases = list(_encoder_cases(sam, torch.Generator().manual_seed(1)))
    least = write_int8(source, path, ExportableEncoder(sam), cases, outputs=["embedding"])
    return {path.name: least}


def export_reference(
    sam: Sam, folder: Path, *, name: str, prefix: str, single_mask: bool = False
) -> dict[str, float]:
    """Writes a decoder with the inputs and outputs of ``segment_anything``'s ONNX export.

    A page or a tool that ran that one can run this one. single_mask: give only the mask that the
    prompt calls for, as that export's option does. Otherwise as ``export_fast``.
    """
    draw = torch.Generator().manual_seed(0)
    metadata = _metadata(sam, name)
    path = folder / f"{prefix}-{REFERENCE_DECODER}.onnx"
    cases = list(_reference_cases(metadata, draw))
    traced = {key: value for key, value in cases[0].items() if key != "orig_im_size"}
    logits = trace(
        ReferenceLogits(sam, single_mask=single_mask),
        traced,
        path.name,
        outputs=["low_res_masks", "iou_predictions"],
        dynamic={"point_coords": {1: "K"}, "point_labels": {1: "K"}},
    )
    worst = write_agreed(
        append_upsampling(logits, side=sam.side),
        ReferenceDecoder(sam, single_mask=single_mask),
        path,
        cases,
        outputs=OUTPUTS,
        metadata=metadata.to_map(REFERENCE_DECODER),
    )
    return {path.name: worst}


def _metadata(sam: Sam, name: str) -> SegmenterMetadata:
    return SegmenterMetadata(name, VERSION, sam.side, sam.embedding_shape)


def _encoder_cases(sam: Sam, draw: torch.Generator) -> Iterator[Case]:
    for _ in range(2):
        yield {"pixels": torch.randn(1, 3, sam.side, sam.side, generator=draw)}


def _image(metadata: SegmenterMetadata, has_mask: bool, draw: torch.Generator) -> Case:
    size = metadata.mask_size
    return {
        "embedding": torch.randn(1, *metadata.embedding, generator=draw),
        "mask_input": torch.randn(1, 1, size, size, generator=draw),
        "has_mask": torch.full((1,), float(has_mask)),
    }


def _places(rows: int, places: int, side: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of every kind: points in and out, corners of boxes, padding."""
    coords = torch.rand(rows, places, 2, generator=draw) * side
    labels = torch.randint(-1, 4, (rows, places), generator=draw).float()
    return coords, labels


def _decoder_cases(sam: Sam, metadata: SegmenterMetadata, draw: torch.Generator) -> Iterator[Case]:
    """Numbers of prompts and places, with and without an earlier mask, all masks, some and none.

    The first, which is traced, has two masks a prompt, because a size of 1 would be taken for
    constant.
    """
    size = metadata.mask_size
    for rows, places, masks, least in (
        (2, 3, 2, -math.inf),
        (1, 1, 0, -math.inf),
        (1, 2, 1, -math.inf),
        (3, 5, 0, 0.0),
        (3, 4, 1, 0.0),
        (2, 20, 0, -math.inf),
        (2, 2, 0, math.inf),
    ):
        coords, labels = _places(rows, places, metadata.side, draw)
        image = {"embedding": torch.randn(1, *metadata.embedding, generator=draw)}
        yield {
            "coords": coords,
            "labels": labels,
            "least_quality": torch.full((4,), least),
            "earlier": torch.randn(rows, masks, size, size, generator=draw),
            **_prepared(sam, image),
        }


def _prepared(sam: Sam, image: Case) -> dict[str, Tensor]:
    with torch.inference_mode(False), torch.no_grad():
        return image_to_tensors(sam.prepare(*image.values()))


def _reference_cases(metadata: SegmenterMetadata, draw: torch.Generator) -> Iterator[Case]:
    """Aspect ratios, numbers of places, with and without an earlier mask."""
    for n, aspect in enumerate(ASPECTS * 2):
        image = _image(metadata, n % 3 == 0, draw)
        coords, labels = _places(1, (2, 5, 1)[n % 3], metadata.side, draw)
        longer = (metadata.side, 300)[n % 2]
        yield {
            "image_embeddings": image["embedding"],
            "point_coords": coords,
            "point_labels": labels,
            "mask_input": image["mask_input"],
            "has_mask_input": image["has_mask"],
            "orig_im_size": torch.tensor([float(max(1, round(part * longer))) for part in aspect]),
        }
