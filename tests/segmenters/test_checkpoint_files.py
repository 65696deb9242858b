from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.checkpoints.state_dict import INDEX, checkpoint_files
from perception.errors import WeightsError


def write_index(folder: Path, content: object) -> Path:
    path = folder / f"model.safetensors{INDEX}"
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_itself(tmp_path: Path) -> None:
    (tmp_path / "sam.pth").touch()
    assert checkpoint_files(tmp_path / "sam.pth") == [tmp_path / "sam.pth"]


def test_a_folder_gives_safetensors_before_pickles(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).touch()
        assert checkpoint_files(tmp_path) == [tmp_path / name]


def test_an_index_gives_each_shard_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    index = write_index(tmp_path, {"weight_map": {"x": "b", "y": "a", "z": "b"}})
    assert checkpoint_files(index) == [tmp_path / "a", tmp_path / "b"]
    assert checkpoint_files(tmp_path) == checkpoint_files(index)


def test_a_shard_may_be_a_link(tmp_path: Path) -> None:
    """As in the cache of huggingface_hub, whose files are links to a folder of blobs."""
    (tmp_path / "blob").touch()
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "blob")
    assert checkpoint_files(write_index(folder, {"weight_map": {"x": "a"}})) == [folder / "a"]


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "..",
        ".",
        "",
        "/etc/passwd",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
    ],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    write_index(folder, {"weight_map": {"x": name}})
    with pytest.raises(WeightsError, match=r"refused: the shard .* isn't the name of a file"):
        checkpoint_files(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight_map": {"x": "a", "y": "gone"}}, "its shard gone is missing: download it"),
        ({"weight_map": {}}, "no weight_map"),
        ({"metadata": {}}, "no weight_map"),
        ({"weight_map": ["a"]}, "no weight_map"),
        (["a"], "no weight_map"),
        ({"weight_map": {"x": 1}}, "names no files"),
        ({"weight_map": {"x": ["a"]}}, "names no files"),
    ],
)
def test_an_index_of_something_else(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "a").touch()
    index = write_index(tmp_path, content)
    with pytest.raises(WeightsError, match=message) as caught:
        checkpoint_files(tmp_path)
    assert str(caught.value).startswith(f"{index}: ")


@pytest.mark.parametrize("content", [b"", b'{"weight_map": {"x": "a"', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"pytorch_model.bin{INDEX}").write_bytes(content)
    with pytest.raises(WeightsError, match="a damaged index of shards") as caught:
        checkpoint_files(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(WeightsError, match="name the weight file itself") as caught:
        checkpoint_files(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}: a folder without weights: expected model.")


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such model file"):
        checkpoint_files(tmp_path / "sam")
