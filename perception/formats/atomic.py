"""Writing a file whole or not at all."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from perception.errors import OutputError
from perception.images import printable
from perception.inputs import leads_out

_POSIX = os.name == "posix"
_PART = re.compile(r"\.\d+\.perception\.part$")
"""How the name of a part ends: with the process that writes it."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which gets its name only when all of it is written.

    Makes the folders above it. Raises OutputError if it can't be written; an earlier file of this
    name is then left as it was.
    """
    with part_of(path) as part, part.open("wb") as file:
        yield file


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """The path of a file to write, for those who open it themselves; otherwise as ``whole_file``.

    While it is written the part is locked, where the system can, so that ``remove_parts`` knows it
    from one that a killed process has left.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.perception.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as held:
                with suppress(OSError):  # Such as a network's file system without locks.
                    _lock(held)
                yield part
                if _POSIX:
                    part.replace(path)
            if not _POSIX:  # There an open file can't be renamed.
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{_where(path)}: can't be written ({_why(error)})") from None


def remove_parts(out: Path) -> None:
    """Remove what killed processes have left of a file, or of the files anywhere in a folder.

    A part that a living process writes stays.
    """
    if out.is_dir():
        parts = [Path(at, name) for at, _, names in os.walk(out) for name in names]
    else:
        parts = list(out.parent.glob(f"{glob.escape(out.name)}.*"))
    for part in parts:
        if _PART.search(part.name):
            _remove_stale(part)


def _remove_stale(part: Path) -> None:
    """Removes a part that nobody holds."""
    with suppress(OSError):
        if _POSIX:
            with part.open("rb") as file:
                _lock(file)
                part.unlink()
        else:
            part.unlink()  # Fails where a process has it open.


def _lock(file: IO[bytes]) -> None:
    """Holds a file for this process, where the system can; OSError if another one does."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def inside(folder: Path, name: str) -> Path:
    """Where a picture's file lies below a folder; name: a relative POSIX path, of whoever wrote it.

    Raises OutputError for one that leads out of the folder, also through a link that is there.
    """
    path = folder / name
    if leads_out(name):
        raise OutputError(
            f"{printable(name)}: no name of a picture below a folder, and nothing is written "
            "outside; rename it"
        )
    try:
        stays = path.parent.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # A link to itself, or a name that is too long.
        stays = False
    if not stays:
        raise OutputError(
            f"{_where(path)}: a link leads out of {_where(folder)}, and nothing is written "
            "outside; remove it, or choose another --out"
        )
    return path


def check_writable(folder: Path) -> None:
    """Makes a folder and tries a file in it; raises OutputError if results can't go there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.perception.part"
        try:
            probe.touch()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{_where(folder)}: results can't be written there ({_why(error)}); "
            "choose another folder with --out"
        ) from None


def _where(path: Path) -> str:
    return printable(str(path))


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
