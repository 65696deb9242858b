"""The check of published checkpoints, on answers that are made up."""

from __future__ import annotations

from pathlib import Path

import check_published as tool
import numpy as np
import pytest
from check_published import DETECTORS, SEGMENTERS, Boxes, Qualities

import perception as pc
from perception.checkpoints.catalog import read_manifest


def answers(*rows: tuple[str, float, tuple[float, ...]]) -> pc.Instances:
    labels, scores, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    classes = tuple(dict.fromkeys(labels)) or ("a cat",)
    return pc.Instances(
        image_hw=(480, 640),
        classes=classes,
        boxes=np.float32(boxes).reshape(-1, 4),
        scores=np.float32(scores),
        class_ids=np.array([classes.index(label) for label in labels], np.int64),
    )


@pytest.mark.parametrize("name", DETECTORS)
def test_the_published_answers_agree_with_themselves(name: str) -> None:
    wanted = DETECTORS[name]
    found = answers(*wanted.rows)
    assert [one.differs for one in tool.compare_boxes(found, wanted)] == [""] * len(wanted.rows)
    assert name in read_manifest()
    assert set(SEGMENTERS) <= set(read_manifest())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a cat", 0.5, (10, 10, 50, 50)), ""),
        (("a cat", 0.52, (10, 10, 50, 50.5)), ""),
        (("a cat", 0.3, (10, 10, 50, 50)), "score 0.300, expected 0.500"),
        (("a cat", 0.5, (10, 10, 30, 50)), "no such box, the nearest has an IoU of 0.50"),
        (("a dog", 0.5, (10, 10, 50, 50)), "no such box, the nearest has an IoU of 0.00"),
    ],
)
def test_boxes(row: tuple[str, float, tuple[float, ...]], message: str) -> None:
    wanted = Boxes(["a cat"], 0.3, (("a cat", 0.5, (10, 10, 50, 50)),))
    (verdict,) = tool.compare_boxes(answers(row), wanted)
    assert verdict.differs == message


def test_nothing_found_and_scores_of_the_best_token() -> None:
    wanted = Boxes(["a cat"], 0.3, (("a cat", 0.5, (10, 10, 50, 50)),), best_token=True)
    (verdict,) = tool.compare_boxes(answers(), wanted)
    assert "no such box" in verdict.differs
    for score, agrees in ((0.3, True), (0.2, False), (0.6, False)):
        (verdict,) = tool.compare_boxes(answers(("a cat", score, (10, 10, 50, 50))), wanted)
        assert (verdict.differs == "") is agrees


def test_qualities_in_any_order() -> None:
    wanted = Qualities("car.png", pc.Prompt(points=[(1, 1)]), (0.1, 0.5, 0.9))
    assert not tool.compare_qualities(np.float32([0.9, 0.105, 0.5]), wanted).differs
    assert "expected [0.1, 0.5, 0.9]" in tool.compare_qualities(np.ones(3), wanted).differs


def test_nothing_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("sys.argv", ["check_published.py"])
    assert tool.main() == 1
    assert "no published model is here" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["check_published.py", "sam-vit-b"])
    assert tool.main() == 1
    assert "run perception weights pull sam-vit-b" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
