"""A folder with SAM 3's published files becomes the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from perception.detector.pretrained import load_tokenizer
from perception.device import limit_torch_threads
from perception.images import printable
from perception.sam3.concepts import Concepts
from perception.sam3.finder import RGB_MEAN, RGB_STD, Finder
from perception.sam3.sam3 import Sam3
from perception.segmenter.levels_segmenter import LevelsSegmenter
from perception.segmenter.pretrained import load_pretrained
from perception.segmenter.sam2 import Sam2
from perception.segmenter.torch_segmenter import PRECISIONS
from perception.segmenter.two_way import check_numbers


def load_sam3(
    folder: str | Path,
    *,
    name: str,
    version: str = "",
    device: str = "cpu",
    precision: str = "fp32",
    threads: int = 0,
) -> Sam3:
    """SAM 3 from the folder that is published: config.json, model.safetensors and the tokenizer.

    name, version, device, precision: as in ``segmenter.published.load_segmenter``; threads: as in
    ``loading.load``. Raises WeightsError for files that are missing, damaged or of another model,
    MissingExtraError for transformers that doesn't know it, ValueError for an unknown precision.
    """
    folder = Path(folder)
    network: Any = load_pretrained(folder, {"sam3_video": "Sam3VideoModel"}, family="SAM 3")
    tracker = network.tracker_model
    check_numbers(tracker.config.mask_decoder_config, printable(str(folder)))
    concepts = network.detector_model
    vision = ClickLevels(concepts.vision_encoder.backbone, network.tracker_neck)
    clicks = Sam2(tracker, vision, mean=RGB_MEAN, std=RGB_STD).eval().to(device)
    clicker = LevelsSegmenter(
        clicks, name=name, version=version, device=device, precision=precision
    )
    finder = Finder(
        Concepts(concepts.to(device), dtype=PRECISIONS[precision]),
        load_tokenizer(folder, concepts),
        side=concepts.config.image_size,
    )
    for part in (finder, clicker):
        limit_torch_threads(part, threads)
    return Sam3(finder, clicker)


class ClickLevels(nn.Module):
    """Pixels -> the feature pyramid for points and boxes, of the image encoder that text uses.

    trunk: shared with the text side; neck: of the points' own.
    """

    def __init__(self, trunk: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.trunk, self.neck = trunk, neck

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """B x 3 x S x S -> three levels B x C x h x w, from fine to coarse."""
        cells = self.trunk(pixels).last_hidden_state  # B x h·w x D
        rows, count, width = cells.shape
        side = int(count**0.5 + 0.5)
        plane = cells.transpose(1, 2).reshape(rows, width, side, side)
        levels: tuple[Tensor, ...] = self.neck(plane)[0][:-1]
        return levels
