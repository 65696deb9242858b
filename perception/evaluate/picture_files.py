"""Where the pictures of a truth lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from perception.errors import EvaluationError
from perception.images import printable


def picture_paths(names: Sequence[str], images: Path) -> list[Path]:
    """The file of each picture: by its whole name below a folder, else by its last part.

    Raises EvaluationError for a folder that isn't there, or has none of them.
    """
    if not images.is_dir():
        raise EvaluationError(
            f"{printable(str(images))}: no such folder; --images names the one of the pictures"
        )
    paths = [picture_path(images, name) for name in names]
    if not any(path.is_file() for path in paths):
        raise EvaluationError(
            f"{printable(str(images))}: none of the {len(names):,} pictures is there, such as "
            f"{printable(names[0])}; --images names their folder"
        )
    return paths


def picture_path(images: Path, name: str) -> Path:
    """The file of one picture, whether it is there or not."""
    whole, last = images / name, images / PurePosixPath(name).name
    return last if last.is_file() and not whole.is_file() else whole
