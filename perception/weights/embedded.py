"""The embedded model files, which travel with the package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from perception.errors import WeightsError
from perception.weights.digests import sha256_of_file, short
from perception.weights.manifest import (
    REMEDY,
    WeightFile,
    data_folder,
    read_manifest,
    unknown_name,
)

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
