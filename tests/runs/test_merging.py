"""Shards beside a run: taken in while a job writes them, and after one that was broken off."""

import pytest
from fakes import HereReader, color_model, read_and_answer

from perception.errors import MissingExtraError
from perception.runs.annotate import annotate
from perception.runs.merging import merging, shards_root
from perception.runs.read import run_path
from perception.runs.records import Counts

pq = pytest.importorskip("pyarrow.parquet", reason="the extra [ray] isn't installed")
TEXT = "red thing: red, sky: blue. green"


@pytest.fixture(autouse=True)
def readers_in_this_process(monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.json"


def run(pictures, out, text=TEXT, **options):
    """Annotates here; returns what was told, and the COCO file."""
    told = []
    watch = lambda counts: told.append(counts) or told.append  # noqa: E731
    annotate(color_model, [str(pictures)], text, out, watch=watch, **options)
    return told, out.read_bytes()


def answered(run, model, question, most=None):
    from perception.runs.shards import records_to_table

    tasks = list(run.tasks())[:most]
    return records_to_table(tasks, read_and_answer(model, tasks, question))


class Stop(Exception):  # noqa: N818
    """Breaks a run off."""


def broken_off(run, model, question, tell):
    """An engine whose job is gone, with two images in a shard that comes too late to be seen."""
    with merging(run, tell) as folder:
        (folder / "torn.parquet").write_bytes(b"PAR1 and no end")
        pq.write_table(answered(run, model, question, 2), folder / "late")
        raise Stop


@pytest.fixture
def left_behind(pictures, out):
    with pytest.raises(Stop):
        run(pictures, out, engine=broken_off)
    (late,) = shards_root(run_path(out)).rglob("late")
    late.rename(late.with_name("late.parquet"))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (TEXT, Counts(waiting=1, done=2)),
        ("red", Counts(waiting=1, done=2)),
        ("blue. green. red", Counts(waiting=1, done=2)),
        ("red. cat", Counts(waiting=3)),
    ],
)
def test_what_a_broken_off_job_left(pictures, out, tmp_path, left_behind, text, counts):
    told, content = run(pictures, out, text)
    assert told[0] == counts
    assert content == run(pictures, tmp_path / "whole.json", text)[1]
    assert not shards_root(run_path(out)).exists()


def test_a_picture_that_is_another_since(pictures, out, tmp_path, left_behind):
    (pictures / "b.png").rename(pictures / "a.png")
    told, content = run(pictures, out)
    assert told[0] == Counts(waiting=2)
    assert content == run(pictures, tmp_path / "whole.json")[1]


def test_a_run_that_was_removed(pictures, out, tmp_path, left_behind):
    run_path(out).unlink()
    told, content = run(pictures, out)
    assert told[0] == Counts(waiting=3)
    assert content == run(pictures, tmp_path / "whole.json")[1]


def test_overwrite_forgets_them(pictures, out, left_behind):
    assert run(pictures, out, overwrite=True)[0][0] == Counts(waiting=3)
    assert not shards_root(run_path(out)).exists()


def masks_alone(run, model, question, tell):
    """An engine whose job is gone; its shard holds masks of two images that were done."""
    tasks = list(run.tasks())
    assert [task.uid != "" for task in tasks] == [True, True]
    return broken_off(run, model, question, tell)


def test_masks_that_a_broken_off_job_left(pictures, out, tmp_path):
    run(pictures, out, threshold=0.95)
    with pytest.raises(Stop):
        run(pictures, out, engine=masks_alone)
    (late,) = shards_root(run_path(out)).rglob("late")
    late.rename(late.with_name("late.parquet"))
    told, content = run(pictures, out)
    assert told == [Counts(done=3)]
    assert content == run(pictures, tmp_path / "whole.json")[1]


def test_masks_of_a_picture_that_is_another_since(pictures, out, tmp_path):
    run(pictures, out, threshold=0.95)
    with pytest.raises(Stop):
        run(pictures, out, engine=masks_alone)
    (late,) = shards_root(run_path(out)).rglob("late")
    late.rename(late.with_name("late.parquet"))
    (pictures / "b.png").rename(pictures / "a.png")
    told, content = run(pictures, out)
    assert told[0] == Counts(waiting=1, done=1)
    assert content == run(pictures, tmp_path / "whole.json")[1]


def test_without_pyarrow(pictures, out, left_behind, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "perception.runs.shards", None)
    with pytest.raises(MissingExtraError, match=r"out\.json\.run\.shards: answers of a cluster"):
        run(pictures, out)


def test_shards_may_come_twice(pictures, out, tmp_path):
    """As they do when Ray runs a block again whose answer was written."""

    def twice(run, model, question, tell):
        table = answered(run, model, question)
        for _ in range(2):
            with merging(run, tell) as folder:
                pq.write_table(table, folder / "one.parquet")
                pq.write_table(table, folder / "two.parquet")

    run(pictures, out, "red", engine=twice)
    told, content = run(pictures, out, engine=twice)
    assert len(told) == 1 + 1
    assert content == run(pictures, tmp_path / "whole.json")[1]
