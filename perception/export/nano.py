"""The nano models as the ONNX files that the core runs."""

from __future__ import annotations

from pathlib import Path

import torch

from perception.detector.network import NanoNetwork
from perception.detector.onnx_metadata import IMAGE, TEXT, DetectorMetadata
from perception.export.onnx_file import write_onnx
from perception.segmenter.exportable import ExportableDecoder, ExportableEncoder
from perception.segmenter.onnx_metadata import DECODER, ENCODER, SegmenterMetadata
from perception.segmenter.sam import Sam

VERSION = "1"


def export_detector(network: NanoNetwork, folder: Path, *, side: int) -> dict[str, float]:
    """Writes the text and the image side for a side x side input.

    Returns the largest difference from torch by file name; raises ExportError if it is too large.
    """
    vocabulary, width = network.text.token.weight.shape
    metadata = DetectorMetadata("nano", VERSION, side, vocabulary)
    generator = torch.Generator().manual_seed(0)

    def ids(count: int, length: int) -> torch.Tensor:
        drawn = torch.randint(1, vocabulary, (count, length), generator=generator)
        drawn[1:, 1:][:, length // 2 :] = 0  # all but the first phrase are shorter
        return drawn

    def picture(tokens: int) -> dict[str, torch.Tensor]:
        pixels = torch.randn(1, 3, side, side, generator=generator)
        return {"pixels": pixels, "tokens": torch.randn(tokens, width, generator=generator)}

    text = write_onnx(
        network.text,
        folder / "nano-detector-text.onnx",
        [{"ids": ids(*size)} for size in ((3, 5), (1, 1), (1, 4), (7, 32), (2, 1))],
        outputs=["tokens"],
        dynamic={"ids": {0: "N", 1: "L"}},
        metadata=metadata.to_map(TEXT),
    )
    image = write_onnx(
        network,
        folder / "nano-detector-image.onnx",
        [picture(tokens) for tokens in (5, 1, 40)],
        outputs=["boxes", "logits"],
        dynamic={"tokens": {0: "T"}},
        metadata=metadata.to_map(IMAGE),
        tolerance=2e-3,  # boxes are in pixels, up to some hundreds
    )
    return {"nano-detector-text.onnx": text, "nano-detector-image.onnx": image}


def export_segmenter(
    sam: Sam, folder: Path, *, name: str = "nano", prefix: str = "nano-segmenter"
) -> dict[str, float]:
    """Writes the image encoder and the mask decoder.

    Returns the largest difference from torch by file name; raises ExportError if it is too large.
    """
    side = sam.side
    with torch.no_grad():
        embedding = sam.encode(torch.zeros(1, 3, side, side))
    channels, h, w = embedding.shape[1:]
    metadata = SegmenterMetadata(name, VERSION, side, (channels, h, w))
    generator = torch.Generator().manual_seed(0)

    def prompts(count: int, places: int, has_mask: float) -> dict[str, torch.Tensor]:
        return {
            "embedding": torch.randn(1, channels, h, w, generator=generator),
            "coords": torch.rand(count, places, 2, generator=generator) * side,
            "labels": torch.randint(-1, 4, (count, places), generator=generator).float(),
            "mask_input": torch.randn(count, 1, 4 * h, 4 * w, generator=generator),
            "has_mask": torch.full((count,), float(has_mask)),
        }

    pictures = [{"pixels": torch.randn(1, 3, side, side, generator=generator)} for _ in range(2)]
    encoder = write_onnx(
        ExportableEncoder(sam),
        folder / f"{prefix}-encoder.onnx",
        pictures,
        outputs=["embedding"],
        dynamic={},
        metadata=metadata.to_map(ENCODER),
    )
    per_prompt = {"coords": {0: "P", 1: "K"}, "labels": {0: "P", 1: "K"}}
    per_prompt |= {"mask_input": {0: "P"}, "has_mask": {0: "P"}}
    decoder = write_onnx(
        ExportableDecoder(sam),
        folder / f"{prefix}-decoder.onnx",
        [prompts(2, 3, 1), prompts(1, 1, 0), prompts(1, 2, 1), prompts(3, 5, 0)],
        outputs=["logits", "quality"],
        dynamic=per_prompt,
        metadata=metadata.to_map(DECODER),
    )
    return {f"{prefix}-encoder.onnx": encoder, f"{prefix}-decoder.onnx": decoder}
