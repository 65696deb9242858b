"""LVIS' federated average precision: hand-made cases, and the figures of lvis-api."""

import json
import warnings

import numpy as np
import pytest

from evaluate.coco_files import about, coco, row, write
from evaluate.test_coco import random_box
from perception.errors import EvaluationError
from perception.evaluate.ground_truth import read_truth
from perception.evaluate.precision import best_of_pictures, judged_only, measure_lvis
from perception.evaluate.predictions import Answers, Found, read_answers

A, B = (0, 0, 20, 20), (50, 40, 30, 30)
NAMES = ({"name": "cat", "frequency": "r"}, {"name": "dog", "frequency": "f"})


def measured(tmp_path, truth, found):
    truth = read_truth(write(tmp_path / "t.json", truth))
    return measure_lvis(truth, read_answers(write(tmp_path / "f.json", found), truth))


def test_only_what_was_judged_counts(tmp_path):
    # Image 1: a cat, no dog for sure. Image 2: a dog; of cats nobody knows.
    truth = coco([row(1, 1, A), row(2, 2, A)], names=NAMES, images={1: {"neg_category_ids": [2]}})
    found = [row(1, 1, A, score=0.5), row(2, 2, A, score=0.5)]
    assert measured(tmp_path, truth, found).figure("mask", "AP") == about(1)
    unknown = measured(tmp_path, truth, [*found, row(2, 1, B, score=0.9)])
    assert unknown.figure("mask", "AP") == about(1)
    assert (unknown.info["found"], unknown.info["counted"]) == (3, 2)
    # The first of two answers is wrong: precision 1/2 at every recall.
    absent = measured(tmp_path, truth, [*found, row(1, 2, B, score=0.9)])
    assert absent.figure("mask", "AP") == about(0.75)
    assert absent.figure("mask", "APr") == about(1)
    assert absent.figure("mask", "APf") == about(0.5)
    assert absent.figure("mask", "APc") is None
    # Beside the cat, where cats are judged.
    beside = measured(tmp_path, truth, [*found, row(1, 1, B, score=0.9)])
    assert beside.figure("mask", "APr") == about(0.5)


def test_where_not_all_are_marked_nothing_is_wrong(tmp_path):
    images = {1: {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}}
    truth = coco([row(1, 1, A)], names=NAMES, images=images)
    found = [row(1, 1, A, score=0.5), row(1, 1, B, score=0.9)]
    assert measured(tmp_path, truth, found).figure("box", "AP") == about(1)
    # What is marked still has to be found.
    assert measured(tmp_path, truth, found[1:]).figure("box", "AP") == about(0)


def test_there_are_no_crowds(tmp_path):
    truth = coco([row(1, 1, A, iscrowd=1)], names=NAMES, images={1: {"neg_category_ids": [2]}})
    result = measured(tmp_path, truth, [row(1, 1, A, score=0.5)])
    assert result.figure("box", "AP") == about(1)


def test_the_best_300_of_a_picture():
    some = [Found(1, n % 7, n / 1000, (0, 0, 1, 1)) for n in range(500)]
    other = [Found(2, 0, 0.0, (0, 0, 1, 1))]
    kept = list(best_of_pictures([*some, *other]))
    assert len(kept) == 301
    assert min(one.score for one in kept if one.picture == 1) == 0.2
    # Those of equal scores in their order.
    ties = [Found(1, n, 0.5, (0, 0, 1, 1)) for n in range(3)]
    assert [one.category for one in best_of_pictures(ties, most=2)] == [0, 1]


def test_300_are_chosen_before_the_unjudged_are_left_out(tmp_path):
    truth = coco([row(1, 1, A)], names=NAMES, images={2: {"neg_category_ids": [1]}})
    truth = read_truth(write(tmp_path / "t.json", truth))
    unjudged = [Found(1, 2, 0.9, (0, 0, 1, 1))] * 300
    right = Found(1, 1, 0.5, A)
    assert list(judged_only(truth, best_of_pictures([*unjudged, right]))) == []
    assert measure_lvis(truth, Answers((*unjudged, right), {})).figure("box", "AP") == about(0)
    assert measure_lvis(truth, Answers((*unjudged[1:], right), {})).figure("box", "AP") == about(1)


def test_a_truth_without_absence(tmp_path):
    with pytest.raises(EvaluationError, match="no image has neg_category_ids"):
        measured(tmp_path, coco([row(1, 1, A)]), [])


def test_frequency_that_nobody_noted(tmp_path):
    truth = coco([row(1, 1, A)], images={1: {"neg_category_ids": [2]}})
    result = measured(tmp_path, truth, [row(1, 1, A, score=1)])
    assert "APr" not in result.kinds[0].figures
    assert [plot.title for plot in result.plots()][-1] == "AP by size"


@pytest.fixture
def random_files(tmp_path):
    """Federated: of each image some classes are judged, some not in full."""
    rng = np.random.default_rng(1)
    names = [{"name": f"c{n}", "frequency": "rcf"[n % 3], "image_count": 1} for n in range(9)]
    true, found, images = [], [], {}
    for picture in range(1, 21):
        present, absent, *_ = np.split(rng.permutation(np.arange(1, 10)), [3, 5])
        images[picture] = {
            "neg_category_ids": absent.tolist(),
            "not_exhaustive_category_ids": present[:1].tolist() if picture % 2 else [],
        }
        for category in present.tolist():
            for _ in range(rng.integers(1, 4)):
                box = random_box(rng)
                true.append(row(picture, category, box))
                near = [max(0, side - int(rng.integers(0, 4))) for side in box]
                found.append(row(picture, category, near, score=rng.random()))
        for _ in range(350 if picture == 3 else 8):
            found.append(
                row(picture, int(rng.integers(1, 10)), random_box(rng), score=rng.random())
            )
    content = coco(true, names=names, pictures=20, images=images)
    for one in content["annotations"]:
        one["id"] += 1
    return write(tmp_path / "truth.json", content), write(tmp_path / "found.json", found)


KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR300")


def lvis_api(truth, found, kind, monkeypatch):
    """The figures of lvis-api, which was written for an older numpy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lvis = pytest.importorskip("lvis", reason="needs lvis-api (pip install --no-deps lvis)")
    monkeypatch.setattr(np, "float", float, raising=False)
    rows = json.loads(found.read_text())
    if kind == "segm":  # Beside a bbox it takes the box's area for the mask's.
        rows = [{key: value for key, value in one.items() if key != "bbox"} for one in rows]
    right = lvis.LVIS(str(truth))
    evaluation = lvis.LVISEval(right, lvis.LVISResults(right, rows), kind)
    evaluation.run()
    results = evaluation.get_results()
    return [results["AR@300" if key == "AR300" else key] for key in KEYS]


@pytest.mark.parametrize(("kind", "code"), [("box", "bbox"), ("mask", "segm")])
def test_the_figures_are_those_of_lvis_api(random_files, kind, code, monkeypatch):
    expected = lvis_api(*random_files, code, monkeypatch)
    truth = read_truth(random_files[0])
    result = measure_lvis(truth, read_answers(random_files[1], truth))
    figures = [result.figure(kind, key) for key in KEYS]
    ours = [-1 if value is None else value for value in figures]
    assert ours == pytest.approx(expected, abs=1e-12)
    assert 0.05 < ours[0] < 0.95
    assert result.info["counted"] < result.info["found"]


@pytest.mark.parametrize(("kind", "code"), [("box", "bbox"), ("mask", "segm")])
def test_the_figures_are_those_of_faster_coco_eval(random_files, kind, code):
    package = pytest.importorskip(
        "faster_coco_eval", reason="needs faster-coco-eval (pip install faster-coco-eval)"
    )
    # It has no limit of an image: the best 300 are chosen for it.
    rows = json.loads(random_files[1].read_text())
    if code == "segm":
        rows = [{key: value for key, value in one.items() if key != "bbox"} for one in rows]
    chosen: list = []
    for picture in {one["image_id"] for one in rows}:
        mine = [one for one in rows if one["image_id"] == picture]
        chosen += sorted(mine, key=lambda one: -one["score"])[:300]
    right = package.COCO(str(random_files[0]))
    evaluation = package.COCOeval_faster(
        right, right.loadRes(chosen), code, lvis_style=True, print_function=lambda *_: None
    )
    evaluation.params.maxDets = [300]
    evaluation.run()
    stats = evaluation.stats_as_dict
    truth = read_truth(random_files[0])
    result = measure_lvis(truth, read_answers(random_files[1], truth))
    for ours, theirs in (("AP", "AP_all"), ("AP50", "AP_50"), ("AP75", "AP_75")):
        assert result.figure(kind, ours) == pytest.approx(stats[theirs], abs=1e-9)
