"""Measurements of prompts prove themselves, and would notice."""

import pytest

from perception.evaluate import check as prompt_checks
from perception.evaluate import clicks
from perception.evaluate.check import PROMPT_CHECKS, box_checks, click_checks, proposal_checks


@pytest.mark.parametrize("source", PROMPT_CHECKS)
def test_all_pass(source):
    checks = source()
    assert checks
    assert [check for check in checks if not check.passed] == []


def failed(checks):
    return [check.what for check in checks if not check.passed]


def test_a_wrong_count_of_clicks_is_noticed(monkeypatch):
    right = clicks.Walk.clicks_to
    monkeypatch.setattr(clicks.Walk, "clicks_to", lambda *args: (right(*args) or 20) + 1)
    assert len(failed(click_checks())) >= 4


def test_a_wrong_overlap_is_noticed(monkeypatch):
    from perception.evaluate import boxes

    right = boxes.mask_iou
    monkeypatch.setattr(boxes, "mask_iou", lambda *args: right(*args) ** 2)
    assert failed(box_checks()) == [
        f"boxes: half of each thing, {figure}, mIoU" for figure in ("tight", "jittered", "oracle")
    ]


def test_wrong_masks_are_noticed(monkeypatch):
    monkeypatch.setattr(prompt_checks, "_all", lambda _prompt: 30)
    assert failed(proposal_checks()) == [
        "everything: the truth itself, mask AR@10",
        "everything: the truth itself, box AR@10",
    ]
