"""Reading what is right."""

import numpy as np
import pytest

from evaluate.coco_files import HW, coco, row, write
from perception.errors import CocoError
from perception.evaluate.ground_truth import read_truth
from perception.ops.masks import rle_area, rle_to_mask


def test_a_truth(tmp_path):
    polygon = row(2, 2, (0, 0, 1, 1), mask=False) | {
        "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]
    }
    images = {1: {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}}
    content = coco([row(1, 1, (0, 0, 20, 20)), polygon], images=images)
    content["categories"][1] |= {"synonyms": ["hound"], "frequency": "r"}
    truth = read_truth(write(tmp_path / "t.json", content))
    assert truth.name == "t.json"
    assert len(truth.sha256) == 64
    assert truth.has_masks
    assert truth.is_federated
    assert truth.pictures[0].absent == {2}
    assert truth.pictures[0].open == {1}
    assert truth.judged(truth.pictures[0]) == {1, 2}
    assert truth.judged(truth.pictures[1]) == {2}
    assert truth.categories[1].synonyms == ("hound",)
    assert truth.categories[1].frequency == "r"
    drawn = np.zeros(HW, bool)
    drawn[10:30, 10:30] = True
    assert np.array_equal(rle_to_mask(truth.instances[1].mask), drawn)


def test_what_is_missing_follows_from_the_mask(tmp_path):
    one = row(1, 1, (5, 6, 20, 30))
    del one["bbox"], one["area"]
    truth = read_truth(write(tmp_path / "t.json", coco([one])))
    assert truth.instances[0].box == (5, 6, 20, 30)
    assert truth.instances[0].area == rle_area(truth.instances[0].mask) == 600
    boxes = row(1, 1, (5, 6, 20, 30), mask=False)
    truth = read_truth(write(tmp_path / "b.json", coco([boxes])))
    assert truth.instances[0].area == 600
    assert not truth.has_masks
    assert truth.judged(truth.pictures[0]) == {1, 2}


def test_pictures_that_only_an_address_names(tmp_path):
    content = coco([row(1, 1, (5, 6, 20, 30))], pictures=1)
    del content["images"][0]["file_name"]
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/000000000139.jpg"
    truth = read_truth(write(tmp_path / "t.json", content))
    assert truth.pictures[0].file_name == "val2017/000000000139.jpg"


GOOD = row(1, 1, (0, 0, 20, 20))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (coco([]), "no annotations in it"),
        (coco([GOOD | {"image_id": 9}]), "is of image 9, which isn't listed"),
        (coco([GOOD | {"category_id": 9}]), "is of category 9, which isn't listed"),
        (coco([{"image_id": 1, "category_id": 1}]), "has neither a bbox nor a mask"),
        (coco([GOOD], images={1: {"height": 0}}), "no whole numbers for id, height and width"),
        (coco([GOOD], images={2: {"file_name": "1.png"}}), "two images are called 1.png"),
        (coco([GOOD], images={2: {"id": 1}}), "the image id 1 stands there twice"),
        (coco([GOOD], names=("cat", {"name": " "})), "category 2 has no id and name"),
    ],
)
def test_a_truth_that_nothing_can_be_held_against(tmp_path, content, says):
    with pytest.raises(CocoError, match=says) as caught:
        read_truth(write(tmp_path / "t.json", content))
    assert "t.json" in str(caught.value)
    assert "perception verify" in str(caught.value)
