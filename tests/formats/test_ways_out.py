"""Names that lead out of the folder that results are written to: nothing is written elsewhere."""

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from formats.test_coco import result
from perception.annotate.database import RunReader
from perception.annotate.export import FORMATS, ONE_FILE, export_annotations
from perception.annotate.review.write import write_review
from perception.errors import OutputError, PerceptionError, RunError
from perception.formats.class_maps import write_class_maps
from perception.formats.labelme import write_labelme
from perception.formats.pictures import save_cutouts, save_masks, save_overlay
from perception.formats.yolo import write_yolo
from perception.inputs import leads_out

RUNS = Path(__file__).parents[1] / "data" / "runs"

OUT = [
    "../x.png",
    "../../../x.png",
    "a/../../x.png",
    "/x.png",
    "//x/y.png",
    "",
    ".",
    "..",
    "a\0b.png",
]
INSIDE = ["a.png", "a/b.png", "..a/b..png", "...", "a b/ c.png", "猫.png", "a\\b.png", "C:x.png"]
ON_WINDOWS = ["C:/x.png", "C:x.png", "\\x.png", "a\\..\\..\\x.png", "\\\\host\\x\\y.png", "a:b.png"]


@pytest.mark.parametrize("name", OUT)
def test_names_that_lead_out(name):
    assert leads_out(name, windows=False)
    assert leads_out(name, windows=True)


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_names_that_lead_out_on_windows(name):
    assert leads_out(name, windows=True)


@pytest.mark.parametrize("name", INSIDE)
def test_names_that_stay(name):
    assert not leads_out(name, windows=False)


def picture(name):
    """A result with its pixels."""
    found = result()
    return replace(found, file_name=name, image=np.zeros((*found.image_hw, 3), np.uint8))


WRITERS = {
    "yolo": lambda found, folder: write_yolo([found], folder, classes=found.classes),
    "labelme": lambda found, folder: write_labelme([found], folder, images=folder),
    "png": lambda found, folder: write_class_maps([found], folder, classes=found.classes),
    "overlay": lambda found, folder: save_overlay(found, folder, found.file_name),
    "masks": lambda found, folder: save_masks(found, folder, found.file_name),
    "cutouts": lambda found, folder: save_cutouts(found, folder, found.file_name),
}


def files_below(folder):
    """All files, without following links: path -> content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def yard(tmp_path):
    """A folder with a file, and out/ deep below it."""
    (tmp_path / "mine.png").write_bytes(b"mine")
    (tmp_path / "a" / "b" / "out").mkdir(parents=True)
    return tmp_path


def outside(yard):
    return {name: data for name, data in files_below(yard).items() if "a/b/out/" not in name}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", ["../mine.png", "../../../mine.png", "/{yard}/mine.png", "a\0b"])
def test_every_writer_refuses(yard, write, name):
    before = outside(yard)
    with pytest.raises(OutputError, match="no name of a picture below a folder") as error:
        write(picture(name.format(yard=yard)), yard / "a" / "b" / "out")
    assert len(str(error.value).splitlines()) == 1
    assert outside(yard) == before


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_link_that_leads_out(yard, write):
    out = yard / "a" / "b" / "out"
    for folder in (out, out / "labels"):
        folder.mkdir(exist_ok=True)
        (folder / "sub").symlink_to(yard, target_is_directory=True)
        (folder / "loop").symlink_to("loop")
    before = outside(yard)
    for name in ("sub/x.png", "sub/a/x.png", "loop/x.png"):
        with pytest.raises(OutputError, match="a link leads out of"):
            write(picture(name), out)
    assert outside(yard) == before


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_links_that_stay_are_followed(yard, write):
    """Also --out itself may be one."""
    out, link = yard / "a" / "b" / "out", yard / "link"
    link.symlink_to(out, target_is_directory=True)
    for folder in (out, out / "labels"):
        (folder / "real").mkdir(parents=True)
        (folder / "sub").symlink_to("real", target_is_directory=True)
    before = outside(yard)
    write(picture("sub/x.png"), link)
    assert outside(yard) == before
    assert any("real/x" in name for name in files_below(out))


def renamed(path, name):
    """A run whose first picture has another name, as a stranger might have made it."""
    shutil.copy(RUNS / "version_3.run", path)
    raw = name.encode("utf-8", "surrogatepass")
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE picture SET name = CAST(? AS TEXT) WHERE name = 'a.png'", (raw,))
        db.commit()
    return path


def write_out(run, out, form):
    if form == "review":
        return write_review(run, out, images=out.parent)
    return export_annotations(run, out, as_format=form)


@pytest.mark.parametrize("form", [*FORMATS, "review"])
@pytest.mark.parametrize("name", ["../../../x.png", "/{yard}/x.png", "a\0b.png", "."])
def test_no_run_is_exported_with_such_a_name(yard, form, name):
    path = renamed(yard / "out.json.run", name.format(yard=yard))
    before = outside(yard)
    with RunReader(path) as run, pytest.raises(RunError, match="leads out of its folder"):
        write_out(run, yard / "a" / "b" / "out" / "x", form)
    assert outside(yard) == before


PARTS = [
    *("..", ".", "", "/", "a", "d.png", "out", "labels", "sub", "~", "...", "x" * 300),
    *("\0", "\\", "C:", "CON", "\udcff", "猫", "\n", "%2e%2e", "//host", "file:", "-", "*?[a]"),
]


@pytest.mark.slow
def test_fuzz_names(yard):
    """Whatever a picture is called, files appear below --out, or there is one line."""
    chosen, out = random.Random(17), yard / "a" / "b" / "out"  # noqa: S311
    links = [(out / "sub", yard), (out / "labels" / "sub", yard / "a")]
    came = {"files": 0, "line": 0}
    for n in range(150):
        name = chosen.choice(["/", "", "", "a/"]).join(
            chosen.choices(PARTS, k=chosen.randint(1, 4))
        )
        name = chosen.choice([name, str(yard / name.replace("\0", "")), f"{name}.png"])
        shutil.rmtree(out)
        for link, target in links:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target, target_is_directory=True)
        path = renamed(yard / "out.json.run", name)
        before = outside(yard)
        form = [*FORMATS, "review", *WRITERS][n % (len(FORMATS) + 1 + len(WRITERS))]
        try:
            if form in WRITERS and n % 2:
                WRITERS[form](picture(name), out)
            elif form in (*FORMATS, "review"):
                with RunReader(path) as run:
                    alone = form in ONE_FILE or form == "review"
                    write_out(run, out / "x" if alone else out, form)
            came["files"] += 1
        except PerceptionError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
            came["line"] += 1
        assert outside(yard) == before, name
    assert min(came.values()) > 20


def test_names_in_labelme_files_stay_relative(yard):
    """What labelme reads is where the picture lies."""
    out = yard / "a" / "b" / "out"
    write_labelme([picture("sub/x.png")], out, images=yard)
    content = json.loads((out / "sub" / "x.json").read_text())
    assert (out / "sub" / content["imagePath"]).resolve() == (yard / "sub" / "x.png").resolve()
    assert not os.path.isabs(content["imagePath"])
