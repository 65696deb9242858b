"""Bringing a model in from files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkpoints.conftest import WHOLE, sha256
from perception.checkpoints import importing
from perception.checkpoints.catalog import WeightFile, WeightsEntry
from perception.checkpoints.importing import import_model
from perception.checkpoints.installed import find
from perception.checkpoints.lock import read_lock
from perception.checkpoints.verify import check
from perception.errors import WeightsError

SAM = WeightsEntry(
    "sam-vit-b",
    "sam",
    "Apache-2.0",
    (WeightFile("sam_vit_b_01ec64.pth", len(WHOLE), sha256(WHOLE)),),
    url="https://example.com/sam_vit_b_01ec64.pth",
)
FOLDER = (
    WeightFile("config.json"),
    WeightFile("vocab.txt", optional=True),
    WeightFile("model.safetensors", 7),
)
DINO = WeightsEntry("dino", "grounding-dino", "Apache-2.0", FOLDER, hub="people/dino-hub")
OTHER = WeightsEntry("other", "grounding-dino", "Apache-2.0", FOLDER, hub="people/other")
MANIFEST = {entry.name: entry for entry in (SAM, DINO, OTHER)}


@pytest.fixture(autouse=True)
def manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "read_manifest", lambda: MANIFEST)
    monkeypatch.setattr(importing, "find_entry", lambda name: MANIFEST[name])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(WHOLE)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder as it was downloaded elsewhere, with more in it than is needed."""
    folder = tmp_path / "dino-hub"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "grounding-dino"}')
    (folder / "model.safetensors").write_bytes(b"tensors")
    (folder / "README.md").write_text("read me")
    return folder


def test_a_file_by_its_name(folder: Path, checkpoint: Path) -> None:
    steps: list[int] = []
    entry, installed = import_model(checkpoint, step=steps.append)
    assert entry is SAM
    assert installed.files["sam_vit_b_01ec64.pth"].read_bytes() == WHOLE
    assert checkpoint.exists()
    assert sum(steps) == len(WHOLE)
    assert find(SAM) == installed
    assert os.listdir(folder / "sam-vit-b") == ["sam_vit_b_01ec64.pth"]
    assert read_lock(folder)["sam-vit-b"].files["sam_vit_b_01ec64.pth"].sha256 == sha256(WHOLE)


def test_a_file_by_its_size(folder: Path, checkpoint: Path) -> None:
    renamed = checkpoint.rename(checkpoint.with_name("checkpoint (1).pth"))
    entry, installed = import_model(renamed)
    assert entry is SAM
    assert installed.files["sam_vit_b_01ec64.pth"].name == "sam_vit_b_01ec64.pth"


def test_a_folder_by_its_name(folder: Path, saved: Path) -> None:
    entry, installed = import_model(saved)
    assert entry is DINO
    assert sorted(installed.files) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(folder / "dino")) == ["config.json", "model.safetensors"]
    check(DINO, installed)


def test_a_folder_that_is_already_in_its_place(folder: Path, saved: Path) -> None:
    folder.mkdir()
    there = saved.rename(folder / "dino")
    entry, installed = import_model(there)
    assert entry is DINO
    assert installed.files["model.safetensors"].read_bytes() == b"tensors"


def test_a_folder_that_could_be_several(folder: Path, saved: Path) -> None:
    renamed = saved.rename(saved.with_name("download"))
    with pytest.raises(WeightsError, match=r"which model.*--as, one of dino, other$"):
        import_model(renamed)
    entry, _ = import_model(renamed, name="other")
    assert entry is OTHER


def test_another_model_under_a_right_name(folder: Path, saved: Path) -> None:
    (saved / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match=r"says llama, and dino is grounding-dino: another"):
        import_model(saved)
    assert not (folder / "dino").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!doctype html>", "it is a web page"),
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a pointer of Git LFS"),
        (WHOLE[::-1], "sha256 .*, expected"),
        (WHOLE[:-1], "10,239 bytes, expected 10,240"),
    ],
)
def test_a_wrong_file_under_a_right_name(
    folder: Path, checkpoint: Path, data: bytes, message: str
) -> None:
    checkpoint.write_bytes(data)
    with pytest.raises(WeightsError, match=rf"not the published file: {message}") as caught:
        import_model(checkpoint)
    assert "\n" not in str(caught.value)
    assert find(SAM) is None


def test_what_is_missing(folder: Path, saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"dino needs model\.safetensors, which isn't in"):
        import_model(saved)
    with pytest.raises(WeightsError, match="no such file or folder"):
        import_model(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"dino is a folder of files \(config\.json"):
        import_model(saved / "README.md", name="dino")
    with pytest.raises(WeightsError, match="which model this is can't be told"):
        import_model(saved / "README.md")
    (tmp_path / "page.pth").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match=r"it is a web page.*download the file itself"):
        import_model(tmp_path / "page.pth")


def test_a_file_that_differs_from_the_first(folder: Path, saved: Path) -> None:
    import_model(saved)
    (saved / "config.json").write_text('{"model_type": "grounding-dino", "more": 1}')
    with pytest.raises(WeightsError, match=r'recorded first.*delete \[models\."dino"\]'):
        import_model(saved)
