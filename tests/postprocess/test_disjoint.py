"""Masks that share no pixel."""

import numpy as np
from things import rectangle, things

from perception.postprocess.suppress import postprocess_masks


def owners(*rows):
    """Things made disjoint: their masks, and which of the rows they are."""
    found, kept = postprocess_masks(things(*rows), disjoint=True)
    assert not len(found) or found.masks.sum(axis=0).max() <= 1
    return found, kept.tolist()


def test_the_better_score_wins():
    found, kept = owners((0, 0.6, (0, 0, 20, 20)), (0, 0.9, (15, 0, 40, 20)))
    assert kept == [0, 1]
    assert (found.masks[0] == rectangle(0, 0, 15, 20)).all()
    assert (found.masks[1] == rectangle(15, 0, 40, 20)).all()


def test_boxes_and_areas_follow():
    found, _ = owners((0, 0.6, (0, 0, 20, 20)), (0, 0.9, (15, 0, 40, 20)))
    assert found.boxes.tolist() == [[0, 0, 15, 20], [15, 0, 40, 20]]
    assert found.areas.tolist() == [300, 500]


def test_a_part_wins_over_its_whole_whatever_it_scores():
    found, kept = owners((0, 0.9, (0, 0, 40, 40)), (1, 0.3, (10, 10, 20, 20)))
    assert kept == [0, 1]
    assert found.areas.tolist() == [1500, 100]
    assert found.boxes[0].tolist() == [0, 0, 40, 40]
    assert found.parent.tolist() == [-1, 0]  # It still is one.


def test_a_part_of_a_part():
    found, _ = owners(
        (0, 0.9, (0, 0, 40, 40)), (0, 0.8, (5, 5, 30, 30)), (0, 0.7, (10, 10, 20, 20))
    )
    assert found.areas.tolist() == [1600 - 625, 625 - 100, 100]


def test_a_part_fights_others_with_the_score_of_its_whole():
    """What a car wins against a person, its wheel keeps; and a person wins over both or neither."""
    car, wheel, person = (0, 0, 40, 30), (25, 10, 38, 30), (34, 0, 60, 40)
    found, _ = owners((0, 0.9, car), (1, 0.3, wheel), (2, 0.6, person))
    assert found.areas.tolist() == [1200 - 260, 260, 26 * 40 - 6 * 30]
    found, _ = owners((0, 0.5, car), (1, 0.3, wheel), (2, 0.6, person))
    assert found.areas.tolist() == [34 * 30 - 9 * 20, 9 * 20, 26 * 40]
    # A part that scores better than its whole has its own score.
    found, _ = owners((0, 0.5, car), (1, 0.9, wheel), (2, 0.6, person))
    assert found.areas.tolist() == [34 * 30 - 9 * 20, 260, 26 * 40 - 4 * 20]


def test_what_loses_all_is_dropped():
    # Each of two better ones takes half of it.
    rows = (0, 0.9, (0, 0, 20, 40)), (0, 0.8, (20, 0, 40, 40)), (1, 0.3, (5, 5, 35, 35))
    found, kept = owners(*rows)
    assert kept == [0, 1]
    assert found.areas.tolist() == [800, 800]


def test_a_whole_that_is_all_parts_is_dropped_and_no_parent():
    halves = (0, 0.5, (0, 0, 20, 40)), (0, 0.4, (20, 0, 40, 40))
    found, kept = owners((1, 0.9, (0, 0, 40, 40)), *halves)
    assert kept == [1, 2]
    assert found.parent.tolist() == [-1, -1]


def test_masks_that_touch_nobody_stay_as_they_are():
    found = things((0, 0.9, (0, 0, 20, 20)), (0, 0.8, (20, 0, 40, 20)))
    settled, _ = postprocess_masks(found, disjoint=True)
    assert settled.rles == found.rles
    assert settled.boxes.tolist() == found.boxes.tolist()


def test_nothing():
    none = things((0, 0.9, (0, 0, 20, 20)))[:0]
    settled, rows = postprocess_masks(none, disjoint=True)
    assert len(settled) == len(rows) == 0
    assert np.asarray(settled.masks).shape == (0, 60, 80)
