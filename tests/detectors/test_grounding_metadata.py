from __future__ import annotations

import pytest

from perception.detectors.grounding_dino.onnx import PARTS, GroundingMetadata
from perception.errors import WeightsError

ABOUT = GroundingMetadata(
    name="tiny",
    version="1",
    source="ab cd",
    limit=256,
    queries=900,
    window=7,
    extra=1,
    shortest=800,
    longest=1333,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    vocabulary=30522,
    lower_case=True,
)


@pytest.mark.parametrize("part", PARTS)
def test_there_and_back(part: str) -> None:
    assert GroundingMetadata.from_map(ABOUT.to_map(part), part, path="a.onnx") == ABOUT


def test_the_file_of_another_thing() -> None:
    with pytest.raises(WeightsError, match=r"a\.onnx: expected .* grounding-text, .*'nothing'"):
        GroundingMetadata.from_map({}, "grounding-text", path="a.onnx")


@pytest.mark.parametrize(
    ("key", "value"), [("limit", "many"), ("mean", "0.1 0.2"), ("lower_case", "maybe")]
)
def test_damaged_metadata(key: str, value: str) -> None:
    values = ABOUT.to_map("grounding-text") | {key: value}
    with pytest.raises(WeightsError, match="export it again"):
        GroundingMetadata.from_map(values, "grounding-text", path="a.onnx")
