"""Small regions of a mask."""

import numpy as np
import pytest

from perception.ops.masks import clean_mask, clean_rle, mask_to_box, mask_to_rle, rle_to_mask


def mask_of(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def test_holes_are_filled_and_loose_parts_dropped():
    mask = mask_of(
        "#####......",
        "#.###...#..",
        "#####......",
        "#..##....##",
        "#..##....##",
    )
    assert clean_mask(mask, 1) is mask
    # Below 2 pixels: the hole of one, the part of one.
    assert (clean_mask(mask, 2) == mask_of(
        "#####......",
        "#####......",
        "#####......",
        "#..##....##",
        "#..##....##",
    )).all()  # fmt: skip
    assert (clean_mask(mask, 5) == mask_of(*["#####......"] * 5)).all()


def test_the_largest_part_stays():
    mask = mask_of("##..#", ".....")
    assert (clean_mask(mask, 4) == mask_of("##...", ".....")).all()


def test_pixels_that_touch_at_a_corner_hold_together():
    mask = mask_of("#....", ".#...", "..#..", ".....")
    assert clean_mask(mask, 3) is mask


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full(value):
    mask = np.full((30, 40), value)
    assert clean_mask(mask, 10) is mask


def test_cleaning_around_the_box_is_cleaning_the_whole():
    rng, changed = np.random.default_rng(0), 0
    for _ in range(300):
        height, width = rng.integers(1, 40, 2)
        coarse = rng.random((height // 4 + 1, width // 4 + 1)) < rng.choice([0.2, 0.5, 0.9])
        mask = np.kron(coarse, np.ones((4, 4)))[:height, :width] > 0
        mask ^= rng.random(mask.shape) < 0.03
        if rng.random() < 0.5:
            mask[:, width // 2 :] = False
        if not mask.any():
            continue
        least = int(rng.integers(1, 60))
        rle = mask_to_rle(mask)
        cleaned, box = clean_rle(rle, mask_to_box(mask), least)
        want = clean_mask(mask, least)
        np.testing.assert_array_equal(rle_to_mask(cleaned), want)
        np.testing.assert_array_equal(box, mask_to_box(want))
        assert (cleaned is rle) == (want is mask)
        changed += want is not mask
    assert changed > 50


def test_reference():
    """SAM's own clean-up: holes first, then loose parts."""
    amg = pytest.importorskip("segment_anything.utils.amg")
    rng = np.random.default_rng(1)
    for _ in range(60):
        mask = np.kron(rng.random((9, 7)) < 0.5, np.ones((3, 4))) > 0
        mask ^= rng.random(mask.shape) < 0.05
        want, filled = amg.remove_small_regions(mask, 15, mode="holes")
        want, dropped = amg.remove_small_regions(want, 15, mode="islands")
        have = clean_mask(mask, 15)
        np.testing.assert_array_equal(have, want)
        assert (have is mask) == (not filled and not dropped)
