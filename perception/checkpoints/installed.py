"""Where weights lie: embedded in the package, in the folder of weights, in the hub's cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.checkpoints.catalog import (
    REMEDY,
    WeightFile,
    WeightsEntry,
    data_folder,
    read_manifest,
    readable,
    unknown_name,
)
from perception.checkpoints.lock import NOTHING, read_lock, sha256_of_file, short, weights_folder
from perception.errors import WeightsError
from perception.imaging.read import printable

CONFIG = "config.json"


@dataclass(frozen=True)
class Instead:
    """What a file holds in place of weights, and what to do about it."""

    fault: str
    remedy: str = "download the file itself"

    def __str__(self) -> str:
        return f"{self.fault}; {self.remedy}"


def what_instead(path: Path) -> Instead | None:
    """A web page, a pointer of Git LFS, or nothing at all; None if nothing speaks against it.

    Raises OSError for a file that can't be read.
    """
    with path.open("rb") as file:
        start = file.read(256).lstrip()
    if not start:
        return Instead("the file is empty")
    if start.startswith(b"<"):
        return Instead("it is a web page, saved in place of the file")
    if start.startswith(b"version https://git-lfs"):
        return Instead(
            "it is a pointer of Git LFS, not the file that it points to",
            "fetch that with git lfs pull",
        )
    return None


def read_settings(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """A JSON file of a model's folder; raises WeightsError where there is none, or no object."""
    path = folder / name
    if not path.is_file():
        raise WeightsError(
            f"{printable(str(folder))}: it has no {name}: name the folder that holds the model's "
            "files as published (config.json, model.safetensors and what else is beside them)"
        )
    try:
        settings = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WeightsError(f"{printable(str(path))}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{printable(str(path))}: damaged: {error}") from None
    if not isinstance(settings, dict):
        raise WeightsError(
            f"{printable(str(path))}: expected an object, got {type(settings).__name__}"
        )
    return settings


def model_type(folder: Path) -> str | None:
    """What the config.json of a folder calls its model; None without one that says it."""
    try:
        kind = read_settings(folder).get("model_type")
    except WeightsError:
        return None
    return kind if isinstance(kind, str) else None


__all__ = ["data_folder", "locate", "sha256_of"]


def locate(file_name: str, *, folder: Path | None = None) -> Path:
    """The path of an embedded file, once its size and sha256 are checked.

    Raises WeightsError if it is missing or damaged.
    """
    folder = folder or data_folder()
    files = _files(folder)
    if file_name not in files:
        raise WeightsError(unknown_name(file_name, files))
    path = folder / file_name
    _verify(path, files[file_name])
    return path


def sha256_of(file_names: Iterable[str], *, folder: Path | None = None) -> dict[str, str]:
    """What the manifest says of some embedded files: sha256 by file name."""
    known = _files(folder or data_folder())
    return {name: known[name].sha256 for name in file_names}


def _files(folder: Path) -> dict[str, WeightFile]:
    entries = [entry for entry in read_manifest(folder).values() if entry.is_embedded]
    return {file.name: file for entry in entries for file in entry.files}


def _verify(path: Path, file: WeightFile) -> None:
    try:
        size = path.stat().st_size
        digest = sha256_of_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: the model file is missing; {REMEDY}") from None
    except OSError as error:
        raise WeightsError(f"{path}: can't be read ({error.strerror}); {REMEDY}") from None
    if size != file.size:
        raise WeightsError(f"{path}: {size:,} bytes, expected {file.size:,}; {REMEDY}")
    if digest != file.sha256:
        raise WeightsError(
            f"{path}: damaged (sha256 {short(digest)}, expected {short(file.sha256)}); {REMEDY}"
        )


_UNPINNED = "main"


@dataclass(frozen=True)
class Installed:
    """A model on this machine.

    folder: where its files are; files: their paths by name; in_cache: in the hub's cache.
    """

    folder: Path
    files: Mapping[str, Path]
    in_cache: bool = False


def find(entry: WeightsEntry, *, folder: Path | None = None) -> Installed | None:
    """Where a published model lies, or None; nothing is checked but that its files are there.

    First in the folder of weights, then in the hub's cache at the pinned revision.
    """
    folder = folder or weights_folder()
    own = folder / entry.name
    found = _in_folder(entry, own)
    if found is None and entry.url:
        found = _in_folder(entry, folder)  # One file may lie there as it was downloaded.
    return found or _in_cache(entry, folder)


def missing(entries: Sequence[WeightsEntry], *, folder: Path | None = None) -> WeightsError:
    """The error for models that aren't here: which command to run, or what to copy where."""
    names = " and ".join(entry.name for entry in entries)
    sizes = [readable(entry.size) for entry in entries if entry.size]
    licences = dict.fromkeys(entry.licence for entry in entries)
    copies = " and ".join(_copying(entry, folder or weights_folder()) for entry in entries)
    return WeightsError(
        f"{names}: not on this machine: run perception weights pull "
        f"{' '.join(entry.name for entry in entries)} ({', '.join([*sizes, *licences])}); for a "
        f"machine without network, copy {copies}"
    )


def _copying(entry: WeightsEntry, folder: Path) -> str:
    """What to copy where, by hand."""
    needed = ", ".join(file.name for file in entry.files if not file.optional)
    more = " and the small .json and .txt files beside them" if entry.hub else ""
    return f"{needed}{more} from {entry.page} to {printable(str(folder / entry.name))}"


def _in_folder(entry: WeightsEntry, folder: Path) -> Installed | None:
    there = {file.name: folder / file.name for file in entry.files}
    there = {name: path for name, path in there.items() if path.is_file()}
    if all(file.optional or file.name in there for file in entry.files):
        return Installed(folder, there)
    return None


def _in_cache(entry: WeightsEntry, folder: Path) -> Installed | None:
    if not entry.hub:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    revision = entry.revision or read_lock(folder).get(entry.name, NOTHING).revision or _UNPINNED
    there = {}
    for file in entry.files:
        path = try_to_load_from_cache(entry.hub, file.name, revision=revision)
        if isinstance(path, str):
            there[file.name] = Path(path)
        elif not file.optional:
            return None
    return Installed(next(iter(there.values())).parent, there, in_cache=True)
