"""Average recall of segment-everything's proposals."""

import numpy as np
import pytest

from evaluate.things_on_disk import BOXES, HW, coco_file, part, stub_model, thing_under
from perception.evaluate.objects import read_coco_things
from perception.evaluate.proposals import (
    ProposalResult,
    ProposedPicture,
    best_matches,
    measure_proposals,
    measure_recall,
)
from perception.ops.masks import mask_to_rle
from perception.predictor.everything_settings import EverythingSettings

SETTINGS = EverythingSettings(points_per_side=6)


@pytest.fixture
def things(tmp_path):
    return read_coco_things(*coco_file(tmp_path))


def proposed(things, *boxes):
    """The same proposals on each image, by falling quality."""
    rles = tuple(mask_to_rle(part(box)) for box in boxes)
    quality = tuple(1 - n / 1000 for n in range(len(rles)))
    return [ProposedPicture(picture, rles, quality) for picture in things.pictures]


def test_everything_there_is(things):
    result = measure_proposals(stub_model(thing_under), things, SETTINGS)
    for recalls in result.recalls.values():
        assert [recalls.ar(most=most) for most in (10, 100, 1000)] == [1, 1, 1]
        assert recalls.ar(most=10, size="large") is None
    assert result.proposed == 2
    figures = result.to_json()
    assert figures["mask"]["all"] == {"AR@10": 1, "AR@100": 1, "AR@1000": 1}
    assert figures["things"] == {"all": 4, "small": 0, "medium": 4, "large": 0}


def test_the_budget_cuts_off(things):
    nothing = [(0, 90 - n % 4, 4 + n, 96) for n in range(20)]
    rows = proposed(things, BOXES["red"], *nothing[:9], BOXES["blue"])
    recalls = measure_recall(rows, "mask")
    assert (recalls.ar(most=10), recalls.ar(most=100)) == (0.5, 1)


def test_iou_by_arithmetic(things):
    """32 x 24 of 32 x 32 is an IoU of 0.75: 0.5, 0.55, 0.6, 0.65, 0.7 and 0.75 are reached."""
    recalls = measure_recall(proposed(things, (8, 8, 40, 32)), "mask")
    assert recalls.ar(most=10) == pytest.approx(0.6 / 2)


def test_boxes_are_around_the_masks(things):
    """Half of a square's pixels, spread all over it, have its box."""
    chequered = part(BOXES["red"])
    chequered[::2] = False
    x0, y0, x1, _ = BOXES["red"]
    chequered[y0, x0:x1] = True
    rows = [
        ProposedPicture(picture, (mask_to_rle(chequered),), (0.9,)) for picture in things.pictures
    ]
    assert measure_recall(rows, "box").ar(most=10) == pytest.approx(0.5)
    assert measure_recall(rows, "mask").ar(most=10) < 0.1


def test_nothing_proposed(things):
    rows = proposed(things)
    assert measure_recall(rows, "mask").ar(most=1000) == 0
    best, ious = best_matches(rows[0])
    assert (best.tolist(), ious.tolist()) == ([-1, -1], [0, 0])
    (case, _) = ProposalResult({}, tuple(rows)).cases()
    assert len(case.answer) == 0
    assert case.value == 0


def test_best_matches(things):
    rows = proposed(things, (0, 0, 128, 96), BOXES["blue"], (8, 8, 40, 24))
    best, ious = best_matches(rows[0])
    assert (best.tolist(), ious.tolist()) == ([2, 1], [0.5, 1])
    case = ProposalResult({}, tuple(rows)).cases()[0]
    assert case.caption == "best proposals for 2 things: mean IoU 0.75, 2 from 0.5 up"


def test_only_the_best_thousand_count(things, monkeypatch):
    from perception.evaluate import proposals as proposal_result
    from perception.evaluate.objects import as_instances

    rles = [mask_to_rle(part((n % 100, n // 100, n % 100 + 3, n // 100 + 3))) for n in range(1100)]
    found = as_instances(rles, ["object"] * 1100, [1 - n / 2000 for n in range(1100)])

    def everything(segmenter, image, settings):
        from dataclasses import replace

        return replace(found, quality=found.scores)

    monkeypatch.setattr(proposal_result, "find_everything", everything)
    result = measure_proposals(stub_model(lambda prompt: np.zeros(HW, bool)), things, SETTINGS)
    assert result.proposed == 1000
