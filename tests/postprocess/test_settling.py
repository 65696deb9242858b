"""Duplicates, parts and wholes among the masks of one image."""

from dataclasses import replace

import numpy as np
import pytest
from things import HW, rectangle, things

from perception.instances import Instances
from perception.ops.boxes import box_iou
from perception.ops.masks import mask_to_rle
from perception.postprocess.suppress import postprocess_masks

WHOLE, MOST = (10, 10, 50, 50), (10, 10, 50, 48)
PART, DEEPER = (12, 12, 30, 30), (14, 14, 20, 20)


def kept(*rows, **options):
    """Which of some things stay, and their parents."""
    found, rows = postprocess_masks(things(*rows), **options)
    return rows.tolist(), found.parent.tolist()


def test_nothing_and_boxes_only():
    found, rows = postprocess_masks(Instances.empty(HW, ("a",)))
    assert len(found) == len(rows) == 0
    assert found.parent.shape == (0,)
    boxes = replace(things((0, 0.9, WHOLE), (0, 0.8, WHOLE)), rles=())
    found, rows = postprocess_masks(boxes)
    assert found is boxes
    assert rows.tolist() == [0, 1]


def test_of_one_thing_seen_twice_the_better_score_stays():
    assert kept((0, 0.8, WHOLE), (0, 0.9, MOST)) == ([1], [-1])
    assert kept((0, 0.9, WHOLE), (0, 0.8, MOST)) == ([0], [-1])


def test_boxes_that_differ_with_masks_that_do_not():
    twice = things((0, 0.9, WHOLE), (0, 0.8, WHOLE))
    twice = replace(twice, boxes=np.float32([WHOLE, PART]))
    assert box_iou(twice.boxes[:1], twice.boxes[1:]) < 0.5
    assert postprocess_masks(twice)[1].tolist() == [0]


@pytest.mark.parametrize(("high", "stays"), [(24, [0, 1]), (33, [0, 1]), (34, [0])])
def test_the_limit_of_one_class(high, stays):
    """Masks of 40 x 48 and 40 x high: beyond an IoU of 0.7 they are one thing."""
    assert kept((0, 0.9, (0, 0, 40, 48)), (0, 0.8, (0, 0, 40, high)))[0] == stays
    assert (high / 48 > 0.7) == (stays == [0])


def test_two_classes_are_one_thing_only_if_hardly_anything_differs():
    assert kept((0, 0.9, WHOLE), (1, 0.8, (10, 10, 50, 45)))[0] == [0, 1]
    assert kept((0, 0.9, WHOLE), (1, 0.8, (10, 10, 50, 49)))[0] == [0]


def test_a_displaced_class_becomes_the_runner_up():
    rows = (0, 0.9, WHOLE), (1, 0.8, MOST), (2, 0.7, MOST), (0, 0.6, MOST)
    more = {"runner_up": [2, -1, -1, -1], "margin": np.float32([0.5, 0.8, 0.7, 0.6])}
    found, _ = postprocess_masks(things(*rows, **more))
    assert found.labels == ("a",)
    assert found.runner_up.tolist() == [1]
    np.testing.assert_allclose(found.margin, [0.1], rtol=1e-5)
    near = {**more, "margin": np.float32([0.05, 0.8, 0.7, 0.6])}
    found, _ = postprocess_masks(things(*rows, **near))
    assert (found.runner_up.tolist(), found.margin.tolist()) == ([2], [np.float32(0.05)])


def test_a_part_of_a_whole_stays_and_knows_it():
    assert kept((0, 0.9, WHOLE), (0, 0.8, PART)) == ([0, 1], [-1, 0])
    assert kept((0, 0.8, PART), (0, 0.9, WHOLE)) == ([0, 1], [1, -1])
    assert kept((0, 0.9, WHOLE), (1, 0.95, PART)) == ([0, 1], [-1, 0])


def test_what_sticks_out_is_no_part():
    assert kept((0, 0.9, WHOLE), (0, 0.8, (40, 20, 51, 30)))[1] == [-1, 0]  # 10 of 11 columns
    assert kept((0, 0.9, WHOLE), (0, 0.8, (40, 20, 52, 30)))[1] == [-1, -1]


def test_the_parent_is_the_smallest_that_holds_it():
    rows = (0, 0.5, DEEPER), (0, 0.9, WHOLE), (0, 0.7, PART)
    assert kept(*rows) == ([0, 1, 2], [2, -1, 1])
    # Of two of one size the better one.
    beside = (0, 0.9, (5, 12, 25, 32)), (1, 0.95, (10, 12, 30, 32)), (0, 0.8, (12, 14, 20, 20))
    assert kept(*beside)[1] == [-1, -1, 1]


def test_parts_leave_on_request_if_of_the_class_of_a_larger_one():
    rows = (0, 0.9, WHOLE), (1, 0.8, PART), (0, 0.7, DEEPER), (1, 0.6, (22, 22, 26, 26))
    assert kept(*rows) == ([0, 1, 2, 3], [-1, 0, 1, 1])
    assert kept(*rows, drop_nested=True) == ([0, 1], [-1, 0])


def test_the_order_of_equal_scores_never_matters():
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 40, (24, 2))
    sizes = rng.integers(4, 20, (24, 2))
    rows = [
        (int(n % 2), 0.5, (x, y, x + w, y + h))
        for n, ((x, y), (w, h)) in enumerate(zip(corners.tolist(), sizes.tolist(), strict=True))
    ]
    rows += rows[:4]

    def described(rows, **options):
        found, _ = postprocess_masks(things(*rows), **options)
        wholes = [None if n < 0 else found.rles[n].counts for n in found.parent]
        parts = zip(found.labels, found.rles, wholes, strict=True)
        return sorted((label, rle.counts, str(whole)) for label, rle, whole in parts)

    for options in ({}, {"drop_nested": True}, {"disjoint": True}):
        first = described(rows, **options)
        for _ in range(5):
            assert described([rows[n] for n in rng.permutation(len(rows))], **options) == first


def test_a_higher_threshold_gives_what_was_above_it():
    """Greedy, as box NMS is: what is worse changes nothing."""
    rng = np.random.default_rng(2)
    corners = rng.integers(0, 20, (40, 2))
    found = things(*((0, s, (x, y, x + 30, y + 30)) for s, (x, y) in enumerate(corners)))
    found = replace(found, scores=rng.random(40).astype(np.float32))
    above = np.flatnonzero(found.scores >= 0.5)
    all_kept = postprocess_masks(found)[1]
    assert 3 < len(all_kept) < 40
    assert above[postprocess_masks(found[above])[1]].tolist() == [n for n in all_kept if n in above]


def test_a_limit_of_ones_own():
    rows = (0, 0.9, WHOLE), (0, 0.8, (10, 10, 50, 42)), (1, 0.7, (10, 10, 50, 49))
    assert kept(*rows)[0] == [0]
    assert kept(*rows, same_class_iou=0.85)[0] == [0, 1]
    assert kept(*rows, same_class_iou=0.98)[0] == [0, 1, 2]


def test_hundreds_of_masks_that_overlap():
    rng = np.random.default_rng(3)
    centers, radii = rng.random((500, 2)) * HW, 2 + 20 * rng.random(500)
    ys, xs = np.mgrid[: HW[0], : HW[1]]
    rles = tuple(
        mask_to_rle((ys - y) ** 2 + (xs - x) ** 2 <= r * r)
        for (y, x), r in zip(centers, radii, strict=True)
    )
    found = things(*((int(n % 3), 0.5, (0, 0, 1, 1)) for n in range(500)))
    found = replace(found, rles=rles, scores=rng.random(500).astype(np.float32))
    settled, rows = postprocess_masks(found, disjoint=True)
    assert 50 < len(settled) <= len(rows) < 500
    assert settled.masks.sum(axis=0).max() == 1
    assert (settled.masks.any(axis=0) == found[rows].masks.any(axis=0)).all()


def test_every_part_is_picked_alike():
    found = things(
        (0, 0.9, WHOLE),
        (0, 0.8, MOST),
        (0, 0.7, PART),
        quality=[0.1, 0.2, 0.3],
        prompt_ids=[4, 5, 6],
    )
    settled, rows = postprocess_masks(found)
    assert rows.tolist() == [0, 2]
    np.testing.assert_allclose(settled.quality, [0.1, 0.3])
    assert settled.prompt_ids.tolist() == [4, 6]
    assert (settled.masks[1] == rectangle(*PART)).all()
