"""A thousand damaged image files of ten formats: each is read or refused in one line.

Each command runs as a process of its own, so that whatever a decoder writes to the terminal, or a
crash of it, is seen. The last file of the folder is a good one: nothing before it may lose it.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes import drawing
from PIL import Image

from perception.errors import ImageError
from perception.imaging.read import read_header, read_image

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore:::PIL")]

TESTS = Path(__file__).parents[1]
FORMATS = {
    "avif": {},
    "bmp": {},
    "gif": {},
    "ico": {},
    "jp2": {},
    "jpg": {},
    "png": {},
    "ppm": {},
    "tif": {"compression": "tiff_lzw"},
    "webp": {},
}
EACH = 100
LAST = "zz.png"
# The command line with models that look at colors.
SCRIPT = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]
import fakes
from perception.models import load as loading
from perception.cli.commands import main

loading.load = lambda name, **where: fakes.color_model()
if __name__ == "__main__":
    main()
"""


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, most often near the beginning; cut some files off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        end = rng.choice((min(96, len(data)), len(data)))
        changed[rng.randrange(end)] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(data))] if rng.random() < 0.3 else changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in/ with the damaged files and one good one, last in order."""
    root = tmp_path_factory.mktemp("damaged")
    (root / "in").mkdir()
    Image.init()
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    image = Image.fromarray(noise).resize((48, 36))
    for suffix, options in FORMATS.items():
        rng = random.Random(suffix)  # noqa: S311
        kind = Image.registered_extensions()[f".{suffix}"]
        if kind not in Image.SAVE:
            pytest.skip(f"this Pillow writes no {suffix}")
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        for number in range(EACH):
            path = root / "in" / f"{suffix}-{number:03}.{suffix}"
            path.write_bytes(damage(buffer.getvalue(), rng))
    Image.fromarray(drawing()).save(root / "in" / LAST)
    (root / "run.py").write_text(SCRIPT, encoding="utf-8")
    return root


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """What a file is refused with, "" if it is read."""
    try:
        read(path)
    except ImageError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def unreadable(folder: Path) -> set[str]:
    """The names of the files that can't be read."""
    refused = {path: refusal(read_image, path) for path in sorted((folder / "in").iterdir())}
    names = {path.name for path, message in refused.items() if message}
    for path, message in refused.items():
        assert not message or message.startswith(f"{path}: ")
        assert "\n" not in message
    assert len(FORMATS) * EACH * 0.3 < len(names) < len(FORMATS) * EACH
    assert LAST not in names
    return names


def perception(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["segment", "detect"])
def test_one_line_each(folder: Path, unreadable: set[str], command: str) -> None:
    done = perception(
        folder, command, "in", "--text", "red", "--save", "", "--json", "out.json", "-q"
    )
    head, *lines = done.stderr.splitlines()
    assert head == f"skipped {len(unreadable)} of {len(FORMATS) * EACH + 1} images:"
    assert {Path(line.split(": ")[0].strip()).name for line in lines} == unreadable
    assert len(lines) == len(unreadable)
    assert done.returncode == 1
    content = json.loads((folder / "out.json").read_text("utf-8"))
    assert content["images"][-1]["file_name"] == LAST
    assert [row["image_id"] for row in content["annotations"]][-1] == content["images"][-1]["id"]


def test_headers(folder: Path) -> None:
    """A file whose header can't be read is a fault of the COCO file; the others are compared."""
    names = sorted(path.name for path in (folder / "in").iterdir())
    images = [
        {"id": number, "file_name": name, "width": 48, "height": 36}
        for number, name in enumerate(names, start=1)
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "red"}]}
    (folder / "all.json").write_text(json.dumps(content), encoding="utf-8")
    done = perception(folder, "verify", "all.json", "--images", "in", "--json", "-q")
    assert done.stderr == ""
    assert done.returncode == 1
    faults = {fault["code"]: fault for fault in json.loads(done.stdout)["faults"]}
    readable = [name for name in names if not refusal(read_header, folder / "in" / name)]
    assert LAST in readable
    assert faults["file-unreadable"]["count"] == len(names) - len(readable) > 100
    sizes = [read_header(folder / "in" / name).image_hw for name in readable]
    assert faults["file-size"]["count"] == sum(size != (36, 48) for size in sizes)


def test_annotate_records_them(folder: Path, unreadable: set[str]) -> None:
    done = perception(folder, "annotate", "in", "--text", "red", "--out", "all-run.json", "-q")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert done.returncode == 1
    content = json.loads((folder / "all-run.json").read_text("utf-8"))
    assert {image["file_name"] for image in content["images"]}.isdisjoint(unreadable)
    assert LAST in {image["file_name"] for image in content["images"]}
