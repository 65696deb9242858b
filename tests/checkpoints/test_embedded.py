"""The manifest, and the files that it vouches for."""

import hashlib

import pytest

from perception.checkpoints.catalog import find_entry, read_manifest
from perception.checkpoints.installed import data_folder, locate, sha256_of
from perception.errors import WeightsError

DATA = b"weights"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(DATA)
    (tmp_path / "manifest.toml").write_text(
        f"""
[models.tiny-detector]
family = "tiny"
licence = "Apache-2.0"
trained = "never"
[[models.tiny-detector.files]]
name = "tiny.onnx"
bytes = {len(DATA)}
sha256 = "{hashlib.sha256(DATA).hexdigest()}"
[[models.tiny-detector.files]]
name = "missing.onnx"
bytes = 1
sha256 = "00"
"""
    )
    return tmp_path


def test_a_good_file(folder):
    assert locate("tiny.onnx", folder=folder) == folder / "tiny.onnx"
    assert sha256_of(["tiny.onnx"], folder=folder) == {
        "tiny.onnx": hashlib.sha256(DATA).hexdigest()
    }


def test_an_entry(folder):
    entry = find_entry("tiny-detector", folder=folder)
    assert (entry.family, entry.licence, entry.trained) == ("tiny", "Apache-2.0", "never")
    assert [file.name for file in entry.files] == ["tiny.onnx", "missing.onnx"]
    assert list(read_manifest(folder)) == ["tiny-detector"]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"weighty", "damaged"), (b"weigh", "5 bytes, expected 7"), (b"<html>sorry", "expected 7")],
)
def test_a_bad_file(folder, data, message):
    (folder / "tiny.onnx").write_bytes(data)
    with pytest.raises(WeightsError, match=rf"tiny\.onnx: .*{message}.*reinstall") as caught:
        locate("tiny.onnx", folder=folder)
    assert "\n" not in str(caught.value)


def test_a_missing_file(folder):
    with pytest.raises(WeightsError, match=r"missing\.onnx: .*missing; reinstall"):
        locate("missing.onnx", folder=folder)


def test_unknown_names(folder):
    with pytest.raises(WeightsError, match="did you mean tiny-detector"):
        find_entry("tiny-detecter", folder=folder)
    with pytest.raises(WeightsError, match="did you mean tiny"):
        locate("tinny.onnx", folder=folder)
    with pytest.raises(WeightsError, match="there are: tiny-detector"):
        find_entry("qqq", folder=folder)


@pytest.mark.parametrize("text", ["models = 3", "not toml", "[models.a]\nfamily = 1", ""])
def test_a_damaged_manifest(tmp_path, text):
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(WeightsError, match=r"manifest\.toml: damaged"):
        read_manifest(tmp_path)


def test_a_missing_manifest(tmp_path):
    with pytest.raises(WeightsError, match="list of models is missing"):
        read_manifest(tmp_path)


def test_every_embedded_file_is_what_the_manifest_says():
    for entry in read_manifest().values():
        for file in entry.files if entry.is_embedded else ():
            assert locate(file.name) == data_folder() / file.name
