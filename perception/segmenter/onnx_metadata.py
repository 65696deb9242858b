"""What a segmenter's three ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from perception.onnx_metadata import OnnxMetadata

ENCODER = "segmenter-encoder"
PREPARER = "segmenter-preparer"
DECODER = "segmenter-decoder"


@dataclass(frozen=True)
class SegmenterMetadata(OnnxMetadata):
    """What the files of one segmenter say alike.

    side: of the model's square input in pixels; embedding: (C, h, w); predictor: how prompts become
    masks, "whole" or "zoom" (``perception.predictor``).
    """

    side: int
    embedding: tuple[int, int, int]
    predictor: str = "whole"

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> Self:
        """Read what ``to_map`` wrote; see ``OnnxMetadata``."""
        # Files from before this field existed: of all that were exported, nano alone zooms.
        zooms = values.get("name", "").startswith("nano")
        older = {"predictor": "zoom" if zooms else "whole"}
        return super().from_map({**older, **values}, part, path=path)

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.embedding[1]
