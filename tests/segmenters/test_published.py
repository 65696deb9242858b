"""Loading published segmenters: each family through the same path, strictly, with no network."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from perception.errors import MissingExtraError, WeightsError
from perception.segmenters import load as published
from perception.segmenters.load import load_segmenter
from perception.segmenters.sam.network import Sam
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import ImageArray, Prompt

from .published_tiny import BUILDERS
from .tiny import build_tiny

Draw = Callable[[int, int], ImageArray]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(params=BUILDERS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: str, saved: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[family], tmp_path / "model"))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """The folder, its weights changed."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    return folder


def test_a_folder_becomes_a_segmenter(family: str, folder: Path, picture: Draw, capfd) -> None:
    segmenter = load_segmenter(family, str(folder), name=f"{family}-tiny")
    assert segmenter.name == f"{family}-tiny"
    decoded = segmenter.decode(segmenter.encode(picture(30, 40)), Prompt(points=[[3, 4]]))
    assert decoded.logits.shape == (1, 4, 16, 16)
    assert decoded.ambiguous
    assert capfd.readouterr() == ("", "")  # transformers would talk of bars and weights


def test_sam_goes_through_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Draw
) -> None:
    """The smallest published SAM takes 375 MB: a tiny one stands for what ``load_sam`` reads."""
    asked = []

    def load(path: object) -> Sam:
        asked.append(path)
        return build_tiny()

    monkeypatch.setattr(published, "load_sam", load)
    segmenter = load_segmenter("sam", tmp_path / "sam.pth", name="sam-vit-b", version="7")
    assert asked == [tmp_path / "sam.pth"]
    assert isinstance(segmenter, TorchSegmenter)
    assert segmenter.encode(picture(9, 9)).model == "sam-vit-b 7"


def test_an_unknown_family() -> None:
    with pytest.raises(ValueError, match="family is sam, sam-hq, sam2; got 'sam9'"):
        load_segmenter("sam9", "folder", name="x")


def test_a_missing_weight(family: str, folder: Path) -> None:
    changed(folder, lambda weights: weights.pop("mask_decoder.iou_token.weight"))
    with pytest.raises(WeightsError, match=r"missing: mask_decoder\.iou_token\.weight"):
        load_segmenter(family, folder, name="x")


def test_an_unknown_weight(family: str, folder: Path) -> None:
    changed(folder, lambda weights: weights.update(extra=torch.zeros(3)))
    with pytest.raises(WeightsError, match="unknown: extra"):
        load_segmenter(family, folder, name="x")


def test_a_weight_of_another_shape(family: str, folder: Path) -> None:
    changed(folder, lambda weights: weights.update({"no_memory_embedding": torch.zeros(1, 1, 5)}))
    what = "unknown" if family == "sam-hq" else "wrong shape"
    with pytest.raises(WeightsError, match=f"{what}: no_memory_embedding"):
        load_segmenter(family, folder, name="x")


def test_half_precision_weights_are_read(family: str, folder: Path, picture: Draw) -> None:
    changed(
        folder,
        lambda weights: weights.update({key: value.half() for key, value in weights.items()}),
    )
    segmenter: Any = load_segmenter(family, folder, name="x")
    dtypes = {value.dtype for value in segmenter._network.state_dict().values()}
    assert dtypes == {torch.float32}
    assert segmenter.encode(picture(9, 9)).features[0].dtype == "float32"


def test_a_folder_of_another_model(saved: dict[str, Path]) -> None:
    folder = saved["sam2"]
    with pytest.raises(WeightsError, match=r"the model is of type 'sam2', SAM-HQ is 'sam_hq'"):
        load_segmenter("sam-hq", folder, name="x")


def test_a_folder_without_a_configuration(family: str, folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"it has no config\.json: name the folder"):
        load_segmenter(family, folder, name="x")


def test_no_folder_at_all(family: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: it has no config\.json"):
        load_segmenter(family, tmp_path / "nowhere", name="x")


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"model_type": 7}', '{"model_type": [1]}'])
def test_a_configuration_that_is_none(family: str, folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"damaged|expected an object|is of type"):
        load_segmenter(family, folder, name="x")


def test_a_configuration_with_impossible_numbers(family: str, folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text())
    settings["mask_decoder_config"]["hidden_size"] = "many"
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"config\.json: can't be used: .*hidden_size"):
        load_segmenter(family, folder, name="x")


def test_a_mask_decoder_that_is_built_otherwise(family: str, folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text())
    settings["mask_decoder_config"]["num_multimask_outputs"] = 4
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"its weights don.t fit|num_multimask_outputs = 4"):
        load_segmenter(family, folder, name="x")


@pytest.mark.parametrize("content", [b"<html>", b"", b"\x00" * 99])
def test_a_weight_file_that_is_none(family: str, folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors: a damaged safetensors file"):
        load_segmenter(family, folder, name="x")


def test_transformers_without_the_family(
    family: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Sam2Model", "SamHQModel"):
        monkeypatch.setattr(transformers, name, None)
    with pytest.raises(MissingExtraError, match=r"has no Sam.*pip install --upgrade transformers"):
        load_segmenter(family, folder, name="x")


def test_an_unknown_precision(family: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="precision is one of fp32, bf16, fp16, got 'int4'"):
        load_segmenter(family, folder, name="x", precision="int4")
