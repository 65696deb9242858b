"""What a model's name stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.checkpoints.catalog import Role
from perception.errors import WeightsError
from perception.models.names import EXPORTED, find_parts, known_names, with_exported_segmenter


def names(name: str) -> list[str]:
    return [part.name for part in find_parts(name)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("nano", ["nano-detector", "nano-segmenter"]),
        ("base", ["grounding-dino-tiny", "sam-vit-b"]),
        ("sam3", ["sam3"]),
        ("nano+sam-vit-b", ["nano-detector", "sam-vit-b"]),
        ("sam-vit-b+nano", ["nano-detector", "sam-vit-b"]),
        ("owlv2-base+nano", ["owlv2-base", "nano-segmenter"]),
        (" owlv2-base + sam-hq-vit-l ", ["owlv2-base", "sam-hq-vit-l"]),
        ("sam-hq-vit-l+owlv2-base", ["owlv2-base", "sam-hq-vit-l"]),
        ("sam2.1-hiera-tiny", ["sam2.1-hiera-tiny"]),
        ("owlv2-large", ["owlv2-large"]),
    ],
)
def test_names(name: str, wanted: list[str]) -> None:
    assert names(name) == wanted


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grounding-dino-tinny", "did you mean grounding-dino-tiny or"),
        ("bass", "did you mean base"),
        ("qqqqqqqq", "there are: base, .*sam3$"),
        ("", 'no model is called ""'),
        ("owlv2-base+", 'no model is called ""'),
        ("owlv2-base+llmdet-tiny", "owlv2-base is a detector, llmdet-tiny is a detector"),
        ("sam3+sam-vit-b", "sam3 is a detector and segmenter"),
        ("nano+nano", "one detector and one segmenter"),
        ("owlv2-base+sam-vit-b+nano", "one detector and one segmenter"),
        ("/nowhere/model.pth", r"^/nowhere/model\.pth: no such file or folder"),
        ("nano+checkpoint.pth", r"^checkpoint\.pth: no such file or folder"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        find_parts(name)
    assert "\n" not in str(caught.value)


def test_every_known_name_is_one() -> None:
    for name in known_names():
        assert find_parts(name)


def save(folder: Path, kind: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return folder


def test_paths(tmp_path: Path) -> None:
    dino = save(tmp_path / "mine+more" / "dino", "grounding-dino")
    sam = tmp_path / "sam_vit_b.pth"
    sam.write_bytes(b"PK")
    (part,) = find_parts(str(dino))
    assert (part.name, part.family, part.role) == ("dino", "grounding-dino", Role.DETECTOR)
    assert part.path == dino
    (part,) = find_parts(str(sam))
    assert (part.name, part.family, part.role) == ("sam_vit_b", "sam", Role.SEGMENTER)
    exported = tmp_path / "exported"
    exported.mkdir()
    (exported / "sam-encoder.onnx").write_bytes(b"")
    detector, segmenter = find_parts(f"owlv2-base+{exported}")
    assert (detector.name, segmenter.family) == ("owlv2-base", EXPORTED)
    (exported / "dino-fusion.onnx").write_bytes(b"")
    both = find_parts(str(exported))
    assert [(part.family, part.role) for part in both] == [
        (EXPORTED, Role.DETECTOR),
        (EXPORTED, Role.SEGMENTER),
    ]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("nano", ["nano-detector"]),
        ("base", ["grounding-dino-tiny"]),
        ("owlv2-base", ["owlv2-base"]),
        ("sam3", ["sam3"]),
        ("sam-vit-b", []),
    ],
)
def test_an_exported_segmenter_takes_the_place(tmp_path: Path, name: str, kept: list[str]) -> None:
    *others, last = with_exported_segmenter(find_parts(name), tmp_path)
    assert [part.name for part in others] == kept
    assert (last.family, last.role, last.path) == (EXPORTED, Role.SEGMENTER, tmp_path)


def test_a_folder_with_the_name_of_a_model_is_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "nano", "llama")
    save(tmp_path / "sam-vit-b", "llama")
    assert names("nano+sam-vit-b") == ["nano-detector", "sam-vit-b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "a folder without a model: expected config.json"),
        ({"config.json": '{"model_type": "llama"}'}, "says llama, which isn't supported"),
        ({"config.json": "<html>"}, "a folder without a model"),
        ({"config.json": "[1]"}, "a folder without a model"),
    ],
)
def test_folders_without_a_model(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(WeightsError, match=message):
        find_parts(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("page.pth", b"<!DOCTYPE html>", "it is a web page"),
        ("empty.pth", b"", "the file is empty"),
        ("lfs.pth", b"version https://git-lfs.github.com/spec/v1", "with git lfs pull$"),
        ("photo.jpg", b"\xff\xd8", r"not a checkpoint \(\.pth"),
    ],
)
def test_files_without_a_model(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        find_parts(str(tmp_path / name))
