"""How much masks share, on run lengths against pixels."""

import numpy as np
from things import HW, rectangle, things

from perception.ops.masks import Overlaps, mask_to_rle


def test_against_pixels():
    rng = np.random.default_rng(0)
    masks = [rng.random(HW) < share for share in (0, 0.01, 0.3, 0.5, 0.9, 1)]
    masks += [rectangle(0, 0, 80, 60), rectangle(79, 59, 80, 60), rectangle(3, 4, 9, 8)]
    overlaps = Overlaps.of([mask_to_rle(mask) for mask in masks])
    pixels = np.array(masks).reshape(len(masks), -1).astype(int)
    assert overlaps.areas.tolist() == pixels.sum(axis=1).tolist()
    assert overlaps.shared.tolist() == (pixels @ pixels.T).tolist()


def test_shares():
    overlaps = Overlaps.of(
        things((0, 1, (0, 0, 10, 10)), (0, 1, (5, 0, 10, 10)), (0, 1, (20, 20, 30, 30))).rles
    )
    np.testing.assert_allclose(overlaps.iou, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(overlaps.inside, [[1, 0.5, 0], [1, 1, 0], [0, 0, 1]])
    some = overlaps[np.array([2, 1])]
    assert some.areas.tolist() == [100, 50]
    assert some.shared.tolist() == [[100, 0], [0, 50]]


def test_none_and_empty_masks():
    none = Overlaps.of([])
    assert none.shared.shape == none.iou.shape == none.inside.shape == (0, 0)
    empty = Overlaps.of([mask_to_rle(np.zeros(HW, bool))] * 2)
    assert empty.iou.tolist() == empty.inside.tolist() == [[0, 0], [0, 0]]
