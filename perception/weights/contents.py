"""What files and folders that should hold a model do hold, as far as their beginning tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.errors import WeightsError
from perception.images import printable

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
