"""Which files a checkpoint consists of: one file, or the folder that transformers saves."""

from __future__ import annotations

import json
from pathlib import Path, PureWindowsPath

from perception.errors import WeightsError

INDEX = ".index.json"
IN_FOLDER = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""The names that transformers gives to weights; the first one there is taken, as it does."""


def checkpoint_files(path: Path) -> list[Path]:
    """The files that hold the tensors of ``path``: a file, an index of shards, or a folder.

    Raises WeightsError when one of them is missing, and for an index that can't be trusted.
    """
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    return _shards(path) if path.name.endswith(INDEX) else [path]


def _in_folder(folder: Path) -> Path:
    for name in IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"{folder}: a folder without weights: expected {', '.join(IN_FOLDER[:-1])} or "
        f"{IN_FOLDER[-1]}; download one into it, or name the weight file itself"
    )


def _shards(index: Path) -> list[Path]:
    """The shards that an index names, each once."""
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        # The file may come from anywhere: its names must not reach what lies outside the folder.
        # This way of taking names apart knows the slashes and drives of every system.
        if name in ("", "..") or PureWindowsPath(name).name != name:
            raise WeightsError(
                f"{index}: refused: the shard {name!r} isn't the name of a file in the same folder"
            )
        if not (index.parent / name).is_file():
            raise WeightsError(
                f"{index}: its shard {name} is missing: download it into the same folder"
            )
    return [index.parent / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    """Key -> name of its shard."""
    try:
        content = json.loads(index.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f"{index}: a damaged index of shards: {error}") from None
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise WeightsError(f"{index}: not an index of shards: it has no weight_map")
    if not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(f"{index}: not an index of shards: its weight_map names no files")
    return shards
