from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from export_nano import FILES, KEPT, manifest, published

from perception.checkpoints.catalog import read_manifest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, parts in FILES.items():
        for file_name in (*(f"{name}-{part}" for part in parts), *KEPT[name]):
            (tmp_path / file_name).write_bytes(file_name.encode())
    return tmp_path


def test_the_manifest_is_what_the_package_reads(folder: Path) -> None:
    text = manifest(folder)
    (folder / "manifest.toml").write_text(text, encoding="utf-8")
    entries = read_manifest(folder)
    assert entries["nano-segmenter"].everything == read_manifest()["nano-segmenter"].everything
    assert set(entries) == set(FILES)
    files = [file for entry in entries.values() for file in entry.files]
    assert len(files) == len(list(folder.iterdir())) - 1
    for file in files:
        data = (folder / file.name).read_bytes()
        assert file.size == len(data)
        assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert tomllib.loads(text)["models"]["nano-detector"]["licence"] == "Apache-2.0"


def test_published_models_stay_in_the_manifest(folder: Path) -> None:
    path = folder / "manifest.toml"
    assert published(path) == ""
    ours = (ROOT / "weights" / "manifest.toml").read_text("utf-8")
    path.write_text(ours, encoding="utf-8")
    path.write_text(f"{manifest(folder)}\n{published(path)}", encoding="utf-8")
    assert set(read_manifest(folder)) == set(read_manifest())
    assert ours.endswith(published(path))


def test_a_file_that_is_missing(folder: Path) -> None:
    (folder / "nano-detector-vocab.txt").unlink()
    with pytest.raises(FileNotFoundError):
        manifest(folder)
