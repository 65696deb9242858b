"""Model files: where they are, and that they are what the manifest says.

The embedded files travel inside the wheel as ``perception/_weights``; in a checkout they are in
``weights/``, beside the package.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perception.errors import WeightsError

_PACKAGE = Path(__file__).parent
_REMEDY = "reinstall perception-masks, or restore weights/ in a checkout (git checkout -- weights)"


@dataclass(frozen=True)
class WeightFile:
    """One file of a model. size: in bytes; sha256: in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class WeightsEntry:
    """One model of the manifest: what it is, under which licence, how it was trained."""

    name: str
    family: str
    licence: str
    trained: str
    files: tuple[WeightFile, ...]


def data_folder() -> Path:
    """Where the embedded model files are."""
    packaged = _PACKAGE / "_weights"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "weights"


def read_manifest(folder: Path | None = None) -> dict[str, WeightsEntry]:
    """The models of a folder's ``manifest.toml``, by name; raises WeightsError without one."""
    return _read_manifest(folder or data_folder())


def find_entry(model: str, *, folder: Path | None = None) -> WeightsEntry:
    """One model of the manifest; raises WeightsError, with the nearest names, if it isn't there."""
    entries = read_manifest(folder)
    if model not in entries:
        raise WeightsError(unknown_name(model, entries))
    return entries[model]


def locate(file_name: str, *, folder: Path | None = None) -> Path:
    """The path of a file in the manifest, once its size and sha256 are checked.

    Raises WeightsError if it is missing or damaged.
    """
    folder = folder or data_folder()
    files = {file.name: file for entry in _read_manifest(folder).values() for file in entry.files}
    if file_name not in files:
        raise WeightsError(unknown_name(file_name, files))
    path = folder / file_name
    _verify(path, files[file_name])
    return path


def sha256_of(file_names: Iterable[str], *, folder: Path | None = None) -> dict[str, str]:
    """What the manifest says of some files: sha256 by file name."""
    entries = read_manifest(folder).values()
    known = {file.name: file.sha256 for entry in entries for file in entry.files}
    return {name: known[name] for name in file_names}


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unknown_name(name: str, known: Iterable[str]) -> str:
    """One line for a model that doesn't exist: what was asked for, and what is near to it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return f'no model is called "{name}"; {hint}'


@cache
def _read_manifest(folder: Path) -> dict[str, WeightsEntry]:
    path = folder / "manifest.toml"
    try:
        models = tomllib.loads(path.read_text("utf-8"))["models"]
        return {name: _entry(name, table) for name, table in models.items()}
    except OSError:
        raise WeightsError(f"{path}: the list of models is missing; {_REMEDY}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged ({error!r}); {_REMEDY}") from None


def _entry(name: str, table: dict[str, Any]) -> WeightsEntry:
    files = tuple(
        WeightFile(file["name"], int(file["bytes"]), file["sha256"]) for file in table["files"]
    )
    return WeightsEntry(name, table["family"], table["licence"], table["trained"], files)


def _verify(path: Path, file: WeightFile) -> None:
    try:
        size = path.stat().st_size
        digest = sha256_of_file(path)
    except FileNotFoundError:
        raise WeightsError(f"{path}: the model file is missing; {_REMEDY}") from None
    except OSError as error:
        raise WeightsError(f"{path}: can't be read ({error.strerror}); {_REMEDY}") from None
    if size != file.size:
        raise WeightsError(f"{path}: {size:,} bytes, expected {file.size:,}; {_REMEDY}")
    if digest != file.sha256:
        raise WeightsError(
            f"{path}: damaged (sha256 {digest[:12]}…, expected {file.sha256[:12]}…); {_REMEDY}"
        )
