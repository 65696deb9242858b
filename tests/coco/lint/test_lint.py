"""Every kind of fault is found, counted, and nothing else with it."""

import re

import pytest

from coco.lint.samples import codes, ring
from perception.coco.lint.faults import KINDS, Findings, Severity, brief
from perception.coco.lint.lint import lint


def test_a_valid_file(content):
    assert codes(content) == {}
    findings = Findings()
    lint(content, findings)
    assert [fault.count for fault in findings.faults()] == [2]  # Run lengths that are no crowds.
    assert findings.count(Severity.NOTE) == 2
    assert findings.count(Severity.ERROR) == findings.count(Severity.WARNING) == 0


@pytest.mark.parametrize("parent", [3, 3.0, None])
def test_parts_and_wholes(content, parent):
    content["annotations"][3]["parent_id"] = parent
    assert codes(content) == {}


def test_an_empty_file():
    assert codes({"info": {}, "images": [], "annotations": [], "categories": []}) == {}


def change(room, n, **fields):
    """A change of one record; None takes a field away."""

    def act(content):
        for name, value in fields.items():
            if value is None:
                del content[room][n][name]
            else:
                content[room][n][name] = value

    return act


def image(**fields):
    return change("images", 2, **fields)


def category(**fields):
    return change("categories", 1, **fields)


def rle(**fields):
    """A change of annotation 4, whose mask is run lengths."""
    return change("annotations", 3, **fields)


def polygon(**fields):
    """A change of annotation 3, whose mask is two polygons."""
    return change("annotations", 2, **fields)


def top(**fields):
    def act(content):
        content.update(fields)

    return act


RLE = ring(20, 8, 12)["segmentation"]
SQUARE = [3, 3, 9, 3, 9, 9, 3, 9]

FAULTS = [
    (top(info=None), {"info-missing": 1}),
    (top(licenses=[{"x": [float("nan")]}]), {"json-non-finite": 1}),
    (top(images=None, annotations=[]), {"top-level-missing": 1}),
    (top(images={}, annotations=[]), {"top-level-type": 1}),
    (lambda content: content["images"].append("x"), {"record-type": 1}),
    # Pictures.
    (image(id=None), {"image-id-missing": 1}),
    (image(id="3"), {"image-id-type": 1}),
    (image(id=True), {"image-id-type": 1}),
    (image(id=[3]), {"image-id-type": 1}),
    (image(id=2), {"image-id-duplicate": 1}),
    (image(file_name=None), {"image-file-name-missing": 1}),
    (image(file_name=7), {"image-file-name-missing": 1}),
    (image(file_name="d/1.jpg"), {"image-file-name-duplicate": 1}),
    (image(file_name="/d/1.jpg"), {"image-path-absolute": 1}),
    (image(file_name="C:\\d\\1.jpg"), {"image-path-absolute": 1, "image-path-backslash": 1}),
    (image(file_name="d\\3.jpg"), {"image-path-backslash": 1}),
    (image(file_name="d/../3.jpg"), {"image-path-parent": 1}),
    (image(file_name="a..b.jpg"), {}),
    (image(file_name="http://x.org/3.jpg"), {"image-path-url": 1}),
    (image(width=None), {"image-size-missing": 1}),
    (image(width="60"), {"image-size-type": 1}),
    (image(height=40.0), {"image-size-type": 1}),
    (image(height=0), {"image-size-range": 1}),
    (image(height=10**30), {"image-size-range": 1}),
    # Classes.
    (category(id=None), {"category-id-missing": 1, "category-orphan": 2}),
    (category(id="2"), {"category-id-type": 1}),
    (category(id=1), {"category-id-duplicate": 1, "category-orphan": 2}),
    (category(id=0), {"category-id-zero": 1, "category-orphan": 2}),
    (category(name=None), {"category-name-missing": 1}),
    (category(name=" "), {"category-name-missing": 1}),
    (category(name="cat"), {"category-name-duplicate": 1}),
    (category(name="Cat "), {"category-name-similar": 1}),
    (image(neg_category_ids=[1, 2], not_exhaustive_category_ids=[]), {}),
    (image(neg_category_ids=["1"]), {"negative-form": 1}),
    (image(not_exhaustive_category_ids=[9]), {"negative-unknown": 1}),
    (change("images", 0, neg_category_ids=[2]), {"negative-annotated": 1}),
    (change("images", 0, not_exhaustive_category_ids=[2]), {}),
    # What annotations are and refer to.
    (rle(id=None), {"annotation-id-missing": 1}),
    (rle(id="x"), {"annotation-id-type": 1}),
    (rle(id=1), {"annotation-id-duplicate": 1}),
    (rle(id=0), {"annotation-id-zero": 1}),
    (rle(parent_id=9), {"parent-unknown": 1}),
    (rle(parent_id=4), {"parent-unknown": 1}),  # Itself.
    (rle(parent_id=1), {"parent-unknown": 1}),  # In another image.
    (rle(parent_id=[3]), {"parent-unknown": 1}),
    (
        lambda content: [one.update(id=0) for one in content["annotations"]],
        {"annotation-ids-all-zero": 4},
    ),
    (rle(image_id=9), {"image-orphan": 1}),
    (rle(image_id=None), {"image-orphan": 1}),
    (rle(image_id=True), {"image-orphan": 1}),
    (rle(category_id=9), {"category-orphan": 1}),
    (rle(category_id="2"), {"reference-type": 1}),
    (rle(image_id=2.0), {"reference-type": 1}),
    (rle(iscrowd=None), {"iscrowd-missing": 1}),
    (rle(iscrowd=False), {"iscrowd-value": 1}),
    (rle(iscrowd=2), {"iscrowd-value": 1}),
    (polygon(iscrowd=1), {"crowd-polygon": 1}),
    (rle(score=1.5), {"score-value": 1}),
    (rle(score="high"), {"score-value": 1}),
    (rle(keypoints=[1, 2, 3]), {"keypoints-unchecked": 1}),
    (
        lambda content: content["annotations"].append({**content["annotations"][3], "id": 9}),
        {"annotation-duplicate": 1},
    ),
    # Masks.
    (rle(segmentation=None), {"segmentation-missing": 1}),
    (rle(segmentation=[]), {"segmentation-missing": 1}),
    (rle(segmentation="x"), {"segmentation-form": 1}),
    (rle(segmentation={"counts": RLE["counts"]}), {"rle-size": 1}),
    (rle(segmentation={**RLE, "size": [40, 61]}), {"rle-size": 1}),
    (rle(segmentation={**RLE, "size": [60, 40]}), {"rle-size-swapped": 1}),
    (rle(segmentation={**RLE, "counts": RLE["counts"][:-1]}), {"rle-counts": 1}),
    (rle(segmentation={**RLE, "counts": RLE["counts"] + "1"}), {"rle-counts": 1}),
    (rle(segmentation={**RLE, "counts": 5}), {"rle-counts": 1}),
    (rle(segmentation={**RLE, "counts": repr(RLE["counts"].encode())}), {"rle-bytes-text": 1}),
    (
        rle(segmentation={**RLE, "counts": [2400]}, bbox=[0, 0, 0, 0], area=0),
        {"rle-uncompressed": 1, "mask-empty": 1, "bbox-empty": 1},
    ),
    (
        rle(
            segmentation={"size": [40, 60], "counts": [808, 12, 1580]}, bbox=[20, 8, 1, 12], area=12
        ),
        {"rle-uncompressed": 1},
    ),
    (polygon(segmentation=SQUARE, bbox=[3, 3, 6, 6], area=36), {"polygon-flat": 1}),
    (polygon(segmentation=[SQUARE, SQUARE[:4]]), {"polygon-short": 1}),
    (polygon(segmentation=[SQUARE, [*SQUARE, 7]]), {"polygon-odd": 1}),
    (polygon(segmentation=[SQUARE, [3, 3, 9, None, 9, 9]]), {"polygon-numbers": 1}),
    (polygon(segmentation=[SQUARE, [3, 3, 9, "9", 9, 9]]), {"polygon-numbers": 1}),
    (polygon(segmentation=[SQUARE, [3, 3, 5, 5, 9, 9]]), {"polygon-degenerate": 1}),
    (polygon(segmentation=[[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]), {"polygon-normalized": 1}),
    (
        polygon(segmentation=[[[3, 3], [9, 3], [9, 9], [3, 9]]], bbox=[3, 3, 6, 6], area=36),
        {"polygon-pairs": 1},
    ),
    (
        # Far outside, and across the image more often than pycocotools has memory for.
        polygon(segmentation=[[3, 3, 1e8, 3, 1e8, 9]], bbox=[3, 3, 57, 6], area=3e8),
        {"polygon-too-long": 1, "polygon-outside": 1},
    ),
    (
        polygon(
            segmentation=[[0, 0, 59, 39, 59, 0] * 60_000], bbox=[0, 0, 59, 39], area=69_030_000
        ),
        {"polygon-too-long": 1},
    ),
    (
        polygon(segmentation=[[50, 30, 61, 30, 61, 39]], bbox=[50, 30, 10, 9], area=49.5),
        {"polygon-outside": 1},
    ),
    (
        polygon(
            segmentation=[[3.1, 3.1, 3.3, 3.1, 3.3, 3.3]], bbox=[3.1, 3.1, 0.2, 0.2], area=0.02
        ),
        {"mask-empty": 1},
    ),
    # Boxes and areas.
    (rle(bbox=None), {"bbox-missing": 1}),
    (rle(bbox=[20, 8, 12]), {"bbox-form": 1}),
    (rle(bbox=[20, 8, 12, "12"]), {"bbox-form": 1}),
    (rle(bbox=[20, 8, 12, -12]), {"bbox-empty": 1}),
    (rle(bbox=[20, 8, 32, 20]), {"bbox-xyxy": 1}),
    (rle(bbox=[20, 8, 11, 11]), {"bbox-inclusive": 1}),
    (rle(bbox=[20, 8, 13, 11]), {}),
    (rle(bbox=[20, 8, 14.5, 12]), {"bbox-not-tight": 1}),
    (rle(bbox=[1, 1, 12, 4]), {"bbox-elsewhere": 1}),
    (rle(bbox=[0.33, 0.2, 0.2, 0.3]), {"bbox-normalized": 1}),
    (polygon(bbox=[2, 3, 57, 36]), {}),
    (polygon(bbox=[2.5, 3, 58, 36]), {"bbox-not-tight": 1}),
    (rle(area=None), {"area-missing": 1}),
    (rle(area=-1), {"area-value": 1}),
    (rle(area="80"), {"area-value": 1}),
    (rle(area=144), {"area-is-box": 1}),
    (rle(area=90), {"area-wrong": 1}),
    (polygon(area=411), {}),
    (polygon(area=430), {"area-wrong": 1}),
]


@pytest.mark.parametrize(("act", "expected"), FAULTS)
def test_faults(content, act, expected):
    act(content)
    assert codes(content) == expected


def boxes_only(boxes):
    """A file of boxes without masks, in one image of 60 x 40."""
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": bbox, "area": 1}
        for n, bbox in enumerate(boxes, start=1)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}]
    categories = [{"id": 1, "name": "cat"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[1, 2, 20, 20], [30, 20, 29, 19]], {}),
        ([[1, 2, 20, 20], [30, 20, 40, 19]], {"bbox-outside": 1}),
        ([[1, 2, 20, 20], [30, 20, 40, 39], [50, 3, 58, 30]], {"bbox-xyxy": 3}),
        ([[0, 0, 0.4, 0.5], [0.3, 0.2, 0.7, 0.8], [0.5, 0, 0.5, 1]], {"bbox-normalized": 3}),
    ],
)
def test_boxes_without_masks(boxes, expected):
    assert codes(boxes_only(boxes)) == {"boxes-only": 1, **expected}


def test_an_area_without_a_mask():
    content = boxes_only([[1, 2, 20, 20]])
    content["annotations"][0]["area"] = 500
    assert codes(content) == {"boxes-only": 1, "area-beyond-box": 1}


def test_a_mask_that_would_fill_the_memory(content):
    side = 100_000
    image(width=side, height=side)(content)
    rle(image_id=3, segmentation={"size": [side, side], "counts": [side * side]})(content)
    assert codes(content) == {"rle-uncompressed": 1, "mask-too-large": 1}


def test_polygons_that_are_not_drawn_are_said_to_be_unchecked(content):
    """An outline of 3 million pixels: pycocotools can, slowly."""
    lines = [0, 0, 59, 39, 59, 0] * 15_000
    polygon(segmentation=[lines], bbox=[0, 0, 59, 39], area=59 * 39 / 2 * 15_000)(content)
    found = codes(content)
    assert found.pop("mask-too-large") == 1
    assert "polygon-too-long" not in found


def test_examples_name_places(content):
    for one in content["annotations"]:
        one["bbox"] = one["bbox"][:3]
    content["annotations"][0]["id"] = "a\nb"
    findings = Findings()
    lint(content, findings)
    (fault,) = (fault for fault in findings.faults() if fault.code == "bbox-form")
    assert fault.count == 4
    assert fault.examples == (
        "annotations[0]: [3.0, 5.0, 20.0]",
        "annotation 2: [10.0, 2.0, 30.0]",
        "annotation 3: [2.5, 3, 56.5]",
    )
    assert all("\n" not in text for one in findings.faults() for text in one.examples)


def test_examples_are_short():
    assert len(brief("x" * 10_000)) <= 100
    assert len(brief([[[["y" * 1000] * 100] * 100] * 100])) <= 100
    assert brief("a\nb").isprintable()


def test_every_kind_is_tested():
    tested = {code for _, expected in FAULTS for code in expected}
    elsewhere = {code for code in KINDS if re.match("file-|json-", code)}
    assert set(KINDS) - tested - elsewhere == {
        *("boxes-only", "bbox-outside", "area-beyond-box", "rle-not-crowd", "mask-too-large")
    }


def test_an_unknown_code_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="no such kind"):
        Findings().add("no-such-fault")
