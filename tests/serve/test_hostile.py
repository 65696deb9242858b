"""What a hostile page, file or client sends, and that it comes to nothing."""

import io
import json
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from perception.serve import middleware as guard
from perception.serve.middleware import MOST_BODY, MOST_UPLOAD, Access

PATHS = [
    "../out.json",
    "..\\out.json",
    "sub/../../out.json",
    "/etc/passwd",
    "%2e%2e%2fout.json",
    "....//out.json",
    "file:///etc/passwd",
    "http://127.0.0.1:1/a.png",
    "A.PNG",
    "a.png/",
    "./a.png",
    "a.png\0.jpg",
    "a" * 4000,
    "",
    "ü\n\r",
]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("path", ["picture", "image", "embedding", "cells"])
def test_no_name_leads_out_of_the_folder(client, path, name):
    answer = client.get(f"/api/{path}", params={"picture": name})
    assert answer.status_code == 404
    assert answer.json()["error"].endswith("no such image in this folder")
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("place", ["page", "runtime", "models"])
@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fpyproject.toml", "%2e%2e/package.json", "package.json", ".hidden.js", "x.js%00"],
)
def test_no_file_but_the_pages_own(client, place, name):
    answer = client.get(f"/{place}/{name}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="links")
def test_a_link_out_of_the_folder(folder, serving, tmp_path):
    outside = tmp_path / "far" / "x.png"
    outside.parent.mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(outside)
    (folder / "link.png").symlink_to(outside)
    (folder / "away").symlink_to(outside.parent)
    with serving() as (_, client):
        for name in ("link.png", "away/x.png"):
            for path in ("image", "embedding"):
                answer = client.get(f"/api/{path}", params={"picture": name})
                assert answer.status_code == 422
                assert "leads out of the folder" in answer.json()["error"]
            found = client.get("/api/picture", params={"picture": name}).json()
            assert "leads out of the folder" in found["failed"]
            body = {"revision": 0, "tab": "x", "marks": []}
            put = client.put("/api/marks", params={"picture": name}, json=body)
            assert put.status_code == 422


def test_a_link_that_was_a_picture(folder, client, tmp_path):
    assert client.get("/api/image", params={"picture": "a.png"}).status_code == 200
    (folder / "a.png").rename(tmp_path / "moved.png")
    (folder / "a.png").symlink_to(tmp_path / "moved.png")
    assert client.get("/api/image", params={"picture": "a.png"}).status_code == 422


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "evil:8000", "@", "["]
)
def test_a_foreign_host(client, host):
    for path in ("/", "/api/session", "/page/app.js"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8000"},
    ],
)
def test_a_foreign_page(client, service, mark, headers):
    body = {"revision": 0, "tab": "x", "marks": [mark()]}
    answers = [
        client.put("/api/marks", params={"picture": "a.png"}, json=body, headers=headers),
        client.post("/api/save", headers=headers),
        client.post("/api/classes", json={"name": "x"}, headers=headers),
        client.post("/api/upload", files={"file": ("x.png", b"x")}, headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert service.classes == ("red", "sky")
    assert not service.out.exists()


def test_the_own_page(client):
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/api/save", headers=headers).status_code == 200


def test_a_foreign_page_cannot_have_pictures_encoded(client):
    headers = {"sec-fetch-site": "cross-site"}
    answer = client.get("/api/embedding", params={"picture": "a.png"}, headers=headers)
    assert answer.status_code == 403


WORDS = "correct-horse-battery"


@pytest.fixture
def locked(serving):
    with serving(access=Access("127.0.0.1", WORDS, "perception-8000")) as (_, client):
        yield client


@pytest.mark.parametrize("shown", ["", "wrong", WORDS[:-1], WORDS + "x", "ü", WORDS.upper()])
def test_a_wrong_token(locked, shown):
    assert locked.get("/", params={"token": shown}).status_code == 401
    for headers in (
        {},
        {"authorization": f"Bearer {shown}".encode()},
        {"cookie": f"perception-8000={shown}".encode()},
        {"cookie": "perception-8000"},
        {"cookie": f"perception-8001={WORDS}"},
    ):
        answer = locked.get("/api/session", headers=headers)
        assert answer.status_code == 401
        assert "a token is needed" in answer.json()["error"]


def test_the_token_moves_into_a_cookie(locked):
    answer = locked.get("/", params={"token": WORDS}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert locked.get("/api/session").status_code == 200


def test_a_bearer_token(locked):
    headers = {"authorization": f"Bearer {WORDS}"}
    assert locked.get("/api/session", headers=headers).status_code == 200


def upload(client, raw, name="x.jpg", kind="image/jpeg"):
    return client.post("/api/upload", files={"file": (name, raw, kind)})


def inside(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_an_upload_that_is_too_large(client, folder, monkeypatch):
    monkeypatch.setattr(guard, "MOST_UPLOAD", 10_000)
    before = inside(folder)
    assert upload(client, b"x" * 200_000).status_code == 413
    assert inside(folder) == before


@pytest.mark.parametrize(
    ("path", "most"), [("/api/upload", MOST_UPLOAD + (64 << 10)), ("/api/classes", MOST_BODY)]
)
def test_reading_stops_at_the_limit(client, path, most):
    sent = 0

    def body():
        nonlocal sent
        yield b'--b\r\ncontent-disposition: form-data; name="f"; filename="x.jpg"\r\n\r\n'
        for _ in range(1000):
            sent += 1 << 20
            yield b"x" * (1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    if path == "/api/classes":
        headers = {"content-type": "application/json"}
    # The test client gathers the body before it is sent; a server takes it in pieces.
    import anyio

    with ThreadPoolExecutor(1) as pool:  # This thread may have a browser's loop.
        asked = pool.submit(anyio.run, _post_in_pieces, client.app, path, headers, body())
    status = asked.result()
    assert status == 413
    assert sent <= most + (2 << 20)


async def _post_in_pieces(app, path, headers, pieces):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *raw],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 9),
        "root_path": "",
    }
    statuses = []

    async def receive():
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


def test_a_length_that_is_too_large_is_refused_unread(client):
    headers = {"content-type": "application/json", "content-length": str(MOST_BODY + 1)}
    assert client.post("/api/classes", content=b"{}", headers=headers).status_code == 413


def png_of(width, height):
    """A PNG that says it is this large, in a few bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("raw", "name", "kind", "words"),
    [
        (png_of(60_000, 60_000), "bomb.png", "image/png", "more than the limit"),
        (png_of(300, 300), "short.png", "image/png", "damaged or cut off"),
        (b"<html><script>alert(1)</script></html>", "x.jpg", "image/jpeg", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x.jpg", "image/jpeg", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "x.jpg", "image/jpeg", "not an image"),
        (b"", "x.jpg", "image/jpeg", "empty"),
        (b"GIF89a", "x.gif", "image/gif", ""),
    ],
)
def test_an_upload_that_is_no_picture(client, folder, raw, name, kind, words):
    before = inside(folder)
    answer = upload(client, raw, name, kind)
    assert answer.status_code == 422
    assert words in answer.json()["error"]
    assert inside(folder) == before


@pytest.mark.parametrize(
    "kind", ["text/html", "image/svg+xml", "application/octet-stream", "image", ""]
)
def test_an_upload_of_another_content_type(client, folder, kind):
    before = inside(folder)
    assert upload(client, (folder / "a.png").read_bytes(), "x.png", kind).status_code in (415, 422)
    assert inside(folder) == before


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"x"},
        {"json": {}},
        {"data": {"file": "x"}},
        {"files": {}},
        {"files": [("a", ("a.png", b"x", "image/png")), ("b", ("b.png", b"x", "image/png"))]},
        {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
    ],
)
def test_an_upload_in_another_form(client, folder, sent):
    before = inside(folder)
    answer = client.post("/api/upload", **sent)
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"error"}
    assert inside(folder) == before


BAD_RLES = [
    {"size": [96, 127], "counts": "01"},
    {"size": [128, 96], "counts": "01"},
    {"size": [0, 0], "counts": ""},
    {"size": [96, 128], "counts": ""},
    {"size": [96, 128], "counts": "0"},
    {"size": [96, 128], "counts": "P"},
    {"size": [96, 128], "counts": "PPPPPPPPPPPP0"},
    {"size": [96, 128], "counts": "\ud800"},
    {"size": [96, 128], "counts": "/////"},
    {"size": [96, 128], "counts": [0, 12288]},
    {"size": [96, 128]},
    {"size": [96, 1e9], "counts": "0"},
    {"size": "96", "counts": "0"},
    {"size": [96.5, 128], "counts": "0"},
    [],
    None,
]


@pytest.mark.parametrize("rle", BAD_RLES, ids=str)
def test_run_lengths_that_are_no_mask(client, mark, rle):
    body = json.dumps({"revision": 0, "tab": "x", "marks": [mark(rle=rle)]})
    assert_refused(client, body)


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "A" * 32},
        {"uid": "../../x"},
        {"uid": 5},
        {"origin": "god"},
        {"score": 2},
        {"score": "0.5"},
        {"quality": True},
        {"class": ""},
        {"class": None},
        {"class": "red\0"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_mark_that_is_none(client, mark, changes):
    assert_refused(client, json.dumps({"revision": 0, "tab": "x", "marks": [mark(**changes)]}))


def assert_refused(client, body, url="/api/marks", method="PUT", statuses=(422,)):
    headers = {"content-type": "application/json"}
    params = {"picture": "a.png"}
    answer = client.request(method, url, params=params, content=body, headers=headers)
    assert answer.status_code in statuses, answer.text
    assert set(answer.json()) == {"error"}
    assert len(answer.json()["error"]) < 500
    assert client.get("/api/picture", params=params).json()["revision"] == 0


def test_marks_with_one_uid(client, mark):
    assert_refused(client, json.dumps({"revision": 0, "tab": "x", "marks": [mark(), mark()]}))


@pytest.mark.parametrize("revision", ["-1", "1.5", '"0"', "null", "1e400", "99999999999999999999"])
def test_a_revision_that_is_none(client, revision):
    assert_refused(client, f'{{"revision": {revision}, "tab": "x", "marks": []}}')


@pytest.mark.parametrize("tab", ["", "x" * 65, "a b", "<script>", "\n"])
def test_a_tab_that_is_none(client, tab):
    assert_refused(client, json.dumps({"tab": tab}), "/api/tab", "POST")


@pytest.mark.parametrize(
    "body",
    [
        '{"points": [[NaN, 1]], "labels": [1]}',
        '{"points": [[Infinity, 1]], "labels": [1]}',
        '{"points": [[1e999, 1]], "labels": [1]}',
        '{"points": [[1, 1]], "labels": [2]}',
        '{"points": [[1, 1]], "labels": [-1]}',
        '{"points": [[1, 1]], "labels": ["1"]}',
        '{"points": [[1, 1]], "labels": [1, 1]}',
        '{"points": [[1]], "labels": [1]}',
        '{"points": [["1", "1"]], "labels": [1]}',
        '{"points": [[-1e300, 1]], "labels": [1]}',
        '{"points": [[1, 1]], "labels": [1], "box": [1, 2, 3]}',
        '{"points": [[1, 1]], "labels": [1], "previous": {}}',
        '{"points": [[1, 1]], "labels": [1], "previous": {"logits": "AAAA"}}',
        '{"points": [[1, 1]], "labels": [1], "previous": {"window": [0, 0, 9, 9], "logits": "AA"}}',
        '{"points": [[1, 1]], "labels": [1], "previous": {"window": [0, 0, 9, 9], "logits": "a!"}}',
        '{"points": [[1, 1]], "labels": [1], "previous": {"rle": {"size": [9, 9], "counts": "0"}}}',
        '{"points": [[1, 1]], "labels": [1], "model": "x.pkl"}',
        "[]",
        "null",
        "1",
        '"x"',
        "",
        "{",
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe",
    ],
    ids=str,
)
def test_a_click_that_is_none(client, body):
    assert_refused(client, body, "/api/click", "POST", (400, 422))


def test_a_thousand_million_points(client):
    body = '{"points": [' + ",".join(["[1, 1]"] * 200_000) + '], "labels": [1]}'
    assert_refused(client, body, "/api/click", "POST")


def test_a_previous_mask_of_nan(client):
    import base64

    raw = np.full((256, 256), np.nan, np.float16).tobytes()
    earlier = base64.b64encode(raw).decode()
    previous = {"window": [0, 0, 128, 96], "logits": earlier}
    body = json.dumps({"points": [[1, 1]], "labels": [1], "previous": previous})
    assert_refused(client, body, "/api/click", "POST")


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"marks":' + "[" * 50_000])
@pytest.mark.parametrize(("url", "method"), [("/api/marks", "PUT"), ("/api/click", "POST")])
def test_json_without_end(client, deep, url, method):
    assert_refused(client, deep, url, method, (400, 422))


def test_a_number_without_end(client):
    body = '{"points": [[' + "1" * 100_000 + ', 1]], "labels": [1]}'
    assert_refused(client, body, "/api/click", "POST", (400, 422))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_of_another_content_type(client, kind):
    headers = {"content-type": kind} if kind else {}
    answer = client.post("/api/classes", content=b'{"name": "x"}', headers=headers)
    assert answer.status_code in (415, 422)
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("name", ["\x00", "x\x1b[31m", "a\u202eb", "\ud800", "\x7f"])
def test_class_names_with_control_characters(client, service, name):
    for url, body in (("classes", {"name": name}), ("text", {"text": f'"x{name}y": red'})):
        assert_refused(client, json.dumps(body), f"/api/{url}", "POST")
    for name in ("a\nb", "\u2028"):
        assert_refused(client, json.dumps({"name": name}), "/api/classes", "POST")
    assert service.classes == ("red", "sky")


def test_a_text_without_end(client):
    assert_refused(client, json.dumps({"text": "red. " * 10_000}), "/api/text", "POST")


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO"])
def test_methods_that_are_none(client, method):
    assert client.request(method, "/api/session").status_code == 405


@pytest.mark.parametrize("path", ["/", "/api/session", "/page/none.js", "/nowhere", "/docs"])
def test_every_answer_has_the_headers(client, path):
    headers = client.get(path).headers
    for name, value in guard.HEADERS.items():
        assert headers[name] == value
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")


def test_a_web_socket(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/session"):
        pass


def test_what_fails_unforeseen_says_no_more_than_that(client, service, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(service, "listing", fail)
    answer = client.get("/api/pictures")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert set(answer.json()) == {"error"}


def test_no_array_is_unpickled(service, client, tmp_path):
    client.get("/api/embedding", params={"picture": "a.png"})
    (path,) = (tmp_path / "cache").glob("*.npy")
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path.write_bytes(file.getvalue())
    client.get("/api/embedding", params={"picture": "a.png"})
    assert service.served.segmenter.encoded == 2
