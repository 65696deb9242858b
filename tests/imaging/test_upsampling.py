"""Upsampling: a window of an image is exactly a cut-out of the whole."""

import numpy as np
import pytest

from perception.imaging.preprocess import Frame
from perception.imaging.resample import Axis, Window, linear_taps, upsampled_columns

SHAPES = [
    ((1, 1), 64, 16),
    ((1, 90), 64, 16),
    ((90, 1), 64, 16),
    ((48, 64), 64, 16),
    ((37, 101), 64, 16),
    ((200, 133), 64, 16),
    ((31, 17), 64, 16),
    ((683, 1024), 64, 16),
    ((77, 55), 50, 12),
]


def clouds(cells, seed):
    """Smooth logits with a few regions above 0."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(cells // 4 + 1, cells // 4 + 1)) * 3 - 3
    return np.kron(coarse, np.ones((4, 4)))[:cells, :cells].astype(np.float32) + rng.normal(
        size=(cells, cells)
    ).astype(np.float32)


@pytest.mark.parametrize(("image_hw", "side", "cells"), SHAPES)
def test_a_window_is_a_part_of_the_whole(image_hw, side, cells):
    frame, rng = Frame(image_hw, side), np.random.default_rng(0)
    logits = clouds(cells, 1)
    whole = frame.logits_to_image(logits)
    assert whole.shape == image_hw
    for _ in range(20):
        y0, y1 = sorted(rng.integers(0, image_hw[0] + 1, 2).tolist())
        x0, x1 = sorted(rng.integers(0, image_hw[1] + 1, 2).tolist())
        part = frame.logits_to_image(logits, Window(x0, y0, x1, y1))
        np.testing.assert_array_equal(part, whole[y0:y1, x0:x1])


@pytest.mark.parametrize(("image_hw", "side", "cells"), SHAPES)
@pytest.mark.parametrize("level", [-1.0, 0.0, 2.5])
def test_nothing_is_above_the_level_outside_its_window(image_hw, side, cells, level):
    frame = Frame(image_hw, side)
    for seed in range(5):
        logits = clouds(cells, seed)
        above = frame.logits_to_image(logits) > level
        x0, y0, x1, y1 = frame.window_above(logits, level)
        assert 0 <= x0 <= x1 <= image_hw[1]
        assert 0 <= y0 <= y1 <= image_hw[0]
        inside = above[y0:y1, x0:x1].sum()
        assert inside == above.sum()


def test_a_window_is_no_larger_than_what_its_cells_reach():
    logits = np.full((16, 16), -5, np.float32)
    logits[4, 6] = 5
    # A cell is 8 pixels; it has a part in pixels up to a whole cell (and one) from its center.
    assert Frame((128, 128), 64).window_above(logits, 0) == (43, 27, 61, 45)


@pytest.mark.parametrize("image_hw", [(20, 80), (80, 20)])
def test_what_is_above_in_the_padding_only_has_an_empty_window(image_hw):
    logits = np.full((16, 16), -5, np.float32)
    logits[-2:, -2:] = 5
    x0, y0, x1, y1 = Frame(image_hw, 64).window_above(logits, 0)
    assert (x1 - x0) * (y1 - y0) == 0


def test_nothing_above():
    frame, logits = Frame((40, 30), 64), np.full((16, 16), -3, np.float32)
    assert frame.window_above(logits, -1) == (0, 0, 0, 0)
    assert frame.logits_to_image(logits, Window(0, 0, 0, 0)).shape == (0, 0)
    assert list(frame.logits_to_columns(logits, Window(5, 5, 5, 9))) == []


def test_columns_come_in_pieces():
    """A tall image's columns don't all fit into one piece."""
    frame, logits = Frame((9000, 40), 64), clouds(16, 0)
    columns = frame.logits_to_columns(logits, Window(0, 0, 40, 9000))
    pieces = [(start, len(some)) for start, some in columns]
    assert [start for start, _ in pieces] == list(range(0, 40, 7))
    assert sum(count for _, count in pieces) == 40


def test_taps():
    low, weight = linear_taps(2, 4, 4)
    assert low.tolist() == [0, 0, 0, 1]
    assert weight.tolist() == [0, 0.25, 0.75, 0]
    assert linear_taps(2, 4, 3).low.tolist() == [0, 0, 0]
    assert linear_taps(1, 3, 3).weight.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        low[0] = 1


def test_one_step():
    axis = Axis((linear_taps(2, 4, 4),))
    values = np.array([[0, 4], [8, 12]], np.float32)
    ((start, columns),) = upsampled_columns(values, axis, axis, Window(1, 0, 3, 4))
    assert start == 0
    assert columns.tolist() == [[1, 3, 7, 9], [3, 5, 9, 11]]
