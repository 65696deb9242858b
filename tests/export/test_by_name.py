"""``perception export NAME`` where the name's files won't do; ``test_owlv2`` exports by name."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from perception.cli.commands import status
from tests.detectors import published_tiny

NAME = "owlv2-base"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights, with a tiny model in the place of the published one."""
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    shutil.copytree(published_tiny.saved("owlv2"), tmp_path / "weights" / NAME)
    return tmp_path / "weights"


def test_another_file_than_the_published_one(
    weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert status(["export", NAME, "--out", str(tmp_path / "out")]) == 1
    (said,) = capfd.readouterr().err.splitlines()
    assert "model.safetensors: not the published file" in said
    assert "expected 619,918,824" in said
    assert not list((tmp_path / "out").glob("*"))


def test_a_model_that_is_not_here(
    weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (weights / NAME / "model.safetensors").unlink()
    assert status(["export", NAME, "--out", str(tmp_path / "out")]) == 1
    (said,) = capfd.readouterr().err.splitlines()
    assert f"perception weights pull {NAME}" in said
