"""What ``perception export`` is to export: a model by name, or a file or folder in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perception.weights.checking import check
from perception.weights.contents import model_type
from perception.weights.embedded import data_folder
from perception.weights.families import family_of
from perception.weights.installed import find, missing
from perception.weights.manifest import read_manifest

NANO = "nano-segmenter.safetensors"


@dataclass(frozen=True)
class Source:
    """family: as the manifest names it, "" where only the file itself can tell."""

    name: str
    family: str
    path: Path


def find_source(model: str) -> Source:
    """Where the model is; raises WeightsError for a published one that isn't on this machine."""
    if model == "nano" or Path(model).name == NANO:
        return Source("nano", "", data_folder() / NANO if model == "nano" else Path(model))
    entry = read_manifest().get(model)
    if entry is None or entry.is_embedded:
        path = Path(model)
        kind = model_type(path) if path.is_dir() else None
        name = path.absolute().name if path.is_dir() else path.stem
        return Source(name, family_of(kind or "") or "", path)
    installed = find(entry)
    if installed is None:
        raise missing([entry])
    check(entry, installed)
    path = installed.files[entry.files[0].name] if entry.url else installed.folder
    return Source(entry.name, entry.family, path)
