"""Pictures that come through the page."""

import io

import pytest
from fakes import drawing
from PIL import Image

from perception.serve.work_routes import safe_name


def file_of(kind="JPEG"):
    file = io.BytesIO()
    Image.fromarray(drawing()).save(file, kind)
    return file.getvalue()


def upload(client, name="x.jpg", kind="image/jpeg", raw=None):
    raw = file_of() if raw is None else raw
    return client.post("/api/upload", files={"file": (name, raw, kind)}).json()


def test_a_picture(serving, folder):
    raw = file_of()
    with serving() as (_, client):
        assert upload(client, "My photo.JPG", raw=raw) == {"name": "My-photo.jpg"}
        assert (folder / "My-photo.jpg").read_bytes() == raw
        found = client.get("/api/picture", params={"picture": "My-photo.jpg"}).json()
        assert (found["width"], found["failed"]) == (128, None)
        assert client.get("/api/pictures").json()["total"] == 4
    with serving() as (_, client):
        assert client.get("/api/pictures").json()["total"] == 4


def test_none_takes_the_place_of_another(client, folder):
    before = (folder / "b.jpg").read_bytes()
    assert upload(client, "b.jpg")["name"] == "b-2.jpg"
    assert upload(client, "b.jpg")["name"] == "b-3.jpg"
    assert (folder / "b.jpg").read_bytes() == before


def test_into_an_empty_folder(serving, folder):
    for path in list(folder.rglob("*.*g")):
        path.unlink()
    with serving(text="") as (_, client):
        assert upload(client)["name"] == "x.jpg"
        assert client.get("/api/pictures").json()["total"] == 1


def test_a_folder_that_cannot_be_written(client, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    assert upload(client) == {"error": "the folder can't be written to (no space left on device)"}
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd.jpg"),
        ("..\\..\\boot.ini", "boot.jpg"),
        ("C:\\x\\y.PNG", "y.png"),
        (".hidden", "hidden.jpg"),
        ("a.overlay.png", "a-overlay.png"),
        ("x.mask-001-cat.png", "x-mask-001-cat.png"),
        ("page.html", "page.jpg"),
        ("日本 ü.webp", "日本-ü.webp"),
        ("", "picture.jpg"),
        ("...", "picture.jpg"),
        ("a\0b\n.png", "a-b.png"),
        ("x" * 500 + ".png", "x" * 80 + ".png"),
        ("-rf.png", "rf.png"),
    ],
)
def test_names(name, safe):
    assert safe_name(name, "image/jpeg") == safe


def test_long_names_in_other_alphabets():
    assert len(safe_name("日" * 500, "image/png").encode()) <= 170
