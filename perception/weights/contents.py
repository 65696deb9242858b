"""What a file that should hold weights holds instead, as far as its beginning tells."""

from __future__ import annotations

import json
from pathlib import Path


def what_instead(path: Path) -> str | None:
    """A web page, a pointer of Git LFS, or nothing at all; None if nothing speaks against it.

    Raises OSError for a file that can't be read.
    """
    with path.open("rb") as file:
        start = file.read(256).lstrip()
    if not start:
        return "the file is empty"
    if start.startswith(b"<"):
        return "it is a web page, saved in place of the file"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file that it points to"
    return None


def model_type(folder: Path) -> str | None:
    """What the config.json of a folder calls its model; None without one that says it."""
    try:
        content = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    kind = content.get("model_type") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else None
