from __future__ import annotations

from pathlib import Path

import pytest

from perception.detectors.load import SETS, find_exported
from perception.errors import WeightsError


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("kind", SETS)
def test_a_whole_set(kind: str, tmp_path: Path) -> None:
    names = [f"my-own-{name}" for name in SETS[kind]]
    # A segmenter may lie beside it.
    found = find_exported(fill(tmp_path, *names, "sam-encoder.onnx", "sam-decoder.onnx"))
    assert (found.kind, [path.name for path in found.paths]) == (kind, names)


@pytest.mark.parametrize("kind", SETS)
def test_a_file_that_is_missing(kind: str, tmp_path: Path) -> None:
    for name in SETS[kind]:
        fill(tmp_path, *(f"a-{one}" for one in SETS[kind]))
        (tmp_path / f"a-{name}").unlink()
        message = "there are 0" if name == kind else f"has no a-{name}, which belongs to a-{kind}"
        with pytest.raises(WeightsError, match=message):
            find_exported(tmp_path)


def test_no_detector_and_two(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"NAME-fusion\.onnx or .* there are 0; export one"):
        find_exported(tmp_path)
    fill(tmp_path, "a-patches.onnx", "b-boxes.onnx")
    with pytest.raises(WeightsError, match="there are 2"):
        find_exported(tmp_path)
