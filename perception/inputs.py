"""Finding pictures: files, folders and globs become a list of files, each with a name of its own.

A name is the path below the folder that all inputs share, with forward slashes, so that pictures
of one name in different folders stay apart in whatever is written about them.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from perception.errors import ImageError
from perception.images import printable

SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
"""What a picture's file name ends in; in folders and globs the other files are passed over."""

# What ``formats.pictures`` writes: a folder that holds results as well can be run again.
_RESULT = re.compile(r"\.\w+\.(overlay|(mask|cutout)-\d{3,}-.*)\.png")


class Picture(NamedTuple):
    """One file to read. name: its path relative to the folder that all inputs share, POSIX."""

    path: Path
    name: str


def find_images(inputs: Sequence[str]) -> list[Picture]:
    """The pictures that files, folders and globs name, each once, sorted within each input.

    A folder is searched with its sub-folders; hidden files and folders are passed over, and so are
    overlays, masks and cut-outs of an earlier run. A file that is named itself is always listed,
    whatever it is called and even if it is missing: reading it says what is wrong. Raises
    ImageError for a folder or a glob without a picture.
    """
    _, pictures = each_image(inputs)
    found: dict[str, Picture] = {}
    for picture in pictures:
        found.setdefault(picture.name, picture)
    return list(found.values())


def each_image(inputs: Sequence[str]) -> tuple[Path, Iterator[Picture]]:
    """The folder that all names start from, and the pictures of ``find_images`` one by one.

    However many there are, few are in memory; one that is named twice comes twice. Raises
    ImageError, at the latest when the pictures are asked for, as ``find_images`` does.
    """
    return name_pictures([expand(text) for text in inputs])


def name_pictures(groups: Sequence[tuple[str, Iterable[str]]]) -> tuple[Path, Iterator[Picture]]:
    """Groups of paths, each with a folder that they lie in, as pictures; see ``each_image``."""
    base = _shared_folder([os.path.abspath(root) for root, _ in groups])
    paths = (path for _, group in groups for path in group)
    return Path(base), (
        Picture(Path(path), Path(os.path.relpath(os.path.abspath(path), base)).as_posix())
        for path in paths
    )


def expand(text: str) -> tuple[str, Iterable[str]]:
    """The folder that an input's names start from, and the paths it stands for."""
    if os.path.isdir(text):
        return text, _not_empty(_walk(text), f"{printable(text)}: no picture in this folder")
    if os.path.lexists(text) or not glob.has_magic(text):
        return os.path.dirname(text), [text]
    return _expand_glob(text)


def _not_empty(paths: Iterable[str], complaint: str) -> Iterator[str]:
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        raise ImageError(f"{complaint}; {_kinds()}")


def _expand_glob(pattern: str) -> tuple[str, Iterator[str]]:
    root = pattern
    while glob.has_magic(root):
        root = os.path.dirname(root)
    return root, _not_empty(_matches(pattern), f"{printable(pattern)}: no picture matches")


def _matches(pattern: str) -> Iterator[str]:
    for match in sorted(glob.iglob(pattern, recursive=True)):
        if os.path.isdir(match):
            # "**" lists every folder below, and the files in it too: one walk of each is enough.
            yield from () if "**" in pattern else _walk(match)
        elif is_picture(match):
            yield match


def _walk(folder: str) -> Iterator[str]:
    """Pictures below a folder, sorted. A folder that can't be listed is given back as it is."""
    barred: list[str] = []
    seen: set[str] = set()
    for at, folders, files in os.walk(
        folder, followlinks=True, onerror=lambda error: barred.append(str(error.filename))
    ):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()  # A link back up.
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_picture(name):
                yield os.path.join(at, name)
    yield from barred


def leads_out(name: str, *, windows: bool = os.name == "nt") -> bool:
    """Whether a name that a stranger wrote is no relative POSIX path of a file below its folder.

    windows: whether drives, streams and backslashes are ways out, too.
    """
    return (
        not PurePosixPath(name).name
        or "\0" in name
        or name.startswith("/")
        or ".." in name.split("/")
        or (windows and (":" in name or "\\" in name))
    )


def is_picture(path: str) -> bool:
    """Whether a file in a folder counts as a picture, by its name."""
    name = os.path.basename(path)
    known = os.path.splitext(name)[1].lower() in SUFFIXES
    return known and not name.startswith(".") and not _RESULT.search(name)


def _shared_folder(roots: Sequence[str]) -> str:
    try:
        return os.path.commonpath(roots) if roots else os.curdir
    except ValueError:
        raise ImageError(
            "the pictures lie on different drives; give them in one run each"
        ) from None


def _kinds() -> str:
    return "a picture's name ends in .jpg, .png, .webp, .tif, .bmp, .gif, .avif or .ppm"
