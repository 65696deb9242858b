"""Folders, lists and COCO files become the images of a run."""

import json

import pytest

from perception.errors import CocoError, ImageError
from perception.runs.listing import list_inputs


def listed(*inputs, **options):
    folder, files = list_inputs([str(text) for text in inputs], **options)
    return folder, {name: stamp and stamp.bytes for name, stamp in files}


def test_a_folder(pictures):
    folder, files = listed(pictures)
    assert folder == pictures
    assert sorted(files) == ["a.png", "b.png", "sub/a.png"]
    assert all(files.values())


@pytest.mark.parametrize(
    "content",
    ["in/a.png\n\n in/sub/a.png \r\nin/gone.png", "\ufeffin/a.png\0in/sub/a.png\0in/gone.png\0"],
)
def test_a_list(pictures, content):
    path = pictures.parent / "list.txt"
    path.write_bytes(content.encode())
    folder, files = listed(path)
    assert folder == pictures.parent
    assert list(files) == ["in/a.png", "in/sub/a.png", "in/gone.png"]
    assert files["in/gone.png"] is None


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ImageError, match="phtos: no such folder or image; check the path"):
        listed(tmp_path / "phtos")
    assert listed(tmp_path / "gone.png")[1] == {"gone.png": None}


def test_a_name_with_a_line_break(pictures):
    (pictures / "list.txt").write_bytes(b"a\nb.png\0")
    assert list(listed(pictures / "list.txt")[1]) == ["a\nb.png"]


def test_a_list_of_pictures_elsewhere(pictures):
    (pictures.parent / "lists").mkdir()
    path = pictures.parent / "lists" / "list.txt"
    path.write_text(f"{pictures / 'a.png'}\n../in/sub/a.png\n")
    folder, files = listed(path)
    assert folder == pictures
    assert list(files) == ["a.png", "sub/a.png"]
    assert list(listed(path, images=str(pictures / "sub"))[1]) == ["a.png", "in/sub/a.png"]


def test_a_coco_file(pictures):
    path = pictures.parent / "old.json"
    names = ["a.png", "sub/a.png", "gone.png", "a.png"]
    path.write_text(json.dumps({"images": [{"file_name": name} for name in names]}))
    folder, files = listed(path, images=str(pictures))
    assert folder == pictures
    assert files["a.png"] > 0
    assert files["gone.png"] is None
    assert next(iter(listed(path)[1])) == "a.png"


@pytest.mark.parametrize(
    "content",
    ["no JSON", "[]", '{"images": 3}', '{"images": [{"id": 1}]}', '{"images": [{"file_name": 3}]}'],
)
def test_what_is_no_coco_file(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(CocoError, match=r"x\.json: "):
        listed(tmp_path / "x.json")


def test_what_lists_nothing(tmp_path):
    for name, content in (("x.txt", "\n \n"), ("x.json", '{"images": []}')):
        (tmp_path / name).write_text(content)
        with pytest.raises(ImageError, match="no image in this list"):
            listed(tmp_path / name)
    with pytest.raises(ImageError, match=r"y\.txt: can't be read \(no such file"):
        listed(tmp_path / "y.txt")
    with pytest.raises(ImageError, match="no image in this folder"):
        listed(tmp_path)
