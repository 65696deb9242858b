"""Downloading a model into the folder of weights: each file into a ``.part``, checked, renamed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from perception.checkpoints import hub
from perception.checkpoints.catalog import WeightFile, WeightsEntry, readable
from perception.checkpoints.hub import RefusedError, fetch
from perception.checkpoints.installed import Installed, find
from perception.checkpoints.lock import NOTHING, LockedFile, read_lock, weights_folder
from perception.checkpoints.verify import check, check_file, remember
from perception.errors import WeightsError
from perception.imaging.read import printable

Watch = Callable[[str, int, int], AbstractContextManager[Callable[[int], object]]]
"""Told of a file's name, its size (0: unknown) and what has arrived of it before; gives what is
called with how many more bytes have arrived."""

_THROWN_AWAY = "what had arrived was thrown away; the same command downloads it anew"


@dataclass(frozen=True)
class _Wanted:
    """A file to be fetched, as the source describes it."""

    file: WeightFile
    url: str


@dataclass(frozen=True)
class _Plan:
    revision: str
    wanted: tuple[_Wanted, ...]
    headers: Mapping[str, str]


def _unwatched(
    _name: str, _size: int, _have: int
) -> AbstractContextManager[Callable[[int], object]]:
    return nullcontext(lambda _: None)


def pull(
    entry: WeightsEntry, *, folder: Path | None = None, watch: Watch = _unwatched
) -> Installed:
    """Downloads what is missing of a model, checks all of it, and says where it is.

    A model that is already here, also in the hub's own cache, is checked and not downloaded. The
    same call goes on where one was ended. Raises WeightsError in one line, MissingExtraError where
    a library is missing.
    """
    folder = folder or weights_folder()
    found = find(entry, folder=folder)
    if found is not None:
        check(entry, found, folder=folder)
        return found
    plan = _plan(entry, folder)
    _check_room(entry, plan, folder)
    for wanted in plan.wanted:
        _pull_file(entry, wanted, plan, folder, watch)
    found = find(entry, folder=folder)
    if found is None:
        raise WeightsError(f"{printable(str(folder / entry.name))}: files vanished meanwhile")
    return found


def _plan(entry: WeightsEntry, folder: Path) -> _Plan:
    """What to fetch, and from where."""
    if entry.url:
        (file,) = entry.files
        return _Plan("", (_Wanted(file, entry.url),), {})
    revision = entry.revision or read_lock(folder).get(entry.name, NOTHING).revision
    repository = hub.look_up(entry, revision=revision)
    wanted = []
    for file in entry.files:
        there = repository.files.get(file.name)
        if there is not None:
            wanted.append(_Wanted(_agreed(entry, file, there), there.url))
        elif not file.optional:
            raise WeightsError(
                f"{entry.name}: {entry.hub} on the hub has no {file.name} at revision "
                f"{repository.revision}; bring the files from elsewhere: perception weights import"
            )
    return _Plan(repository.revision, tuple(wanted), repository.headers)


def _agreed(entry: WeightsEntry, file: WeightFile, there: hub.HubFile) -> WeightFile:
    """What a file must be: the manifest's word, and the hub's where the manifest has none."""
    for ours, theirs in ((file.sha256, there.sha256), (file.size, there.size)):
        if ours and theirs and ours != theirs:
            raise WeightsError(
                f"{entry.name}: the hub has another {file.name} than the one pinned "
                f"({theirs}, expected {ours}); nothing was downloaded"
            )
    return replace(file, size=file.size or there.size, sha256=file.sha256 or there.sha256)


def _check_room(entry: WeightsEntry, plan: _Plan, folder: Path) -> None:
    """Raises WeightsError before a download that can't end well."""
    own = folder / entry.name
    try:
        own.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(own).free
    except OSError as error:
        raise WeightsError(
            f"{printable(str(own))}: can't be made ({error.strerror}); choose another folder with "
            "PERCEPTION_WEIGHTS"
        ) from None
    need = sum(max(one.file.size - _arrived(own / one.file.name), 0) for one in plan.wanted)
    if need > free:
        raise WeightsError(
            f"{printable(str(own))}: the disk has {readable(free)} left, {entry.name} needs "
            f"{readable(need)}; make room, or choose another folder with PERCEPTION_WEIGHTS"
        )


def _pull_file(
    entry: WeightsEntry, wanted: _Wanted, plan: _Plan, folder: Path, watch: Watch
) -> None:
    path = folder / entry.name / wanted.file.name
    if path.is_file():
        return  # ``check`` reads it, with all others.
    part = _part(path)
    with watch(wanted.file.name, wanted.file.size, _arrived(path)) as step:
        try:
            fetch(wanted.url, part, size=wanted.file.size, headers=plan.headers, step=step)
        except RefusedError as error:
            if entry.gated and error.status in hub.REFUSED:
                raise WeightsError(hub.access(entry)) from None
            raise
    _accept(entry, wanted.file, part, path, folder, revision=plan.revision)


def _accept(
    entry: WeightsEntry, file: WeightFile, part: Path, path: Path, folder: Path, *, revision: str
) -> None:
    """Gives a file that has arrived its name, once it is known to be right."""
    locked = read_lock(folder).get(entry.name, NOTHING).files.get(file.name)
    try:
        now: LockedFile = check_file(
            entry, file, part, locked, folder, again=True, remedy=_THROWN_AWAY
        )
    except WeightsError:
        part.unlink(missing_ok=True)  # It would only be gone on with.
        raise
    try:
        part.replace(path)
        remember(entry, {file.name: now}, folder, revision=revision)
    except OSError as error:
        raise WeightsError(f"{printable(str(path))}: can't be written ({error.strerror})") from None


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _arrived(path: Path) -> int:
    """The bytes of a file that are here already, whole or in part."""
    for one in (path, _part(path)):
        if one.is_file():
            return one.stat().st_size
    return 0
