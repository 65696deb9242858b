from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.detectors.onnx_files import OMDET_TURBO, OWLV2, ClipMetadata, open_clip_files
from perception.errors import WeightsError

ABOUT = ClipMetadata(
    name="tiny",
    version="1",
    source="ab cd",
    side=960,
    limit=16,
    queries=3600,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    vocabulary="ef",
)


@pytest.mark.parametrize("part", [*OWLV2, *OMDET_TURBO])
def test_there_and_back(part: str) -> None:
    assert ClipMetadata.from_map(ABOUT.to_map(part), part, path="a.onnx") == ABOUT


def test_damaged_metadata() -> None:
    values = ABOUT.to_map(OWLV2[0]) | {"std": "a b c"}
    with pytest.raises(WeightsError, match="export it again"):
        ClipMetadata.from_map(values, OWLV2[0], path="a.onnx")


def test_files_that_are_no_graphs(tmp_path: Path) -> None:
    paths = [tmp_path / "a-text.onnx", tmp_path / "a-patches.onnx"]
    vocabulary = tmp_path / "a-vocab.json"
    vocabulary.write_text(json.dumps({"vocab": {}, "merges": []}))
    with pytest.raises(WeightsError, match=r"a-text\.onnx: no such model file"):
        open_clip_files(paths, OWLV2, vocabulary, threads=1, device="cpu")
    paths[0].write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"a-text\.onnx: not an ONNX model"):
        open_clip_files(paths, OWLV2, vocabulary, threads=1, device="cpu")
