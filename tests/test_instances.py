"""The product's result: checked, picked from, converted."""

import sys

import numpy as np
import pytest

import perception as pc
from perception.errors import MissingExtraError
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle


def example(**changes):
    masks = np.zeros((2, 12, 16), bool)
    masks[0, 1:4, 2:7] = True
    masks[1, 5:11, 5:15] = True
    masks[1, 6, 6] = False
    parts = {
        "image_hw": (12, 16),
        "classes": ("cat", "dog", "star"),
        "boxes": np.stack([mask_to_box(mask) for mask in masks]),
        "scores": np.array([0.9, 0.5]),
        "class_ids": np.array([2, 0]),
        "rles": tuple(mask_to_rle(mask) for mask in masks),
        "quality": np.array([0.8, 0.7]),
        "runner_up": np.array([1, -1]),
        "image": np.full((12, 16, 3), 200, np.uint8),
    }
    return Instances(**(parts | changes))


def test_what_a_result_says():
    result = example()
    assert len(result) == 2
    assert result.labels == ("star", "cat")
    assert result.areas.tolist() == [15, 59]
    assert result.masks.shape == (2, 12, 16)
    assert result.masks.sum(axis=(1, 2)).tolist() == [15, 59]
    assert repr(result) == "<Instances: 2 in 16 x 12: star 0.90, cat 0.50>"


def test_a_loop_gives_each_instance():
    result = example()
    first, second = result
    assert (first.label, first.class_id, second.label) == ("star", 2, "cat")
    assert first.score == pytest.approx(0.9)
    assert first.box.tolist() == [2, 1, 7, 4]
    assert first.mask.shape == (12, 16)
    assert [instance.area for instance in result] == result.areas.tolist()
    np.testing.assert_array_equal(second.mask, result.masks[1])
    assert repr(first) == "<Instance: star 0.90, box [2, 1, 7, 4]>"
    assert list(Instances.empty((3, 4))) == []
    (boxed, _) = example(rles=())
    assert boxed.area == 15
    with pytest.raises(pc.DataError, match="only boxes"):
        _ = boxed.mask
    assert isinstance(result[0], Instances)


def test_masks_are_ranked_by_score_and_quality():
    np.testing.assert_allclose(example().mask_scores, [0.72, 0.35], rtol=1e-6)
    beyond = example(quality=np.array([1.2, -0.1])).mask_scores
    np.testing.assert_allclose(beyond, [0.9, 0], rtol=1e-6)
    by_hand = example(quality=np.array([np.nan, 0.5]), scores=np.array([np.nan, 0.5])).mask_scores
    assert np.isnan(by_hand[0])
    assert by_hand[1] == 0.25
    assert example(quality=None).mask_scores.tolist() == example().scores.tolist()


def test_nothing_found():
    nothing = Instances.empty((12, 16), ["cat"])
    assert len(nothing) == 0
    assert nothing.labels == ()
    assert nothing.masks.shape == (0, 12, 16)
    assert nothing.areas.shape == (0,)
    assert "nothing" in repr(nothing)
    assert len(nothing.to_supervision()) == 0
    assert nothing.to_coco()["images"][0]["neg_category_ids"] == [1]
    assert len(nothing[:5]) == 0


@pytest.mark.parametrize("index", [np.array([1]), slice(1, 2), np.array([False, True]), 1])
def test_picking(index):
    picked = example()[index]
    assert picked.labels == ("cat",)
    assert picked.quality.tolist() == [np.float32(0.7)]
    assert len(picked.rles) == 1
    assert picked.stability is None


def family(parent):
    count = len(parent)
    none = {"rles": (), "quality": None, "runner_up": None, "image": None}
    return example(
        boxes=np.tile(np.float32([0, 0, 5, 5]), (count, 1)),
        scores=np.full(count, 0.5),
        class_ids=np.zeros(count, int),
        parent=np.array(parent),
        **none,
    )


@pytest.mark.parametrize(
    ("index", "parents"),
    [
        (slice(None), [-1, 0, 1, -1, 3]),
        ([2, 1, 0], [1, 2, -1]),
        ([0, 2], [-1, 0]),  # Its parent wasn't picked, that one's parent was.
        ([2, 4], [-1, -1]),
        ([2, 2, 1], [2, 2, -1]),
        (np.array([False, True, True, False, False]), [-1, 0]),
        ([], []),
        (1, [-1]),
    ],
    ids=str,
)
def test_parents_of_those_that_are_picked(index, parents):
    index = np.array(index, int) if isinstance(index, list) else index
    assert family([-1, 0, 1, -1, 3])[index].parent.tolist() == parents


@pytest.mark.parametrize("parent", [[0], [1], [-2], [1, 0], [1, 2, 0, -1]])
def test_no_parents(parent):
    with pytest.raises(ValueError, match="parent"):
        family(parent)


def test_boxes_only():
    boxes = example(rles=())
    assert boxes.areas.tolist() == [15, 60]
    assert boxes.to_supervision().mask is None
    with pytest.raises(ValueError, match="only boxes"):
        _ = boxes.masks


def test_supervision():
    detections = example().to_supervision()
    assert detections.mask.sum() == 74
    assert detections.class_id.tolist() == [2, 0]
    assert detections.data["class_name"].tolist() == ["star", "cat"]
    np.testing.assert_allclose(detections.confidence, [0.9, 0.5])


def test_without_supervision_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'perception-masks\[supervision\]'"):
        example().to_supervision()


def test_overlay_is_a_picture_of_the_same_size():
    overlay = example().overlay()
    assert overlay.size == (16, 12)
    assert (np.asarray(overlay) != 200).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.5]}, "scores: expected"),
        ({"class_ids": [0, 3]}, "index the 3 classes"),
        ({"class_ids": [-1, 0]}, "index the 3 classes"),
        ({"rles": example().rles[:1]}, "2 boxes need as many masks"),
        ({"image_hw": (12, 17), "image": None}, "on an image of"),
        ({"image": np.zeros((16, 12, 3), np.uint8)}, "expected an image"),
        ({"quality": [0.5]}, "quality: expected"),
        ({"boxes": np.zeros((2, 3))}, "boxes: expected"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        example(**changes)


def test_where_segment_everything_asked():
    points, crops = np.array([[3, 4], [8, 9]]), np.array([[0, 0, 16, 12], [4, 4, 16, 12]])
    result = example(points=points, crop_boxes=crops)
    assert result[1].points.tolist() == [[8, 9]]
    assert result[1].crop_boxes.tolist() == [[4, 4, 16, 12]]
    assert result[:0].points.shape == (0, 2)
    with pytest.raises(ValueError, match=r"points: expected an array of shape 2 x 2"):
        example(points=points[:, :1])
