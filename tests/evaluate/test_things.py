"""Things whose masks are known, from a COCO file and from a GrabCut folder."""

import json

import numpy as np
import pytest
from PIL import Image

from evaluate.things_on_disk import BOXES, HW, coco_file, grabcut_folder, part
from perception.errors import CocoError, EvaluationError
from perception.evaluate.objects import read_coco_things, read_grabcut_things, size_of


def test_a_coco_file(tmp_path):
    things = read_coco_things(*coco_file(tmp_path))
    assert len(things) == 4
    assert [(picture.file_name, thing.label) for picture, thing in things] == [
        ("a.png", "red"),
        ("a.png", "blue"),
        ("b.png", "red"),
        ("b.png", "blue"),
    ]
    picture, thing = next(iter(things))
    assert thing.box.tolist() == list(BOXES["red"])
    assert np.array_equal(thing.truth, part(BOXES["red"]))
    assert thing.known is None
    assert picture.read().shape == (*HW, 3)
    assert things.left_out == {}


def test_polygons_are_drawn_as_pycocotools_draws_them(tmp_path):
    polygon = [[8, 8, 40, 8, 40, 40, 8, 40]]
    things = read_coco_things(*coco_file(tmp_path, segmentation=polygon))
    assert np.array_equal(things.pictures[0].things[0].truth, part(BOXES["red"]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iscrowd": 1}, "crowd regions"),
        ({"segmentation": []}, "without a mask"),
        ({"segmentation": {"size": list(HW), "counts": [HW[0] * HW[1]]}}, "without a mask"),
    ],
)
def test_what_cant_be_asked_about_is_counted(tmp_path, change, why):
    things = read_coco_things(*coco_file(tmp_path, **change))
    assert len(things) == 3
    assert things.left_out == {why: 1}


def test_a_file_without_masks(tmp_path):
    file, images = coco_file(tmp_path)
    content = json.loads(file.read_text())
    for row in content["annotations"]:
        del row["segmentation"]
    file.write_text(json.dumps(content))
    with pytest.raises(CocoError, match="no thing with a mask"):
        read_coco_things(file, images)


def test_pictures_of_another_size_or_place(tmp_path):
    file, images = coco_file(tmp_path)
    things = read_coco_things(file, images)
    Image.new("RGB", (50, 40)).save(images / "a.png")
    with pytest.raises(EvaluationError, match="50 x 40 pixels, its truth has 128 x 96"):
        things.pictures[0].read()
    with pytest.raises(EvaluationError, match="no such folder"):
        read_coco_things(file, tmp_path / "nowhere")


def test_a_grabcut_folder(tmp_path):
    things = read_grabcut_things(grabcut_folder(tmp_path / "set"))
    assert [picture.file_name for picture in things.pictures] == ["one.png", "two.png"]
    thing = things.pictures[0].things[0]
    assert thing.box.tolist() == list(BOXES["red"])
    assert np.array_equal(thing.truth, part(BOXES["red"]))
    x0, y0, x1, y1 = BOXES["red"]
    ring = part((x0 - 1, y0 - 1, x1 + 1, y1 + 1)) & ~part(BOXES["red"])
    assert np.array_equal(thing.known, ~ring)
    again = read_grabcut_things(tmp_path / "set")
    assert again.sha256 == things.sha256


def test_other_masks_are_another_truth(tmp_path):
    folder = grabcut_folder(tmp_path / "set")
    before = read_grabcut_things(folder).sha256
    levels = np.zeros(HW, np.uint8)
    levels[0, 0] = 255
    Image.fromarray(levels).save(folder / "masks" / "one.png")
    assert read_grabcut_things(folder).sha256 != before


def test_folders_of_another_kind(tmp_path):
    with pytest.raises(EvaluationError, match="expected the folders images and masks"):
        read_grabcut_things(tmp_path)
    folder = grabcut_folder(tmp_path / "set")
    (folder / "masks" / "two.png").unlink()
    with pytest.raises(EvaluationError, match="two is not in both"):
        read_grabcut_things(folder)
    for file in folder.rglob("*.png"):
        file.unlink()
    with pytest.raises(EvaluationError, match="no image in it"):
        read_grabcut_things(folder)


@pytest.mark.parametrize(("level", "why"), [(7, "other values"), (0, "no pixel of the object")])
def test_masks_of_another_kind(tmp_path, level, why):
    folder = grabcut_folder(tmp_path / "set")
    Image.fromarray(np.full(HW, level, np.uint8)).save(folder / "masks" / "one.png")
    with pytest.raises(EvaluationError, match=why):
        read_grabcut_things(folder)


def test_sizes():
    areas = (1, 32**2 - 1, 32**2, 96**2 - 1, 96**2)
    assert [size_of(area) for area in areas] == ["small", "small", "medium", "medium", "large"]
