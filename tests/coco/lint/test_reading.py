"""Files that aren't COCO are told apart in one line; what a parser bears is reported."""

import json

import pytest

from perception.coco.lint.faults import Findings
from perception.coco.lint.read import read_coco
from perception.errors import CocoError

VALID = {"images": [], "annotations": [], "categories": []}


def read(path, raw):
    path.write_bytes(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    findings = Findings()
    content = read_coco(path, findings)
    return content, {fault.code: fault.count for fault in findings.faults()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.json"


def test_valid(path):
    assert read(path, VALID) == (VALID, {})


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\x89PNG\r\n\x1a\n", "not JSON"),
        (b'{"images": [', "line 1, column 13"),
        (b'{"images": "\xff"}', "byte 12 is no utf-8"),
        (b"9" * 5000, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"7", "7 and nothing else"),
        ([], "a list"),
        ([{"image_id": 1, "score": 0.5}], "list of results"),
        ({}, "neither images nor annotations"),
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
        ({**VALID, "annotations": [{"caption": "a cat"}]}, "captions"),
        ({**VALID, "annotations": [{"segments_info": []}]}, "panoptic"),
        (b'{"images": ' + b"[" * 70 + b"]" * 70 + b"}", "deep"),
    ],
)
def test_something_else(path, raw, why):
    with pytest.raises(CocoError, match=why) as raised:
        read(path, raw)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(CocoError, match="no such file"):
        read_coco(tmp_path / "none.json", Findings())
    with pytest.raises(CocoError, match="a folder"):
        read_coco(tmp_path, Findings())
    with pytest.raises(CocoError, match="can't be read"):
        read_coco(tmp_path / "a\0b", Findings())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_encodings(path, encoding):
    raw = json.dumps({**VALID, "é": "猫"}, ensure_ascii=False).encode(encoding)
    assert read(path, raw) == ({**VALID, "é": "猫"}, {"json-encoding": 1})


def test_a_key_twice(path):
    raw = b'{"images": [{"id": 1, "id": 2}], "annotations": [], "images": []}'
    assert read(path, raw) == ({"images": [], "annotations": []}, {"json-duplicate-key": 2})


def test_numbers_that_are_none(path):
    content, _ = read(path, b'{"images": [NaN, 1e999], "annotations": []}')
    assert str(content["images"]) == "[nan, inf]"
