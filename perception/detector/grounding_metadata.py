"""What the ONNX files of a Grounding DINO say about themselves, in their metadata."""

from __future__ import annotations

from dataclasses import dataclass

from perception.onnx_metadata import OnnxMetadata

TEXT, IMAGE, FUSION = "grounding-text", "grounding-image", "grounding-fusion"
PARTS = (TEXT, IMAGE, FUSION)


@dataclass(frozen=True)
class GroundingMetadata(OnnxMetadata):
    """What a Grounding DINO needs to be asked.

    source: sha256 of the weights that it was made from; limit: tokens of one text; queries: boxes
    of one text; window: side of the backbone's windows; extra: levels beyond the backbone's;
    shortest, longest: sides that pictures are resized to; mean, std: R G B, of values in 0..1;
    vocabulary: its pieces; lower_case: whether case and accents are read.
    """

    source: str
    limit: int
    queries: int
    window: int
    extra: int
    shortest: int
    longest: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    vocabulary: int
    lower_case: bool
