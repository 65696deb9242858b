from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure_scenes import FLOOR, SAMPLE, Figures, load_truth, match, measure, table
from scenes.glyphs import load_concepts

from perception.instances import Instances
from perception.ops.masks import window_to_rle
from perception.types import Rle

ENTRY: dict[str, Any] = {
    "things": [
        {"phrase": "cat", "box": [0, 0, 10, 10]},
        {"phrase": "cat", "box": [20, 0, 30, 10]},
        {"phrase": "dog", "box": [0, 20, 10, 30]},
    ]
}
CATS = [[0, 0, 10, 10], [20, 0, 30, 10]]
DOG = [0, 20, 10, 30]


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "want"),
    [
        ([*CATS, DOG], ["cat", "cat", "dog"], [0.9, 0.8, 0.7], (3, 0, 0)),
        ([], [], [], (0, 0, 3)),
        ([*CATS, DOG], ["cat", "cat", "dog"], [0.9, 0.8, 0.2], (2, 0, 1)),  # below the threshold
        ([CATS[0], CATS[0]], ["cat", "cat"], [0.9, 0.8], (1, 1, 2)),  # found twice
        ([DOG], ["cat"], [0.9], (0, 1, 3)),  # the right box, another name
        ([CATS[0]], ["cow"], [0.9], (0, 1, 3)),
        ([[0, 0, 10, 5]], ["cat"], [0.9], (1, 0, 2)),  # IoU 0.5 is enough
        ([[0, 0, 10, 4.9]], ["cat"], [0.9], (0, 1, 3)),
    ],
)
def test_match(boxes, labels, scores, want: tuple[int, int, int]) -> None:
    found = np.array(boxes, np.float32).reshape(-1, 4)
    assert match(ENTRY, found, np.array(scores, np.float32), labels, 0.3) == want


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    """Six of the scenes that travel with the tests."""
    return load_truth(SAMPLE)["plain"][:6]


Bend = Callable[[Instances, dict[str, Any]], Instances]


@dataclass
class Oracle:
    """In a model's place: reads the answer from the truth, and ``bend`` spoils it."""

    entries: list[dict[str, Any]]
    bend: Bend

    def __call__(self, path: Path, prompt: list[str], *, threshold: float) -> Instances:
        assert path.is_file()
        assert threshold == FLOOR
        (entry,) = (entry for entry in self.entries if entry["file_name"] == path.name)
        things = entry["things"]
        assert set(prompt) == {*(thing["phrase"] for thing in things), *entry["absent"]}
        hw = (entry["image_hw"][0], entry["image_hw"][1])
        found = Instances(
            hw,
            tuple(prompt),
            np.array([thing["box"] for thing in things], np.float32).reshape(-1, 4),
            np.full(len(things), 0.9, np.float32),
            np.array([prompt.index(thing["phrase"]) for thing in things], np.int64),
            tuple(Rle(hw, thing["rle"]) for thing in things),
        )
        return self.bend(found, entry)


def nothing(found: Instances, entry: dict[str, Any]) -> Instances:
    return replace(
        found,
        boxes=found.boxes[:0],
        scores=found.scores[:0],
        class_ids=found.class_ids[:0],
        rles=(),
    )


def faint(found: Instances, entry: dict[str, Any]) -> Instances:
    """Right, and all below the threshold."""
    return replace(found, scores=found.scores * 0.1)


def misnamed(found: Instances, entry: dict[str, Any]) -> Instances:
    """Every thing goes by the name of an absent one."""
    absent = [found.classes.index(entry["absent"][0])] * len(found)
    return replace(found, class_ids=np.array(absent, np.int64))


def moved(found: Instances, entry: dict[str, Any]) -> Instances:
    """The masks are right and the boxes are not."""
    return replace(found, boxes=found.boxes + 1000)


def doubtful(found: Instances, entry: dict[str, Any]) -> Instances:
    """Each thing twice: first with the mask of all of the image, which nobody believes in."""
    height, width = found.image_hw
    everything = window_to_rle(np.ones((height, width), np.bool_), (0, 0), (height, width))
    twice = np.repeat(np.arange(len(found)), 2)
    return replace(
        found,
        boxes=found.boxes[twice],
        class_ids=found.class_ids[twice],
        scores=np.tile(np.float32([0.9, 0.8]), len(found)),
        rles=tuple(rle for mine in found.rles for rle in (everything, mine)),
        quality=np.tile(np.float32([0.1, 0.9]), len(found)),
    )


def test_masks_that_are_believed_in_come_first(entries: list[dict[str, Any]]) -> None:
    assert run(entries, doubtful).mask_ap == 1
    assert run(entries, lambda *found: replace(doubtful(*found), quality=None)).mask_ap < 0.6


def run(entries: list[dict[str, Any]], bend: Bend) -> Figures:
    return measure(Oracle(entries, bend), SAMPLE, entries, 0.3)  # type: ignore[arg-type]


def test_the_truth_measures_itself_as_perfect(entries: list[dict[str, Any]]) -> None:
    things = sum(len(entry["things"]) for entry in entries)
    assert run(entries, lambda found, _: found) == Figures(
        scenes=6,
        instances=things,
        precision=1,
        recall=1,
        box_ap50=1,
        mask_ap50=1,
        mask_ap=1,
        absent=0,
    )


@pytest.mark.parametrize(
    ("bend", "want"),
    [
        (nothing, {"precision": 0, "recall": 0, "box_ap50": 0, "mask_ap50": 0, "absent": 0}),
        (faint, {"precision": 0, "recall": 0, "box_ap50": 1, "mask_ap50": 1, "absent": 0}),
        (misnamed, {"precision": 0, "recall": 0, "box_ap50": 0, "mask_ap50": 0, "absent": 1 / 20}),
        (moved, {"precision": 0, "recall": 0, "box_ap50": 0, "mask_ap50": 1, "absent": 0}),
    ],
)
def test_faults_show_where_they_are(entries, bend: Bend, want: dict[str, float]) -> None:
    with_things = [entry for entry in entries if entry["things"]]
    figures = run(with_things, bend)
    assert {name: getattr(figures, name) for name in want} == pytest.approx(want)


def test_the_sample_travels_light_and_is_sound() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) <= 2_000_000
    truth = load_truth(SAMPLE)
    assert len(truth["plain"]) == 200
    assert set(truth) == {"plain", "combinations", "transforms"}
    for entry in (entry for entries in truth.values() for entry in entries):
        assert (SAMPLE / entry["file_name"]).is_file()
        phrases = {thing["phrase"] for thing in entry["things"]}
        assert len(set(entry["absent"])) == 20
        assert not phrases & set(entry["absent"])
        height, width = entry["image_hw"]
        for x0, y0, x1, y1 in (thing["box"] for thing in entry["things"]):
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


def test_enough_names_are_asked_for() -> None:
    """The figures are of at least 250 concepts, not of a few that are easy."""
    asked = {
        phrase
        for entry in load_truth(SAMPLE)["plain"]
        for phrase in (*(thing["phrase"] for thing in entry["things"]), *entry["absent"])
    }
    assert len(asked & set(load_concepts())) >= 250


def test_table() -> None:
    figures = Figures(200, 900, 0.9, 0.95, 0.91, 0.9, 0.7, 0.0123)
    lines = table({"plain": figures}).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[2] == ("| plain, 200 | 900 | 0.900 | 0.950 | 0.910 | 0.900 | 0.700 | 1.23% |")
