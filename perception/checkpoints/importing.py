"""Bringing a model in from files: a checkpoint, or a folder, downloaded on another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from perception.checkpoints.catalog import FAMILIES, WeightsEntry, find_entry, read_manifest
from perception.checkpoints.installed import Installed, model_type, what_instead
from perception.checkpoints.lock import NOTHING, LockedFile, read_lock, weights_folder
from perception.checkpoints.verify import check_file, remember
from perception.errors import WeightsError
from perception.imaging.read import printable

_CHUNK = 1 << 22


def import_model(
    source: Path,
    *,
    name: str | None = None,
    folder: Path | None = None,
    step: Callable[[int], object] = lambda _: None,
) -> tuple[WeightsEntry, Installed]:
    """Copies a model's files into the folder of weights, once they are known to be right.

    source: a published file, or a folder with the files of a hub's repository; name: which model it
    is, where the names and sizes of the files don't tell. step: called with the bytes copied.
    Raises WeightsError in one line.
    """
    folder = folder or weights_folder()
    files = _files(source)
    entry = find_entry(name) if name is not None else _recognised(source, files)
    if entry.is_embedded:
        raise WeightsError(f"{entry.name}: embedded in the package, there is nothing to import")
    chosen = _chosen(entry, source, files)
    locked = read_lock(folder).get(entry.name, NOTHING)
    now = {}
    for file in entry.files:
        if file.name in chosen:
            path = chosen[file.name]
            now[file.name] = check_file(
                entry,
                file,
                path,
                locked.files.get(file.name),
                folder,
                again=True,
                remedy=f"download it again from {entry.page}",
            )
    own = folder / entry.name
    for file_name, path in chosen.items():
        _copy(path, own / file_name, step)
    try:
        changed = {
            file_name: _as_copied(own / file_name, file.size, file.sha256)
            for file_name, file in now.items()
        }
        remember(entry, changed, folder, revision=locked.revision or entry.revision)
    except OSError as error:
        raise WeightsError(f"{_shown(own)}: can't be written ({error.strerror})") from None
    return entry, Installed(own, {file_name: own / file_name for file_name in chosen})


def _as_copied(path: Path, size: int, sha256: str) -> LockedFile:
    return LockedFile(size, sha256, path.stat().st_mtime_ns)


def _files(source: Path) -> Mapping[str, Path]:
    """The files of what is to be imported, by name."""
    try:
        if source.is_dir():
            return {path.name: path for path in sorted(source.iterdir()) if path.is_file()}
        if source.is_file():
            return {source.name: source}
    except OSError as error:
        raise WeightsError(f"{_shown(source)}: can't be read ({error.strerror})") from None
    raise WeightsError(f"{_shown(source)}: no such file or folder; check the path")


def _recognised(source: Path, files: Mapping[str, Path]) -> WeightsEntry:
    """Which model files are of: by the folder's name, by a file's name, or by its size."""
    published = [entry for entry in read_manifest().values() if not entry.is_embedded]
    by_name = [
        entry
        for entry in published
        if source.name in (entry.name, entry.hub.rpartition("/")[2])
        or (entry.url and entry.files[0].name in files)
    ]
    by_size = [
        entry
        for entry in published
        for file in entry.files
        if file.size and any(path.stat().st_size == file.size for path in files.values())
    ]
    for found in (by_name, by_size):
        if len(found) == 1:
            return found[0]
    raise WeightsError(f"{_shown(source)}: {_why_unknown(source, files, published)}")


def _why_unknown(source: Path, files: Mapping[str, Path], published: list[WeightsEntry]) -> str:
    fault = what_instead(source) if source.is_file() else None
    if fault:
        return str(fault)
    kind = model_type(source) if source.is_dir() else None
    near = [one.name for one in published if kind in FAMILIES[one.family].model_types]
    names = near or sorted(entry.name for entry in published)
    return (
        f"which model this is can't be told from {'its names' if files else 'an empty folder'}; "
        f"say it with --as, one of {', '.join(names)}"
    )


def _chosen(entry: WeightsEntry, source: Path, files: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files of a model among those that there are; raises WeightsError if one is missing."""
    needed = [file.name for file in entry.files if not file.optional]
    if source.is_file():
        if len(needed) > 1:
            raise WeightsError(
                f"{_shown(source)}: {entry.name} is a folder of files ({', '.join(needed)} and "
                "others); import the folder that holds them"
            )
        return {needed[0]: source}
    absent = [name for name in needed if name not in files]
    if absent:
        raise WeightsError(
            f"{_shown(source)}: {entry.name} needs {', '.join(absent)}, which isn't in this folder;"
            f" download it from {entry.page}"
        )
    kind, kinds = model_type(source), FAMILIES[entry.family].model_types
    if "config.json" in needed and kind not in kinds:
        raise WeightsError(
            f"{_shown(source)}: its config.json says {kind or 'no model type'}, and {entry.name} "
            f"is {' or '.join(kinds)}: another model; choose its name with --as"
        )
    known = {file.name for file in entry.files}
    return {name: path for name, path in files.items() if name in known}


def _copy(source: Path, target: Path, step: Callable[[int], object]) -> None:
    if target.exists() and target.samefile(source):
        return
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reading, part.open("wb") as writing:
            while chunk := reading.read(_CHUNK):
                writing.write(chunk)
                step(len(chunk))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(
            f"{_shown(target)}: can't be written ({error.strerror}); make room, or choose another "
            "folder with PERCEPTION_WEIGHTS"
        ) from None


def _shown(path: Path) -> str:
    return printable(str(path))
