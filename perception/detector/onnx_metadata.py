"""What the detector's two ONNX files say about themselves, in their ``custom_metadata_map``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perception.errors import WeightsError

TEXT, IMAGE = "detector-text", "detector-image"


@dataclass(frozen=True)
class DetectorMetadata:
    """name, version: of the model; side: of its square input in pixels; vocabulary: its pieces."""

    name: str
    version: str
    side: int
    vocabulary: int

    def to_map(self, part: str) -> dict[str, str]:
        """For the file of one part, ``TEXT`` or ``IMAGE``."""
        return {
            "part": part,
            "name": self.name,
            "version": self.version,
            "side": str(self.side),
            "vocabulary": str(self.vocabulary),
        }

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> DetectorMetadata:
        """Read what ``to_map`` wrote; raises WeightsError for the file of another thing."""
        if values.get("part") != part:
            raise WeightsError(
                f"{path}: expected the ONNX file of a {part}, "
                f"this one says {values.get('part', 'nothing')!r}"
            )
        try:
            side, vocabulary = int(values["side"]), int(values["vocabulary"])
            return cls(values["name"], values["version"], side, vocabulary)
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: its metadata are damaged ({error}): export it again"
            ) from None
