"""What a segmenter's three ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from dataclasses import dataclass

from perception.onnx_metadata import OnnxMetadata

ENCODER = "segmenter-encoder"
PREPARER = "segmenter-preparer"
DECODER = "segmenter-decoder"


@dataclass(frozen=True)
class SegmenterMetadata(OnnxMetadata):
    """side: of the model's square input in pixels; embedding: (C, h, w)."""

    side: int
    embedding: tuple[int, int, int]

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.embedding[1]
