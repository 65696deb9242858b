"""Runs of earlier versions: ``tests/data/runs`` holds one of each, and what it was exported to.

version_3: images in tiles of 64, two classes and a negative, marks, one image that failed.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import HereReader, NearSightedDetector, color_model, drawing
from PIL import Image

from perception.runs.annotate import annotate, write_annotations
from perception.runs.read import RunReader, run_path
from perception.runs.records import Counts
from perception.runs.settings import StorageSettings
from perception.runs.store import VERSION
from perception.runs.write import RunWriter

RUNS = Path(__file__).parents[1] / "data" / "runs"
TEXT = "red thing: red, sky: blue, !green"
THINGS = {
    "a.png": [("red", (8, 8, 40, 40)), ("blue", (64, 32, 112, 80))],
    "b.png": [("red", (8, 8, 40, 40))],
    "sub/a.png": [],
    "sub/猫.png": [
        ("green", (10, 20, 30, 50)),
        ("red", (1, 1, 9, 9)),
        ("red", (20, 60, 29, 70)),
    ],
}


@pytest.fixture
def old(tmp_path):
    """The output of a run of version 3, with the run beside it."""
    out = tmp_path / "out.json"
    shutil.copy(RUNS / "version_3.run", run_path(out))
    shutil.copy(RUNS / "version_3.json", out)
    return out


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


def exported(run, out):
    write_annotations(run, out)
    return without_info(out)


def without_info(path):
    """All but who wrote it: the version of the package changes."""
    return path.read_text().split("\n", 2)[2]


def tables(path):
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
    return {name: "".join(sql.split()) for name, sql in rows}


def test_read_without_writing_to_it(old, tmp_path):
    before = run_path(old).read_bytes()
    run_path(old).chmod(0o444)
    with RunReader(run_path(old)) as run:
        assert run.counts() == Counts(done=4, failed=1)
        assert exported(run, tmp_path / "again.json") == without_info(old)
    assert run_path(old).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "out.json.run", "again.json"}


def test_migrated_when_opened_to_write(old, tmp_path):
    with RunWriter(run_path(old)) as run:
        assert exported(run, tmp_path / "again.json") == without_info(old)
        assert list(run._rows("SELECT DISTINCT made FROM instance")) == [(1,)]
    with closing(sqlite3.connect(run_path(old))) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with RunReader(run_path(old)) as run:
        assert exported(run, tmp_path / "again.json") == without_info(old)


def test_the_tables_of_a_new_run(old, drive):
    RunWriter(run_path(old)).close()
    drive.path = drive.path.with_name("new.run")
    drive("red")
    migrated, new = tables(run_path(old)), tables(drive.path)
    assert migrated == new
    assert {"picture", "picture_by_state", "tally"} < set(new)


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    before = run_path(old).read_bytes()
    steps = {3: "ALTER TABLE instance ADD COLUMN made INTEGER; SELECT nonsense"}
    monkeypatch.setattr("perception.runs.store.STEPS", steps)
    with pytest.raises(Exception, match="nonsense"):
        RunWriter(run_path(old))
    monkeypatch.undo()
    assert tables(run_path(old))["instance"].count("made") == 0
    with RunReader(run_path(old)) as run:
        assert run.counts() == Counts(done=4, failed=1)
    assert len(before) == len(run_path(old).read_bytes())


def test_goes_on(old, tmp_path, in_this_process):
    """The same command: nothing is asked again, one image that is new is."""
    for name, things in {**THINGS, "new.png": [("blue", (8, 8, 40, 40))]}.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing(things=things)).save(path)
    (tmp_path / "in" / "torn.png").write_bytes(b"\x89PNG")
    asked = []
    model = replace(color_model(), detector=NearSightedDetector())
    model.detector.name, model.segmenter.name = "colour-detector", "colour-segmenter"  # as then
    model.detector.candidates = _watched(model.detector.candidates, asked)
    annotate(lambda: model, [str(tmp_path / "in")], TEXT, old, keeping=StorageSettings(tile=64))
    assert len(asked) == 1
    found = json.loads(old.read_text())
    assert [image["file_name"] for image in found["images"]] == sorted([*THINGS, "new.png"])
    assert [row["origin"] for row in found["annotations"]].count("hand") == 1


def _watched(candidates, asked):
    def watched(images, phrases, *, floor):
        if (96, 128) in [image.shape[:2] for image in images]:
            asked.append(phrases)
        return candidates(images, phrases, floor=floor)

    return watched
