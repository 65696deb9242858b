"""What the ONNX files of a Grounding DINO say about themselves, in their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from perception.errors import WeightsError

TEXT, IMAGE, FUSION = "grounding-text", "grounding-image", "grounding-fusion"
PARTS = (TEXT, IMAGE, FUSION)


@dataclass(frozen=True)
class GroundingMetadata:
    """One model, the same in all its files.

    source: sha256 of the weights that it was made from; limit: tokens of one text; queries: boxes
    of one text; window: side of the backbone's windows; extra: levels beyond the backbone's;
    shortest, longest: sides that pictures are resized to; mean, std: R G B, of values in 0..1;
    vocabulary: its pieces; lower_case: whether case and accents are read.
    """

    name: str
    version: str
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

    def to_map(self, part: str) -> dict[str, str]:
        """For the file of one of ``PARTS``."""
        values = {key: _written(value) for key, value in asdict(self).items()}
        return {"part": part, **values}

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> GroundingMetadata:
        """Read what ``to_map`` wrote; raises WeightsError for the file of another thing."""
        if values.get("part") != part:
            raise WeightsError(
                f"{path}: expected the ONNX file of a {part}, "
                f"this one says {values.get('part', 'nothing')!r}"
            )
        try:
            given: dict[str, Any] = {
                field.name: _read(field.type, values[field.name]) for field in fields(cls)
            }
            return cls(**given)
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: its metadata are damaged ({error}): export it again"
            ) from None


def _written(value: object) -> str:
    return " ".join(map(repr, value)) if isinstance(value, tuple) else str(value)


def _read(kind: object, text: str) -> object:
    if kind == "int":
        return int(text)
    if kind == "bool":
        return {"True": True, "False": False}[text]
    if kind == "str":
        return text
    first, second, third = map(float, text.split())
    return first, second, third
