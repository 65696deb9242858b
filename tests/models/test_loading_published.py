"""Published models by name, from tiny ones with random weights, with the network blocked."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from detectors.published_tiny import saved
from fakes import drawing
from segmenters.published_tiny import build_sam2_video, save

import perception as pc
from perception.checkpoints import verify as checking
from perception.checkpoints.catalog import read_manifest
from perception.errors import DeviceError, MissingExtraError, PromptError, WeightsError
from perception.models import load as loading
from perception.models import names as parts


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights; the manifest knows no sizes, as the models in it are tiny."""
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    anything = {
        name: replace(entry, files=tuple(replace(file, size=0, sha256="") for file in entry.files))
        for name, entry in read_manifest().items()
        if not entry.is_embedded
    }
    monkeypatch.setattr(parts, "read_manifest", lambda: {**read_manifest(), **anything})
    return tmp_path / "weights"


@pytest.fixture
def dino(folder: Path) -> Path:
    return Path(shutil.copytree(saved("grounding-dino"), folder / "grounding-dino-tiny"))


@pytest.fixture
def sam2(folder: Path) -> Path:
    own = folder / "sam2.1-hiera-tiny"
    own.mkdir(parents=True)
    return save(build_sam2_video(), own)


def test_a_detector_and_a_segmenter(
    dino: Path, sam2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "grounding-dino-tiny+sam2.1-hiera-tiny"
    model = pc.load(name)
    assert (model.detector.name, model.segmenter.name) == tuple(name.split("+"))
    assert set(model.weights) == {
        "grounding-dino-tiny/model.safetensors",
        "sam2.1-hiera-tiny/model.safetensors",
    }
    pictures = [drawing(), drawing(64, 96)]
    together = model(pictures, "cat. dog", threshold=0.01)
    for found, picture in zip(together, pictures, strict=True):
        assert found.masks.shape == (len(found), *picture.shape[:2])
        alone = model(picture, "cat. dog", threshold=0.01)
        assert len(alone) == len(found)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
    assert model.segment(drawing(), points=[[20, 20]]).masks.shape[1:] == drawing().shape[:2]
    # What was read once isn't read again to check it.
    monkeypatch.setattr(checking, "sha256_of_file", lambda path: pytest.fail(f"read {path}"))
    assert pc.load(name).weights == model.weights


def test_a_folder_takes_the_place_of_a_name(dino: Path) -> None:
    model = pc.load(f"{dino}+nano")
    assert model.detector.name == "grounding-dino-tiny"
    assert model.segmenter.name == "nano"
    assert "grounding-dino-tiny/model.safetensors" in model.weights
    assert "nano-segmenter-encoder.onnx" in model.weights


def test_a_detector_alone(dino: Path) -> None:
    model = pc.load("grounding-dino-tiny")
    assert len(model.detect(drawing(), "cat", threshold=0.0))
    with pytest.raises(PromptError, match=r"boxes only .*grounding-dino-tiny\+sam-vit-b"):
        model.segment(drawing(), points=[[5, 5]])


def test_a_segmenter_alone(sam2: Path) -> None:
    model = pc.load("sam2.1-hiera-tiny")
    assert model.segment(drawing(), points=[[5, 5]]).image_hw == drawing().shape[:2]
    with pytest.raises(PromptError, match=r"reads no text.*grounding-dino-tiny\+sam2\.1-hiera"):
        model(drawing(), "cat")


def test_what_is_missing_is_said_before_anything_is_loaded(
    dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_detector", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(WeightsError, match=r"^sam-vit-b: not on this machine: run perception"):
        pc.load("grounding-dino-tiny+sam-vit-b")
    with pytest.raises(WeightsError, match=r"pull owlv2-base sam-vit-b \("):
        pc.load("owlv2-base+sam-vit-b")


def test_a_wrong_file_under_a_right_name(dino: Path) -> None:
    (dino / "model.safetensors").write_bytes(b"<!DOCTYPE html><html>")
    with pytest.raises(WeightsError, match=r"model\.safetensors: it is a web page.*pull") as caught:
        pc.load("grounding-dino-tiny")
    assert "\n" not in str(caught.value)


def test_the_published_sha256_is_insisted_on(dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "read_manifest", read_manifest)
    with pytest.raises(WeightsError, match=r"not the published file: .* expected 689,359,096"):
        pc.load("grounding-dino-tiny")


def test_without_torch(dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'perception-masks\[torch\]'"):
        pc.load("grounding-dino-tiny")
    assert pc.load("nano").segmenter.name == "nano"


def test_devices_and_precisions(dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("tpu", "cuda:x", "CUDA"):
        with pytest.raises(DeviceError, match="a device is auto, cpu, cuda, cuda:N or mps, got"):
            pc.load("grounding-dino-tiny", device=device)
    with pytest.raises(DeviceError, match="a precision is one of auto, fp32, bf16, fp16, got"):
        pc.load("grounding-dino-tiny", precision="int8")
    with pytest.raises(DeviceError, match="nano computes in fp32"):
        pc.load("nano", precision="bf16")
    assert pc.load("nano", device="cpu", precision="fp32").precision == "fp32"
    with pytest.raises(DeviceError, match=r"ONNX Runtime computes on cpu and cuda"):
        pc.load("nano", device="mps")
    model = pc.load("grounding-dino-tiny", precision="bf16", device="cpu", threads=1)
    assert model.info(text="")["precision"] == "bf16"
    assert "precision" not in pc.load("grounding-dino-tiny").info(text="")


@pytest.fixture
def computing() -> Iterator[set[int]]:
    """The counts of CPU threads with which any of torch's layers has computed since."""
    seen: set[int] = set()
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda *_: seen.add(torch.get_num_threads())
    )
    yield seen
    hook.remove()


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    """torch's CPU threads in a thread that hasn't computed yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.usefixtures("three_threads")
def test_threads_are_the_models_own(dino: Path, sam2: Path, computing: set[int]) -> None:
    models = {n: pc.load("grounding-dino-tiny+sam2.1-hiera-tiny", threads=n) for n in (1, 2, 0)}
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
    for threads, model in models.items():
        computing.clear()
        model(drawing(), "cat", threshold=0.01)
        assert computing == {threads or 3}
        model.segment(drawing(), points=[[20, 20]])
        model.detect([drawing(), drawing()], "cat")
        assert computing == {threads or 3}
        assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)


@pytest.mark.usefixtures("three_threads")
def test_threads_of_calls_side_by_side(dino: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that began first ends first, so that it alone would restore what the other sees."""
    model = pc.load("grounding-dino-tiny", threads=1)
    together, right = Barrier(2), model.detector._network.fuse  # type: ignore[attr-defined]

    def fuse(*given: object) -> object:
        together.wait(30)
        assert torch.get_num_threads() == 1
        return right(*given)

    monkeypatch.setattr(model.detector._network, "fuse", fuse)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(model.detect, drawing(), "cat") for _ in range(2)]
        assert all(len(call.result().boxes) >= 0 for call in calls)
        # In the threads that have computed as well.
        after = [pool.submit(lambda: (together.wait(30), torch.get_num_threads())) for _ in "ab"]
        assert [count for _, count in (one.result() for one in after)] == [3, 3]
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
