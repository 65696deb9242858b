"""What ONNX files say about themselves: the fields of a dataclass, in ``custom_metadata_map``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from perception.errors import WeightsError
from perception.images import printable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class OnnxMetadata:
    """One model, the same in all its files. name, version: of the model.

    What a kind of model says beside are the fields that it adds: words, numbers, truth values, and
    three numbers together.
    """

    name: str
    version: str

    def to_map(self, part: str) -> dict[str, str]:
        """For the file of one part."""
        values = {
            one.name: _written(str(one.type), getattr(self, one.name)) for one in fields(self)
        }
        return {"part": part, **values}

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> Self:
        """Read what ``to_map`` wrote; raises WeightsError for the file of another thing."""
        if values.get("part") != part:
            raise WeightsError(
                f"{path}: expected the ONNX file of a {part}, "
                f"this one says {values.get('part', 'nothing')!r}"
            )
        try:
            return cls(**{one.name: _read(str(one.type), values[one.name]) for one in fields(cls)})
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: its metadata are damaged ({error}): export it again"
            ) from None

    @classmethod
    def shared(cls, *files: tuple[InferenceSession, str, str | Path]) -> Self:
        """What the files of one model say alike, each opened, with its part and its path.

        Raises WeightsError where two of them don't, and as ``from_map``.
        """
        said = []
        for session, part, path in files:
            values = session.get_modelmeta().custom_metadata_map
            said.append(cls.from_map(values, part, path=printable(str(path))))
            if said[-1] != said[0]:
                raise WeightsError(
                    f"{printable(str(files[0][2]))} and {printable(str(path))} are of two models: "
                    "export one of them again"
                )
        return said[0]


def _written(kind: str, value: Any) -> str:
    return _TRIPLES[kind][1].join(map(str, value)) if kind in _TRIPLES else str(value)


def _read(kind: str, text: str) -> Any:
    if kind not in _TRIPLES:
        return _SINGLE[kind](text)
    number, between = _TRIPLES[kind]
    first, second, third = map(number, text.split(between))
    return first, second, third


_SINGLE: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "bool": {"True": True, "False": False}.__getitem__,
}
_TRIPLES: dict[str, tuple[Callable[[str], Any], str]] = {
    "tuple[int, int, int]": (int, "x"),
    "tuple[float, float, float]": (float, " "),
}
"""By the annotation of a field: how each number is read, and what stands between them."""
