"""Pictures behind a URL that fsspec understands: s3://, gs://, abfs://, zip://*::file://..."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from perception.errors import ImageError, MissingExtraError
from perception.imaging.discover import is_picture
from perception.imaging.read import printable
from perception.runs.records import FileStamp

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# What changes with an object's content, by the names that the stores have for it; best first.
_VERSIONS: tuple[str, ...] = (
    "ETag",
    "etag",
    "generation",
    "CRC",
    "mtime",
    "LastModified",
    "last_modified",
)
_VERSIONS += ("updated", "modified", "created")


def is_url(path: str) -> bool:
    """Whether a path names a place that isn't in this machine's file system."""
    return "://" in path


def without_file_scheme(text: str) -> str:
    """``file:///a%20b`` as the path that it is; anything else as it came."""
    if text.startswith("file://") and "::" not in text:
        return unquote(text.removeprefix("file://"))
    return text


def _join_url(folder: str, name: str) -> str:
    """A name below a folder; in ``zip://folder::file:///a.zip`` that is the first part."""
    first, chained, rest = folder.partition("::")
    scheme, _, path = first.partition("://")
    return f"{scheme}://{posixpath.join(path, name)}{chained}{rest}"


def join(folder: str | os.PathLike[str], name: str) -> str:
    """Where an image lies: its name below a folder or a URL."""
    folder = os.fspath(folder)
    return _join_url(folder, name) if is_url(folder) else os.path.join(folder, name)


def list_url(folder: str) -> Iterator[tuple[str, FileStamp]]:
    """The images below a URL: name and what tells each from an earlier one; in no order.

    One folder's names are in memory at a time. Raises ImageError if there is none or it can't be
    listed, MissingExtraError without the packages that the URL needs.
    """
    empty = True
    for name, info in _walk(folder):
        if is_picture(name):
            empty = False
            yield name, _stamp(info)
    if empty:
        raise ImageError(f"{printable(folder)}: no image in this folder; check the URL")


def _walk(folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Files below a URL, relative; those in hidden folders are passed over."""
    files, root = _open(folder)
    barred: list[Exception] = []
    try:
        for at, folders, found in files.walk(root, detail=True, on_error=barred.append):
            below = at.strip("/").removeprefix(root.strip("/")).strip("/")
            for hidden in [name for name in folders if name.startswith(".")]:
                del folders[hidden]
            for name, info in found.items():
                # Some stores keep a folder as an object without a name; a pipe is no file.
                if name and info.get("type") != "other":
                    yield posixpath.join(below, name), info
    except Exception as error:  # noqa: BLE001  # every store has errors of its own
        barred.append(error)
    if barred:
        raise ImageError(
            f"{printable(folder)}: can't be listed ({_why(barred[0])}); check the URL and the "
            "credentials"
        )


def read_url(url: str) -> bytes:
    """All bytes of an image's file; raises ImageError in one line."""
    files, path = _open(url)
    try:
        return bytes(files.cat_file(path))
    except FileNotFoundError:
        raise ImageError(f"{printable(url)}: no such file; check the path") from None
    except Exception as error:  # noqa: BLE001  # every store has errors of its own
        raise ImageError(
            f"{printable(url)}: can't be read ({_why(error)}); check the credentials"
        ) from None


def stamp_url(url: str) -> FileStamp | None:
    """What tells a file from an earlier one; None if it isn't there or may not be looked at."""
    try:
        files, path = _open(url)
        return _stamp(files.info(path))
    except Exception:  # noqa: BLE001  # reading it says what is wrong
        return None


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError(
            f"{printable(url)}: URLs need fsspec; pip install 'perception-masks[ray]'"
        ) from None
    try:
        # What is listed once isn't needed again: without a cache memory stays flat.
        files, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(f"{printable(url)}: {_why(error)}") from None
    except Exception as error:  # noqa: BLE001  # every store has errors of its own
        raise ImageError(f"{printable(url)}: can't be opened ({_why(error)})") from None
    return files, path


def _stamp(info: Mapping[str, Any]) -> FileStamp:
    """The time is a digest here: what stores keep is an ETag, a generation, a text or a time."""
    version = next((info[name] for name in _VERSIONS if info.get(name) is not None), None)
    if isinstance(version, datetime):
        version = version.timestamp()  # As some stores give it in a listing.
    digest = blake2b(str(version).encode(), digest_size=8).digest()
    return FileStamp(int(info.get("size") or 0), int.from_bytes(digest) >> 1)


def _why(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
