from __future__ import annotations

import numpy as np
from pasting import LEAST_SHOWN, CutOut, cut_out, paste

NO_MASKS = np.zeros((0, 80, 80), bool)


def square(x0: int, y0: int, x1: int, y1: int, side: int = 100) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def test_a_thing_is_cut_out_with_its_own_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    thing = cut_out(image, square(10, 20, 60, 70))
    assert thing is not None
    assert (thing.image == image[20:70, 10:60]).all()
    assert thing.mask.all()


def test_small_things_and_those_cut_off_stay() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    assert cut_out(image, square(10, 10, 30, 90)) is None
    assert cut_out(image, square(0, 10, 60, 90)) is None
    assert cut_out(image, square(10, 10, 100, 90)) is None


def test_the_mask_lies_on_what_was_pasted() -> None:
    red = CutOut(np.full((50, 50, 3), (255, 0, 0), np.uint8), square(5, 5, 45, 45, side=50))
    ground = np.zeros((80, 80, 3), np.uint8)
    for seed in range(30):
        image, masks = paste(ground, NO_MASKS, [red], np.random.default_rng(seed))
        assert masks.shape == (1, 80, 80)
        assert (image[masks[0]][:, 0] > 120).all()
        assert (image[~masks[0]][:, 0] <= 130).all()
    assert not ground.any()  # it was copied


def test_what_is_covered_is_not_asked_for() -> None:
    full = np.ones((1, 80, 80), bool)
    large = CutOut(np.full((90, 90, 3), 255, np.uint8), np.ones((90, 90), np.uint8))
    kept = []
    for seed in range(40):
        image, masks = paste(
            np.zeros((80, 80, 3), np.uint8),
            full,
            [large] * (2 + seed % 8),
            np.random.default_rng(seed),
        )
        assert (masks.sum(0) <= 1).all()  # no pixel is two things'
        below = ~(image > 128).all(2)
        kept.append(bool((masks[0] == below).all()))
        if below.mean() < LEAST_SHOWN - 0.01:
            assert not kept[-1]
    assert any(kept)
    assert not all(kept)
