"""What the detector's ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from dataclasses import dataclass

from perception.runtime.onnx_session import OnnxMetadata

TEXT, IMAGE, PHOTO = "detector-text", "detector-image", "detector-photo"


@dataclass(frozen=True)
class DetectorMetadata(OnnxMetadata):
    """side: the longest of the input in pixels; vocabulary: the text side's pieces."""

    side: int
    vocabulary: int
