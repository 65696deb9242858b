from __future__ import annotations

import json
from pathlib import Path

import pytest

from perception.checkpoints.installed import data_folder
from perception.errors import WeightsError
from perception.models.export import NANO, Source, find_source


def test_nano() -> None:
    assert find_source("nano") == Source("nano", "", data_folder() / NANO)
    assert find_source(f"runs/{NANO}") == Source("nano", "", Path("runs") / NANO)


def test_a_file_says_for_itself_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sam_tiny.pth"
    assert find_source(str(path)) == Source("sam_tiny", "", path)


@pytest.mark.parametrize(
    ("kind", "family"),
    [("mm-grounding-dino", "mm-grounding-dino"), ("sam", "sam"), ("gpt2", ""), (None, "")],
)
def test_a_folder_as_transformers_saves_it(tmp_path: Path, kind: str | None, family: str) -> None:
    folder = tmp_path / "model.v2"
    folder.mkdir()
    if kind is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    assert find_source(str(folder)) == Source("model.v2", family, folder)


def test_a_published_model_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="perception weights pull sam-vit-b"):
        find_source("sam-vit-b")
