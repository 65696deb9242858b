"""The list, an image, its file and its embedding."""

import io
import os

import cv2
import numpy as np
import pytest
from fakes import HereReader, drawing
from PIL import Image

from perception.predictor.refine import color_bins
from perception.runs.annotate import annotate
from perception.runs.read import RunReader

from .conftest import served_model


def names(answer):
    return [row["name"] for row in answer.json()["pictures"]]


def test_the_session(client):
    found = client.get("/api/session").json()
    assert found == {
        "folder": "in",
        "model": {
            "detector": "color-detector",
            "segmenter": "color-segmenter",
            "side": 256,
            "embedding": [3, 64, 64],
            "maskSize": 256,
            "predictor": "whole",
        },
        "inPage": False,
        "classes": [{"id": 1, "name": "red"}, {"id": 2, "name": "sky"}],
        "pictures": 3,
        "output": "out.json",
        "readOnly": False,
    }


def test_the_list_in_pages(client):
    assert names(client.get("/api/pictures")) == ["a.png", "b.jpg", "sub/a.png"]
    first = client.get("/api/pictures", params={"limit": 2})
    assert names(first) == ["a.png", "b.jpg"]
    assert first.json()["total"] == 3
    assert names(client.get("/api/pictures", params={"after": "b.jpg"})) == ["sub/a.png"]
    assert names(client.get("/api/pictures", params={"after": "sub/a.png"})) == []


def test_an_empty_folder(folder, serving):
    for path in list(folder.rglob("*.*g")):
        path.unlink()
    with serving(text="") as (_, client):
        assert client.get("/api/pictures").json() == {"pictures": [], "total": 0}
        assert client.get("/api/session").json()["classes"] == []


def test_a_picture_without_marks(client):
    found = client.get("/api/picture", params={"picture": "sub/a.png"}).json()
    uid = found.pop("uid")
    assert len(uid) == 16
    assert found == {
        "name": "sub/a.png",
        "width": 128,
        "height": 96,
        "revision": 0,
        "marks": [],
        "failed": None,
    }


def test_what_the_model_found_before(folder, tmp_path, serving, monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)
    model = served_model().model
    annotate(lambda: model, [str(folder)], "red. sky: blue", tmp_path / "out.json")
    found = []
    for _ in range(2):
        with serving(text="") as (_, client):
            rows = client.get("/api/pictures").json()["pictures"]
            # The list knows no number that nobody has asked for.
            assert [(row["state"], row["marks"], row["edited"]) for row in rows] == [
                ("done", None, False)
            ] * 3
            asked = {"pictures": ["a.png", "b.jpg", "sub/a.png", "no such"]}
            counts = client.post("/api/counts", json=asked).json()["counts"]
            assert counts == {"a.png": 2, "b.jpg": 1, "sub/a.png": 0}
            rows = client.get("/api/pictures").json()["pictures"]
            assert [row["marks"] for row in rows] == [2, 1, 0]
            found.append(client.get("/api/picture", params={"picture": "a.png"}).json())
    assert found[0] == found[1]
    red, blue = found[0]["marks"]
    assert (red["class"], red["origin"], red["score"]) == ("red", "model", 0.9)
    assert (blue["class"], blue["rle"]["size"]) == ("sky", [96, 128])
    assert red["uid"] != blue["uid"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(folder, client):
    """It isn't listed before the service starts again; an image may become one meanwhile."""
    (folder / "b.jpg").unlink()
    os.mkfifo(folder / "b.jpg")
    found = client.get("/api/picture", params={"picture": "b.jpg"}).json()
    assert found["failed"].startswith("a named pipe, not a regular file")
    for path in ("image", "embedding"):
        answer = client.get(f"/api/{path}", params={"picture": "b.jpg"})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("b.jpg: a named pipe, not a regular file")


def test_a_picture_that_cannot_be_read(folder, client):
    (folder / "b.jpg").write_bytes(b"no image")
    found = client.get("/api/picture", params={"picture": "b.jpg"}).json()
    assert found["failed"].startswith("not an image")
    assert found["marks"] == []
    for path in ("image", "embedding", "cells"):
        answer = client.get(f"/api/{path}", params={"picture": "b.jpg"})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("b.jpg: not an image")


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("b.jpg", "jpeg")])
def test_the_file(client, name, kind):
    answer = client.get("/api/image", params={"picture": name})
    assert answer.headers["content-type"] == f"image/{kind}"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    wanted = drawing() if name == "a.png" else drawing(things=[("red", (8, 8, 40, 40))])
    assert np.abs(pixels - wanted).mean() < 2


def test_a_turned_picture_comes_upright(folder, client):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing()).save(folder / "b.jpg", exif=exif)
    found = client.get("/api/picture", params={"picture": "b.jpg"}).json()
    assert (found["width"], found["height"]) == (96, 128)
    raw = client.get("/api/image", params={"picture": "b.jpg"}).content
    assert Image.open(io.BytesIO(raw)).size == (96, 128)
    assert not Image.open(io.BytesIO(raw)).getexif()


@pytest.mark.parametrize("path", ["image", "embedding", "cells"])
def test_what_a_browser_has_is_not_sent_again(folder, client, path):
    url, of = f"/api/{path}", {"picture": "a.png"}
    tag = client.get(url, params=of).headers["etag"]
    again = client.get(url, params=of, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    Image.fromarray(drawing(things=[])).save(folder / "a.png")
    assert client.get(url, params=of, headers={"if-none-match": tag}).status_code == 200


def test_the_embedding(service, client):
    answer = client.get("/api/embedding", params={"picture": "a.png"})
    assert answer.headers["x-embedding-shape"] == "3,64,64"
    assert answer.headers["content-type"] == "application/octet-stream"
    features = np.frombuffer(answer.content, np.float16).reshape(3, 64, 64)
    picture = service.pictures.get("a.png")
    assert (features == service.served.segmenter.encode(picture.image).features).all()


def test_what_the_cells_of_masks_show(service, client):
    answer = client.get("/api/cells", params={"picture": "a.png"})
    rows, columns, *first = (int(n) for n in answer.headers["x-cells-shape"].split(","))
    assert first == [0, 0]
    assert (rows, columns) == (192, 256)  # 128 x 96 pixels in 256 x 256 cells
    bins = np.frombuffer(answer.content, "<u2", rows * columns).reshape(rows, columns)
    shown = np.frombuffer(answer.content, np.uint8, offset=bins.nbytes).reshape(rows, columns, 3)
    np.testing.assert_array_equal(color_bins(shown), bins)
    image = service.pictures.get("a.png").image
    wanted = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(shown, wanted)
    assert len(np.unique(bins)) > 1


def test_encoded_once(service, client):
    for _ in range(2):
        client.get("/api/embedding", params={"picture": "a.png", "ahead": 1})
    client.post("/api/click", params={"picture": "a.png"}, json={"points": [[9, 9]], "labels": [1]})
    assert service.served.segmenter.encoded == 1


def test_a_run_can_be_read_meanwhile(service):
    with RunReader(service.run.path) as run:
        assert run.counts().waiting == 3
