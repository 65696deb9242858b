"""Whether a model's files are what they should be: the published ones, or those first recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from perception.checkpoints.catalog import WeightFile, WeightsEntry
from perception.checkpoints.installed import Installed, find, missing, what_instead
from perception.checkpoints.lock import (
    LOCK,
    NOTHING,
    LockedFile,
    LockedModel,
    read_lock,
    record,
    sha256_of_file,
    short,
    weights_folder,
)
from perception.errors import WeightsError
from perception.imaging.read import printable


def installed_path(
    entry: WeightsEntry, *, folder: Path | None = None
) -> tuple[Path, dict[str, str]]:
    """A published model's file, or the folder with its files, and their sha256 by name.

    Raises WeightsError if it isn't on this machine, or isn't what it should be.
    """
    found = find(entry, folder=folder)
    if found is None:
        raise missing([entry], folder=folder)
    sums = check(entry, found, folder=folder)
    if entry.url:
        return found.files[entry.files[0].name], sums
    return found.folder, sums


def check(
    entry: WeightsEntry, found: Installed, *, folder: Path | None = None, again: bool = False
) -> dict[str, str]:
    """The sha256 of a model's files by name, once they are known to be right.

    A file that hasn't changed since it was last read isn't read again, unless ``again``. What has
    no published sha256 is recorded at the first time, in the folder's lock file, and must match
    from then on. Raises WeightsError that names the file, what is wrong and what to do.
    """
    folder = folder or weights_folder()
    locked = read_lock(folder).get(entry.name, NOTHING)
    expected = {file.name: file for file in entry.files}
    now = {
        name: check_file(entry, expected[name], path, locked.files.get(name), folder, again=again)
        for name, path in found.files.items()
    }
    if now != locked.files:
        with suppress(OSError):  # Such as a folder that this user may only read.
            remember(entry, now, folder, revision=locked.revision or entry.revision)
    return {name: file.sha256 for name, file in now.items()}


def remember(
    entry: WeightsEntry, files: Mapping[str, LockedFile], folder: Path, *, revision: str
) -> None:
    """Records files of a model beside those already recorded; raises OSError if it can't."""
    record(folder, entry.name, LockedModel(revision, files))


def check_file(
    entry: WeightsEntry,
    file: WeightFile,
    path: Path,
    locked: LockedFile | None,
    folder: Path,
    *,
    again: bool = False,
    remedy: str = "",
) -> LockedFile:
    """One file as it is to be recorded; raises WeightsError if it is another than expected.

    again: read it even if it hasn't changed; remedy: what to do, where it isn't to fetch it anew.
    """
    remedy = remedy or f"delete it, then {_fetch_anew(entry)}"
    try:
        stat = path.stat()
        unchanged = locked == LockedFile(
            stat.st_size, locked.sha256 if locked else "", stat.st_mtime_ns
        )
        if locked is not None and unchanged and not again and _fits(file, locked):
            return locked
        instead = what_instead(path)
        digest = sha256_of_file(path)
    except OSError as error:
        raise WeightsError(f"{_shown(path)}: can't be read ({error.strerror})") from None
    now = LockedFile(stat.st_size, digest, stat.st_mtime_ns)
    fault = instead.fault if instead else ""
    if not _fits(file, now):
        why = fault or _difference(now, file.size, file.sha256)
        raise WeightsError(f"{_shown(path)}: not the published file: {why}; {remedy}")
    if fault:
        raise WeightsError(f"{_shown(path)}: {fault}; {remedy}")
    if locked is not None and digest != locked.sha256:
        raise WeightsError(
            f"{_shown(path)}: not the file that was recorded first: "
            f"{_difference(now, locked.size, locked.sha256)}; {remedy}; if it is "
            f'meant to be another, delete [models."{entry.name}"] from '
            f"{_shown(folder / LOCK)}"
        )
    return now


def _fits(file: WeightFile, now: LockedFile) -> bool:
    return file.size in (0, now.size) and file.sha256 in ("", now.sha256)


def _difference(now: LockedFile, size: int, sha256: str) -> str:
    if size and now.size != size:
        return f"{now.size:,} bytes, expected {size:,}"
    return f"sha256 {short(now.sha256)}, expected {short(sha256)}"


def _fetch_anew(entry: WeightsEntry) -> str:
    return f"run perception weights pull {entry.name}, or copy it from {entry.page}"


def _shown(path: Path) -> str:
    return printable(str(path))
