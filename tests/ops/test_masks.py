"""Masks: run lengths, boxes, stability."""

import numpy as np
import pytest

from perception.imaging.preprocess import Frame
from perception.ops import masks


def random_masks():
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 7), (5, 1), (6, 9), (31, 17)]:
        for share in (0.05, 0.5, 0.95):
            yield rng.random((height, width)) < share


@pytest.mark.parametrize("mask", list(random_masks()), ids=lambda mask: f"{mask.shape}")
def test_rle_keeps_mask_area_and_box(mask):
    rle = masks.mask_to_rle(mask)
    assert rle.size == mask.shape
    assert isinstance(rle.counts, str)
    np.testing.assert_array_equal(masks.rle_to_mask(rle), mask)
    assert masks.rle_area(rle) == mask.sum()
    np.testing.assert_array_equal(masks.rle_to_box(rle), masks.mask_to_box(mask))


def test_box_is_tight_and_half_open():
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    assert masks.mask_to_box(mask).tolist() == [3, 2, 7, 5]
    assert masks.rle_to_box(masks.mask_to_rle(mask)).tolist() == [3, 2, 7, 5]


def test_empty_mask():
    rle = masks.mask_to_rle(np.zeros((4, 5), bool))
    assert masks.rle_area(rle) == 0
    assert masks.rle_to_box(rle).tolist() == [0, 0, 0, 0]
    assert masks.mask_to_box(np.zeros((4, 5), bool)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_any_non_zero_pixel_is_inside(dtype):
    mask = np.array([[0, 255], [7, 0]], dtype)
    assert masks.rle_area(masks.mask_to_rle(mask)) == 2


def test_three_dimensions_are_refused():
    with pytest.raises(ValueError, match="one mask"):
        masks.mask_to_rle(np.zeros((1, 4, 5), bool))


def test_logits_to_rles_are_the_frames_masks():
    frame = Frame((30, 50), 32)
    logits = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    rles = masks.logits_to_rles(logits, frame)
    decoded = np.stack([masks.rle_to_mask(rle) for rle in rles])
    np.testing.assert_array_equal(decoded, frame.logits_to_masks(logits))
    assert masks.logits_to_rles(logits[:0], frame) == ()


def test_consensus():
    one, two = np.full((2, 4, 4), -1, np.float32)
    one[:2], two[1:] = 1, 1  # 8 and 12 cells, 4 in common, 16 together
    nothing = np.full((4, 4), -1, np.float32)
    prompts = np.array([[one, two], [one, one], [one, nothing], [nothing, nothing]])
    np.testing.assert_allclose(masks.consensus(prompts), [4 / 16, 1, 0, 1])
    assert masks.consensus(prompts[:0]).shape == (0,)


def test_stability_score():
    logits = np.array([[[3, 0.5, -0.5, -3]], [[3, 3, -3, -3]], [[-9, -9, -9, -9]]], np.float32)
    np.testing.assert_allclose(masks.stability_score(logits), [1 / 3, 1, 0])
    np.testing.assert_allclose(masks.stability_score(logits, offset=4.0), [0, 0, 0])
    assert masks.stability_score(logits[:0]).shape == (0,)


def test_a_window_gives_the_code_of_the_whole():
    rng = np.random.default_rng(0)
    for _ in range(500):
        height, width = rng.integers(1, 9, 2)
        h, w = rng.integers(0, height + 1), rng.integers(0, width + 1)
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        whole = np.zeros((height, width), bool)
        whole[y : y + h, x : x + w] = rng.random((h, w)) < rng.choice([0, 0.1, 0.5, 0.9, 1])
        part = whole[y : y + h, x : x + w]
        rle = masks.window_to_rle(part, (x, y), (int(height), int(width)))
        assert rle == masks.mask_to_rle(whole)


@pytest.mark.parametrize("left_top", [(-1, 0), (0, -1), (4, 0), (0, 3)])
def test_a_window_lies_in_the_picture(left_top):
    with pytest.raises(ValueError, match="a window of"):
        masks.window_to_rle(np.ones((2, 2), bool), left_top, (4, 5))


@pytest.mark.parametrize("image_hw", [(30, 50), (64, 64), (7, 90), (200, 150), (1, 1)])
@pytest.mark.parametrize("offset", [0.0, 1.0, 2.5])
def test_a_cut_out_is_the_whole_mask_and_its_stability(image_hw, offset):
    frame, rng = Frame(image_hw, 32), np.random.default_rng(0)
    for shift in (-4, -1.5, 0, 3):
        logits = rng.normal(loc=shift, scale=2, size=(8, 8)).astype(np.float32)
        whole = frame.logits_to_image(logits)
        pixels, left_top, stability = masks.cut_out(logits, frame, offset=offset)
        assert masks.window_to_rle(pixels, left_top, image_hw) == masks.mask_to_rle(whole > 0)
        want = masks.stability_score(whole[None], offset=offset)[0]
        assert np.float32(stability) == want


def test_nothing_to_cut_out():
    pixels, left_top, stability = masks.cut_out(np.full((8, 8), -9, np.float32), Frame((9, 7), 32))
    assert pixels.shape == (0, 0)
    assert stability == 0
    assert masks.rle_area(masks.window_to_rle(pixels, left_top, (9, 7))) == 0
