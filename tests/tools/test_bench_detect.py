from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

import bench_detect
from bench_detect import CLASSES, Times, agreement, main, noise, read_classes, take_turns

from perception.prompts.grammar import parse
from tests.detectors import published_tiny

BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 20]], np.float32)


def test_boxes_agree_in_any_order() -> None:
    scores = np.array([[0.1, 0.9], [0.5, 0.2]], np.float32)
    assert agreement(BOXES, scores, BOXES[::-1]) == 1


def test_the_worst_of_the_best_boxes_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.array([[0.1, 0.9], [0.5, 0.2]], np.float32)
    assert agreement(BOXES, scores, BOXES[:1]) == pytest.approx(25 / 300)
    monkeypatch.setattr(bench_detect, "TOP", 1)
    assert agreement(BOXES, scores, BOXES[:1]) == 1


def test_calls_take_turns() -> None:
    calls: list[str] = []
    times = take_turns(lambda: calls.append("a"), lambda: calls.append("b"), runs=2)
    assert "".join(calls) == "ababab"
    assert [len(one.clock) for one in times] == [2, 2]
    assert Times([3.0, 1.0, 2.0], [0.5, 0.2]).typical == 2
    assert Times([3.0, 1.0, 2.0], [0.5, 0.2]).least_work == 0.2


def test_as_many_classes_as_lvis_has(tmp_path: Path) -> None:
    names = read_classes(None)
    assert len(names) == len(parse(names).phrases) == CLASSES
    path = tmp_path / "names.txt"
    path.write_text("traffic light\ndog")
    assert read_classes(path) == ["traffic light", "dog"]


def test_pictures_have_something_at_every_scale() -> None:
    picture = noise(70, 90, 0)
    assert picture.shape == (70, 90, 3)
    assert picture.std() > 20
    assert not np.array_equal(picture, noise(70, 90, 1))


@pytest.mark.slow
def test_a_run_on_a_tiny_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = tmp_path / "names.txt"
    classes.write_text("\n".join(published_tiny.unicode_names(12)))
    out = tmp_path / "rows.json"
    arguments = ["--folder", str(published_tiny.saved("grounding-dino")), "--size", "64x85"]
    arguments += ["--runs", "1", "--batch", "2", "--classes", str(classes), "--json", str(out)]
    main([*arguments, "--only", "vocabulary,batch"])
    said = capsys.readouterr().out
    assert "a pass after the first" in said
    rows = json.loads(out.read_text())
    assert [row["work"].split()[0] for row in rows] == ["12", "batch"]
    assert rows[0]["same"] > 0.98
