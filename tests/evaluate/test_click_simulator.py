"""Where the next click goes."""

import numpy as np
import pytest

from perception.evaluate.clicks import Click, deepest, first_click, next_click


def mask(*rows):
    return np.array([[char == "#" for char in row] for row in rows])


def box(hw, x0, y0, x1, y1):
    out = np.zeros(hw, bool)
    out[y0:y1, x0:x1] = True
    return out


def slow_depth(region):
    """To the nearest pixel that isn't of the region, those around the image included."""
    outside = np.argwhere(~np.pad(region, 1)) - 1
    depth = np.zeros(region.shape)
    for row, column in np.argwhere(region):
        depth[row, column] = np.sqrt(((outside - [row, column]) ** 2).sum(axis=1).min())
    return depth


def test_the_first_click_is_in_the_middle():
    assert first_click(box((40, 60), 10, 5, 31, 26)) == Click(20.5, 15.5, 1)


def test_the_pictures_border_is_a_border():
    # Without it the deepest pixels would be those on the image's left edge.
    assert first_click(box((9, 30), 0, 0, 9, 9)) == Click(4.5, 4.5, 1)
    assert first_click(np.ones((5, 5), bool)) == Click(2.5, 2.5, 1)


def test_the_widest_part_wins_not_the_longest():
    thing = box((40, 100), 2, 2, 98, 6) | box((40, 100), 10, 15, 25, 30)
    click = first_click(thing)
    assert (click.x, click.y) == (17.5, 22.5)


@pytest.mark.parametrize("seed", range(5))
def test_depth_is_exact(seed):
    draw = np.random.default_rng(seed)
    region = draw.random((17, 23)) < 0.8
    depth = slow_depth(region)
    (row, column), found = deepest(region)
    assert found == pytest.approx(depth.max(), abs=1e-5)
    assert depth[row, column] == depth.max()
    assert (row, column) == tuple(np.argwhere(depth == depth.max())[0])


def test_an_empty_region_has_no_depth():
    assert deepest(np.zeros((3, 4), bool)) == ((0, 0), 0.0)


def test_what_is_missed_gets_a_positive_click_what_is_in_excess_a_negative_one():
    truth = box((50, 50), 10, 10, 31, 31)
    assert next_click(box((50, 50), 10, 10, 31, 14), truth) == Click(18.5, 22.5, 1)
    assert next_click(truth | box((50, 50), 35, 35, 48, 48), truth) == Click(41.5, 41.5, 0)


def test_the_larger_error_is_clicked():
    truth = box((50, 50), 10, 10, 31, 31)
    missed = truth & ~box((50, 50), 10, 10, 15, 15)
    both = missed | box((50, 50), 35, 35, 48, 48)
    assert next_click(both, truth).label == 0
    both = missed & ~box((50, 50), 10, 10, 31, 25) | box((50, 50), 35, 35, 40, 40)
    assert next_click(both, truth).label == 1


def test_a_tie_is_an_excess():
    truth, answer = mask("#..", "...", "..."), mask("..#", "...", "...")
    assert next_click(answer, truth) == Click(2.5, 0.5, 0)


def test_nothing_wrong_no_click():
    truth = box((9, 9), 2, 2, 5, 5)
    assert next_click(truth, truth) is None


def test_unknown_pixels_are_never_clicked():
    truth, answer = box((9, 9), 2, 2, 5, 5), box((9, 9), 2, 2, 8, 8)
    assert next_click(answer, truth, truth) is None
    known = ~box((9, 9), 5, 0, 9, 9)
    assert next_click(answer, truth, known) == Click(3.5, 6.5, 0)


def test_no_pixel_is_clicked_twice():
    truth = mask("...", ".#.", "...")
    nothing = np.zeros_like(truth)
    click = next_click(nothing, truth)
    assert click == Click(1.5, 1.5, 1)
    assert next_click(nothing, truth, clicked=(click,)) is None
    wide = mask("......", ".####.", "......")
    clicks = ()
    for _ in range(4):
        clicks = (*clicks, next_click(np.zeros_like(wide), wide, clicked=clicks))
    assert len(set(clicks)) == 4
    assert next_click(np.zeros_like(wide), wide, clicked=clicks) is None


def test_an_empty_thing_has_no_middle():
    with pytest.raises(ValueError, match="no middle"):
        first_click(np.zeros((3, 3), bool))
