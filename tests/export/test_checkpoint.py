from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from segmenters.tiny import add_noise, build_tiny

from perception.errors import ExportError, OutputError, WeightsError
from perception.models import export as checkpoint
from perception.models.export import export_checkpoint
from perception.segmenters.load import load_sam
from perception.segmenters.sam.export import export_int8_encoder
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.types import Prompt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that stands for a published checkpoint: no test should hold 375 MB."""
    torch.manual_seed(1)
    sam = build_tiny()
    add_noise(sam)
    path = tmp_path_factory.mktemp("checkpoint") / "sam_tiny.pth"
    torch.save(sam.state_dict(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perception.segmenters.load.BUILDERS", {32: build_tiny})
        yield path


@pytest.fixture(scope="module")
def with_int8(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What it is exported to, with int8 weights beside: it takes a while."""
    return export_checkpoint(str(tiny_checkpoint), tmp_path_factory.mktemp("int8"), int8=True)


def test_both_signatures_with_a_card_each(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    out.mkdir(parents=True)
    (out / "sam_tiny-encoder.onnx.1.perception.part").touch()  # Of one that was killed.
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


def test_an_encoder_with_int8_weights(with_int8: list[Path]) -> None:
    *fast, int8 = with_int8
    assert int8.name == "sam_tiny-encoder-int8.onnx"
    card = json.loads(int8.with_name(f"{int8.name}.json").read_text())
    assert 0.998 <= card["least_cosine_with_torch"] < 1
    assert card["weights"] == "int8"
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    plain, lighter = (OnnxSegmenter(encoder, *fast[1:]) for encoder in (fast[0], int8))
    want, have = plain.encode(image).features, lighter.encode(image).features
    assert 1e-6 < np.abs(have - want).max() < 0.2
    assert plain.decode(lighter.encode(image), Prompt(points=[[3, 4]])).logits.shape[1] == 4


def test_int8_weights_that_disagree_are_refused(
    tiny_checkpoint: Path, with_int8: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(with_int8[0], tmp_path)
    monkeypatch.setattr("perception.runtime.onnx_export.LEAST_COSINE", 2.0)
    with pytest.raises(
        ExportError, match=r"encoder-int8.onnx: .* a cosine of 0\.9.*at least 2.0 is wanted"
    ):
        export_int8_encoder(load_sam(tiny_checkpoint), tmp_path, prefix="sam_tiny")
    assert not list(tmp_path.glob("*int8*"))


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such"):
        export_checkpoint(str(tmp_path / "missing.pth"), tmp_path)


def test_a_folder_that_is_a_file(tiny_checkpoint: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        export_checkpoint(str(tiny_checkpoint), tiny_checkpoint)
