"""Where the page's files are, and which of them may be given out."""

import importlib.util
import subprocess
import sys

import pytest

from perception.serve import page_files
from perception.serve.page_files import RUNTIME_FILES, find_file, page_folder, runtime_files


@pytest.fixture
def page(tmp_path):
    for name in ("index.html", "app.js", "style.css", "package.json", ".x.js", "a.b.js", "n.map"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.js").mkdir()
    return tmp_path


def test_the_pages_own(page):
    files = list(page_files.page_files(page))
    assert [path.name for path in files] == ["app.js", "index.html", "style.css"]
    assert find_file(files, "app.js") == page / "app.js"
    assert find_file(files, "package.json") is None
    assert list(page_files.page_files(page / "none")) == []


@pytest.mark.parametrize("folder", ["runtime", "node_modules/onnxruntime-web/dist"])
def test_the_runtime(page, folder):
    assert runtime_files(page) == []
    (page / folder).mkdir(parents=True)
    for name in (*RUNTIME_FILES, "ort.all.js"):
        assert bool(runtime_files(page)) == (name == "ort.all.js")
        (page / folder / name).write_text(name)
    assert [path.name for path in runtime_files(page)] == list(RUNTIME_FILES)
    assert {path.parent for path in runtime_files(page)} == {page / folder}


def test_this_page():
    assert find_file(page_files.page_files(page_folder()), "index.html")


def test_it_can_be_read_by_itself():
    spec = importlib.util.find_spec("perception.serve.page_files")
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print([name for name in sys.modules if name.startswith('perception')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, spec.origin], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_given_out_with_their_types(client, monkeypatch):
    for name, kind in (("index.html", "text/html"), ("decoder.js", "text/javascript")):
        path = "/" if name == "index.html" else f"/page/{name}"
        answer = client.get(path)
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
    assert client.get("/favicon.ico").status_code == 204
    assert client.get("/models/decoder.onnx").status_code == 404


def test_webassembly_has_its_type(page, monkeypatch, serving):
    (page / "runtime").mkdir()
    for name in RUNTIME_FILES:
        (page / "runtime" / name).write_text(name)
    monkeypatch.setattr("perception.serve.server.page_folder", lambda: page)
    with serving() as (_, client):
        kinds = [client.get(f"/runtime/{name}").headers["content-type"] for name in RUNTIME_FILES]
        assert client.get("/runtime/ort.all.js").status_code == 404
    assert kinds == ["text/javascript; charset=utf-8"] * 2 + ["application/wasm"]
