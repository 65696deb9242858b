"""``perception verify`` from arguments to files and status."""

import json

import pytest
from coco.lint.samples import make_content
from PIL import Image

from perception.coco.write import coco_bytes


@pytest.fixture
def file(pictures):
    """A valid file in the current folder."""
    path = pictures / "a.json"
    path.write_bytes(coco_bytes(make_content()))
    return path


def break_boxes(path):
    content = make_content()
    content["annotations"][0]["bbox"] = [3, 5, 23, 25]
    del content["annotations"][1]["area"]
    content["annotations"][3]["category_id"] = 9
    path.write_bytes(coco_bytes(content))


def test_valid(perception, file):
    status, out, err = perception("verify", "a.json")
    assert status == 0
    assert err == ""
    head, *_, verdict = out.splitlines()
    assert head == "a.json: 3 images (1 without annotations), 4 annotations, 2 categories"
    assert verdict == "valid: 2 notes"


def test_faults(perception, file):
    break_boxes(file)
    status, out, _ = perception("verify", "a.json")
    assert status == 1
    assert "error    bbox-xyxy              1  bbox holds two corners" in out
    assert "annotation 1: [3, 5, 23, 25], the mask's is [3, 5, 20, 20]" in out
    assert out.splitlines()[-1] == "not valid: 3 errors, 2 notes"


def test_json(perception, file):
    break_boxes(file)
    status, out, _ = perception("verify", "a.json", "--json", "--fix")
    assert status == 1
    report = json.loads(out)
    assert (report["images"], report["images_without_any"]) == (3, 1)
    assert [fault["code"] for fault in report["faults"]][:2] == ["category-orphan", "bbox-xyxy"]
    assert report["faults"][0]["examples"] == [
        "annotation 4: category_id 9 is none of 2 categories"
    ]
    fixed = report["fixed"]
    assert fixed["file"] == "a.fixed.json"
    assert fixed["mended"] == [
        {"code": "bbox-xyxy", "count": 1},
        {"code": "area-missing", "count": 1},
    ]
    assert [fault["code"] for fault in fixed["left"]] == ["category-orphan", "rle-not-crowd"]


def test_fix(perception, file):
    break_boxes(file)
    before = file.read_bytes()
    status, out, _ = perception("verify", "a.json", "--fix", "--out", "b/c.json")
    assert status == 1
    assert file.read_bytes() == before
    assert "left for a human:\n  error    category-orphan" in out
    assert out.splitlines()[-1] == "wrote b/c.json: not valid: 1 error, 2 notes"
    content = json.loads((file.parent / "b" / "c.json").read_bytes())
    assert content["annotations"][0]["bbox"] == [3, 5, 20, 20]
    assert perception("verify", "b/c.json", "--fix")[0] == 1
    assert (file.parent / "b/c.fixed.json").read_bytes() == (file.parent / "b/c.json").read_bytes()


def test_fix_makes_it_valid(perception, file):
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b'"iscrowd": 0, ', b""))
    status, out, _ = perception("verify", "a.json")
    assert status == 1
    assert "utf-8 with a byte-order mark" in out
    status, out, _ = perception("verify", "a.json", "--fix")
    assert status == 0
    assert json.loads((file.parent / "a.fixed.json").read_bytes()) == json.loads(
        coco_bytes(make_content())
    )


def test_never_over_the_input(perception, file):
    before = file.read_bytes()
    (file.parent / "link.json").symlink_to(file)
    for out in ("a.json", "./in/../a.json", "link.json"):
        status, _, err = perception("verify", "a.json", "--fix", "--out", out)
        assert status == 1
        assert "the file itself" in err
    assert "a folder" in perception("verify", "a.json", "--fix", "--out", "in")[2]
    assert file.read_bytes() == before


def test_pictures(perception, file):
    for n in (1, 2):
        (file.parent / "p" / "d").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(file.parent / "p" / "d" / f"{n}.jpg")
    status, out, _ = perception("verify", "a.json", "--images", "p")
    assert status == 1
    assert "image 3: 'd/3.jpg'" in out
    assert "no such folder" in perception("verify", "a.json", "--images", "none")[2]


def test_usage(perception, file):
    assert perception("verify")[0] == 2
    status, _, err = perception("verify", "a.json", "--out", "b.json")
    assert status == 2
    assert "--out is for --fix" in err


def test_no_coco_file(perception, pictures):
    status, out, err = perception("verify", "in/a.png")
    assert (status, out) == (1, "")
    assert err.startswith("perception: error: in/a.png: not JSON")
    assert len(err.splitlines()) == 1


def test_what_we_write_is_valid(perception, pictures):
    assert (
        perception("segment", "in", "--text", "red. blue. !green", "--json", "a.json", "-q")[0] == 0
    )
    status, out, _ = perception("verify", "a.json", "--images", "in")
    assert status == 0
    assert "error" not in out
    assert "warning" not in out
