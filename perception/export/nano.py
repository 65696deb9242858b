"""The nano models as the ONNX files that the core runs."""

from __future__ import annotations

from pathlib import Path

import torch

from perception.detector.nanodet import PhotoNetwork
from perception.detector.network import NanoNetwork
from perception.detector.onnx_metadata import IMAGE, PHOTO, TEXT, DetectorMetadata
from perception.export.onnx_file import write_onnx
from perception.export.sam import export_fast
from perception.segmenter.sam import Sam

VERSION = "2"


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
    )
    return {"nano-detector-text.onnx": text, "nano-detector-image.onnx": image}


def export_photo(
    network: PhotoNetwork, folder: Path, *, side: int, vocabulary: int
) -> dict[str, float]:
    """Writes the photograph half, whose input's longer side is ``side``; as ``export_detector``."""
    metadata = DetectorMetadata("nano", VERSION, side, vocabulary)
    generator = torch.Generator().manual_seed(0)

    def case(height: int, width: int, phrases: int) -> dict[str, torch.Tensor]:
        pixels = torch.randn(1, 3, height, width, generator=generator)
        vectors = torch.randn(phrases, network.phrase_size, generator=generator)
        return {"pixels": pixels, "phrases": vectors / network.phrase_size**0.5}

    name = "nano-detector-photo.onnx"
    sizes = ((side, side - 32, 5), (side - 32, side, 1), (side, side, 40), (64, side, 3))
    worst = write_onnx(
        network,
        folder / name,
        [case(*size) for size in sizes],
        outputs=["boxes", "logits", "drawn"],
        dynamic={"pixels": {2: "32*H", 3: "32*W"}, "phrases": {0: "R"}},
        metadata=metadata.to_map(PHOTO),
    )
    return {name: worst}


def export_segmenter(sam: Sam, folder: Path) -> dict[str, float]:
    """Writes the image encoder, the preparer and the mask decoder; see ``export_fast``."""
    return export_fast(sam, folder, name="nano", prefix="nano-segmenter", predictor="zoom")
