"""Box arithmetic: each function by value, and on nothing."""

import numpy as np
import pytest

from perception.ops import boxes


@pytest.mark.parametrize(
    ("box", "area"),
    [((0, 0, 2, 3), 6), ((1.5, 1, 2, 5), 2), ((0, 0, 0, 5), 0), ((5, 5, 1, 1), 0)],
)
def test_box_area(box, area):
    np.testing.assert_allclose(boxes.box_area([box]), [area])


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0),
    ],
)
def test_box_iou(one, other, iou):
    np.testing.assert_allclose(boxes.box_iou([one], [other]), [[iou]], rtol=1e-6)


def test_nothing_in_nothing_out():
    assert boxes.box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.box_area([]).shape == (0,)
    assert boxes.clip_boxes([], (4, 4)).shape == (0, 4)
    assert boxes.xyxy_to_xywh([]).shape == (0, 4)
    assert boxes.nms([], []).tolist() == []


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="N x 4"):
        boxes.as_boxes([[1, 2, 3]])
    with pytest.raises(ValueError, match="2 boxes need as many"):
        boxes.nms([[0, 0, 1, 1], [0, 0, 1, 1]], [0.5])


@pytest.mark.parametrize(
    ("there", "back", "value"),
    [
        (boxes.xyxy_to_xywh, boxes.xywh_to_xyxy, (1, 2, 4, 6)),
        (boxes.xyxy_to_cxcywh, boxes.cxcywh_to_xyxy, (3, 5, 4, 6)),
    ],
)
def test_layouts_go_there_and_back(there, back, value):
    box = np.array([[1, 2, 5, 8]], np.float32)
    np.testing.assert_array_equal(there(box), [value])
    np.testing.assert_array_equal(back(there(box)), box)


def test_clip_boxes():
    clipped = boxes.clip_boxes([[-1, -2, 50, 60], [1, 2, 3, 4]], (20, 30))
    np.testing.assert_array_equal(clipped, [[0, 0, 30, 20], [1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("scores", "class_ids", "kept"),
    [
        ([0.5, 0.9, 0.7], None, [1, 2]),
        ([0.9, 0.5, 0.7], None, [0, 2]),
        ([0.9, 0.9, 0.9], None, [0, 2]),
        ([0.5, 0.9, 0.7], [0, 1, 0], [1, 2, 0]),
    ],
)
def test_nms(scores, class_ids, kept):
    overlapping = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]
    assert boxes.nms(overlapping, scores, class_ids).tolist() == kept


def test_nms_threshold_is_exclusive():
    """Two boxes whose IoU equals the threshold both stay."""
    half = [[0, 0, 4, 4], [0, 0, 4, 2]]
    assert boxes.nms(half, [0.9, 0.8], iou_threshold=0.5).tolist() == [0, 1]
    assert boxes.nms(half, [0.9, 0.8], iou_threshold=0.49).tolist() == [0]


def test_nms_of_more_boxes_than_are_compared_at_once():
    """The same as comparing them one by one."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (700, 2))
    many = np.hstack([corners, corners + rng.integers(0, 90, (700, 2))]).astype(np.float32)
    scores, class_ids = rng.random(700).round(2), rng.integers(0, 2, 700)
    iou = boxes.box_iou(many, many)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        rivals = [k for k in kept if class_ids[k] == class_ids[index]]
        if not (iou[rivals, index] > 0.5).any():
            kept.append(int(index))
    assert 256 < len(kept) < 700
    assert boxes.nms(many, scores, class_ids).tolist() == kept
