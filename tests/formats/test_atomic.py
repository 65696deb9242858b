"""Files are written whole or not at all."""

import os
import signal
import subprocess
import sys

import pytest

from perception.errors import OutputError
from perception.runtime.files import check_writable, part_of, remove_parts, whole_file

WRITES = """
import sys, time
from pathlib import Path
from perception.runtime.files import part_of

with part_of(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    print(part.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def half_written():
    """Starts a process that is in the middle of writing a file; gives it and the part's name."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, path], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_file_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with whole_file(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["c.txt"]


def test_an_earlier_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["c.txt"]


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"), whole_file(tmp_path / "file" / "x"):
        pass
    with pytest.raises(OutputError, match="can't be written"), whole_file(tmp_path):
        pass
    with pytest.raises(OutputError, match=r"file.*--out"):
        check_writable(tmp_path / "file")


def test_check_writable_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []


@pytest.mark.parametrize("out", ["folder", "folder/a.onnx"])
def test_what_a_killed_process_left_is_removed(tmp_path, half_written, out):
    folder = tmp_path / "folder"
    killed, left = half_written(folder / "a.onnx")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, alive = half_written(folder / "a.onnx")
    others = ["a.onnx", "b.1.part", "a.onnx.part", "a.onnx.2.perception.partial"]
    for name in others:
        (folder / name).touch()
    assert {left, alive} < set(os.listdir(folder))
    remove_parts(tmp_path / out)
    assert sorted(os.listdir(folder)) == sorted([*others, alive])


def test_parts_anywhere_below_a_folder_and_of_one_file_only(tmp_path):
    (tmp_path / "labels" / "x").mkdir(parents=True)
    below = tmp_path / "labels" / "x" / "a.txt.7.perception.part"
    beside = tmp_path / "b.json.7.perception.part"
    for part in (below, beside):
        part.touch()
    remove_parts(tmp_path / "c.json")
    remove_parts(tmp_path / "gone" / "c.json")
    assert below.exists()
    assert beside.exists()
    remove_parts(tmp_path / "b.json")
    assert not beside.exists()
    remove_parts(tmp_path)
    assert not below.exists()


def test_a_part_for_those_who_open_it_themselves(tmp_path):
    path = tmp_path / "a.onnx"
    with part_of(path) as part:
        part.write_bytes(b"one")
        remove_parts(tmp_path)
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with pytest.raises(ZeroDivisionError), part_of(path) as part:
        part.write_bytes(b"two" * (1 // 0))
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.onnx"]
