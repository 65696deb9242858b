"""The folder of weights, sha256 of files, and the lock file of what was recorded.

``lock.toml`` lies in the folder of weights. For each model it has the revision, and for each file
its bytes, its sha256, and the time at which the file was last changed when it was read: a file that
is as old and as long as then isn't read again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from perception.errors import WeightsError
from perception.imaging.read import printable


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short(digest: str) -> str:
    """The beginning of a sha256, as messages show it."""
    return f"{digest[:12]}…"


ENVIRONMENT = "PERCEPTION_WEIGHTS"
"""Names the folder of weights."""


def weights_folder() -> Path:
    """Where weights are downloaded to: ``PERCEPTION_WEIGHTS``, else a folder of the user's cache.

    It need not be there yet.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "perception" / "weights"


LOCK = "lock.toml"
_SECONDS_TO_WAIT = 60.0
_HEAD = "# What perception has downloaded or imported: later files must match it."


@dataclass(frozen=True)
class LockedFile:
    """size: in bytes; sha256: in hex; changed: when, in nanoseconds, as the file system says."""

    size: int
    sha256: str
    changed: int


@dataclass(frozen=True)
class LockedModel:
    """revision: of the hub's repository, "" for what is from elsewhere; files: by name."""

    revision: str
    files: Mapping[str, LockedFile]


NOTHING = LockedModel("", {})


def read_lock(folder: Path) -> dict[str, LockedModel]:
    """What was recorded in a folder of weights, by model; raises WeightsError if it is damaged."""
    path = folder / LOCK
    try:
        models = tomllib.loads(path.read_text("utf-8")).get("models", {})
        return {name: _model(table) for name, table in models.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"{_shown(path)}: can't be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise WeightsError(
            f"{_shown(path)}: damaged; delete it: all weights are then checked against the "
            "manifest and recorded anew"
        ) from None


def record(folder: Path, model: str, locked: LockedModel) -> None:
    """Write a model's files down, beside those of it that are recorded already.

    Of several processes that record at once one does after the other, so that none loses what
    another one wrote. Raises OSError where it can't be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        models = read_lock(folder)
        before = models.get(model, NOTHING).files
        models[model] = LockedModel(locked.revision, {**before, **locked.files})
        text = "\n".join([_HEAD, *(_table(name, models[name]) for name in sorted(models))])
        part = folder / f"{LOCK}.{os.getpid()}.part"
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(folder / LOCK)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from recording meanwhile; OSError if one does so for a minute."""
    guard = folder / f"{LOCK}.lock"
    lock = FileLock(guard, timeout=_SECONDS_TO_WAIT)
    try:
        lock.acquire()
    except Timeout:
        reason = f"another process holds {guard.name}"
        raise OSError(errno.EAGAIN, reason, str(guard)) from None
    try:
        yield
    finally:
        lock.release()


def _model(table: Mapping[str, Any]) -> LockedModel:
    files = {
        file["name"]: LockedFile(int(file["bytes"]), str(file["sha256"]), int(file["changed"]))
        for file in table["files"]
    }
    return LockedModel(str(table["revision"]), files)


def _table(name: str, model: LockedModel) -> str:
    rows = [
        f"    {{ name = {json.dumps(file)}, bytes = {at.size}, changed = {at.changed}, "
        f"sha256 = {json.dumps(at.sha256)} }},"
        for file, at in sorted(model.files.items())
    ]
    head = [f"\n[models.{json.dumps(name)}]", f"revision = {json.dumps(model.revision)}"]
    return "\n".join([*head, "files = [", *rows, "]", ""])


def _shown(path: Path) -> str:
    return printable(str(path))
