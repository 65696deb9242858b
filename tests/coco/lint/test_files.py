"""The images of a COCO file as files: there, readable, of the size that is listed."""

import os

import pytest
from PIL import Image

from perception.coco.lint.faults import Findings
from perception.coco.lint.lint import check_files
from perception.errors import CocoError


def save(path, width=60, height=40, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)


def listing(*names, width=60, height=40):
    images = [
        {"id": n, "file_name": name, "width": width, "height": height}
        for n, name in enumerate(names, start=1)
    ]
    return {"images": images}


def found(content, folder):
    findings = Findings()
    check_files(findings, content, folder)
    return {fault.code: fault.examples for fault in findings.faults()}


def test_all_there(tmp_path):
    save(tmp_path / "a.jpg")
    save(tmp_path / "b" / "a.jpg")
    save(tmp_path / "猫 .png")
    assert found(listing("a.jpg", "b/a.jpg", "猫 .png"), tmp_path) == {}


def test_missing(tmp_path):
    save(tmp_path / "b" / "A.jpg")
    faults = found(listing("a.jpg", "c.jpg", "a\0b.jpg", "x" * 5000), tmp_path)
    assert set(faults) == {"file-missing", "file-unlisted"}
    assert faults["file-missing"][0] == "image 1: 'a.jpg'; there is 'b/A.jpg'"


def test_no_picture_and_no_folder(tmp_path):
    assert set(found(listing("a.jpg"), tmp_path)) == {"file-missing"}
    with pytest.raises(CocoError, match="no such folder"):
        found(listing("a.jpg"), tmp_path / "none")


def test_unreadable(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "b.jpg").mkdir()
    (tmp_path / "c.jpg").write_bytes(b"")
    faults = found(listing("a.jpg", "b.jpg", "c.jpg"), tmp_path)
    assert set(faults) == {"file-unreadable"}
    assert len(faults["file-unreadable"]) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert "file-unreadable" in found(listing("a.jpg"), tmp_path)


def test_another_size(tmp_path):
    save(tmp_path / "a.jpg", 60, 41)
    assert found(listing("a.jpg"), tmp_path) == {
        "file-size": ("image 1: 'a.jpg' is 60 x 41, listed 60 x 40",)
    }


@pytest.mark.parametrize(
    ("orientation", "listed", "code"),
    [
        (6, (60, 40), "file-exif-stored"),
        (6, (40, 60), "file-exif-turned"),
        (3, (60, 40), "file-exif-turned"),
        (6, (60, 41), "file-size"),
        (1, (60, 40), None),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation(tmp_path, orientation, listed, code, suffix):
    save(tmp_path / f"a.{suffix}", 60, 40, orientation)
    content = listing(f"a.{suffix}", width=listed[0], height=listed[1])
    assert set(found(content, tmp_path)) == ({code} if code else set())


def test_records_without_a_name_or_a_size(tmp_path):
    save(tmp_path / "a.jpg")
    content = {
        "images": [{"id": 1}, {"file_name": "a.jpg"}, {"file_name": "http://x.org/a.jpg"}, 7]
    }
    assert found(content, tmp_path) == {}
