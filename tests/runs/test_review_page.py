"""Reviews as pages: what stands in them, and that nothing in a run can break them."""

import base64
import io
import os
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from fakes import drawing
from PIL import Image

from perception.errors import ImageError, OutputError, PromptError
from perception.report.review import write_review
from perception.runs.read import RunReader
from perception.runs.results import results
from perception.runs.write import RunWriter

VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a browser sees: elements with their attributes, texts, and whether all are closed."""

    def __init__(self, text):
        super().__init__()
        self.text, self.words, self.elements, self.open = text, [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def said(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def thumbnails(self):
        """Alternative text and pixels of each image."""
        return [(image["alt"], pixels(image["src"])) for image in self.all("img")]


def pixels(source):
    head, data = source.split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.array(image)


@pytest.fixture
def review(drive, tmp_path):
    def write(**options):
        with RunReader(drive.path) as run:
            write_review(run, tmp_path / "page.html", **options)
        return Page((tmp_path / "page.html").read_text("utf-8"))

    return write


def test_a_run(drive, review):
    drive("red thing: red | green, sky: blue, cat, !dog")
    page = review()
    said = page.said
    assert "Review of out.json" in said
    assert "3 of 3 images done 0 failed 0 still to be done 3 instances from 0.3 up" in said
    assert "2 of 3 classes found" in said
    assert "red thing (red, green) 2 2 0 sky (blue) 1 1 0" in said
    assert "Asked for and not found: cat." in said
    assert "color-detector" in said
    assert "never reported dog" in said
    assert "000000000000" in said
    assert "0" * 13 not in said
    alts = {alt for alt, _ in page.thumbnails}
    assert alts == {
        "red thing, score 0.90, in a.png",
        "red thing, score 0.90, in b.png",
        "sky, score 0.90, in a.png",
    }


def test_needs_nothing_else(drive, review):
    drive("red, blue")
    page = review()
    assert not re.search(r"https?:|//[a-z]|url\(|@import", page.text)
    assert not page.all("script")
    assert not page.all("link")
    assert not [name for _, has in page.elements for name in has if name.startswith("on")]
    policy = page.all("meta")[1]
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    anchors = {has["id"] for _, has in page.elements if "id" in has}
    assert {has["href"].removeprefix("#") for has in page.all("a")} <= anchors


def test_headings_are_in_order(drive, review):
    drive("red, blue")
    levels = [int(tag[1]) for tag, _ in review().elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_same_bytes_again(drive, review):
    drive("red, blue")
    assert review().text == review().text


def test_shows_what_the_export_has(drive, review):
    drive("red, blue")
    with RunReader(drive.path) as run:
        found = [len(one) for one in results(run, threshold=0.3)]
    assert f"{sum(found)} instances from" in review().said


def test_a_thumbnail_is_the_instance(drive, review):
    drive("blue")
    [(_, thumbnail), *_] = review().thumbnails
    assert max(thumbnail.shape[:2]) == 160
    # The blue rectangle is 48 wide in a cut-out of 68: white outside of it.
    assert (thumbnail[:20] > 230).all()
    middle = thumbnail[60:100, 60:100].reshape(-1, 3).mean(axis=0)
    assert middle.min() < 160


def test_markup_in_names_is_text(drive, review):
    evil = "<img src=x onerror=alert(1)>&\"'.png"
    if sys.platform != "win32":
        Image.fromarray(drawing()).save(drive.folder / evil)
        (drive.folder / "<script>.png").write_bytes(b"no image")
    drive({'</title><script>alert("1")</script>': "red", "<b>&amp;": "yellow"})
    page = review()
    assert not page.all("script")
    assert not [has for has in page.all("img") if "onerror" in has or has["src"] == "x"]
    assert '</title><script>alert("1")</script>' in page.said
    assert "<b>&amp;" in page.said
    if sys.platform != "win32":
        assert evil in page.said
        assert "<script>.png" in page.said


@pytest.mark.skipif(sys.platform != "linux", reason="names that aren't text")
def test_odd_names(drive, review):
    names = ["日本 ü.png", "two\nlines.png", os.fsdecode(b"\xff\xfe.png"), "‮gnp.png"]
    for name in names:
        Image.fromarray(drawing()).save(drive.folder / name)
    drive({"赤い 🔴": "red"})
    said = review().said
    assert "日本 ü.png" in said
    assert r"'two\nlines.png'" in said
    assert r"\udcff" in said
    assert "‮" not in said
    assert "赤い 🔴" in said


def test_an_unfinished_run(drive, review):
    (drive.folder / "cut.png").write_bytes(b"\x89PNG")
    drive("red", most=1)
    said = review().said
    assert "1 of 4 images done 0 failed 3 still to be done" in said
    assert "3 images are still to be done: the same annotate command goes on." in said


def test_nothing_found(drive, review):
    drive("yellow, pink")
    page = review()
    assert "Asked for and not found: yellow, pink." in page.said
    assert "Nothing found, so nothing uncertain." in page.said
    assert page.thumbnails == []


def test_nothing_done(drive, review):
    drive("red", most=0)
    assert "0 of 3 images done" in review().said


def test_failures(drive, review):
    for name in ("x.png", "y.png"):
        (drive.folder / name).write_bytes(b"")
    (drive.folder / "z.png").write_bytes(b"no image")
    drive("red")
    said = review().said
    assert "3 failed" in said
    assert "the file is empty (0 bytes); copy or download it again 2 x.png y.png" in said
    assert "z.png" in said


def test_pictures_that_are_gone_or_others(drive, review):
    drive("red, blue")
    (drive.folder / "b.png").unlink()
    Image.fromarray(drawing(50, 40, things=[])).save(drive.folder / "a.png")
    page = review()
    assert page.thumbnails == []
    assert "Pictures that can't be shown" in page.said
    assert "the image is no longer there 1 b.png" in page.said
    assert "the image is another now 1 a.png" in page.said


def test_pictures_that_have_moved(drive, review, tmp_path):
    drive("red")
    drive.folder.rename(tmp_path / "moved")
    with pytest.raises(ImageError, match=r"can't be looked for there .* --images$"):
        review()
    assert len(review(images=tmp_path / "moved").thumbnails) > 0


def test_what_can_not_be(drive, review, tmp_path):
    drive("red")
    with pytest.raises(PromptError, match=r"stores scores from 0\.05"):
        review(threshold=0.01)
    with RunReader(drive.path) as run, pytest.raises(OutputError, match="a folder"):
        write_review(run, tmp_path)


def test_while_another_process_writes(drive, review):
    drive("red", most=1)
    with RunWriter(drive.path):
        assert "1 of 3 images done" in review().said
