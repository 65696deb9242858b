"""Whether a model's files are those that were published, or those first recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from checkpoints.conftest import WHOLE, sha256
from perception.checkpoints import lock
from perception.checkpoints import verify as checking
from perception.checkpoints.catalog import WeightFile, WeightsEntry
from perception.checkpoints.installed import Installed, find
from perception.checkpoints.lock import LOCK, LockedFile, LockedModel, read_lock, record
from perception.checkpoints.verify import check
from perception.errors import WeightsError

ENTRY = WeightsEntry(
    "tiny",
    "sam2",
    "Apache-2.0",
    (WeightFile("config.json"), WeightFile("model.safetensors", len(WHOLE), sha256(WHOLE))),
    hub="people/tiny",
)


@pytest.fixture
def there(folder: Path) -> Installed:
    own = folder / "tiny"
    own.mkdir(parents=True)
    (own / "config.json").write_bytes(b"{}")
    (own / "model.safetensors").write_bytes(WHOLE)
    found = find(ENTRY)
    assert found is not None
    return found


def test_what_was_put_there_by_hand_is_recorded(there: Installed, folder: Path) -> None:
    sums = {"config.json": sha256(b"{}"), "model.safetensors": sha256(WHOLE)}
    assert check(ENTRY, there) == sums
    files = read_lock(folder)["tiny"].files
    assert {name: file.sha256 for name, file in files.items()} == sums


def test_a_file_is_read_again_only_if_it_changed(
    there: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest = checking.sha256_of_file
    monkeypatch.setattr(
        checking, "sha256_of_file", lambda path: (read.append(path.name), digest(path))[1]
    )
    check(ENTRY, there)
    check(ENTRY, there)
    assert sorted(read) == ["config.json", "model.safetensors"]
    check(ENTRY, there, again=True)
    assert len(read) == 4
    path = there.files["model.safetensors"]
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    check(ENTRY, there)
    assert read[4:] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("model.safetensors", WHOLE[:-1], "not the published file: 10,239 bytes, expected"),
        ("model.safetensors", WHOLE[::-1], "not the published file: sha256"),
        ("model.safetensors", b"<html>", "not the published file: it is a web page"),
        ("config.json", b'{"a": 1}', r"not the file that was recorded first: 8 bytes, expected 2"),
        ("config.json", b"[]", r"not the file that was recorded first: sha256"),
        ("config.json", b"<html>", "it is a web page"),
    ],
)
def test_a_file_that_changed(there: Installed, name: str, data: bytes, message: str) -> None:
    check(ENTRY, there)
    there.files[name].write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{name}: {message}.*delete it, then run") as caught:
        check(ENTRY, there)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_only_be_read(
    there: Installed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checking, "record", refuse)
    assert len(check(ENTRY, there)) == 2
    assert not (folder / LOCK).exists()


def test_a_file_that_cannot_be_read(there: Installed) -> None:
    gone = Installed(there.folder, {"config.json": there.folder / "gone.json"})
    with pytest.raises(WeightsError, match=r"gone\.json: can't be read \(No such file"):
        check(ENTRY, gone)


def test_the_lock_keeps_all_models(tmp_path: Path) -> None:
    one = LockedModel("abc", {'we"ird\\name.json': LockedFile(1, "00", 5)})
    two = LockedModel("", {})
    record(tmp_path, "a.b", one)
    record(tmp_path, "c", two)
    assert read_lock(tmp_path) == {"a.b": one, "c": two}
    assert sorted(os.listdir(tmp_path)) == [LOCK, f"{LOCK}.lock"]


def test_the_lock_keeps_the_other_files_of_a_model(tmp_path: Path) -> None:
    first, second = LockedFile(1, "00", 5), LockedFile(2, "11", 6)
    record(tmp_path, "a", LockedModel("abc", {"x": first, "y": first}))
    record(tmp_path, "a", LockedModel("abc", {"y": second}))
    assert read_lock(tmp_path) == {"a": LockedModel("abc", {"x": first, "y": second})}


RECORDS = """
import sys
from pathlib import Path
from perception.checkpoints.lock import LockedFile, LockedModel, record

folder, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    record(folder, f"{name}-{n}", LockedModel("", {"file": LockedFile(n, "00", n)}))
    record(folder, "both", LockedModel("", {f"{name}-{n}": LockedFile(n, "00", n)}))
"""


def test_the_lock_keeps_what_two_processes_record_at_once(tmp_path: Path) -> None:
    """Two pulls, say: each read the file, and the later one wrote over what the other had added."""
    pulls = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDS, tmp_path, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    assert [pull.stdout.readline() for pull in pulls] == ["ready\n"] * 2
    for pull in pulls:
        pull.stdin.write("go\n")
        pull.stdin.flush()
    for pull in pulls:
        pull.communicate(timeout=120)
        assert pull.returncode == 0
    models = read_lock(tmp_path)
    names = {f"{name}-{n}" for name in ("one", "other") for n in range(40)}
    assert set(models) == names | {"both"}
    assert set(models["both"].files) == names


def test_a_process_that_never_lets_go_of_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_SECONDS_TO_WAIT", 0.05)
    with FileLock(tmp_path / f"{LOCK}.lock"), pytest.raises(OSError, match="another process holds"):
        record(tmp_path, "a", LockedModel("", {}))
