"""Readers are processes that an image may kill."""

import os
import signal
import sys
from contextlib import closing

import pytest

from perception.errors import RunError
from perception.runs import image_reader as reading
from perception.runs.image_reader import Reader, read
from perception.runs.records import Failure, Task


def die_of_some(task, *, max_pixels):
    """Stands in for a decoder with a fault."""
    if "killer" in task.path:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in task.path:
        signal.pause()
    return read(task, max_pixels=max_pixels)


def serve(connection, max_pixels):
    """What the reader's process runs, with that decoder."""
    reading.read = die_of_some
    reading._serve(connection, max_pixels)


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setattr(reading, "_serve", serve)
    with closing(Reader(max_pixels=10**6)) as reader:
        yield reader


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_picture_that_kills_its_reader(reader, pictures):
    killer = Task(7, str(pictures / "killer.png"))
    first = reader.read(Task(1, str(pictures / "a.png")))
    assert first.image.shape == (96, 128, 3)
    assert reader.read(killer) == Failure(7, "it killed the process that read it (SIGSEGV)")
    again = reader.read(Task(1, str(pictures / "a.png")))
    assert again.uid == first.uid
    (pictures / "cut.png").write_bytes(b"\x89PNG")
    assert "not an image" in reader.read(Task(2, str(pictures / "cut.png"))).reason


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_picture_that_hangs_its_reader(monkeypatch, pictures):
    monkeypatch.setattr(reading, "_serve", serve)
    with closing(Reader(max_pixels=10**6, seconds=2)) as reader:
        endless = reader.read(Task(7, str(pictures / "endless.png")))
        assert endless == Failure(7, "reading it took more than 2 s")
        assert reader.read(Task(1, str(pictures / "a.png"))).image.shape == (96, 128, 3)


def test_a_reader_that_does_not_start(monkeypatch):
    monkeypatch.setattr(reading._CONTEXT, "Process", StillBorn)
    with pytest.raises(RunError, match=r"didn't start \(status 3\)"):
        Reader(max_pixels=1).read(Task(1, "a.png"))


class StillBorn:
    exitcode = 3

    def __init__(self, *, target, args, name, daemon):
        self._theirs = args[0]

    def start(self):
        self._theirs.close()

    def join(self):
        pass
