"""What the detector's two ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from dataclasses import dataclass

from perception.onnx_metadata import OnnxMetadata

TEXT, IMAGE = "detector-text", "detector-image"


@dataclass(frozen=True)
class DetectorMetadata(OnnxMetadata):
    """side: of the model's square input in pixels; vocabulary: its pieces."""

    side: int
    vocabulary: int
