from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from segmenter.tiny import add_noise, build_tiny

from perception.errors import OutputError, WeightsError
from perception.export import checkpoint
from perception.export.checkpoint import export_checkpoint
from perception.segmenter.onnx import OnnxSegmenter


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for a published checkpoint: no test should hold 375 MB."""
    sam = build_tiny()
    add_noise(sam)
    path = tmp_path / "sam_tiny.pth"
    torch.save(sam.state_dict(), path)
    monkeypatch.setattr("perception.segmenter.load.BUILDERS", {32: build_tiny})
    return path


def test_both_signatures_with_a_card_each(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    files = export_checkpoint(str(tiny_checkpoint), out, signatures=checkpoint.SIGNATURES)
    names = ["encoder", "preparer", "decoder", "segment-anything-decoder"]
    assert [file.name for file in files] == [f"sam_tiny-{name}.onnx" for name in names]
    assert sorted(out.iterdir()) == sorted(
        [*files, *(file.with_name(f"{file.name}.json") for file in files)]
    )
    for file in files:
        card = json.loads(file.with_name(f"{file.name}.json").read_text())
        assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert card["bytes"] == file.stat().st_size
        assert card["opset"] == 18
        assert 0 <= card["largest_difference_from_torch"] <= card["allowed_difference"] == 1e-4
        assert card["made_from"] == "sam_tiny.pth"
        assert card["versions"]["torch"] == torch.__version__.split("+")[0]
    assert OnnxSegmenter(*files[:3]).name == "sam_tiny"


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such"):
        export_checkpoint(str(tmp_path / "missing.pth"), tmp_path)


def test_a_folder_that_is_a_file(tiny_checkpoint: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        export_checkpoint(str(tiny_checkpoint), tiny_checkpoint)
