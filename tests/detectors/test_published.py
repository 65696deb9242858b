"""Every family from its published format, strictly, and without a network."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import OmDetTurboConfig, OmDetTurboForObjectDetection

from perception.detectors.load import FAMILIES, load_detector
from perception.detectors.pretrained import _settings
from perception.errors import MissingExtraError, WeightsError
from perception.prompts.grammar import parse

from .published_tiny import pictures, saved


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may spoil; the smallest model."""
    return Path(shutil.copytree(saved("owlv2"), tmp_path / "owl"))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def put(weights: dict[str, torch.Tensor], folder: Path) -> None:
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = saved(family)
    capfd.readouterr()
    detector = load_detector(family, folder, name=f"{family}-tiny")
    assert detector.name == f"{family}-tiny"
    (found,) = detector.detect(pictures((64, 80)), parse("cat. dog"), threshold=0.0)
    assert len(found) > 0
    assert set(found.class_ids.tolist()) <= {0, 1}
    assert capfd.readouterr() == ("", "")  # transformers is talkative


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_family_in_half_precision(family: str, precision: str) -> None:
    detector = load_detector(family, saved(family), name="m", precision=precision)
    (found,) = detector.candidates(pictures((64, 80)), parse("cat. dog"), floor=0)
    assert len(found) > 0
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert np.isfinite(found.boxes).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_refuses_the_others(family: str) -> None:
    for other in FAMILIES:
        if other != family:
            with pytest.raises(WeightsError, match=f"holds a {other} model, not {family}"):
                load_detector(family, saved(other), name="m")


def test_an_unknown_family_or_precision(folder: Path) -> None:
    with pytest.raises(WeightsError, match='"grounding-dyno"; there are: grounding-dino'):
        load_detector("grounding-dyno", folder, name="m")
    with pytest.raises(ValueError, match="fp32, bf16, fp16, got 'int8'"):
        load_detector("owlv2", folder, name="m", precision="int8")


def test_a_missing_tensor(folder: Path) -> None:
    weights = weights_of(folder)
    del weights["class_head.dense0.bias"]
    put(weights, folder)
    with pytest.raises(WeightsError, match=r"missing: class_head\.dense0\.bias$"):
        load_detector("owlv2", folder, name="m")


def test_an_unknown_tensor(folder: Path) -> None:
    put({**weights_of(folder), "surplus.weight": torch.zeros(3)}, folder)
    with pytest.raises(WeightsError, match=r"unknown: surplus\.weight$"):
        load_detector("owlv2", folder, name="m")


def test_a_tensor_of_another_shape(folder: Path) -> None:
    weights = weights_of(folder)
    weights["class_head.dense0.bias"] = torch.zeros(7)
    put(weights, folder)
    with pytest.raises(
        WeightsError, match=r"wrong shape: class_head\.dense0\.bias \(7,\) instead of \(16,\)$"
    ):
        load_detector("owlv2", folder, name="m")


def test_many_faults_are_one_short_line(folder: Path) -> None:
    put({"one.weight": torch.zeros(3)}, folder)
    with pytest.raises(WeightsError, match=r"and \d+ more; unknown: one\.weight") as told:
        load_detector("owlv2", folder, name="m")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "missing: "),
        (b"\xff" * 100, "can't be loaded"),
    ],
)
def test_a_file_that_holds_something_else(folder: Path, content: bytes, why: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=why) as told:
        load_detector("owlv2", folder, name="m")
    assert "\n" not in str(told.value)


def test_half_a_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="can't be loaded"):
        load_detector("owlv2", folder, name="m")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
)
def test_a_file_that_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match="owl") as told:
        load_detector("owlv2", folder, name="m")
    assert "\n" not in str(told.value)


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"].update({f"word{k}": 1000 + k for k in range(9)})
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(WeightsError, match="tokenizer has 549 tokens, its network knows 540"):
        load_detector("owlv2", folder, name="m")


def test_pickles_are_not_read(folder: Path) -> None:
    """Even where they are safe to read, they are never what was published last."""
    torch.save(weights_of(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model\.safetensors: copy it there"):
        load_detector("owlv2", folder, name="m")


def test_no_code_of_the_folder_is_run(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    for name, key in (
        ("config.json", "AutoModelForZeroShotObjectDetection"),
        ("preprocessor_config.json", "AutoImageProcessor"),
        ("tokenizer_config.json", "AutoTokenizer"),
    ):
        settings = json.loads((folder / name).read_text())
        settings["auto_map"] = {key: ["evil.Evil", "evil.Evil"], "AutoConfig": "evil.Evil"}
        (folder / name).write_text(json.dumps(settings))
    load_detector("owlv2", folder, name="m")
    assert not (tmp_path / "ran").exists()


NAMED = {"backbone": "swin_tiny_patch4_window7_224", "use_timm_backbone": True}
KWARGS = {"out_indices": [1, 2, 3], "img_size": 64, "always_partition": True}


@pytest.mark.parametrize("old", [{}, {"use_pretrained_backbone": True}, {"backbone_config": None}])
@pytest.mark.parametrize(("kwargs", "size"), [(KWARGS, 64), (None, 640)])
def test_a_backbone_of_the_old_form_is_built_and_not_fetched(
    tmp_path: Path, old: dict[str, object], kwargs: dict[str, object] | None, size: int
) -> None:
    """transformers would ask the hub what the name stands for, even with all files at hand."""
    settings = {"model_type": "omdet-turbo", **NAMED, **old, "backbone_kwargs": kwargs}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config = OmDetTurboConfig.from_dict(_settings(OmDetTurboForObjectDetection, tmp_path))
    assert config.backbone_config.backbone == NAMED["backbone"]
    assert config.backbone_config.out_indices == [1, 2, 3]
    assert config.timm_kwargs == {"img_size": size, "always_partition": True}


@pytest.mark.parametrize(
    "backbone",
    [
        {"backbone": "microsoft/swin-tiny-patch4-window7-224"},
        {"backbone": "hf-hub:someone/something"},
        {"backbone": ["swin"]},
        {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf_hub:someone/else"}},
    ],
)
def test_a_backbone_from_elsewhere_is_refused(folder: Path, backbone: dict[str, object]) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **backbone}))
    with pytest.raises(WeightsError, match=r"config\.json: refused: its backbone"):
        load_detector("owlv2", folder, name="m")


@pytest.mark.slow
def test_the_published_omdet_turbo_has_a_backbone_of_timm(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    folder = Path(shutil.copytree(saved("omdet-turbo"), tmp_path / "omdet"))
    config = OmDetTurboConfig.from_pretrained(folder).to_dict()
    for key in ("backbone_config", "apply_layernorm_after_vision_backbone"):
        del config[key]
    config |= {**NAMED, "encoder_in_channels": [192, 384, 768]}
    OmDetTurboForObjectDetection(OmDetTurboConfig(**config)).save_pretrained(folder)
    for settings in ({}, {"backbone_config": None, **NAMED, "backbone_kwargs": KWARGS}):
        saved_settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**saved_settings, **settings}))
        detector = load_detector("omdet-turbo", folder, name="m")
        (found,) = detector.candidates(pictures((64, 80)), parse("cat. dog"), floor=0)
        assert len(found) > 0


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"model_type": 3}', "null"])
def test_a_configuration_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match="owl"):
        load_detector("owlv2", folder, name="m")


def test_a_folder_that_isnt_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such folder"):
        load_detector("owlv2", tmp_path / "nowhere", name="m")


def test_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"m needs .*perception-masks\[torch\]"):
        load_detector("owlv2", folder, name="m")


def test_half_precision_weights_are_read_as_float32(folder: Path) -> None:
    weights = weights_of(folder)
    put(
        {key: one.half() if one.is_floating_point() else one for key, one in weights.items()},
        folder,
    )
    detector = load_detector("owlv2", folder, name="m")
    assert next(detector._network.parameters()).dtype == torch.float32
