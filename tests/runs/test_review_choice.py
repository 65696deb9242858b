"""Which instances a review shows."""

import numpy as np
import pytest

from perception.report.survey import SCORE_BINS, EvenSample, score_bins, survey
from perception.report.thumbnails import Shown, agreements
from perception.report.uncertainty import Doubts
from perception.runs.read import RunReader
from perception.types import Rle


def one(name="a.png", **scores):
    usual = {"score": 0.9, "runner_up": -1, "margin": 0.9, "quality": 0.9}
    usual |= {"stability": 0.9, "consensus": 0.9, "agreement": 0.9, **scores}
    return Shown(name, (9, 9), None, (0, 0, 5, 5), Rle((9, 9), ""), 0, **usual)


def sampled(rows, most):
    sample = EvenSample(most)
    for stratum, draw in rows:
        sample.offer((stratum, draw), stratum=stratum, draw=draw)
    return sample.items()


def test_an_empty_sample():
    assert EvenSample(3).items() == []


def test_a_sample_is_spread():
    rows = [(19, draw) for draw in range(1000)] + [(6, 7), (10, 3), (10, 4), (10, 5)]
    found = sampled(rows, 6)
    assert found == [(19, 0), (19, 1), (19, 2), (10, 3), (10, 4), (6, 7)]


@pytest.mark.parametrize("most", [1, 2, 5, 24])
def test_a_sample_depends_on_what_is_offered_not_on_its_order(most):
    chance = np.random.default_rng(most)
    rows = [(int(chance.triangular(0, 19, 20)), draw) for draw in range(300)]
    expected = sampled(rows, most)
    assert len(expected) == most
    for _ in range(5):
        chance.shuffle(rows)
        assert sampled(rows, most) == expected


def test_score_bins():
    edges = np.arange(SCORE_BINS, dtype=np.float32) / SCORE_BINS
    assert score_bins(edges).tolist() == list(range(SCORE_BINS))
    assert score_bins(np.array([1, 0.049], np.float32)).tolist() == [SCORE_BINS - 1, 0]
    assert score_bins(np.zeros(0, np.float32)).tolist() == []


def ranked(instances, most=48, classes=("cat", "dog")):
    doubts = Doubts(most)
    for instance in instances:
        doubts.offer(instance)
    return doubts.ranked(classes)


def test_no_doubts():
    assert ranked([]) == []
    assert ranked([one(margin=1, quality=1, stability=1, consensus=1, agreement=1)]) == []


def test_doubts_by_each_measure():
    good = [one(f"{n}.png") for n in range(20)]
    bad = [
        one("margin", margin=0.1, runner_up=1),
        one("quality", quality=0.2),
        one("stability", stability=0.3),
        one("consensus", consensus=0.35),
        one("agreement", agreement=0.4),
    ]
    first = ranked([*good, *reversed(bad)])[:5]
    assert [doubt.instance.name for doubt in first] == [
        "margin",
        "quality",
        "stability",
        "consensus",
        "agreement",
    ]
    assert [doubt.reasons[0] for doubt in first] == [
        "smallest margin: 0.10 ahead of dog",
        "lowest mask quality: 0.20 predicted",
        "least stable mask: stability 0.30",
        "least agreement of the candidates: 35 % in common",
        "least agreement of box and mask: IoU 0.40",
    ]


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ({"margin": 0.001, "runner_up": 1}, "level with dog"),
        ({"score": 0.3, "margin": 0.3}, "0.30, no other class near"),
        ({"score": 0.3, "margin": 0.29, "runner_up": 1}, "0.29, no other class near"),
    ],
)
def test_margins_in_words(scores, says):
    (doubt, *_) = ranked([one(**scores)])
    assert doubt.reasons[0].startswith(f"smallest margin: {says}")


def test_places_are_of_all_instances_though_few_are_kept():
    instances = [one(f"{n:03}", quality=n / 200) for n in range(200)]
    np.random.default_rng(1).shuffle(instances)
    by_quality = [doubt for doubt in ranked(instances, 12) if "quality" in doubt.reasons[0]]
    assert [doubt.instance.name for doubt in by_quality][:3] == ["000", "001", "002"]
    assert by_quality[1].reasons[:1] == ("2nd lowest mask quality: 0.01 predicted",)


def test_ordinals():
    reasons = [
        doubt.reasons[0].split(":")[0]
        for doubt in ranked(
            [
                one(f"{n}", quality=n / 400, margin=1, stability=1, consensus=1, agreement=1)
                for n in range(100)
            ]
        )
    ]
    assert reasons[:4] == [
        "lowest mask quality",
        "2nd lowest mask quality",
        "3rd lowest mask quality",
        "4th lowest mask quality",
    ]
    assert reasons[10:12] == ["11th lowest mask quality", "12th lowest mask quality"]
    assert reasons[20] == "21st lowest mask quality"
    assert len(reasons) == 25


def test_agreements():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 1, 1]], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [2, 2, 3, 3]], np.float32)
    np.testing.assert_allclose(agreements(boxes, others), [1, 1 / 3, 0])
    assert agreements(boxes[:0], others[:0]).shape == (0,)


def test_a_survey_counts_what_is_below_the_threshold(drive):
    drive("red, blue")
    with RunReader(drive.path) as run:
        found = survey(run, threshold=0.95, per_class=5)
    assert found.counts.tolist() == [0, 0]
    assert found.below.sum(axis=1).tolist() == [2, 1]
    np.testing.assert_allclose(found.best_below, 0.9)
    assert list(found.shown()) == []


def test_per_class(drive):
    drive("red, blue")
    with RunReader(drive.path) as run:
        found = survey(run, threshold=0.3, per_class=1)
    assert [len(found.sample(n)) for n in (0, 1)] == [1, 1]
    assert found.counts.tolist() == [2, 1]
