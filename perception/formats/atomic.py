"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from perception.errors import OutputError
from perception.images import printable
from perception.inputs import leads_out


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which gets its name only when all of it is written.

    Makes the folders above it. Raises OutputError if it can't be written; an earlier file of this
    name is then left as it was.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{_where(path)}: can't be written ({_why(error)})") from None


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
        probe = folder / f".{os.getpid()}.part"
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
