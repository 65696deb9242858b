"""Pictures behind URLs, in a file system in memory and in an archive."""

import io
import os
import zipfile

import pytest
from fakes import drawing
from PIL import Image

from perception.errors import ImageError
from perception.runs.image_reader import ReadPicture, read, stamp_of
from perception.runs.listing import list_inputs
from perception.runs.records import Task
from perception.runs.remote import is_url, join, without_file_scheme

fsspec = pytest.importorskip("fsspec", reason="the extra [ray] isn't installed")


def png():
    file = io.BytesIO()
    Image.fromarray(drawing()).save(file, "png")
    return file.getvalue()


@pytest.fixture
def store():
    files = fsspec.filesystem("memory")
    for name in ("a.png", "sub/ü b.jpg", ".hidden/c.png", "notes.txt", "empty.png"):
        files.pipe(f"/pics/{name}", b"" if name == "empty.png" else png())
    yield "memory://pics"
    files.rm("/pics", recursive=True)


def test_listing_and_reading(store):
    place, found = list_inputs([store])
    stamps = dict(found)
    assert (place, sorted(stamps)) == (store, ["a.png", "empty.png", "sub/ü b.jpg"])
    for name, stamp in stamps.items():
        assert stamp == stamp_of(join(place, name))
    one = read(Task(1, join(place, "sub/ü b.jpg")), max_pixels=10**6)
    assert isinstance(one, ReadPicture)
    assert one.image_hw == (96, 128)
    assert one.file == stamps["sub/ü b.jpg"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_no_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    os.mkfifo(tmp_path / "b.png")
    _, found = list_inputs([f"local://{tmp_path}"])
    assert [name for name, _ in found] == ["a.png"]


def test_what_can_not_be_read_is_a_failure_with_its_reason(store):
    assert read(Task(1, f"{store}/gone.png"), max_pixels=9).reason.startswith("no such file")
    assert read(Task(1, f"{store}/empty.png"), max_pixels=9).reason.startswith("the file is empty")
    assert "more than the limit" in read(Task(1, f"{store}/a.png"), max_pixels=9).reason
    assert read(Task(1, "nothing://a.png"), max_pixels=9).reason.startswith("can't be opened")
    assert stamp_of(f"{store}/gone.png") is None


def test_an_object_that_changes_has_another_stamp(tmp_path):
    stamps = []
    for content in (b"a", b"b"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a.png", content)
        fsspec.filesystem("file").clear_instance_cache()
        stamps.append(stamp_of(f"zip://a.png::file://{tmp_path}/x.zip"))
    assert stamps[0].bytes == stamps[1].bytes == 1
    assert stamps[0] != stamps[1]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://void", "memory://void: can't be listed"),
        ("nothing://x", "nothing://x: can't be opened"),
    ],
)
def test_urls_that_can_not_be_listed(url, message):
    with pytest.raises(ImageError, match=message):
        list(list_inputs([url])[1])


def test_a_url_is_alone(store, tmp_path):
    with pytest.raises(ImageError, match="the only input"):
        list_inputs([store, str(tmp_path)])


def test_paths():
    assert is_url("s3://bucket/x")
    assert not is_url("/a/b:c")
    assert without_file_scheme("file:///a%20b/c") == "/a b/c"
    assert join("s3://bucket/x/", "a/b.png") == "s3://bucket/x/a/b.png"
    assert join("zip://::file:///x.zip", "a.png") == "zip://a.png::file:///x.zip"
    assert join("/data", "a.png") == "/data/a.png"
