"""One worker at a time, and no lock that outlives its process."""

import subprocess
import sys
from pathlib import Path

import pytest

from perception.errors import OutputError, RunError
from perception.runs import settings as lock
from perception.runs.settings import only_worker

HOLD = """
import sys
from pathlib import Path
from perception.runs.settings import only_worker
with only_worker(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process(tmp_path):
    path = tmp_path / "out.json.run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(lock.__file__).parents[2],
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=r"another process works on this run"), only_worker(path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with only_worker(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_twice(tmp_path):
    path = tmp_path / "out.json.run"
    with only_worker(path), pytest.raises(RunError, match="another process"), only_worker(path):
        pass
    with only_worker(path):
        pass


def test_a_lock_that_was_removed_meanwhile(tmp_path, monkeypatch):
    guard = tmp_path / "out.json.run.lock"
    guard.touch()
    seen = iter([1, 2, 3, 3])
    monkeypatch.setattr(lock, "_inode", lambda path: next(seen))
    with only_worker(tmp_path / "out.json.run"):
        assert list(seen) == []


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"), only_worker(tmp_path / "file" / "x"):
        pass
