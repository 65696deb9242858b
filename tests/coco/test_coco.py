"""The COCO contract."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from perception.coco.write import coco_bytes, to_coco, write_coco
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle


def result(file_name="a.jpg", *, count=2, classes=("cat", "dog", "猫"), **changes):
    masks = np.zeros((count, 20, 30), bool)
    for n, mask in enumerate(masks):
        mask[2 + n : 9 + 2 * n, 3:11] = True
        mask[4 + n, 5] = False
    made = Instances(
        image_hw=(20, 30),
        classes=classes,
        boxes=np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4),
        scores=np.full(count, 0.123456),
        class_ids=np.arange(count) % 2 * 2,
        rles=tuple(mask_to_rle(mask) for mask in masks),
        quality=np.full(count, 0.9),
        stability=np.full(count, 0.8),
        runner_up=np.full(count, 1),
        margin=np.full(count, 0.05),
        file_name=file_name,
        uid="0123456789abcdef",
        info={"version": "1", "threshold": 0.3},
    )
    return replace(made, **changes)


def test_parents_are_ids_of_the_file():
    nested = {"parent": np.array([1, -1])}
    content = to_coco([result("b.jpg", **nested), result("a.jpg")])
    assert [row["id"] for row in content["annotations"]] == [1, 2, 3, 4]
    assert [row.get("parent_id") for row in content["annotations"]] == [None, None, 4, None]


def test_polygons_with_few_corners():
    """Area and bbox are those of what is written, as pycocotools draws it."""
    y, x = np.mgrid[:60, :80]
    masks = np.stack([(y - 30) ** 2 + (x - 40) ** 2 < 25**2, (x > 70) & (y < 9)])
    boxes = np.array([mask_to_box(mask) for mask in masks])
    rles = tuple(mask_to_rle(mask) for mask in masks)
    made = result(image_hw=(60, 80), rles=rles, boxes=boxes)
    exact = to_coco([made], polygons=True)
    simple = made.to_coco(polygons=True, simplify=0.5)
    for n, (one, other) in enumerate(zip(exact["annotations"], simple["annotations"], strict=True)):
        assert one["uid"] == other["uid"]
        drawn = coco_mask.merge(coco_mask.frPyObjects(other["segmentation"], 60, 80))
        assert other["area"] == coco_mask.area(drawn)
        assert other["bbox"] == coco_mask.toBbox(drawn).tolist()
        own = coco_mask.encode(np.asfortranarray(masks[n], np.uint8))
        assert coco_mask.iou([drawn], [own], [0]) > 0.97
    corners = [len(c["annotations"][0]["segmentation"][0]) / 2 for c in (exact, simple)]
    assert corners[1] < corners[0] / 3
    assert exact["annotations"][1] == simple["annotations"][1]
    assert json.loads(coco_bytes(simple)) == simple


def test_one_annotation():
    content = to_coco([result(count=1)])
    (annotation,) = content["annotations"]
    uid = annotation.pop("uid")
    assert len(uid) == 16
    assert annotation == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "area": 55,
        "bbox": [3, 2, 8, 7],
        "score": 0.1235,
        "quality": 0.9,
        "stability": 0.8,
        "margin": 0.05,
        "runner_up_category_id": 2,
        "segmentation": {"size": [20, 30], "counts": result().rles[0].counts},
    }
    assert content["categories"] == [
        {"id": 1, "name": "cat"},
        {"id": 2, "name": "dog"},
        {"id": 3, "name": "猫"},
    ]
    assert content["info"] == {"version": "1", "threshold": 0.3}


def test_ids_follow_the_paths():
    content = to_coco([result("b/a.jpg"), result("a.png"), result("a.jpg", count=0)])
    names = [image["file_name"] for image in content["images"]]
    assert names == ["a.jpg", "a.png", "b/a.jpg"]
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert [a["id"] for a in content["annotations"]] == [1, 2, 3, 4]
    assert [a["image_id"] for a in content["annotations"]] == [2, 2, 3, 3]


def test_absence_is_recorded():
    (found, nothing) = to_coco([result("a.jpg"), result("b.jpg", count=0)])["images"]
    assert found["neg_category_ids"] == [2]
    assert nothing["neg_category_ids"] == [1, 2, 3]


def test_order_of_results_changes_nothing():
    results = [result("b.jpg"), result("a.jpg"), result("c.jpg", count=0)]
    assert coco_bytes(to_coco(results)) == coco_bytes(to_coco(results[::-1]))


def test_uids_come_from_content():
    one, again = to_coco([result()]), to_coco([result()])
    other = to_coco([result(uid="f" * 16)])
    assert one == again
    uids = [annotation["uid"] for annotation in one["annotations"] + other["annotations"]]
    assert len(set(uids)) == 4
    assert one["images"][0]["uid"] != other["images"][0]["uid"]


def test_equal_annotations_have_their_own_uids():
    twice = result(count=1)[np.array([0, 0])]
    uids = [annotation["uid"] for annotation in to_coco([twice])["annotations"]]
    assert len(set(uids)) == 2


def test_uids_do_not_depend_on_other_pictures():
    alone = {a["uid"] for a in to_coco([result("b.jpg")])["annotations"]}
    together = {a["uid"] for a in to_coco([result("a.jpg"), result("b.jpg")])["annotations"]}
    assert alone < together


def test_boxes_only():
    boxes = replace(result(count=1), rles=(), boxes=np.array([[1.234, 2, 5.5, 7]]))
    (annotation,) = to_coco([boxes])["annotations"]
    assert annotation["segmentation"] == []
    assert annotation["bbox"] == [1.23, 2, 4.27, 5]
    assert annotation["area"] == pytest.approx(21.33, abs=0.01)


def test_pycocotools_reads_it(tmp_path, capsys):
    made = result()
    write_coco(to_coco([made]), tmp_path / "sub" / "coco.json")
    coco = COCO(tmp_path / "sub" / "coco.json")
    for n, annotation in enumerate(coco.loadAnns(coco.getAnnIds(imgIds=1))):
        np.testing.assert_array_equal(coco.annToMask(annotation), made.masks[n])
        assert coco.annToMask(annotation).sum() == annotation["area"]


def test_text_is_json_with_one_row_a_line():
    content = to_coco([result()])
    text = coco_bytes(content)
    assert json.loads(text) == content
    assert "猫".encode() in text
    assert text.endswith(b"}\n")
    assert len(text.splitlines()) == 15


def test_a_file_name_that_is_no_text():
    text = coco_bytes(to_coco([result("\udcff.jpg")]))
    assert json.loads(text)["images"][0]["file_name"] == "\udcff.jpg"


def test_no_pictures():
    assert to_coco([], info={"a": 1}) == {
        "info": {"a": 1},
        "images": [],
        "annotations": [],
        "categories": [],
    }
    assert json.loads(coco_bytes(to_coco([])))["images"] == []


def test_what_does_not_belong_in_one_file():
    with pytest.raises(ValueError, match=r"2 images are called 'a\.jpg'"):
        to_coco([result(), result()])
    with pytest.raises(ValueError, match="different ways"):
        to_coco([result("a.jpg"), result("b.jpg", info={"version": "2"})])


def test_where_segment_everything_asked():
    """In the fields and layouts of SA-1B."""
    asked = result(count=1, points=np.array([[5.5, 6]]), crop_boxes=np.array([[2, 3, 30, 20]]))
    (annotation,) = to_coco([asked])["annotations"]
    assert annotation["point_coords"] == [[5.5, 6]]
    assert annotation["crop_box"] == [2, 3, 28, 17]
    assert "point_coords" not in to_coco([result()])["annotations"][0]
