"""What a segmenter's three ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perception.errors import WeightsError

ENCODER = "segmenter-encoder"
PREPARER = "segmenter-preparer"
DECODER = "segmenter-decoder"


@dataclass(frozen=True)
class SegmenterMetadata:
    """name, version: of the model; side: of its square input in pixels; embedding: (C, h, w)."""

    name: str
    version: str
    side: int
    embedding: tuple[int, int, int]

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.embedding[1]

    def to_map(self, part: str) -> dict[str, str]:
        """For the file of one part: ``ENCODER``, ``PREPARER`` or ``DECODER``."""
        return {
            "part": part,
            "name": self.name,
            "version": self.version,
            "side": str(self.side),
            "embedding": "x".join(str(n) for n in self.embedding),
        }

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> SegmenterMetadata:
        """Read what ``to_map`` wrote; raises WeightsError for the file of another thing."""
        if values.get("part") != part:
            raise WeightsError(
                f"{path}: expected the ONNX file of a {part}, "
                f"this one says {values.get('part', 'nothing')!r}"
            )
        try:
            channels, rows, columns = (int(n) for n in values["embedding"].split("x"))
            side = int(values["side"])
            return cls(values["name"], values["version"], side, (channels, rows, columns))
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: its metadata are damaged ({error}): export it again"
            ) from None
