"""What is certain is mended, what isn't stays, and nothing else is lost."""

import json

import pytest

from coco.lint.samples import codes, mended, ring
from coco.lint.test_lint import (
    RLE,
    SQUARE,
    boxes_only,
    category,
    change,
    image,
    polygon,
    rle,
    top,
)
from perception.coco.lint.faults import Findings
from perception.coco.lint.mend import mend


def test_a_valid_file_stays_as_it_is(content):
    made, counts = mended(content)
    assert json.dumps(made) == json.dumps(content)
    assert counts == {}


GONE = [
    (top(info=None), {"info-missing": 1}),
    (top(licenses=[{"x": [float("nan")]}]), {"json-non-finite": 1}),
    (image(id="3"), {"image-id-type": 1}),
    (image(width="60", height=40.0), {"image-size-type": 1}),
    (image(file_name="d\\3.jpg"), {"image-path-backslash": 1}),
    (category(id="2"), {"category-id-type": 1}),
    (rle(id=None), {"annotation-id-missing": 1}),
    (rle(id=1), {"annotation-id-duplicate": 1}),
    (rle(id=0), {"annotation-id-zero": 1}),
    (
        lambda content: [one.update(id=0) for one in content["annotations"]],
        {"annotation-ids-all-zero": 4},
    ),
    (rle(image_id=9), {"image-orphan": 1}),
    (rle(category_id="2"), {"reference-type": 1}),
    (rle(iscrowd=None), {"iscrowd-missing": 1}),
    (rle(iscrowd=False), {"iscrowd-value": 1}),
    (
        lambda content: content["annotations"].append({**content["annotations"][3], "id": 9}),
        {"annotation-duplicate": 1},
    ),
    (
        lambda content: content["images"].append(dict(content["images"][1])),
        {"image-id-duplicate": 1},
    ),
    (rle(segmentation={**RLE, "size": [60, 40]}), {"rle-size-swapped": 1}),
    (rle(segmentation={**RLE, "counts": repr(RLE["counts"].encode())}), {"rle-bytes-text": 1}),
    (rle(segmentation={**RLE, "counts": [2400]}, bbox=[9, 9, 0, 0]), {"mask-empty": 1}),
    (polygon(segmentation=SQUARE, bbox=[3, 3, 6, 6], area=36), {"polygon-flat": 1}),
    (
        polygon(segmentation=[SQUARE, SQUARE[:4]], bbox=[3, 3, 6, 6], area=36),
        {"polygon-short": 1},
    ),
    (polygon(segmentation=[[3, 3, 5, 5, 9, 9]], bbox=[3, 3, 6, 0]), {"polygon-degenerate": 1}),
    (rle(bbox=None), {"bbox-missing": 1}),
    (rle(bbox=[20, 8, 32, 20]), {"bbox-xyxy": 1}),
    (rle(bbox=[20, 8, 11, 11]), {"bbox-inclusive": 1}),
    (rle(bbox=[0.33, 0.2, 0.2, 0.3]), {"bbox-normalized": 1}),
    (polygon(bbox=[2.5, 3, 58, 36]), {"bbox-not-tight": 1}),
    (rle(area=None), {"area-missing": 1}),
    (rle(area=144), {"area-is-box": 1}),
    (polygon(area=430), {"area-wrong": 1}),
]


@pytest.mark.parametrize(("act", "expected"), GONE)
def test_mended(content, act, expected):
    act(content)
    assert expected.items() <= codes(content).items()
    made, counts = mended(content)
    assert counts == expected
    assert codes(made) == {}


STAYS = [
    image(id=2),
    image(file_name="d/1.jpg"),
    category(name="Cat "),
    rle(category_id=9),
    rle(segmentation={**RLE, "size": [40, 61]}),
    rle(segmentation={**RLE, "size": [60, 40]}, bbox=[1, 1, 5, 5]),
    rle(segmentation={**RLE, "counts": RLE["counts"][:-1]}),
    polygon(segmentation=[[3, 3, 5, 5, 9, 9]]),  # Its box is a proper one.
    polygon(segmentation=[[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]], bbox=[0.1, 0.1, 0.8, 0.8]),
    rle(bbox=[1, 1, 12, 4]),
    rle(segmentation=[], bbox=[0.33, 0.2, 0.2, 0.3]),
    rle(score=7),
]


@pytest.mark.parametrize("act", STAYS)
def test_left_for_a_human(content, act):
    act(content)
    before = codes(content)
    assert before
    made, counts = mended(content)
    assert counts == {}
    assert json.dumps(made) == json.dumps(content)


def test_values_come_from_the_mask(content):
    right = ring(20, 8, 12)
    rle(bbox=[18, 9, 20, 11], area=7)(content)
    polygon(bbox=[0, 0, 60, 40], area=2400)(content)
    made, _ = mended(content)
    assert [made["annotations"][3][field] for field in ("bbox", "area")] == [
        right["bbox"],
        right["area"],
    ]
    assert made["annotations"][2]["bbox"] == [2.5, 3, 56.5, 36]
    assert made["annotations"][2]["area"] == pytest.approx(404, abs=8)


def test_overlapping_polygons_have_the_area_that_is_drawn(content):
    polygon(segmentation=[SQUARE, SQUARE], bbox=[3, 3, 6, 6], area=7)(content)
    made, counts = mended(content)
    assert counts == {"area-wrong": 1}
    assert made["annotations"][2]["area"] == 36


def test_run_lengths_are_compressed(content):
    counts = [808, 12, 1580]
    rle(segmentation={"size": [40, 60], "counts": counts, "mine": 1}, bbox=[20, 8, 1, 12], area=12)(
        content
    )
    made, mends = mended(content)
    assert mends == {"rle-uncompressed": 1}
    segmentation = made["annotations"][3]["segmentation"]
    assert isinstance(segmentation["counts"], str)
    assert segmentation["mine"] == 1
    assert codes(made) == {}


def test_ids_keep_what_they_can(content):
    for one, value in zip(content["annotations"], ["uuid-7", 7, "5", 7], strict=True):
        one["id"] = value
    made, counts = mended(content)
    assert [one["id"] for one in made["annotations"]] == [8, 7, 5, 9]
    assert made["annotations"][0]["uid"] == "uuid-7"
    assert counts == {"annotation-id-type": 2, "annotation-id-duplicate": 1}


def test_parts_follow_the_ids_of_their_wholes(content):
    rows = content["annotations"]
    for one, value, parent in zip(rows, ["a", 0, 2, 2], ["x", "a", 2, None], strict=True):
        one["id"], one["parent_id"] = value, parent
    made, _ = mended(content)
    assert [one["id"] for one in made["annotations"]] == [3, 4, 2, 5]
    # What isn't known stays, and so does what could be either of two.
    assert [one["parent_id"] for one in made["annotations"]] == ["x", 3, 2, None]


def test_references_follow_the_ids(content):
    for one in content["images"]:
        one["id"] = str(one["id"])
    made, counts = mended(content)
    assert counts == {"image-id-type": 3}
    assert codes(made) == {}
    assert [one["image_id"] for one in made["annotations"]] == [1, 1, 2, 2]


def test_mixed_up_ids_are_no_orphans(content):
    for one in content["annotations"][:2]:
        one["image_id"] += 10
    made, counts = mended(content)
    assert counts == {}
    assert len(made["annotations"]) == 4


def test_corners_become_boxes_where_a_file_holds_corners():
    made, counts = mended(boxes_only([[1, 2, 20, 20], [30, 20, 40, 39], [50, 3, 58, 30]]))
    assert counts == {"bbox-xyxy": 3}
    assert [one["bbox"] for one in made["annotations"]] == [
        *([1, 2, 19, 18], [30, 20, 10, 19], [50, 3, 8, 27])
    ]
    assert codes(made) == {"boxes-only": 1}


def test_an_area_from_the_box():
    content = boxes_only([[1, 2, 20, 20.5]])
    del content["annotations"][0]["area"]
    made, counts = mended(content)
    assert counts == {"area-missing": 1}
    assert made["annotations"][0]["area"] == 410


def test_what_is_no_record_stays(content):
    content["images"].append("x")
    content["mine"] = {"a": [1, {"b": None}]}
    made, counts = mended(content)
    assert counts == {}
    assert made == content


def test_writing_mends_what_reading_found(content):
    found = Findings()
    found.add("json-encoding", "the file")
    assert +mend(content, found).counts == {"json-encoding": 1}


def test_records_are_not_shared(content):
    change("annotations", 3, area=1)(content)
    made, _ = mended(content)
    assert content["annotations"][3]["area"] == 1
    assert made["annotations"][3]["area"] == 80
