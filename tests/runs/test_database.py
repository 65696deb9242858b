"""What a run stores and when an image waits."""

import os
import sqlite3

import pytest
from fakes import drawing
from PIL import Image

from perception.errors import OutputError, RunError
from perception.runs.read import RunReader, find_run, run_path
from perception.runs.records import Answer, Counts, Failure
from perception.runs.results import results
from perception.runs.store import VERSION
from perception.runs.write import RunWriter

TEXT = "red. sky: blue, green"


def labels(path, **options):
    with RunReader(path) as run:
        return {found.file_name: found.labels for found in results(run, **options)}


def names(records, path):
    with RunReader(path) as run:
        rows = dict(run._rows("SELECT id, name FROM picture"))
    return [rows[record.picture] for record in records]


def test_a_run(drive):
    assert len(drive(TEXT)) == 3
    with RunReader(drive.path) as run:
        assert run.counts() == Counts(done=3)
        assert run.text == TEXT
        assert run.folder == drive.folder
        first, *_ = run.pictures()
        assert (first.name, first.image_hw) == ("a.png", (96, 128))
        stored = run.instances(first.picture, run.phrases)
        assert stored.candidates.boxes.tolist() == [[8, 8, 40, 40], [64, 32, 112, 80]]
        assert stored.candidates.scores.max(axis=1).tolist() == pytest.approx([0.9, 0.9])
        assert all(stored.masks)
    assert labels(drive.path) == {"a.png": ("red", "sky"), "b.png": ("red",), "sub/a.png": ()}
    assert sorted(os.listdir(drive.path.parent)) == ["in", "out.json.run"]


def test_nothing_waits_twice(drive):
    drive(TEXT)
    assert drive(TEXT) == []


def test_goes_on_where_it_was_ended(drive):
    assert names(drive(TEXT, most=1), drive.path) == ["a.png"]
    assert names(drive(TEXT), drive.path) == ["b.png", "sub/a.png"]


def test_a_changed_file_waits(drive):
    drive(TEXT)
    Image.fromarray(drawing(things=[("green", (8, 8, 40, 40))])).save(drive.folder / "b.png")
    (record,) = drive(TEXT)
    assert not record.adds
    assert labels(drive.path)["b.png"] == ("green",)


def test_a_touched_file_is_read_and_not_asked_again(drive):
    drive(TEXT)
    os.utime(drive.folder / "a.png", (1, 1))
    (record,) = drive(TEXT)
    assert record.adds
    assert len(record.queries) == 0
    assert labels(drive.path)["a.png"] == ("red", "sky")
    assert drive(TEXT) == []


def test_a_new_and_a_vanished_picture(drive):
    drive(TEXT)
    (drive.folder / "b.png").rename(drive.folder / "c.png")
    assert names(drive(TEXT), drive.path) == ["c.png"]
    assert list(labels(drive.path)) == ["a.png", "c.png", "sub/a.png"]
    (drive.folder / "c.png").rename(drive.folder / "b.png")
    assert drive(TEXT) == []
    assert list(labels(drive.path)) == ["a.png", "b.png", "sub/a.png"]


def test_new_classes_are_asked_alone(drive):
    drive("red")
    records = drive("red. sky: blue")
    assert {record.asked for record in records} == {("red", "blue")}
    assert all(record.adds for record in records)
    (first, *_) = records
    assert first.queries.tolist() == [200]  # blue's place; red's is kept
    apart = labels(drive.path)
    drive.path.unlink()
    drive("red. sky: blue")
    assert labels(drive.path) == apart


def test_classes_in_other_words_are_only_another_view(drive):
    drive("red. blue")
    assert drive("thing: red | blue") == []
    assert labels(drive.path)["a.png"] == ("thing", "thing")
    assert drive("red, !blue") == []
    assert labels(drive.path)["a.png"] == ("red",)


def test_a_class_that_is_gone_is_kept(drive):
    drive("red. blue")
    assert drive("blue") == []
    assert labels(drive.path)["a.png"] == ("blue",)
    assert drive("red. blue") == []


def test_pictures_that_were_asked_different_things(drive):
    drive("red", most=1)
    by_name = dict(zip(["a.png", "b.png", "sub/a.png"], drive("blue"), strict=True))
    assert by_name["a.png"].asked == ("red", "blue")
    assert by_name["b.png"].asked == ("blue",)


def test_phrases_that_depend_on_each_other_are_asked_together(dependent):
    dependent("red")
    records = dependent("red. blue")
    assert [record.asked for record in records] == [("red", "blue")] * 3
    assert not any(record.adds for record in records)
    assert dependent("red. blue") == []
    assert len(dependent("blue")) == 3


def test_failures_wait_when_told_so_or_mended(drive):
    (drive.folder / "b.png").write_bytes(b"\x89PNG")
    assert [type(record) for record in drive(TEXT)] == [Failure, Answer, Answer]
    assert drive(TEXT) == []
    with RunReader(drive.path) as run:
        assert run.counts() == Counts(done=2, failed=1)
        ((name, reason),) = run.failures()
        assert name == "b.png"
        assert "not an image" in reason
        assert "b.png" not in reason
        assert run.failure_reasons() == [(reason, 1, "b.png")]
    assert names(drive(TEXT, retry_failed=True), drive.path) == ["b.png"]
    Image.fromarray(drawing()).save(drive.folder / "b.png")
    assert names(drive(TEXT), drive.path) == ["b.png"]
    assert drive(TEXT) == []


def test_a_done_picture_that_breaks_has_no_result(drive):
    drive(TEXT)
    (drive.folder / "b.png").write_bytes(b"")
    drive(TEXT)
    assert list(labels(drive.path)) == ["a.png", "sub/a.png"]


def test_names_of_every_kind(drive):
    for name in ("猫 🐈.png", "line\nbreak.png", " space.png", "q'\".png"):
        Image.fromarray(drawing()).save(drive.folder / name)
    try:
        os.rename(drive.folder / "b.png", os.fsencode(drive.folder) + b"/\xff.png")
    except OSError:
        (drive.folder / "b.png").rename(drive.folder / "z.png")
    drive(TEXT)
    found = list(labels(drive.path))
    assert len(found) == 7
    assert found == sorted(found)
    assert {"猫 🐈.png", "line\nbreak.png", " space.png"} < set(found)


def test_thresholds(drive):
    Image.fromarray(
        drawing(things=[("red", (8 + 30 * n, 8, 24 + 30 * n, 24)) for n in range(4)])
    ).save(drive.folder / "b.png")
    drive(TEXT)
    assert len(labels(drive.path, threshold=0.05)["b.png"]) == 4
    assert len(labels(drive.path, threshold=0.75)["b.png"]) == 2


def test_a_run_that_never_began_leaves_no_file(tmp_path):
    RunWriter(tmp_path / "x.run").close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_version(drive):
    drive(TEXT)
    with sqlite3.connect(drive.path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    for open_run in (RunReader, RunWriter):
        with pytest.raises(RunError, match=rf"version {VERSION + 1}, .* versions 3 to {VERSION};"):
            open_run(drive.path)


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunError, match="no such run"):
        RunReader(tmp_path / "x.run")
    (tmp_path / "x.run").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="damaged"):
        RunReader(tmp_path / "x.run")
    with sqlite3.connect(tmp_path / "y.run") as db:
        db.execute("CREATE TABLE x (y)")
    db.close()
    with pytest.raises(RunError, match="not of a run"):
        RunWriter(tmp_path / "y.run")


def test_a_full_disk(drive):
    drive(TEXT, most=1)
    with RunWriter(drive.path) as run:
        run._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutputError, match=r"disk is full; make room and run the same command"):
            run.record([Failure(n, "x" * 5000) for n in (2, 3)] * 50)
        assert run.counts() == Counts(waiting=2, done=1)
    assert len(drive(TEXT)) == 2


def test_where_a_run_lies(tmp_path):
    out = tmp_path / "a.json"
    assert run_path(out).name == "a.json.run"
    assert find_run(out) == out
    run_path(out).touch()
    assert find_run(out) == find_run(run_path(out)) == run_path(out)
    # An output that is called as runs are has its run beside it all the same.
    named = run_path(out)
    run_path(named).touch()
    assert find_run(named) == find_run(run_path(named)) == run_path(named)
