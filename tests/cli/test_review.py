"""``perception review``."""

import sqlite3
from pathlib import Path

import pytest
from fakes import HereReader

from perception.runs import local_engine as runner


@pytest.fixture
def run(perception, monkeypatch):
    monkeypatch.setattr(runner, "Reader", HereReader)
    assert (
        perception("annotate", "in", "--text", "red. sky: blue", "--out", "out.json", "-q")[0] == 0
    )


@pytest.mark.parametrize("named", ["out.json", "out.json.run"])
def test_a_run(perception, run, named):
    code, out, err = perception("review", named)
    assert (code, err) == (0, "")
    assert out == "wrote out.review.html: 3 instances of 2 classes, 0.0 MB\n"
    assert Path("out.review.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_options(perception, run):
    Path("in").rename("moved")
    arguments = (
        "review out.json --out a/b.html --images moved --threshold 0.95 --per-class 1 --nms 0.9 -q"
    )
    assert perception(*arguments.split())[:2] == (
        0,
        "wrote a/b.html: 0 instances of 2 classes, 0.0 MB\n",
    )
    assert Path("a/b.html").is_file()


def test_pictures_that_are_gone_are_a_note(perception, run):
    Path("in/a.png").unlink()
    code, _, err = perception("review", "out.json")
    assert code == 0
    assert err.startswith("note: 2 shown without their image")


def test_more_overlap_than_is_stored(perception, run):
    code, _, err = perception("review", "out.json", "--nms", "0.95")
    assert code == 1
    assert "stores boxes that overlap up to 0.9" in err


def test_what_is_no_run(perception, run):
    code, out, err = perception("review", "none.json")
    assert (code, out) == (1, "")
    assert err == "perception: error: none.json: no such run; perception annotate makes one\n"
    Path("text.run").write_text("not a database, whatever its name says")
    assert "no run database" in perception("review", "text.run")[2]
    database = sqlite3.connect("out.json.run")
    database.execute("PRAGMA user_version = 99")
    database.commit()
    database.close()
    code, _, err = perception("review", "out.json")
    assert code == 1
    assert "a run of version 99" in err
    assert err.count("\n") == 1


def test_a_folder_that_is_gone(perception, run):
    code, _, err = perception("review", "out.json", "--images", "nowhere")
    assert code == 1
    assert "nowhere: the run's images can't be looked for there" in err
    assert not Path("out.review.html").exists()
