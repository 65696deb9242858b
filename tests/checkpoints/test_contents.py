from __future__ import annotations

import re
from pathlib import Path

import pytest

from perception.checkpoints.installed import model_type, read_settings, what_instead
from perception.errors import WeightsError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; download the file itself"),
        (
            b" \n<!doctype html>",
            "it is a web page, saved in place of the file; download the file it",
        ),
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS.*; .*git lfs pull$"),
    ],
)
def test_something_else(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    fault = what_instead(path)
    assert re.search(said, str(fault))


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x80\x02", b"{}"])
def test_what_may_be_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert what_instead(path) is None


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (None, None, "it has no config.json: name the folder"),
        ("{", None, r"config\.json: damaged: "),
        ("[" * 100_000, None, r"config\.json: damaged: "),
        ("[1]", None, r"config\.json: expected an object, got list"),
        ("{}", None, ""),
        ('{"model_type": 7}', None, ""),
        ('{"model_type": "sam2"}', "sam2", ""),
    ],
)
def test_settings(tmp_path: Path, text: str | None, kind: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert model_type(tmp_path) == kind
    if said:
        with pytest.raises(WeightsError, match=said) as caught:
            read_settings(tmp_path)
        assert "\n" not in str(caught.value)
    else:
        assert isinstance(read_settings(tmp_path), dict)
