from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from perception.checkpoints.state_dict import read_state_dict
from perception.errors import WeightsError
from perception.segmenters.load import build_with_weights, load_nano, load_sam
from perception.segmenters.sam.network import Sam, build_nano, build_nano2, build_sam_vit_b

from .tiny import build_tiny


class Evil:
    """Unpickling this would make a folder."""

    def __init__(self, folder: Path | str = "") -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def checkpoint(tiny: Sam, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(tiny.state_dict(), path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_back_unchanged(tiny: Sam, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tiny{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny.state_dict(), path)
    sam = build_with_weights(build_tiny, read_state_dict(path), path)
    assert not sam.training
    for key, value in tiny.state_dict().items():
        assert torch.equal(sam.state_dict()[key], value)


def test_half_precision_weights_become_float32(tiny: Sam) -> None:
    half = {key: value.half() for key, value in tiny.state_dict().items()}
    sam = build_with_weights(build_tiny, half, "half.pth")
    assert {value.dtype for value in sam.state_dict().values()} == {torch.float32}


def test_nano_weights_are_read_for_any_side(tmp_path: Path) -> None:
    nano = build_nano(64)
    save_file(nano.state_dict(), tmp_path / "nano.safetensors")
    again = load_nano(tmp_path / "nano.safetensors", side=96)
    assert again.side == 96
    assert again.encode(torch.zeros(1, 3, 96, 96)).shape == (1, 96, 12, 12)


def test_the_second_generation_is_known_by_its_trunk(tmp_path: Path) -> None:
    nano = build_nano2(64)
    save_file(nano.state_dict(), tmp_path / "nano.safetensors")
    again = load_nano(tmp_path / "nano.safetensors", side=64)
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(again.encode(pixels), nano.encode(pixels))
    assert again.embedding_shape == (192, 8, 8)


def test_a_published_network_is_known_by_its_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Sam
) -> None:
    monkeypatch.setattr("perception.segmenters.load.BUILDERS", {32: build_tiny})
    torch.save(tiny.state_dict(), tmp_path / "sam.pth")
    assert load_sam(tmp_path / "sam.pth").side == 64


def test_another_width_is_refused(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match="width 32; the published ones are 768, 1024, 1280"):
        load_sam(checkpoint)


def test_every_fault_is_named_in_one_line(tiny: Sam) -> None:
    weights = tiny.state_dict()
    del weights["mask_decoder.iou_token.weight"], weights["image_encoder.neck.0.weight"]
    weights["mask_decoder.hf_token.weight"] = torch.zeros(1)
    weights["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 7)
    with pytest.raises(WeightsError) as caught:
        build_with_weights(build_tiny, weights, "some.pth")
    assert str(caught.value) == (
        "some.pth: its weights don't fit the network: "
        "missing: image_encoder.neck.0.weight, mask_decoder.iou_token.weight; "
        "unknown: mask_decoder.hf_token.weight; "
        "wrong shape: prompt_encoder.no_mask_embed.weight (1, 7) instead of (1, 32)"
    )


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 375042383\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sam.pth", b"", "the file is empty"),
        ("sam.pth", b"<!DOCTYPE html><html></html>", "it is a web page"),
        ("sam.pth", b"just some text, no weights", "not a checkpoint|a damaged checkpoint"),
        ("sam.pth", bytes(range(256)) * 8, "not a checkpoint|a damaged checkpoint"),
        ("sam.pth", pickle.dumps(Evil()), "not a checkpoint"),
        ("sam.pth", LFS, "it is a pointer of Git LFS"),
        ("sam.safetensors", b"", "a damaged safetensors file: the file is empty"),
        ("sam.safetensors", b"<!DOCTYPE html><html></html>", "it is a web page"),
        ("sam.safetensors", LFS, "it is a pointer of Git LFS"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_sam(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, tiny: Sam, suffix: str, kept: float) -> None:
    path = tmp_path / f"sam{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match=r"damaged|not a checkpoint") as caught:
        load_sam(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sam.pth", "pytorch_model.bin"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, name: str, is_zip: bool) -> None:
    evil = {"weights": Evil(tmp_path / "ran")}
    torch.save(evil, tmp_path / name, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="refused: it holds Python objects"):
        load_sam(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / name, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


class Doubles(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.mark.parametrize("name", ["sam.pth", "sam.pt", "pytorch_model.bin"])
def test_a_torchscript_archive_is_refused_without_unsafe_advice(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.save(torch.jit.script(Doubles()), tmp_path / name)
        warnings.simplefilter("error")
        with pytest.raises(WeightsError) as caught:
            load_sam(tmp_path / name)
    message = str(caught.value)
    assert "refused: it is a TorchScript archive" in message
    assert "state_dict()" in message
    assert "weights_only" not in message
    assert "\n" not in message


def test_torch_s_advice_to_run_code_is_never_passed_on(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise RuntimeError("Re-running torch.load with weights_only=False may succeed")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(WeightsError, match="can't read it as tensors alone"):
        load_sam(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected named tensors, got dict"),
        ([1, 2], "expected named tensors, got list"),
        ({"model": {"a": torch.zeros(1)}, "epoch": 3}, "something else: model, epoch"),
        ({1: torch.zeros(1)}, "something else: 1$"),
        (dict.fromkeys("abcdefg", 1), "something else: a, b, c, d, e and 2 more$"),
        ({"encoder.weight": torch.zeros(1)}, "has no image_encoder.pos_embed.*encoder.weight"),
        ({"image_encoder.pos_embed": torch.zeros(())}, "a SAM network of width 0"),
    ],
)
def test_a_checkpoint_of_something_else(tmp_path: Path, content, message: str) -> None:
    torch.save(content, tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match=message):
        load_sam(tmp_path / "sam.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such model file"):
        load_sam(tmp_path / "sam.pth")


@pytest.mark.parametrize("kept", [1, 10, 40, 100, 1000, -1])
def test_a_truncated_file_of_the_old_format(tmp_path: Path, tiny: Sam, kept: int) -> None:
    """Before torch 1.6: pickles one after the other, which fail in many ways."""
    path = tmp_path / "pytorch_model.bin"
    torch.save(tiny.state_dict(), path, _use_new_zipfile_serialization=False)
    assert read_state_dict(path).keys() == tiny.state_dict().keys()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"damaged|not a checkpoint") as caught:
        load_sam(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=r"tiny\.pth: can't be read: Permission denied"):
        load_sam(checkpoint)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a folder without weights"):
        load_sam(tmp_path)


def test_many_faults_are_shortened(tiny: Sam) -> None:
    with pytest.raises(WeightsError, match=r"missing: (\S+, ){4}\S+ and \d+ more; unknown: a$"):
        build_with_weights(build_tiny, {"a": torch.zeros(1)}, "some.pth")


def test_the_weights_of_another_model_are_no_nano(checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing: image_encoder\.stem"):
        load_nano(checkpoint)


def test_building_on_the_meta_device_leaves_nothing_there(tiny: Sam) -> None:
    sam = build_with_weights(build_tiny, tiny.state_dict(), "tiny.pth")
    assert not [k for k, v in sam.state_dict().items() if v.is_meta]
    assert not [b for b in sam.buffers() if b.is_meta]


def test_the_published_width_is_built_in_full() -> None:
    with torch.device("meta"):
        assert build_sam_vit_b().state_dict()["image_encoder.pos_embed"].shape[-1] == 768
