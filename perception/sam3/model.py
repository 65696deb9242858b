"""SAM 3 as one model, detector and segmenter, from its published files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from perception.checkpoints.transformers_layout import load_pretrained
from perception.detectors.pretrained import load_tokenizer
from perception.detectors.protocol import Detector, ExampleDetector
from perception.imaging.read import printable
from perception.prompts.grammar import Phrases
from perception.runtime.device import limit_torch_threads
from perception.sam3.finder import RGB_MEAN, RGB_STD, Concepts, Finder
from perception.segmenters.multi_scale import LevelsSegmenter, check_numbers
from perception.segmenters.sam2 import Sam2
from perception.segmenters.torch_segmenter import PRECISIONS
from perception.types import (
    Candidates,
    Embedding,
    Examples,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class Sam3(ExampleDetector):
    """An ``ExampleDetector`` and a ``Segmenter`` over the same weights.

    Text and examples go through ``finder``, points and boxes through ``clicker``. What a text finds
    comes with masks, which no prompt to the segmenter makes again.
    """

    phrases_independent = True  # Each has a pass of its own.
    example_phrase = "visual"

    def __init__(self, finder: Finder, clicker: LevelsSegmenter) -> None:
        self.name, self.side = clicker.name, clicker.side
        self._finder, self._clicker = finder, clicker

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes, with masks, that reach ``floor``; see ``Detector``."""
        return self._finder.candidates(images, phrases, floor=floor)

    def shown(self, examples: Examples) -> ShownSam3:
        """The detector that finds what is like these examples; see ``ExampleDetector``."""
        return ShownSam3(self.name, self._finder, examples)

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding for points and boxes; see ``Segmenter``."""
        return self._clicker.encode(image)

    def encode_batch(self, images: Sequence[ImageArray]) -> list[Embedding]:
        """Pictures of any sizes, in one call of the network; otherwise as ``encode`` of each."""
        return self._clicker.encode_batch(images)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return self._clicker.decode(embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return self._clicker.propose(embedding, points, least_quality=least_quality)


@dataclass(frozen=True)
class ShownSam3(Detector):
    """A ``Detector`` that was shown examples: what it finds depends on their places, too."""

    name: str
    finder: Finder
    examples: Examples
    phrases_independent = True

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes, with masks, that reach ``floor``; see ``Detector``."""
        return self.finder.candidates(images, phrases, floor=floor, examples=self.examples)


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
