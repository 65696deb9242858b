"""What SAM 3's tests share: the tiny network, its folder, the model, an image; no network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perception.sam3.model import Sam3, load_sam3
from perception.types import ImageArray

from .sam3_tiny import build_sam3, save_sam3


@pytest.fixture(autouse=True)
def _small_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, no gradients, and nothing that can be reached."""

    def refuse(*_: object) -> None:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def network() -> Any:
    return build_sam3()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="session")
def sam3(saved: Path) -> Sam3:
    return load_sam3(saved, name="tiny-sam3", version="1")


@pytest.fixture(scope="session")
def image() -> ImageArray:
    return np.random.default_rng(0).integers(0, 255, (37, 91, 3), np.uint8)
