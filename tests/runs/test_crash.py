"""Runs that are killed, interrupted and started twice."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import COLORS, color_model, drawing
from PIL import Image

from perception.runs.annotate import annotate

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def folder(tmp_path):
    """30 small images, no two alike."""
    random_numbers = np.random.default_rng(0)
    for n in range(30):
        things = []
        for color in COLORS:
            x, y = random_numbers.integers(0, 50, 2)
            things.append((color, (x, y, x + 12, y + 9)))
        path = tmp_path / "in" / f"{n % 3}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing(64, 64, things)).save(path)
    return tmp_path / "in"


def start(folder, out, seconds=0.1):
    script = Path(__file__).parent / "process.py"
    command = [sys.executable, str(script), str(folder), str(out), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def rows(out):
    with closing(sqlite3.connect(f"{out}.run")) as db:
        return [
            db.execute(f"SELECT {columns} FROM {source} ORDER BY name, query").fetchall()  # noqa: S608
            for columns, source in (
                (
                    "name, state, query, mask, made, quality, stability, consensus",
                    "picture LEFT JOIN instance ON picture = picture.id",
                ),
                ("name, query, score", "score JOIN picture ON picture = picture.id"),
            )
        ]


def test_killed_at_any_moment(folder, tmp_path):
    whole = tmp_path / "whole.json"
    annotate(color_model, [str(folder)], "red. blue. green", whole, workers=1)
    torn, moments = tmp_path / "torn.json", random.Random(time.time_ns())  # noqa: S311
    for answers in (0, moments.randint(1, 8), moments.randint(1, 12)):
        process = start(folder, torn)
        for _ in range(answers):
            assert process.stdout.readline() == b"asked\n"
        time.sleep(moments.random() * (0.1 if answers else 0.6))
        process.kill()
        process.communicate()
    kept = len({name for name, state, *_ in rows(torn)[0] if state == "done"})
    process = start(folder, torn, seconds=0)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.count(b"asked") == 30 - kept  # what was stored isn't asked again, all else is
    assert torn.read_bytes() == whole.read_bytes()
    assert rows(torn) == rows(whole)


def test_interrupted_in_the_middle_of_a_model(folder, tmp_path):
    process = start(folder, tmp_path / "out.json", seconds=60)
    assert process.stdout.readline() == b"asked\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10  # A second, on a machine with nothing else to do.
    assert process.returncode == 130
    assert err.decode().splitlines() == [
        "perception: error: interrupted; 0 of 30 images are done and kept; the same command goes on"
    ]


def test_two_processes_on_one_run(folder, tmp_path):
    first = start(folder, tmp_path / "out.json")
    assert first.stdout.readline() == b"asked\n"
    first.send_signal(signal.SIGSTOP)  # it can't end before the other one begins
    second = start(folder, tmp_path / "out.json")
    try:
        out, err = second.communicate(timeout=30)
    finally:
        first.send_signal(signal.SIGCONT)
    assert (second.returncode, out) == (1, b"")
    assert err.startswith(b"perception: error: ")
    assert b"another process works on this run" in err
    assert len(err.splitlines()) == 1
    out, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, b"")
    assert b"30 images" in out
