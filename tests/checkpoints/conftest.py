from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoints.server import Site, serving
from perception.checkpoints import hub as fetch
from perception.checkpoints.catalog import WeightFile, WeightsEntry

WHOLE = bytes(range(256)) * 40


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(fetch, "_SECONDS_BETWEEN", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Site({"/sam.pth": WHOLE})) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights, empty; and the hub's cache is empty, too."""
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights"


@pytest.fixture
def sam(site: Site) -> WeightsEntry:
    """A model of one file behind an address."""
    file = WeightFile("sam.pth", len(WHOLE), sha256(WHOLE))
    return WeightsEntry("tiny-sam", "sam", "Apache-2.0", (file,), url=f"{site.url}/sam.pth")
