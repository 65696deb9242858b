"""COCO's average precision: the figures of pycocotools itself, for files of every kind."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluate.coco_files import HW, about, coco, row, write
from perception.errors import CocoError, EvaluationError
from perception.evaluate.ground_truth import read_truth
from perception.evaluate.precision import measure_coco
from perception.evaluate.predictions import Answers, read_answers
from perception.report.measurement import measurement_json


def random_box(rng):
    width, height = rng.integers(5, 60, 2)
    x, y = rng.integers(0, HW[1] - width), rng.integers(0, HW[0] - height)
    return [int(x), int(y), int(width), int(height)]


@pytest.fixture
def random_files(tmp_path):
    """A truth with crowds, and results near it, beside it and twice."""
    rng = np.random.default_rng(0)
    true, found = [], []
    for picture in range(1, 9):
        for _ in range(rng.integers(0, 12)):
            category, box = int(rng.integers(1, 4)), random_box(rng)
            crowd = int(rng.random() < 0.1)
            true.append(row(picture, category, box, iscrowd=crowd))
            for _ in range(rng.integers(0, 3)):
                near = [max(0, side + int(rng.integers(-4, 5))) for side in box]
                near[2], near[3] = (
                    min(near[2] + 1, HW[1] - near[0]),
                    min(near[3] + 1, HW[0] - near[1]),
                )
                found.append(row(picture, category, near, score=round(rng.random(), 2)))
        for _ in range(3):
            found.append(row(picture, int(rng.integers(1, 4)), random_box(rng), score=rng.random()))
    truth = coco(true, names=("cat", "dog", "cow", "never"), pictures=9)
    return write(tmp_path / "truth.json", truth), write(tmp_path / "found.json", found)


def reference(truth, found, kind):
    """pycocotools' own twelve figures."""
    rows = json.loads(found.read_text())
    if kind == "segm":  # Beside a bbox, loadRes takes the box's area for the mask's.
        rows = [{key: value for key, value in one.items() if key != "bbox"} for one in rows]
    # To it, an annotation whose id is 0 is never matched.
    content = json.loads(truth.read_text())
    for one in content["annotations"]:
        one["id"] += 1
    with contextlib.redirect_stdout(io.StringIO()):
        right = COCO()
        right.dataset = content
        right.createIndex()
        evaluation = COCOeval(right, right.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize(("kind", "code"), [("box", "bbox"), ("mask", "segm")])
def test_the_figures_are_those_of_pycocotools(random_files, kind, code):
    truth = read_truth(random_files[0])
    result = measure_coco(truth, read_answers(random_files[1], truth))
    (ours,) = (one.figures for one in result.kinds if one.kind == kind)
    figures = [-1 if value is None else value for value in ours.values()]
    assert figures == pytest.approx(reference(*random_files, code), abs=1e-12)
    assert 0.05 < ours["AP"] < 0.95


def test_a_poor_mask_comes_after_a_good_one(tmp_path):
    """By the quality that this product's COCO files have; a box, and a results file, has none."""
    right = row(1, 1, (0, 0, 20, 20))
    truth = read_truth(write(tmp_path / "t.json", coco([right])))
    wrong = row(1, 1, (60, 60, 20, 20), score=0.9, quality=0.3)
    found = [wrong, right | {"score": 0.8, "quality": 0.7}]
    ours = measure_coco(truth, read_answers(write(tmp_path / "f.json", coco(found)), truth))
    assert (ours.figure("box", "AP50"), ours.figure("mask", "AP50")) == (about(0.5), about(1))
    assert ours.info["masks ranked by"] == "score times quality"
    results = measure_coco(truth, read_answers(write(tmp_path / "r.json", found), truth))
    assert results.figure("mask", "AP50") == about(0.5)
    assert "masks ranked by" not in results.info
    boxes = read_truth(write(tmp_path / "b.json", coco([row(1, 1, (0, 0, 20, 20), mask=False)])))
    alone = measure_coco(boxes, read_answers(write(tmp_path / "f.json", coco(found)), boxes))
    assert "masks ranked by" not in alone.info  # no masks are measured
    beyond = [wrong | {"quality": 7}, right | {"score": 0.95, "quality": 0.93}]
    clipped = measure_coco(truth, read_answers(write(tmp_path / "f.json", coco(beyond)), truth))
    assert clipped.figure("mask", "AP50") == about(0.5)  # 0.9 x 1 is more than 0.95 x 0.93


def test_classes(random_files):
    truth = read_truth(random_files[0])
    result = measure_coco(truth, read_answers(random_files[1], truth))
    classes = result.kinds[0].classes
    assert [one.name for one in classes] == ["cat", "dog", "cow"]  # None of "never" is there.
    assert np.mean([one.ap for one in classes]) == pytest.approx(result.figure("box", "AP"))
    assert sum(one.truth for one in classes) == result.info["instances"]


def test_nothing_found_is_0_and_no_truth_of_a_size_is_none(tmp_path):
    truth = read_truth(write(tmp_path / "t.json", coco([row(1, 1, (0, 0, 20, 20))])))
    result = measure_coco(truth, Answers((), {}))
    assert [one.kind for one in result.kinds] == ["box", "mask"]
    assert result.figure("box", "AP") == result.figure("mask", "AR100") == about(0)
    assert result.figure("box", "APl") is None
    content = json.loads(measurement_json(result))
    assert content["box"]["AP"] == 0
    assert content["box"]["APl"] is None
    assert "-" in [cell or "-" for cell in result.tables()[0].rows[0]]


def test_a_crowd_is_neither_right_nor_wrong(tmp_path):
    truth = [row(1, 1, (0, 0, 20, 20)), row(1, 1, (40, 0, 60, 60), iscrowd=1)]
    found = [row(1, 1, (0, 0, 20, 20), score=0.5), row(1, 1, (50, 10, 20, 20), score=0.9)]
    truth = read_truth(write(tmp_path / "t.json", coco(truth)))
    result = measure_coco(truth, read_answers(write(tmp_path / "f.json", found), truth))
    assert result.figure("box", "AP") == result.figure("mask", "AP") == about(1)
    assert result.info["instances"] == 1
    assert result.cases()[0].value == 1


def test_boxes_alone(tmp_path):
    truth = read_truth(write(tmp_path / "t.json", coco([row(1, 1, (0, 0, 20, 20))])))
    found = [row(1, 1, (0, 0, 20, 20), score=0.5, mask=False)]
    result = measure_coco(truth, read_answers(write(tmp_path / "f.json", found), truth))
    assert [one.kind for one in result.kinds] == ["box"]
    assert result.figure("box", "AP") == about(1)


def test_a_truth_without_masks(tmp_path):
    truth = read_truth(write(tmp_path / "t.json", coco([row(1, 1, (0, 0, 20, 20), mask=False)])))
    found = [row(1, 1, (0, 0, 20, 20), score=0.5)]
    result = measure_coco(truth, read_answers(write(tmp_path / "f.json", found), truth))
    assert [one.kind for one in result.kinds] == ["box"]


def test_the_worst_pictures_come_first(tmp_path):
    boxes = [(0, 0, 20, 20), (40, 40, 30, 30)]
    truth = coco([row(n, 1, box) for n in (1, 2) for box in boxes], pictures=3)
    found = [row(1, 1, box, score=0.9) for box in boxes] + [
        row(2, 1, boxes[0], score=0.9),
        row(2, 2, boxes[1], score=0.9),
        row(3, 2, boxes[1], score=0.2),  # Below what is shown.
    ]
    truth = read_truth(write(tmp_path / "t.json", truth))
    result = measure_coco(truth, read_answers(write(tmp_path / "f.json", found), truth))
    worst, best = result.cases()
    # One match of IoU 1, one missed, one wrong: 1 / (1 + 1/2 + 1/2).
    assert (worst.file_name, worst.value) == ("2.png", 0.5)
    assert worst.caption == "1 of 2 found, 1 wrong; quality 0.50"
    assert best.value == 1
    assert worst.truth.labels == ("cat", "cat")
    assert worst.answer.labels == ("cat", "dog")
    assert worst.answer.boxes.tolist() == [[0, 0, 20, 20], [40, 40, 70, 70]]


def test_a_threshold(tmp_path):
    truth = read_truth(write(tmp_path / "t.json", coco([row(1, 1, (0, 0, 20, 20))])))
    file = write(tmp_path / "f.json", [row(1, 1, (0, 0, 20, 20), score=0.5)])
    assert len(read_answers(file, truth, threshold=0.5).found) == 1
    answers = read_answers(file, truth, threshold=0.6)
    assert answers.found == ()
    assert answers.info["threshold"] == 0.6


def test_a_coco_file_with_scores_is_matched_by_names(tmp_path):
    truth = coco(
        [row(1, 1, (0, 0, 20, 20)), row(2, 2, (5, 5, 20, 20))],
        names=({"name": "hot_dog"}, {"name": "Car", "synonyms": ["automobile"]}),
        images={1: {"file_name": "val/1.png"}, 2: {"file_name": "val/2.png"}},
    )
    found = coco(
        [row(2, 2, (0, 0, 20, 20), score=0.5), row(1, 1, (5, 5, 20, 20), score=0.5)],
        names=("Automobile", "Hot Dog"),
        images={1: {"file_name": "2.png"}, 2: {"file_name": "1.png"}},
    )
    truth = read_truth(write(tmp_path / "t.json", truth))
    answers = read_answers(write(tmp_path / "f.json", found), truth)
    assert [(one.picture, one.category) for one in answers.found] == [(1, 1), (2, 2)]
    assert measure_coco(truth, answers).figure("mask", "AP") == about(1)
    assert (answers.unanswered, answers.not_asked) == (0, ())


def test_what_nobody_looked_for_is_said(tmp_path):
    truth = coco([row(1, 1, (0, 0, 20, 20)), row(2, 2, (5, 5, 20, 20))], pictures=3)
    found = coco([row(1, 1, (0, 0, 20, 20), score=0.5)], names=("cat",), pictures=1)
    truth = read_truth(write(tmp_path / "t.json", truth))
    answers = read_answers(write(tmp_path / "f.json", found), truth)
    assert (answers.unanswered, answers.not_asked) == (2, ("dog",))
    result = measure_coco(truth, answers)
    assert result.figure("box", "AP") == about(0.5)
    assert result.info["images without an answer"] == 2
    assert result.info["categories not asked for"] == ["dog"]


TRUTH = coco([row(1, 1, (0, 0, 20, 20))])
GOOD = row(1, 1, (0, 0, 20, 20), score=0.5)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([GOOD | {"image_id": 7}], "result [0] is of image 7, which the truth hasn't"),
        ([GOOD, GOOD | {"category_id": "cat"}], "result [1] is of category 'cat', which"),
        ([row(1, 1, (0, 0, 20, 20))], "result [0] has no score"),
        ([{"image_id": 1, "category_id": 1, "score": 1}], "neither a bbox nor a mask"),
        ([3], "result [0] is no object"),
        (coco([GOOD], names=("cat", "cow")), '"cow": no such category in the truth'),
        (coco([GOOD], images={n: {"file_name": f"x{n}"} for n in (1, 2)}), "no image of the"),
    ],
)
def test_what_does_not_fit(tmp_path, found, says):
    truth = read_truth(write(tmp_path / "t.json", TRUTH))
    with pytest.raises((EvaluationError, CocoError)) as caught:
        read_answers(write(tmp_path / "f.json", found), truth)
    assert says in str(caught.value)
    assert "f.json" in str(caught.value) or "category" in str(caught.value)


def test_what_one_sees_at_the_default_threshold(tmp_path):
    """Two right, one of them twice, one of another label, one too low, one in a crowd."""
    true = [
        row(1, 1, [0, 0, 40, 40]),
        row(1, 1, [50, 0, 40, 40]),
        row(2, 2, [0, 0, 40, 40]),
        row(2, 1, [0, 0, 60, 60], iscrowd=1),
    ]
    found = [
        row(1, 1, [0, 0, 40, 42], score=0.9),
        row(1, 1, [1, 0, 40, 40], score=0.8),  # the same thing again
        row(1, 1, [51, 0, 40, 40], score=0.3),
        row(1, 2, [50, 0, 40, 40], score=0.5),  # absent
        row(1, 3, [50, 0, 40, 40], score=0.29),  # too low
        row(2, 1, [0, 0, 50, 50], score=0.7),  # of a crowd
        row(2, 2, [30, 30, 40, 40], score=0.6),  # beside it
    ]
    path = write(tmp_path / "truth.json", coco(true, names=("cat", "dog", "cow"), pictures=3))
    truth = read_truth(path)
    result = measure_coco(truth, read_answers(write(tmp_path / "found.json", found), truth))
    seen = result.seen
    assert (seen.right, seen.wrong, seen.things) == (2, 3, 3)
    assert (seen.precision, seen.recall) == (pytest.approx(0.4), pytest.approx(2 / 3))
    assert (seen.absent, seen.answered) == (9 - 3, 1)
    assert result.to_json()["at threshold"]["absent pairs answered"] == pytest.approx(
        1 / 6, abs=1e-4
    )
    assert any("0.3 or more" in table.title for table in result.tables())
