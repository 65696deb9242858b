"""YOLO, labelme, CSV and class maps."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from coco.test_coco import result
from PIL import Image

from perception.errors import OutputError
from perception.formats.csv import COLUMNS, write_csv
from perception.formats.labelme import write_labelme
from perception.formats.outlines import one_outline, outlines
from perception.formats.png import write_class_maps
from perception.formats.yolo import write_yolo
from perception.instances import Instances
from perception.ops.masks import mask_to_box, mask_to_rle
from perception.runtime.files import Stems

CLASSES = ("cat", "dog: 'x'", "猫")


def in_parts():
    """One instance of three parts in an image of 40 x 60."""
    mask = np.zeros((40, 60), bool)
    mask[5:15, 10:20] = mask[20:30, 30:50] = mask[35:38, 2:9] = True
    return Instances(
        (40, 60),
        ("cat",),
        mask_to_box(mask)[None],
        np.float32([0.9]),
        np.zeros(1),
        (mask_to_rle(mask),),
        file_name="a.jpg",
    )


def test_outlines_lie_where_the_mask_does():
    first, second, third = outlines(in_parts(), 0)
    assert first.tolist() == [[10, 5], [20, 5], [20, 15], [10, 15]]
    assert second[0].tolist() == [30, 20]
    assert third[0].tolist() == [2, 35]


def test_one_outline_encloses_all_parts():
    """Twice as large, so that drawing through the middle of pixels keeps apart what is apart."""
    outline = one_outline(in_parts(), 0)
    x, y = outline.astype(float).T
    area = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2
    assert area == in_parts().areas[0]
    drawn = np.zeros((400, 600), np.uint8)
    cv2.fillPoly(drawn, [(outline * 10).astype(int)], 1)
    inside = drawn[5::10, 5::10] > 0
    assert (inside & in_parts().masks[0]).sum() == area


def with_a_hole():
    """One instance of two parts, the first with a hole, in an image of 40 x 60."""
    mask = np.zeros((40, 60), bool)
    mask[5:25, 10:30] = mask[30:34, 40:44] = True
    mask[10:14, 15:22] = False
    return replace(
        in_parts(), boxes=mask_to_box(mask)[None].astype(np.float32), rles=(mask_to_rle(mask),)
    )


def test_holes_are_cut_out_of_outlines(tmp_path):
    outline = one_outline(with_a_hole(), 0)
    x, y = outline.astype(float).T
    area = 20 * 20 - 4 * 7 + 4 * 4
    assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2 == area
    drawn = np.zeros((400, 600), np.uint8)
    cv2.fillPoly(drawn, [(outline * 10).astype(int)], 1)
    assert np.array_equal(drawn[5::10, 5::10] > 0, with_a_hole().masks[0])
    write_labelme([with_a_hole()], tmp_path, images=tmp_path)
    shapes = json.loads((tmp_path / "a.json").read_text())["shapes"]
    first, second = (np.array(shape["points"]) for shape in shapes)
    assert [15, 10] in first.tolist()
    assert len(second) == 4


def test_yolo_boxes(tmp_path):
    results = [result("a.jpg", count=0), result("b/a.jpg")]
    assert write_yolo(results, tmp_path, classes=CLASSES) == 2
    assert (tmp_path / "labels" / "a.txt").read_text() == ""
    first, second = (tmp_path / "labels" / "b" / "a.txt").read_text().splitlines()
    assert first == f"0 {7 / 30:.6g} {5.5 / 20:.6g} {8 / 30:.6g} {7 / 20:.6g}"
    assert second.startswith("2 ")
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"] == dict(enumerate(CLASSES))


def test_yolo_polygons(tmp_path):
    write_yolo([in_parts()], tmp_path, classes=("cat",), polygons=True)
    number, *sides = (tmp_path / "labels" / "a.txt").read_text().split()
    corners = np.float64(sides).reshape(-1, 2) * [60, 40]
    assert number == "0"
    np.testing.assert_allclose(corners, one_outline(in_parts(), 0), atol=1e-3)


def disc():
    """One round instance in an image of 40 x 60."""
    y, x = np.mgrid[:40, :60]
    mask = (y - 20) ** 2 + (x - 30) ** 2 < 15**2
    return replace(
        in_parts(), boxes=mask_to_box(mask)[None].astype(np.float32), rles=(mask_to_rle(mask),)
    )


def drawn_iou(corners, mask):
    """Of a polygon, drawn ten times as large so that OpenCV's pixels on the line count little."""
    drawn = np.zeros((400, 600), np.uint8)
    cv2.fillPoly(drawn, [np.round(np.float64(corners) * 10).astype(int)], 1)
    inside = drawn[5::10, 5::10] > 0
    return (inside & mask).sum() / (inside | mask).sum()


def yolo_corners(folder):
    _, *sides = (folder / "labels" / "a.txt").read_text().split()
    return np.float64(sides).reshape(-1, 2) * [60, 40]


def test_outlines_of_yolo_and_labelme_have_few_corners_unless_told(tmp_path):
    exact = len(one_outline(disc(), 0))
    write_yolo([disc()], tmp_path, classes=("cat",), polygons=True)
    write_labelme([disc()], tmp_path, images=tmp_path)
    (shape,) = json.loads((tmp_path / "a.json").read_text())["shapes"]
    for corners in (yolo_corners(tmp_path), np.array(shape["points"])):
        assert len(corners) < exact / 2
        assert drawn_iou(corners, disc().masks[0]) > 0.97
    write_yolo([disc()], tmp_path, classes=("cat",), polygons=True, simplify=0)
    write_labelme([disc()], tmp_path, images=tmp_path, simplify=0)
    (shape,) = json.loads((tmp_path / "a.json").read_text())["shapes"]
    assert len(yolo_corners(tmp_path)) == len(shape["points"]) == exact


@pytest.fixture
def pictures(tmp_path):
    """A folder with the images a.jpg and b/a.jpg."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for name in ("a.jpg", "b/a.jpg"):
        (folder / name).write_bytes(name.encode())
    return folder


RESULTS = [result("a.jpg"), result("b/a.jpg")]


@pytest.mark.parametrize("copy", [False, True])
def test_yolo_has_its_images_beside_its_labels(tmp_path, pictures, copy):
    """Found again as Ultralytics does: "labels" for the last "images", ".txt" for the suffix."""
    out = tmp_path / "yolo"
    for _ in range(2):  # Again is no other.
        write_yolo(RESULTS, out, classes=CLASSES, images=pictures, copy=copy)
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert "path" not in data
    found = sorted(path for path in (out / data["train"]).rglob("*.jpg"))
    assert [path.relative_to(out / "images").as_posix() for path in found] == ["a.jpg", "b/a.jpg"]
    for path in found:
        assert path.read_bytes() == path.relative_to(out / "images").as_posix().encode()
        assert path.is_symlink() != copy
        head, _, tail = str(path).rpartition("/images/")
        assert Path(f"{head}/labels/{tail}").with_suffix(".txt").is_file()
    # The folder can be moved together with the images.
    (tmp_path / "there").mkdir()
    out.rename(tmp_path / "there" / "yolo")
    pictures.rename(tmp_path / "there" / "pictures")
    assert (tmp_path / "there" / "yolo" / "images" / "b" / "a.jpg").read_bytes() == b"b/a.jpg"


def test_yolo_where_links_can_not_be_made(tmp_path, pictures, monkeypatch):
    def refuse(*_):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    write_yolo(RESULTS, tmp_path / "yolo", classes=CLASSES, images=pictures)
    copied = tmp_path / "yolo" / "images" / "a.jpg"
    assert copied.read_bytes() == b"a.jpg"
    assert not copied.is_symlink()


def test_yolo_beside_the_pictures_themselves(pictures):
    """They already lie in ``images/``: nothing is done to them."""
    data = pictures.rename(pictures.with_name("images")).parent
    for copy in (False, True):
        write_yolo(RESULTS, data, classes=CLASSES, images=data / "images", copy=copy)
        assert (data / "images" / "a.jpg").read_bytes() == b"a.jpg"
        assert not (data / "images" / "a.jpg").is_symlink()


def test_yolo_of_images_that_are_gone_or_elsewhere(tmp_path, pictures):
    (pictures / "a.jpg").unlink()
    with pytest.warns(RuntimeWarning, match=r"1 image is no longer in .*: put them into"):
        write_yolo(RESULTS, tmp_path / "yolo", classes=CLASSES, images=pictures)
    assert (tmp_path / "yolo" / "images" / "b" / "a.jpg").is_file()
    assert (tmp_path / "yolo" / "labels" / "a.txt").is_file()
    for name in ("../x.jpg", "/x.jpg", "a/../../x.jpg"):
        with pytest.raises(OutputError, match="no name of an image below a folder"):
            write_yolo([result(name)], tmp_path / "y" / "y", classes=CLASSES, images=pictures)
    (tmp_path / "z" / "images").mkdir(parents=True)
    (tmp_path / "z" / "images" / "b").touch()
    with pytest.raises(OutputError, match="can't be written"):
        write_yolo(RESULTS[1:], tmp_path / "z", classes=CLASSES, images=pictures)


def test_labelme(tmp_path):
    results = [in_parts(), result("b/a.jpg")]
    assert write_labelme(results, tmp_path / "out", images=tmp_path / "in") == 3
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["imagePath"] == "../in/a.jpg"
    assert (content["imageHeight"], content["imageWidth"]) == (40, 60)
    assert [shape["group_id"] for shape in content["shapes"]] == [1, 1, 1]
    assert content["shapes"][0]["points"] == [[10, 5], [20, 5], [20, 15], [10, 15]]
    deeper = json.loads((tmp_path / "out" / "b" / "a.json").read_text("utf-8"))
    assert deeper["imagePath"] == "../../in/b/a.jpg"
    assert [shape["label"] for shape in deeper["shapes"]] == ["cat", "猫"]


def test_csv(tmp_path):
    name = 'a "b",\nc.jpg'
    assert write_csv([result("0.jpg", count=0), result(name)], tmp_path / "t.csv") == 2
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert first["file_name"] == name
    assert (second["class"], second["runner_up"], second["score"]) == ("猫", "dog", "0.1235")
    assert [first[side] for side in ("x0", "y0", "x1", "y1", "area")] == ["3", "2", "11", "9", "55"]


def test_parts_and_wholes(tmp_path):
    nested = replace(result("a.jpg"), parent=np.array([1, -1]))
    write_csv([nested], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["number"], row["part_of"]) for row in csv.DictReader(file)]
    assert rows == [("1", "2"), ("2", "")]
    write_labelme([nested], tmp_path / "out", images=tmp_path)
    shapes = json.loads((tmp_path / "out" / "a.json").read_text())["shapes"]
    assert [shape["description"] for shape in shapes] == [
        "score 0.1235, part of group 2",
        "score 0.1235",
    ]


def test_csv_of_boxes_without_more(tmp_path):
    bare = replace(result(), rles=(), quality=None, stability=None, runner_up=None, margin=None)
    write_csv([bare], tmp_path / "t.csv")
    assert "cat,0.1235,,,,,3,2,11,9,56" in (tmp_path / "t.csv").read_text("utf-8")


def test_class_maps(tmp_path):
    overlapping = replace(result("b/a.jpg"), scores=np.float32([0.4, 0.8]))
    assert write_class_maps([overlapping], tmp_path, classes=CLASSES) == 2
    ids = np.array(Image.open(tmp_path / "b" / "a.jpg.png"))
    first, second = overlapping.masks
    np.testing.assert_array_equal(ids, np.where(second, 3, np.where(first, 1, 0)))
    assert (tmp_path / "classes.txt").read_text("utf-8") == "1 cat\n2 dog: 'x'\n3 猫\n"
    with pytest.raises(OutputError, match="256 classes"):
        write_class_maps([], tmp_path, classes=["x"] * 256)


@pytest.mark.parametrize("write", [write_yolo, write_labelme])
def test_pictures_that_a_format_can_not_tell_apart(tmp_path, write):
    more = {"classes": CLASSES} if write is write_yolo else {"images": tmp_path}
    with pytest.raises(OutputError, match=r"a\.jpg and a\.png: .* have the same; rename one"):
        write([result("a.jpg"), result("a.png")], tmp_path, **more)


def test_stems():
    stems = Stems("YOLO")
    names = ["a.b.jpg", "a.jpg", "a.jpg.png", "a/a.jpg", "b", "ba.jpg"]
    assert [stems(name) for name in names] == ["a.b", "a", "a.jpg", "a/a", "b", "ba"]


@pytest.mark.parametrize("names", [["a.b.c.jpg", "a.b.jpg", "a.b.png"], ["b", "b.c"]])
def test_stems_that_meet(names):
    stems = Stems("YOLO")
    for name in names[:-1]:
        stems(name)
    with pytest.raises(OutputError, match=rf"{names[-2]} and {names[-1]}"):
        stems(names[-1])
