from __future__ import annotations

import pytest

from perception.errors import WeightsError
from perception.segmenters.sam.onnx import DECODER, ENCODER, PREPARER, SegmenterMetadata

NANO = SegmenterMetadata("nano-segmenter", "1", 320, (96, 40, 40))


@pytest.mark.parametrize("part", [ENCODER, PREPARER, DECODER])
def test_there_and_back(part: str) -> None:
    assert SegmenterMetadata.from_map(NANO.to_map(part), part, path="a.onnx") == NANO
    assert NANO.mask_size == 160


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part": DECODER}, "expected the ONNX file of a segmenter-encoder.*'segmenter-decoder'"),
        ({"side": "big"}, "metadata are damaged"),
        ({"embedding": "96x40"}, "metadata are damaged"),
    ],
)
def test_another_file_is_refused(change: dict[str, str], message: str) -> None:
    values = NANO.to_map(ENCODER) | change
    with pytest.raises(WeightsError, match=message):
        SegmenterMetadata.from_map(values, ENCODER, path="a.onnx")


@pytest.mark.parametrize("key", ["part", "name", "version", "side", "embedding"])
def test_every_entry_is_needed(key: str) -> None:
    values = NANO.to_map(ENCODER)
    del values[key]
    with pytest.raises(WeightsError):
        SegmenterMetadata.from_map(values, ENCODER, path="a.onnx")
