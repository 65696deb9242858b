"""Thumbnails: what is cut out, what is drawn on it, and how images are read for it."""

import io

import numpy as np
import pytest
from fakes import drawing
from PIL import Image

from perception.ops.masks import mask_to_rle
from perception.report import thumbnails
from perception.report.thumbnails import Shown, Thumbnail, draw_thumbnails, window


def one(name="a.png", *, box, image_hw=(100, 100), file_bytes=None):
    mask = np.zeros(image_hw, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    rle = mask_to_rle(mask)
    return Shown(name, image_hw, file_bytes, box, rle, 1, 0.9, -1, 0.9, 0.9, 0.9, 0.9, 0.9)


def drawn(folder, *shown, max_pixels=10**9):
    classes = ("cat", "dog")
    return draw_thumbnails(shown, classes=classes, folder=folder, max_pixels=max_pixels)


def pixels(thumbnail):
    assert isinstance(thumbnail, Thumbnail), thumbnail
    with Image.open(io.BytesIO(thumbnail.jpeg)) as image:
        assert image.size == (thumbnail.width, thumbnail.height)
        return np.array(image).astype(int)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((40, 40, 60, 60), (36, 36, 64, 64)),
        ((0, 0, 1, 1), (0, 0, 24, 24)),
        ((99, 99, 100, 100), (76, 76, 100, 100)),
        ((0, 50, 100, 51), (0, 0, 100, 100)),
    ],
)
def test_windows(box, expected):
    assert window(one(box=box)) == expected


def test_windows_of_small_pictures():
    assert window(one(box=(1, 1, 3, 2), image_hw=(4, 10))) == (0, 0, 10, 4)


def test_nothing():
    assert drawn("anywhere") == {}


@pytest.mark.parametrize(
    ("box", "tinted"),
    [
        ((0, 0, 1, 1), (slice(1, 6), slice(1, 6))),
        ((99, 99, 100, 100), (slice(-6, -1), slice(-6, -1))),
        ((0, 50, 100, 51), (slice(80, 82), slice(20, 140))),
        ((0, 0, 100, 100), (slice(0, 160), slice(0, 160))),
        ((40, 40, 60, 60), (slice(30, 130), slice(30, 130))),
    ],
)
def test_dots_lines_and_edges(tmp_path, box, tinted):
    Image.new("RGB", (100, 100), "white").save(tmp_path / "a.png")
    (thumbnail,) = drawn(tmp_path, one(box=box)).values()
    tint = pixels(thumbnail)[tinted].reshape(-1, 3).mean(axis=0)
    assert tint.min() < 200  # White is no longer white there.
    if box != (0, 0, 100, 100):
        assert (pixels(thumbnail) > 240).all(axis=2).mean() > 0.3


@pytest.mark.parametrize(("image_hw", "size"), [((4, 10), (160, 64)), ((100, 1), (7, 160))])
def test_pictures_smaller_than_a_window(tmp_path, image_hw, size):
    height, width = image_hw
    Image.new("RGB", (width, height)).save(tmp_path / "a.png")
    (thumbnail,) = drawn(tmp_path, one(box=(0, 0, 1, 1), image_hw=image_hw)).values()
    assert (thumbnail.width, thumbnail.height) == size


def test_large_pictures_are_read_smaller(tmp_path, monkeypatch):
    image = drawing(1600, 2400, things=[("red", (100, 100, 2300, 1500))])
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    shown = one("a.jpg", box=(100, 100, 2300, 1500), image_hw=(1600, 2400))
    right, shapes = thumbnails.read_image, []

    def read_image(path, **options):
        found = right(path, **options)
        shapes.append(found.shape)
        return found

    monkeypatch.setattr(thumbnails, "read_image", read_image)
    (small,) = drawn(tmp_path, shown).values()
    near = one("a.jpg", box=(100, 100, 150, 150), image_hw=(1600, 2400))
    assert shapes == [(200, 300, 3)]
    assert len(drawn(tmp_path, shown, near)) == 2
    assert shapes[1:] == [(1600, 2400, 3)]  # What is small in it needs all of its pixels; once.
    monkeypatch.setattr(thumbnails, "read_image", lambda path, *, max_pixels, reduced: right(path))
    (whole,) = drawn(tmp_path, shown).values()
    assert np.abs(pixels(small) - pixels(whole)).mean() < 4


def test_turned_pictures_are_read_upright_and_smaller(tmp_path):
    image = Image.fromarray(drawing(1600, 2400, things=[("red", (100, 100, 2300, 1500))]))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    (thumbnail,) = drawn(
        tmp_path, one("a.jpg", box=(100, 100, 1500, 2300), image_hw=(2400, 1600))
    ).values()
    assert pixels(thumbnail)[80, 80].argmax() != 1
    assert thumbnail.height > thumbnail.width


def test_what_can_not_be_shown(tmp_path):
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    box = (1, 1, 3, 3)
    found = drawn(
        tmp_path,
        one("gone.png", box=box),
        one("cut.png", box=box),
        one("folder.png", box=box),
        one("a.png", box=box, image_hw=(100, 90)),
        one("a.png", box=(2, 2, 4, 4), image_hw=(100, 90), file_bytes=3),
    )
    said = [text for _, text in sorted((shown.name, text) for shown, text in found.items())]
    assert said[0] == "the image has another size now"
    assert said[2].startswith("damaged or cut off")
    assert said[3].startswith("a folder, not an image")
    assert said[4] == "the image is no longer there"


def test_pictures_behind_a_url(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    box = (40, 40, 60, 60)
    Image.new("RGB", (100, 100), "white").save(tmp_path / "a.png")
    with fsspec.open("memory://review/sub/a.png", "wb") as file:
        file.write((tmp_path / "a.png").read_bytes())
    shown, gone = one("sub/a.png", box=box), one("sub/b.png", box=box)
    found = drawn("memory://review", shown, gone)
    assert found[gone] == "no such file; check the path"
    assert found[shown] == drawn(tmp_path, one("a.png", box=box))[one("a.png", box=box)]
