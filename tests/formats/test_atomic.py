"""Files are written whole or not at all."""

import os

import pytest

from perception.errors import OutputError
from perception.formats.atomic import check_writable, whole_file


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
