"""An image that takes its time holds nobody's but its own."""

import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import ClassVar

import numpy as np
import pytest
from fakes import HereReader, drawing
from PIL import Image

from perception.errors import ImageError, PerceptionError
from perception.runs import image_reader as reading
from perception.runs.records import Failure
from perception.serve import images as open_pictures
from perception.serve.images import QUICK_READERS, OpenPictures

PATIENCE = 60


class SlowReader(HereReader):
    """Refuses large images as the real one does; takes its time with names that say so."""

    go_on = threading.Event()
    begun: ClassVar[list] = []

    def __init__(self, *, max_pixels, seconds=reading.SECONDS):
        super().__init__(max_pixels=max_pixels)
        self.max_pixels, self.seconds = max_pixels, seconds

    def read(self, task):
        name = task.path.rpartition("/")[2]
        self.begun.append((name, self.max_pixels))
        found = super().read(task)
        if not isinstance(found, Failure) and name.startswith("slow"):
            assert self.go_on.wait(PATIENCE)
        return found


@pytest.fixture
def slow(monkeypatch, folder):
    """Three that are large, of which one can be read, besides the folder's own."""
    monkeypatch.setattr(open_pictures, "Reader", SlowReader)
    monkeypatch.setattr(open_pictures, "QUICK_PIXELS", 20_000)
    SlowReader.go_on.clear()
    SlowReader.begun.clear()
    for n in range(4):
        Image.fromarray(drawing(200, 300 + n)).save(folder / f"slow-{n}.png")
    pictures = OpenPictures(folder, max_pixels=70_000)
    yield pictures
    SlowReader.go_on.set()
    pictures.close()


def test_large_pictures_wait_for_each_other_alone(slow):
    large = [slow.reading(f"slow-{n}.png") for n in range(4)]
    for name in ("a.png", "b.jpg", "sub/a.png"):
        assert slow.get(name).image.shape == (96, 128, 3)
    assert not any(one.done() for one in large)
    SlowReader.go_on.set()
    assert [one.result(PATIENCE).image.shape[1] for one in large] == [300, 301, 302, 303]


def test_a_picture_is_read_once_for_all_who_wait(slow):
    waiting = [slow.reading("slow-0.png") for _ in range(50)]
    SlowReader.go_on.set()
    images = {id(one.result(PATIENCE).image) for one in waiting}
    assert len(images) == 1
    assert SlowReader.begun == [("slow-0.png", 20_000), ("slow-0.png", 70_000)]
    assert slow.coming("slow-0.png") is None


def test_the_reason_is_that_of_the_patient_reader(slow, folder):
    Image.fromarray(drawing(300, 300)).save(folder / "huge.png")
    with pytest.raises(ImageError, match=r"huge.png: 300 x 300 .* limit of 70,000"):
        slow.get("huge.png")
    with pytest.raises(ImageError, match="limit of 70,000"):
        slow.get("huge.png")
    assert len(SlowReader.begun) == 2


def test_who_waits_at_the_end_is_told(slow):
    large = [slow.reading(f"slow-{n}.png") for n in range(4)]
    SlowReader.go_on.set()
    slow.close()
    for one in large:
        with suppress(PerceptionError, CancelledError):
            assert one.result(PATIENCE).image.shape[0] == 200
    with pytest.raises(PerceptionError):
        slow.get("a.png")


def test_an_upload_is_refused_by_its_pixels(folder, serving, monkeypatch):
    monkeypatch.setattr(open_pictures, "QUICK_PIXELS", 20_000)
    with serving() as (service, client):
        raw = (folder / "a.png").read_bytes()
        answer = client.post("/api/upload", files={"file": ("x.png", raw, "image/png")})
        assert answer.status_code == 200
        Image.fromarray(drawing(200, 300)).save(folder / "large.png")
        raw = (folder / "large.png").read_bytes()
        answer = client.post("/api/upload", files={"file": ("y.png", raw, "image/png")})
        assert answer.status_code == 422
        assert answer.json()["error"] == (
            "the uploaded file: 300 x 200 pixels are more than the limit of 20,000; make it "
            "smaller, or copy it into the folder"
        )
        assert service.pictures.get("large.png").image.shape == (200, 300, 3)


def test_waiting_for_a_large_picture_takes_no_thread(serving, folder, monkeypatch):
    """Far more ask for it than there are threads, and the page is still there for others."""
    monkeypatch.setattr(open_pictures, "QUICK_PIXELS", 20_000)
    SlowReader.go_on.clear()
    Image.fromarray(drawing(200, 300)).save(folder / "slow.png")
    with serving() as (service, client):
        monkeypatch.setattr(open_pictures, "Reader", SlowReader)
        from .test_connections import ask, running

        answers = []

        def one(path, **options):
            answers.append(ask(port, f"/api/{path}?picture=slow.png", headers={}, **options)[0])

        with running(client.app) as (_, port):
            paths = ["image", "picture", "embedding", "cells"] * 15
            asking = [threading.Thread(target=one, args=(path,)) for path in paths]
            for thread in asking:
                thread.start()
            while ("slow.png", service.run.settings["max_pixels"]) not in SlowReader.begun:
                time.sleep(0.01)
            for path in ("session", "pictures", "picture?picture=a.png", "image?picture=b.jpg"):
                assert ask(port, f"/api/{path}", headers={})[0] == 200
            assert answers == []
            SlowReader.go_on.set()
            for thread in asking:
                thread.join(PATIENCE)
        assert answers == [200] * len(paths)


@pytest.mark.slow
def test_a_small_file_of_many_pixels(folder, monkeypatch):
    """With the real processes: 10 kB that become 243 MB."""
    monkeypatch.setattr(open_pictures, "Reader", reading.Reader)
    Image.fromarray(np.zeros((9000, 9000), bool)).save(folder / "bomb.png", optimize=True)
    assert (folder / "bomb.png").stat().st_size < 50_000
    pictures = OpenPictures(folder, max_pixels=200_000_000)
    try:
        pictures.get("sub/a.png")  # The processes are there.
        bombs = pictures.reading("bomb.png")
        began = time.monotonic()
        for _ in range(QUICK_READERS):
            pictures.get("a.png")
            pictures.get("b.jpg")
        took = time.monotonic() - began
        assert not bombs.done()
        assert bombs.result(PATIENCE).image.shape == (9000, 9000, 3)
        assert took < time.monotonic() - began
        with pytest.raises(ImageError, match="limit of 40,000,000"):
            pictures.read_file(folder / "bomb.png")
    finally:
        pictures.close()
