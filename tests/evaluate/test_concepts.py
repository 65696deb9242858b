"""The concept-level F1: presence, localisation, their product."""

import math

import pytest

from evaluate.coco_files import coco, row, write
from perception.evaluate.concepts import Presence, measure_concepts
from perception.evaluate.ground_truth import read_truth
from perception.evaluate.predictions import read_answers

A, B, C = (0, 0, 20, 20), (50, 40, 30, 30), (0, 60, 20, 20)


def measured(tmp_path, truth, found, **options):
    truth = read_truth(write(tmp_path / "t.json", truth))
    answers = read_answers(write(tmp_path / "f.json", found), truth)
    return measure_concepts(truth, answers, **options)


@pytest.mark.parametrize(
    ("counts", "mcc"),
    [
        ((5, 5, 0, 0), 1),
        ((0, 0, 5, 5), -1),
        ((4, 3, 2, 1), (12 - 2) / math.sqrt(6 * 5 * 5 * 4)),
        ((0, 5, 0, 5), 0),  # Nothing was answered.
        ((5, 0, 5, 0), 0),  # All was.
        ((5, 0, 0, 0), None),  # Nothing is absent.
        ((0, 5, 0, 0), None),  # Nothing is present.
        ((10**6, 10**6, 0, 0), 1),
    ],
)
def test_presence(counts, mcc):
    assert Presence(*counts).mcc == (None if mcc is None else pytest.approx(mcc))


def test_a_mixed_case(tmp_path):
    truth = coco([row(1, 1, A), row(1, 1, B), row(2, 2, A)], pictures=3)
    found = [
        row(1, 1, A, score=0.9),
        row(1, 1, C, score=0.8),  # Wrong, where some are.
        row(2, 2, A, score=0.4),  # Too unsure.
        row(3, 2, A, score=0.7),  # Where there is none.
    ]
    figures = measured(tmp_path, truth, found).figures["mask"]
    # Pairs: 1-1 right; 2-2 missed; 3-2 wrong; 1-2, 2-1, 3-1 silent.
    assert figures.presence == Presence(tp=1, tn=3, fp=1, fn=1)
    # Instances of 1-1 and 2-2: A right; C wrong; B and the dog missed.
    assert figures.localisation.tp == (1,) * 10
    assert figures.localisation.fp == (1,) * 10
    assert figures.localisation.fn == (2,) * 10
    assert figures.pmf1() == pytest.approx(2 / (2 + 1 + 2))
    mcc = (3 - 1) / math.sqrt(2 * 2 * 4 * 4)
    assert figures.cgf1() == pytest.approx(mcc * 0.4)
    result = measured(tmp_path, truth, found, threshold=0.4)
    assert result.figures["mask"].presence == Presence(tp=2, tn=3, fp=1, fn=0)
    assert result.info["threshold"] == 0.4
    assert result.info["pairs"] == 6


def test_matching_is_the_best_of_all_not_the_first(tmp_path):
    """The surer answer fits both things, the other one only the first: both have their place."""
    truth = coco([row(1, 1, (0, 0, 20, 20)), row(1, 1, (4, 0, 20, 20))], pictures=2)
    found = [
        row(1, 1, (1, 0, 20, 20), score=0.9),  # IoU 19/21 with the first, 17/23 with the second.
        row(1, 1, (0, 0, 16, 20), score=0.8),  # IoU 16/20 with the first, 12/24 with the second.
    ]
    figures = measured(tmp_path, truth, found).figures["box"]
    # 16/20 + 17/23 is more than 19/21 + 12/24: at 0.7 both are right, at 0.85 none.
    assert figures.localisation.tp == (2, 2, 2, 2, 2, 1, 1, 0, 0, 0)


def test_pairs_that_are_not_fully_marked_are_left_out(tmp_path):
    crowd = coco([row(1, 1, A), row(1, 1, B, iscrowd=1), row(2, 2, A)])
    found = [row(1, 1, A, score=1), row(2, 2, A, score=1)]
    assert measured(tmp_path, crowd, found).info["pairs"] == 3
    images = {1: {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}}
    federated = coco([row(1, 1, A), row(2, 2, A)], images=images)
    result = measured(tmp_path, federated, found)
    # 1-2, known to be absent, and 2-2; of 2-1 nothing is known, of 1-1 not all.
    assert result.figures["mask"].presence == Presence(tp=1, tn=1, fp=0, fn=0)
    assert result.figures["mask"].cgf1() == 1


def test_where_nothing_is_absent_there_is_no_figure(tmp_path):
    truth = coco([row(1, 1, A)], names=("cat",), pictures=1)
    result = measured(tmp_path, truth, [row(1, 1, A, score=1)])
    assert result.figures["mask"].pmf1() == 1
    assert result.figures["mask"].cgf1() is None
    assert result.to_json()["mask"]["cgF1"] is None


def test_tables_and_plots(tmp_path):
    truth = coco([row(1, 1, A), row(2, 2, A)])
    result = measured(tmp_path, truth, [row(1, 1, A, score=1)])
    figures, pairs = result.tables()
    assert figures.columns[1:] == (
        "cgF1",
        "cgF1@50",
        "cgF1@75",
        "pmF1",
        "pmF1@50",
        "pmF1@75",
        "MCC",
    )
    assert pairs.rows == (("present", 1, 1), ("absent", 0, 2))
    assert [line.name for line in result.plots()[0].lines] == ["box", "mask"]
    assert result.cases()[0].file_name == "2.png"
