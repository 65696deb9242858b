from __future__ import annotations

import json
import sys
from pathlib import Path

import make_scenes
import numpy as np
import pytest
from make_scenes import draw_set
from measure_scenes import load_truth
from PIL import Image
from scenes.scene import Painter, Style

from perception.ops.masks import rle_to_mask
from perception.types import Rle


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        make_scenes, "SETS", {"few": (3, Style(things=(3, 5))), "none": (0, Style())}
    )
    monkeypatch.setattr(make_scenes, "SIZES", ((60, 80), (80, 60)))


def test_a_set_and_its_truth(painter: Painter, tmp_path: Path) -> None:
    entries = draw_set(painter, "few", tmp_path, 0)
    assert [entry["file_name"] for entry in entries] == [f"few-00{k}.webp" for k in range(3)]
    for entry in entries:
        with Image.open(tmp_path / entry["file_name"]) as image:
            assert image.size == tuple(entry["image_hw"][::-1])
        assert len(entry["absent"]) == 20
        masks = [
            rle_to_mask(Rle(tuple(entry["image_hw"]), thing["rle"])) for thing in entry["things"]
        ]
        assert all(mask.any() for mask in masks)
        assert np.sum(masks, axis=0).max() <= 1  # what is in front hides what is behind


def test_a_set_follows_from_its_seed(painter: Painter, tmp_path: Path) -> None:
    sets = [draw_set(painter, "few", tmp_path, seed) for seed in (0, 0, 1)]
    assert sets[0] == sets[1]
    assert sets[0] != sets[2]
    assert draw_set(painter, "none", tmp_path, 0) == []


def test_writes_what_is_measured(
    painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_scenes.py", "--out", str(tmp_path / "new" / "scenes")])
    make_scenes.main()
    truth = load_truth(tmp_path / "new" / "scenes")
    assert {name: len(entries) for name, entries in truth.items()} == {"few": 3, "none": 0}
    assert all(len(thing["box"]) == 4 for entry in truth["few"] for thing in entry["things"])
    lines = (tmp_path / "new" / "scenes" / "truth.json").read_text("utf-8").splitlines()
    assert sum('"file_name"' in line for line in lines) == 3
    assert json.loads("".join(lines)).keys() == truth.keys()
    assert "3 scenes" in capsys.readouterr().out
