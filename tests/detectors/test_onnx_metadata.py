from __future__ import annotations

import pytest

from perception.detectors.nano.spec import IMAGE, TEXT, DetectorMetadata
from perception.errors import WeightsError

METADATA = DetectorMetadata("nano", "1", 320, 2048)


@pytest.mark.parametrize("part", [TEXT, IMAGE])
def test_round_trip(part: str) -> None:
    values = METADATA.to_map(part)
    assert all(isinstance(value, str) for value in values.values())
    assert DetectorMetadata.from_map(values, part, path="x.onnx") == METADATA


@pytest.mark.parametrize("values", [{}, {"part": "segmenter-decoder"}, METADATA.to_map(TEXT)])
def test_the_file_of_another_thing(values: dict[str, str]) -> None:
    message = "x.onnx: expected the ONNX file of a detector-image, this one says '?"
    with pytest.raises(WeightsError, match=message):
        DetectorMetadata.from_map(values, IMAGE, path="x.onnx")


@pytest.mark.parametrize(
    "change", [{"side": "large"}, {"vocabulary": ""}, {"side": None}, {"name": None}]
)
def test_damaged(change: dict[str, str | None]) -> None:
    values = METADATA.to_map(TEXT) | change
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(WeightsError, match=r"x\.onnx: its metadata are damaged .*export it again"):
        DetectorMetadata.from_map(values, TEXT, path="x.onnx")
