"""Recall of phrases, of lists, of COCO files and of a model."""

import json

import numpy as np
import pytest
from fakes import color_model, drawing
from PIL import Image

from evaluate.coco_files import coco, row, write
from perception.errors import EvaluationError
from perception.evaluate.ground_truth import read_truth
from perception.evaluate.grounding import ground, measure_grounding, ranked_of
from perception.evaluate.phrase_boxes import phrases_of, read_phrases, read_ranked
from perception.evaluate.predictions import Answers, Found

FAR = [60, 60, 80, 80]
BOX = [0, 0, 20, 20]


def entry(phrase, boxes, image="a.png", **more):
    return {"image": image, "phrase": phrase, "boxes": boxes, **more}


def measured(tmp_path, truth, found, sizes=None):
    truth = read_phrases(write(tmp_path / "t.json", truth))
    answers = read_ranked(write(tmp_path / "f.json", found))
    return measure_grounding(truth, answers, info={}, sizes=sizes or {})


def test_recall_among_the_first(tmp_path):
    truth = [entry("one", [BOX]), entry("five", [BOX]), entry("ten", [BOX]), entry("no", [BOX])]
    found = [
        entry("one", [BOX, FAR]),
        entry("five", [FAR] * 4 + [BOX]),
        entry("ten", [FAR] * 9 + [BOX]),
        entry("no", [FAR] * 10 + [BOX]),
        entry("never asked", [BOX]),
    ]
    result = measured(tmp_path, truth, found)
    assert [result.recall(k) for k in (1, 5, 10)] == [0.25, 0.5, 0.75]
    assert result.to_json()["any"] == {
        "R@1": 0.25,
        "R@5": 0.5,
        "R@10": 0.75,
        "IoU of the first": 0.25,
    }


def test_scores_say_which_is_first(tmp_path):
    found = [entry("one", [FAR, BOX], scores=[0.2, 0.7])]
    assert measured(tmp_path, [entry("one", [BOX])], found).recall(1) == 1


def test_an_iou_of_a_half_is_enough(tmp_path):
    truth = [entry("half", [[0, 0, 20, 20]]), entry("less", [[0, 0, 20, 20]])]
    found = [entry("half", [[0, 0, 10, 20]]), entry("less", [[0, 0, 9.9, 20]])]
    result = measured(tmp_path, truth, found)
    assert result.recall(1) == 0.5
    assert result.recall(1, iou=0.75) == 0


def test_several_boxes_of_one_phrase(tmp_path):
    truth = [entry("two", [[0, 0, 20, 20], [30, 0, 50, 20]])]
    one = measured(tmp_path, truth, [entry("two", [[30, 0, 50, 20]])])
    assert (one.recall(1, "any"), one.recall(1, "merged")) == (1, 0)
    both = measured(tmp_path, truth, [entry("two", [[0, 0, 50, 20]])])
    assert (both.recall(1, "any"), both.recall(1, "merged")) == (0, 1)


def test_a_phrase_without_an_answer(tmp_path):
    result = measured(tmp_path, [entry("one", [BOX]), entry("two", [BOX])], [entry("one", [])])
    assert result.recall(10) == 0
    assert result.info["phrases without an answer"] == 2


def test_the_worst_come_first(tmp_path):
    truth = [entry("good", [BOX]), entry("bad", [BOX], image="b.png"), entry("gone", [BOX])]
    found = [entry("good", [BOX]), entry("bad", [FAR], image="b.png")]
    sizes = {"a.png": (100, 100), "b.png": (100, 100)}
    cases = measured(tmp_path, truth, found, sizes).cases()
    assert [case.caption for case in cases] == [
        "gone: no answer",
        "bad: IoU 0.00",
        "good: IoU 1.00",
    ]
    assert cases[1].answer.boxes.tolist() == [FAR]
    assert cases[0].answer.boxes.tolist() == []


def test_phrases_of_a_coco_file(tmp_path):
    content = coco(
        [
            row(1, 1, (0, 0, 20, 20)),
            row(1, 1, (40, 0, 20, 20)),
            row(1, 2, (0, 0, 9, 9)),
            row(1, 2, (30, 30, 50, 50), iscrowd=1),
            row(2, 2, (5, 5, 20, 20)),
        ],
        names=("hot_dog", "cat|kitten"),
    )
    truth = read_truth(write(tmp_path / "t.json", content))
    phrases = phrases_of(truth).phrases
    # The cats of image 1 are a crowd as well.
    assert [(one.picture, one.phrase) for one in phrases] == [
        ("1.png", "hot dog"),
        ("2.png", "cat"),
    ]
    assert phrases[0].boxes.tolist() == [[0, 0, 20, 20], [40, 0, 60, 20]]
    found = (Found(1, 1, 0.2, (0, 0, 20, 20)), Found(1, 1, 0.9, (70, 70, 9, 9)))
    ranked = ranked_of(Answers(found, {}), truth)
    result = measure_grounding(phrases_of(truth), ranked, info={}, sizes={})
    assert [result.recall(k) for k in (1, 5)] == [0, 0.5]


@pytest.fixture
def pictures(tmp_path):
    for name, things in (
        ("a.png", [("red", (8, 8, 40, 40))]),
        ("b.png", [("blue", (9, 9, 30, 30))]),
    ):
        Image.fromarray(drawing(things=things)).save(tmp_path / name)
    truth = [
        entry("Red thing", [[8, 8, 40, 40]]),
        entry("blue thing", [[9, 9, 30, 30]], image="b.png"),
        entry("red", [[9, 9, 30, 30]], image="b.png"),
    ]
    return read_phrases(write(tmp_path / "t.json", truth))


def test_a_model_is_asked(pictures, tmp_path):
    result = ground(color_model(), pictures, tmp_path)
    assert result.recall(1) == pytest.approx(2 / 3)
    assert result.info["pictures"] == 2
    assert len(result.cases()) == 3
    assert json.dumps(result.to_json())


def test_answers_are_kept(pictures, tmp_path, monkeypatch):
    keep = tmp_path / "out.kept"
    first = ground(color_model(), pictures, tmp_path, keep=keep)
    model = color_model()
    monkeypatch.setattr(model.detector, "candidates", None)
    again = ground(model, pictures, tmp_path, keep=keep)
    assert again.to_json() == first.to_json()
    assert np.array_equal(again.ious["any"], first.ious["any"])


def test_pictures_that_are_not_there(pictures, tmp_path):
    with pytest.raises(EvaluationError, match="no such folder"):
        ground(color_model(), pictures, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match=r"none of the 2 images is there, such as a\.png"):
        ground(color_model(), pictures, tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "an empty list"),
        ([3], r"entry \[0\] isn't as expected"),
        ([entry("a", [BOX]), entry("", [BOX])], r"entry \[1\] isn't as expected"),
        ([entry("a", [[1, 2, 3]])], "isn't as expected"),
        ([entry("a", [])], "has no box"),
        ([entry("a", [[5, 5, 5, 9]])], "has an empty box"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, content, says):
    with pytest.raises(EvaluationError, match=says) as caught:
        read_phrases(write(tmp_path / "t.json", content))
    assert "t.json" in str(caught.value)


def test_answers_that_cannot_be_used(tmp_path):
    with pytest.raises(EvaluationError, match="expected a list"):
        read_ranked(write(tmp_path / "f.json", {}))
    with pytest.raises(EvaluationError, match="as many scores as boxes"):
        read_ranked(write(tmp_path / "f.json", [entry("a", [BOX], scores=[])]))
    with pytest.raises(EvaluationError, match="no such file"):
        read_ranked(tmp_path / "none.json")
    assert read_phrases(write(tmp_path / "c.json", {"images": []})) is None
