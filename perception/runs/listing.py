"""The images of a run: folders, globs, files, lists of paths, and COCO files that name them."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from perception.errors import CocoError, ImageError
from perception.imaging.discover import expand, is_picture, name_pictures
from perception.imaging.read import printable
from perception.runs.image_reader import stamp_of
from perception.runs.records import FileStamp
from perception.runs.remote import is_url, list_url, without_file_scheme


def list_inputs(
    inputs: Sequence[str], *, images: str | None = None
) -> tuple[Path | str, Iterator[tuple[str, FileStamp | None]]]:
    """The folder that all names start from, and each image's name and file, few in memory.

    ``*.txt`` is a list: a path a line, or, for names with a line break, each ended by a zero byte.
    ``*.json`` is a COCO file, whose ``images`` are taken. Their paths start from the folder that
    the list lies in, or from ``images``. What they name and isn't there is listed: reading it says
    what is wrong. Raises CocoError for JSON of another kind, ImageError for a list that can't be
    read or is empty, and, at the latest when the images are asked for, as ``inputs.each_image``.

    A URL, which stands alone, is a folder that fsspec lists; one of a file here is its path.
    """
    inputs = [without_file_scheme(text) for text in inputs]
    if any(map(is_url, inputs)):
        (url, *others) = inputs
        if others:
            raise ImageError("a URL is the only input of a run; give the others a run of their own")
        return url, list_url(url)
    folder, pictures = name_pictures([_expand(text, images) for text in inputs])
    return folder, ((picture.name, stamp_of(str(picture.path))) for picture in pictures)


def _expand(text: str, images: str | None) -> tuple[str, Iterable[str]]:
    """A folder, and the paths below it that an input stands for."""
    suffix = os.path.splitext(text)[1].lower()
    if suffix not in (".txt", ".json") or os.path.isdir(text):
        if not (os.path.lexists(text) or glob.has_magic(text) or is_picture(text)):
            raise ImageError(f"{printable(text)}: no such folder or image; check the path")
        return expand(text)
    names = _lines(text) if suffix == ".txt" else _coco_names(text)
    if not names:
        raise ImageError(f"{printable(text)}: no image in this list")
    folder = os.path.abspath(os.path.dirname(text) if images is None else images)
    paths = [os.path.join(folder, name) for name in names]
    return _folder_of(paths, folder, text), paths


def _folder_of(paths: Sequence[str], folder: str, text: str) -> str:
    """The folder itself if all lie below it, else the one that all of the images share."""
    try:
        if os.path.commonpath([folder, *map(os.path.abspath, paths)]) == folder:
            return folder
        return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    except ValueError:
        raise ImageError(
            f"{printable(text)}: its images lie on different drives; make a list of each"
        ) from None


def _lines(path: str) -> list[str]:
    raw = _bytes(path).removeprefix(b"\xef\xbb\xbf")
    parts = raw.split(b"\0") if b"\0" in raw else [line.strip() for line in raw.splitlines()]
    return [os.fsdecode(part) for part in parts if part]


def _coco_names(path: str) -> list[str]:
    raw = _bytes(path)
    try:
        names = [image["file_name"] for image in json.loads(raw)["images"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise CocoError(
            f'{printable(path)}: not a COCO file, which has "images", each with a "file_name"'
        ) from None
    for name in names:
        if not isinstance(name, str) or not name:
            raise CocoError(f"{printable(path)}: a file_name is a text, got {name!r}")
    return names


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ImageError(f"{printable(path)}: can't be read ({why}); check the path") from None
