"""Clicks that are obeyed, and what stays as it was."""

import numpy as np
import pytest

from perception.predictor.obedience import CORE, SURE, CellClicks, bent, merged, obeyed

HW = (40, 48)


def logits(*boxes, sure=5.0, hw=HW):
    """One mask's logits: inside these boxes (x0, y0, x1, y1) and outside elsewhere."""
    out = np.full(hw, -sure, np.float32)
    for x0, y0, x1, y1 in boxes:
        out[y0:y1, x0:x1] = sure
    return out


def clicks(*rows):
    places, labels = zip(*(((x, y), label) for x, y, label in rows), strict=True)
    return CellClicks(np.float32(places), np.array(labels))


def test_a_click_is_obeyed_on_its_side_of_the_mask():
    masks = np.stack([logits((4, 4, 20, 20)), logits()])
    told = clicks((10.5, 10.5, 1), (10.5, 10.5, 0), (30, 30, 0), (47.9, 39.9, 1))
    assert obeyed(masks, told).tolist() == [[True, False, True, False], [False, True, True, False]]


def test_a_place_on_the_far_border_is_the_last_cell_s():
    told = clicks((48.0, 40.0, 1))
    assert obeyed(logits((47, 39, 48, 40))[None], told).all()


@pytest.mark.parametrize("label", [0, 1])
def test_a_click_that_is_not_obeyed_bends_the_mask_around_it(label):
    before = logits((4, 4, 24, 24)) if label else -logits((4, 4, 24, 24))
    after = bent(before, clicks((34.5, 14.5, label)))
    assert (after[14, 34] > 0) == bool(label)
    assert abs(after[14, 34]) >= SURE
    moved = (after > 0) != (before > 0)
    rows, columns = np.nonzero(moved)
    # It is 10 cells from the border that it moves: never as far as that.
    assert np.hypot(columns - 34, rows - 14).max() < 7
    assert moved.sum() > 9


def test_what_is_obeyed_already_stays_as_it_is():
    before = logits((4, 4, 24, 24))
    after = bent(before, clicks((10.5, 10.5, 1), (40, 30, 0)))
    assert np.array_equal(after, before)


def test_all_clicks_are_obeyed_even_neighbors_that_disagree():
    told = clicks((20.5, 20.5, 1), (22.5, 20.5, 0), (21.5, 21.5, 1), (21.5, 19.5, 0))
    for mask in (logits(), logits((0, 0, 48, 40))):
        assert obeyed(bent(mask, told)[None], told).all()


def test_of_two_clicks_on_one_cell_the_last_one_counts():
    told = clicks((20.5, 20.5, 1), (20.5, 20.5, 0))
    assert bent(logits(), told)[20, 20] < 0
    assert bent(logits(), clicks((20.5, 20.5, 0), (20.5, 20.5, 1)))[20, 20] > 0


def test_the_cells_around_a_click_go_with_it():
    """A mask is interpolated between cells: one cell alone would not reach its pixels."""
    after = bent(logits(), clicks((20.9, 20.1, 1)))
    y, x = np.nonzero(after > 0)
    near = np.hypot(x + 0.5 - 20.9, y + 0.5 - 20.1) <= CORE
    assert near.sum() >= 4


def test_a_click_bends_only_what_has_its_color():
    colors = np.full((*HW, 3), 128, np.uint8)
    colors[:, 36:] = (40, 200, 90)
    wide = bent(logits((0, 0, 10, 40)), clicks((34.5, 20.5, 1)))
    narrow = bent(logits((0, 0, 10, 40)), clicks((34.5, 20.5, 1)), colors)
    assert (wide[:, 37:] > 0).any()
    assert not (narrow[:, 37:] > 0).any()
    assert (narrow[:, 32:36] > 0).sum() > 4


def test_a_change_far_from_the_last_click_is_not_taken_over():
    before = logits((4, 4, 16, 16))
    answer = logits((4, 4, 20, 16), (40, 30, 46, 36))
    kept = merged(answer, before, clicks((8.5, 8.5, 1), (18.5, 10.5, 1)))
    assert np.array_equal(kept > 0, logits((4, 4, 20, 16)) > 0)
    other = merged(answer, before, clicks((18.5, 10.5, 1), (42.5, 32.5, 1)))
    assert np.array_equal(other > 0, logits((4, 4, 16, 16), (40, 30, 46, 36)) > 0)


def test_what_is_taken_away_far_from_a_click_comes_back():
    before = logits((4, 4, 16, 16), (30, 20, 40, 30))
    answer = logits((4, 4, 20, 16))
    kept = merged(answer, before, clicks((18.5, 10.5, 1)))
    assert np.array_equal(kept > 0, logits((4, 4, 20, 16), (30, 20, 40, 30)) > 0)


def test_where_nothing_changes_the_new_numbers_count():
    before, answer = logits((4, 4, 16, 16), sure=1), logits((4, 4, 16, 16), sure=3)
    assert np.array_equal(merged(answer, before, clicks((8.5, 8.5, 1))), answer)
